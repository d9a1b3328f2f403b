package main

import (
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
)

// signedSource is a registry whose signed tags can be fetched, by a command
// beside the server.
type signedSource struct {
	registryParts
	proxied proxy.Registry
	rules   trustRules
}

// openSigned opens the registry for a command by which nothing that is
// remembered changes. Close it when done.
func openSigned(cfg *config.Config, registry int) (*signedSource, error) {
	m, err := openReadOnly(cfg)
	if err != nil {
		return nil, err
	}
	return m.openSigned(cfg, registry)
}

// openSigned opens the registry, remembering in m. Notary is asked anew, and the
// operator is the client where credentials are passed through.
func (m *remembered) openSigned(cfg *config.Config, registry int) (*signedSource, error) {
	reg := cfg.Registries[registry]
	if reg.Offline != nil {
		return nil, usage("%s is offline in the configuration: there is nobody to ask", reg.Name)
	}
	if reg.Credentials.Kind == config.Passthrough {
		reg.Credentials = config.Credentials{Kind: config.DockerConfig}
	}
	l, err := newLasting(zerolog.Nop(), m) // errors say what went wrong
	if err != nil {
		return nil, err
	}
	ct := cfg.ContentTrust
	ct.Refresh = time.Second // what was kept is not enough
	rules, err := readTrustRules(ct)
	if err != nil {
		return nil, err
	}
	made, rp, err := l.assembleRegistry(reg, rules)
	if err != nil {
		(&parts{registries: []registryParts{rp}}).close()
		return nil, err
	}
	return &signedSource{rp, made, rules}, nil
}

func (s *signedSource) close() { (&parts{registries: []registryParts{s.registryParts}}).close() }
