package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// hubScene is Docker Hub, curated: a hub with team/app in it, a Notary of
// another's that says which of its tags are approved, and a Sealgate that clients
// are to use instead. It has these tags, and is shared and read only:
//
//	signed    approved
//	drifted   approved, then pushed again with other content
//	unsigned  not approved: the canary
type hubScene struct {
	*world
	network                          *network // where the clients are; nil: beside the servers, on loopback
	hub                              *hub
	signed, drifted, drift, unsigned pushed

	gateIP string
	system string // PEM of what a host believes from the start: the hub's CA, not Sealgate's
	both   string // PEM of the hub's CA and Sealgate's
}

// gateName is where clients are told that Sealgate is.
const gateName = "gate.e2e.test"

var sharedHubScene = sync.OnceValues(func() (*hubScene, error) {
	return newHubScene("hubscene", nil)
})

func newHubScene(dir string, clients *network) (*hubScene, error) {
	w, err := newWorld(filepath.Join(suite.dir, dir), registryOptions{})
	if err != nil {
		return nil, err
	}
	suite.atEnd(w.close)
	s := &hubScene{world: w, network: clients}
	for _, step := range []func() error{s.openHub, s.publish, s.openGate} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func curatedHub(t *testing.T) *hubScene {
	t.Helper()
	return must(sharedHubScene())(t)
}

// listen443 listens where the clients reach it.
func (s *hubScene) listen443() (net.Listener, error) {
	if s.network == nil {
		return listenOn443()
	}
	return s.network.listen443()
}

// on is argv where the clients are, on a host with that /etc/hosts.
func (s *hubScene) on(hosts string, argv ...string) []string {
	return s.network.in(resolving(hosts, argv...)...)
}

// openHub starts the hub under a CA of its own.
func (s *hubScene) openHub() error {
	dir := filepath.Join(s.dir, "hub")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(dir)
	if err != nil {
		return err
	}
	s.system, s.both = ca.file, filepath.Join(dir, "both.pem")
	var all []byte
	for _, file := range []string{ca.file, s.ca.file} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		all = append(all, text...)
	}
	if err := os.WriteFile(s.both, all, 0o600); err != nil {
		return err
	}
	if s.hub, err = startHub(dir, ca, s.listen443); err != nil {
		return err
	}
	s.atEnd(s.hub.close)
	return nil
}

func (s *hubScene) publish() error {
	var failed error
	do := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	say := func(tag, words string) pushed {
		image, err := saying(words)
		do(err)
		digest, size, err := s.hub.push("team/app", tag, image)
		do(err)
		return pushed{digest.String(), size}
	}
	const gun = "docker.io/team/app"
	do(s.begin(gun))
	s.signed, s.unsigned = say("signed", "approved words"), say("unsigned", "words of a stranger")
	s.drifted = say("drifted", "as it was approved")
	do(s.sign(gun, "signed", s.signed))
	do(s.sign(gun, "drifted", s.drifted))
	s.drift = say("drifted", "as it is now")
	return failed
}

// openGate starts Sealgate on port 443, under a name of its own and under Docker
// Hub's.
func (s *hubScene) openGate() error {
	key, err := s.rootKey()
	if err != nil {
		return err
	}
	listen, err := freed(s.listen443())
	if err != nil {
		return err
	}
	s.gateIP, _, _ = net.SplitHostPort(listen)
	return s.open(func(o *settings) {
		o.listen, o.name, o.upstream = listen, "docker.io", s.hub.registry.url
		o.hosts = []string{gateName, "registry-1.docker.io"}
		o.certified = []string{gateName}
		o.rootKeys = map[string]string{"docker.io/*": key}
	})
}

// Where the names lead of a host that knows Sealgate and reaches Docker Hub, that
// reaches Sealgate alone, and for which Docker Hub's names are Sealgate's.
func (s *hubScene) beside() map[string]string {
	names := s.hub.names()
	names[gateName] = s.gateIP
	return names
}

func (s *hubScene) without() map[string]string { return leadTo(s.gateIP, gateName) }

func (s *hubScene) instead() map[string]string {
	return leadTo(s.gateIP, gateName, "registry-1.docker.io", "index.docker.io")
}

// mustHosts writes the file for a test.
func mustHosts(t *testing.T, names map[string]string) string {
	t.Helper()
	return must(hostsFile(t.TempDir(), names))(t)
}

// emitted has `sealgate doctor --emit` write the configuration of clients, and
// returns the directory.
func (s *hubScene) emitted(t *testing.T, kinds ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, kind := range kinds {
		mustRun(t, nil, suite.sealgate, "doctor", "--config", s.config, "--ca-file", s.ca.file, "--ip", s.gateIP, "--emit", kind, "--out", dir)
	}
	return dir
}

// notAsked fails where the hub was asked for anything since before.
func (s *hubScene) notAsked(t *testing.T, before int) {
	t.Helper()
	if asked := s.hub.asked(before); len(asked) > 0 {
		t.Errorf("Docker Hub was asked:\n%s", strings.Join(asked, "\n"))
	}
}
