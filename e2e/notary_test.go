package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// notaryServer is Debian's notary-server, which keeps its data in memory and
// the timestamp keys itself.
type notaryServer struct {
	*process
	addr string
	url  string
}

// startNotary starts one that knows nothing yet.
func startNotary(dir, addr string, ca *authority) (*notaryServer, error) {
	cert, key, err := ca.serverPair("notary")
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"server":        map[string]string{"http_addr": addr, "tls_cert_file": cert, "tls_key_file": key},
		"trust_service": map[string]string{"type": "local", "hostname": "", "port": "", "key_algorithm": "ecdsa"},
		"storage":       map[string]string{"backend": "memory"},
		"logging":       map[string]string{"level": "info"},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "notary-server.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	p, err := start("notary-server", filepath.Join(dir, "notary-server.log"), nil, "notary-server", "-config", file)
	if err != nil {
		return nil, err
	}
	n := &notaryServer{process: p, addr: addr, url: "https://" + addr}
	if err := p.ready(15*time.Second, ca.answers(n.url+"/v2/")); err != nil {
		p.stop(time.Second)
		return nil, err
	}
	return n, nil
}

// publisher signs with the notary CLI. One publisher has one root key for all
// the repositories that it starts.
type publisher struct {
	dir    string // private keys and cached metadata
	server string
	ca     string
}

func (p *publisher) cli(arguments ...string) (string, error) {
	env := []string{
		"NOTARY_ROOT_PASSPHRASE=root passphrase",
		"NOTARY_TARGETS_PASSPHRASE=targets passphrase",
		"NOTARY_SNAPSHOT_PASSPHRASE=snapshot passphrase",
		"NOTARY_DELEGATION_PASSPHRASE=delegation passphrase",
	}
	return run(env, append([]string{"notary", "-d", p.dir, "-s", p.server, "--tlscacert", p.ca}, arguments...)...)
}

// begin creates a repository's trust data with nothing signed in it.
func (p *publisher) begin(gun string) error {
	_, err := p.cli("init", "-p", gun)
	return err
}

// sign says that tag means this digest, in the roles given or else in targets.
func (p *publisher) sign(gun, tag string, image pushed, roles ...string) error {
	arguments := []string{"addhash", "-p", gun, tag, strconv.FormatInt(image.size, 10), "--sha256", strings.TrimPrefix(image.digest, "sha256:")}
	for _, role := range roles {
		arguments = append(arguments, "-r", role)
	}
	_, err := p.cli(arguments...)
	return err
}

// revoke takes the signature of tag back.
func (p *publisher) revoke(gun, tag string, roles ...string) error {
	arguments := []string{"remove", "-p", gun, tag}
	for _, role := range roles {
		arguments = append(arguments, "-r", role)
	}
	_, err := p.cli(arguments...)
	return err
}

// appoint creates a delegation with a new key, which this publisher then has.
func (p *publisher) appoint(gun, role string) error {
	cert, key, err := signerPair(p.dir, strings.ReplaceAll(gun+"/"+role, "/", "_"))
	if err != nil {
		return err
	}
	if _, err := p.cli("key", "import", key, "--role", role, "--gun", gun); err != nil {
		return err
	}
	_, err = p.cli("delegation", "add", "-p", gun, role, cert, "--all-paths")
	return err
}

// rootKey is the canonical ID of the root key; there is one after the first begin.
func (p *publisher) rootKey() (string, error) {
	out, err := p.cli("key", "list")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "root" {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("no root key in:\n%s", out)
}
