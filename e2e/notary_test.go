package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
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
	var env []string
	for _, role := range []string{"ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"} {
		env = append(env, "NOTARY_"+role+"_PASSPHRASE=a passphrase") // one: for "key generate -o" a key has no role
	}
	return run(env, append([]string{"notary", "-d", p.dir, "-s", p.server, "--tlscacert", p.ca}, arguments...)...)
}

// begin creates a repository's trust data with nothing signed in it.
func (p *publisher) begin(gun string) error {
	_, err := p.cli("init", "-p", gun)
	return err
}

// beginUnder is begin with a new root key, in a certificate of that authority.
func (p *publisher) beginUnder(ca *authority, gun string) error {
	name := filepath.Join(p.dir, "root-of-"+strings.ReplaceAll(gun, "/", "_"))
	if _, err := p.cli("key", "generate", "ecdsa", "--role", "root", "-o", name); err != nil {
		return err
	}
	if err := ca.rootCert(name+"-cert.pem", name+".pem", gun); err != nil {
		return err
	}
	_, err := p.cli("init", "-p", gun, "--rootkey", name+"-key.pem", "--rootcert", name+"-cert.pem")
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

// certID is the ID of the root certificate of a repository, as docker prints it.
func (p *publisher) certID(gun string) (string, error) {
	server, err := url.Parse(p.server)
	if err != nil {
		return "", err
	}
	config := filepath.Join(p.dir, "docker")
	trusted := filepath.Join(config, "tls", server.Host)
	if err := os.MkdirAll(trusted, 0o700); err != nil {
		return "", err
	}
	ca, err := os.ReadFile(p.ca)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(trusted, "ca.crt"), ca, 0o600); err != nil {
		return "", err
	}
	out, err := run([]string{"DOCKER_CONFIG=" + config, "DOCKER_CONTENT_TRUST_SERVER=" + p.server}, "docker", "trust", "inspect", gun)
	if err != nil {
		return "", err
	}
	var repositories []struct {
		AdministrativeKeys []struct {
			Name string
			Keys []struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(out), &repositories); err != nil {
		return "", fmt.Errorf("docker trust inspect: %w: %s", err, out)
	}
	for _, repository := range repositories {
		for _, role := range repository.AdministrativeKeys {
			if role.Name == "Root" && len(role.Keys) == 1 {
				return role.Keys[0].ID, nil
			}
		}
	}
	return "", fmt.Errorf("no root key in:\n%s", out)
}
