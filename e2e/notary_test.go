package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// notaryServer is Debian's notary-server, which keeps its data in memory and
// the timestamp keys itself.
type notaryServer struct {
	*process
	addr string
	url  string
}

// startNotary starts one that knows nothing yet and serves everybody.
func startNotary(dir, addr string, ca *authority) (*notaryServer, error) {
	return startNotaryFor(nil, dir, addr, ca)
}

// startNotaryFor starts one that serves those who have one of tokens.
func startNotaryFor(tokens *tokenServer, dir, addr string, ca *authority) (*notaryServer, error) {
	cert, key, err := ca.serverPair("notary")
	if err != nil {
		return nil, err
	}
	content := map[string]any{
		"server":        map[string]string{"http_addr": addr, "tls_cert_file": cert, "tls_key_file": key},
		"trust_service": map[string]string{"type": "local", "hostname": "", "port": "", "key_algorithm": "ecdsa"},
		"storage":       map[string]string{"backend": "memory"},
		"logging":       map[string]string{"level": "info"},
	}
	if tokens != nil {
		content["auth"] = map[string]any{"type": "token", "options": tokens.auth()}
	}
	settings, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "notary-server.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
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

// publisher signs with the notary CLI and with docker trust, which share their
// keys. One publisher has one root key for all the repositories that it starts.
type publisher struct {
	dir    string // docker's configuration; private keys and cached metadata are in "trust" below it
	server string
	ca     string
	user   *registryUser // who it is to a Notary server that asks; nil: nobody
}

// passphrase is that of every private key: for "key generate -o" a key has no role.
const passphrase = "a passphrase"

func (p *publisher) cli(arguments ...string) (string, error) { return p.cliSaying("", arguments...) }

// cliSaying is cli with an answer to what it asks.
func (p *publisher) cliSaying(input string, arguments ...string) (string, error) {
	var env []string
	for _, role := range []string{"ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"} {
		env = append(env, "NOTARY_"+role+"_PASSPHRASE="+passphrase)
	}
	if p.user != nil {
		env = append(env, "NOTARY_AUTH="+base64.StdEncoding.EncodeToString([]byte(p.user.name+":"+p.user.password)))
	}
	return runSaying(input, env, append([]string{"notary", "-d", filepath.Join(p.dir, "trust"), "-s", p.server, "--tlscacert", p.ca}, arguments...)...)
}

// rotate replaces the key of a role, with "-r" by one that the server holds. It
// asks before it does so for the root, and a no is no failure.
func (p *publisher) rotate(gun string, role ...string) error {
	out, err := p.cliSaying("yes\n", append([]string{"key", "rotate", gun}, role...)...)
	if err == nil && !strings.Contains(out, "Successfully rotated "+role[0]) {
		err = fmt.Errorf("the %s key was not rotated: %s", role[0], out)
	}
	return err
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
	_, err := p.delegate(gun, role)
	return err
}

// delegate creates a delegation with a new key, which this publisher then has, or
// gives it one more; for the tags that begin with one of paths, or for all. It
// returns the file of the key's certificate.
func (p *publisher) delegate(gun, role string, paths ...string) (certFile string, err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(p.dir, "signer-")
	if err != nil {
		return "", err
	}
	certFile, key, err := signerPair(dir, "signer")
	if err != nil {
		return "", err
	}
	if _, err := p.cli("key", "import", key, "--role", role, "--gun", gun); err != nil {
		return "", err
	}
	return certFile, p.delegateTo(certFile, gun, role, paths...)
}

// delegateTo is delegate for the key of a certificate that there is.
func (p *publisher) delegateTo(certFile, gun, role string, paths ...string) error {
	arguments := []string{"delegation", "add", "-p", gun, role, certFile}
	if len(paths) > 0 {
		arguments = append(arguments, "--paths", strings.Join(paths, ","))
	} else {
		arguments = append(arguments, "--all-paths")
	}
	_, err := p.cli(arguments...)
	return err
}

// canonicalID is that of the key of a certificate.
func canonicalID(certFile string) (string, error) {
	certificates, err := config.LoadCertificates(certFile)
	if err != nil {
		return "", err
	}
	ids, err := notary.CertificateKeys(certificates)
	if err != nil {
		return "", err
	}
	return ids[0], nil
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

// docker runs `docker trust` against the Notary server; no daemon is there.
func (p *publisher) docker(arguments ...string) (string, error) {
	server, err := url.Parse(p.server)
	if err != nil {
		return "", err
	}
	trusted := filepath.Join(p.dir, "tls", server.Host)
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
	return run([]string{
		"DOCKER_CONFIG=" + p.dir, "DOCKER_HOST=unix://" + filepath.Join(p.dir, "no-daemon.sock"), "DOCKER_CONTENT_TRUST_SERVER=" + p.server,
		"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=" + passphrase, "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=" + passphrase,
	}, append([]string{"docker", "trust"}, arguments...)...)
}

// inspected is the part of `docker trust inspect` that tells key IDs.
type inspected struct {
	Signers, AdministrativeKeys []struct {
		Name string
		Keys []struct{ ID string }
	}
}

func (p *publisher) inspect(gun string) (inspected, error) {
	out, err := p.docker("inspect", gun)
	if err != nil {
		return inspected{}, err
	}
	var repositories []inspected
	if err := json.Unmarshal([]byte(out), &repositories); err != nil || len(repositories) != 1 {
		return inspected{}, fmt.Errorf("docker trust inspect: %v: %s", err, out)
	}
	return repositories[0], nil
}

// certID is the ID of the root certificate of a repository, as docker prints it.
func (p *publisher) certID(gun string) (string, error) {
	repository, err := p.inspect(gun)
	if err != nil {
		return "", err
	}
	for _, role := range repository.AdministrativeKeys {
		if role.Name == "Root" && len(role.Keys) == 1 {
			return role.Keys[0].ID, nil
		}
	}
	return "", fmt.Errorf("no root key in %+v", repository)
}
