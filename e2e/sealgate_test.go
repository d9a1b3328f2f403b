package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// settings is what the tests vary of a proxy.yaml with one registry.
type settings struct {
	listen    string
	plainHTTP bool
	tls       string // the block tls and what else belongs to it, where it is not a pair of the suite's CA
	name      string // of the registry; GUN = name + "/" + repository
	hosts     []string
	upstream  string
	notary    string

	credentials string
	mode        string
	rootKeys    map[string]string // pattern → root key ID
	certIDs     map[string]string // pattern → root certificate ID
	caFiles     map[string]string // pattern → PEM file of an authority of root certificates
	firstUse    bool
	refresh     time.Duration
	maxStale    time.Duration
	authTTL     time.Duration
	policies    string // signers and policies, as they stand in the file
	more        string // further keys of the registry, as "key: value" lines
	writes      bool   // clients publish trust data through it
	notaryMore  string // further keys of its Notary server, each as ", key: value"

	admin string // address of the admin listener; "" for none

	audit string // the block audit; "" for none

	storage string // the block storage; "": a directory of this gate

	resolves  map[string]string // what resolves for it, with its address; nil: what does here
	certified []string          // what the certificate is for, beside loopback and Docker Hub's names

	program string   // "": the one under test
	env     []string // of the program
	level   string   // of its log; "" for the default
}

// yaml writes the settings as the file that `sealgate serve` reads.
func (s settings) yaml(dir string, ca *authority) (string, error) {
	var b strings.Builder
	line := func(format string, values ...any) { fmt.Fprintf(&b, format+"\n", values...) }
	line("listen: %s", s.listen)
	switch {
	case s.tls != "":
		line("%s", s.tls)
	case s.plainHTTP:
		line("tls: {plain-http: {}}")
	default:
		host, _, _ := strings.Cut(s.listen, ":")
		cert, key, err := ca.pairFor("sealgate", slices.Concat(hubHosts, s.certified, []string{"localhost", registryName, "127.0.0.1", host})...)
		if err != nil {
			return "", err
		}
		line("tls: {files: {cert: %s, key: %s}}", cert, key)
	}
	if s.admin != "" {
		line("admin: {listen: %q, hosts: [%s]}", s.admin, statusName)
	}
	if s.audit != "" {
		line("audit: %s", s.audit)
	}
	line("drain-timeout: 20s")
	line("state-dir: %s", filepath.Join(dir, "state"))
	if s.storage != "" {
		line("storage: %s", s.storage)
	} else {
		line("storage: {filesystem: {rootdirectory: %s}}", filepath.Join(dir, "store"))
	}
	line("registries:")
	line("  - name: %q", s.name)
	if s.hosts != nil {
		line("    hosts: [%s]", strings.Join(s.hosts, ", "))
	}
	line("    upstream: %s", s.upstream)
	if strings.HasPrefix(s.upstream, "https:") {
		line("    upstream-ca-file: %s", ca.file)
	}
	line("    credentials: %s", s.credentials)
	if strings.HasPrefix(s.notary, "https:") {
		line("    notary: {url: %s, ca-file: %s, writes: %t%s}", s.notary, ca.file, s.writes, s.notaryMore)
	} else {
		line("    notary: {url: %q}", s.notary)
	}
	for key := range strings.Lines(s.more) {
		line("    %s", strings.TrimSpace(key))
	}
	line("content-trust:")
	line("  mode: %s", s.mode)
	line("  trust-pinning:")
	for _, kind := range []struct {
		key, entry string
		pins       map[string]string
	}{{"root-keys", "[%s]", s.rootKeys}, {"cert-ids", "[%s]", s.certIDs}, {"ca", "%q", s.caFiles}} {
		line("    %s:", kind.key)
		for _, pattern := range slices.Sorted(maps.Keys(kind.pins)) {
			line("      %q: "+kind.entry, pattern, kind.pins[pattern])
		}
	}
	line("  trust-on-first-use: %t", s.firstUse)
	line("  refresh: %s", s.refresh)
	line("  max-stale: %s", s.maxStale)
	line("  authorisation-ttl: %s", s.authTTL)
	b.WriteString(s.policies)
	return b.String(), nil
}

// gate is a running `sealgate serve`.
type gate struct {
	*process
	settings
	url    string
	config string // path of its proxy.yaml
	ca     *authority
}

// binary is the program that the gate runs.
func (g *gate) binary() string { return cmp.Or(g.program, suite.sealgate) }

// openGate writes proxy.yaml and starts Sealgate on it.
func openGate(dir string, ca *authority, s settings) (*gate, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	text, err := s.yaml(dir, ca)
	if err != nil {
		return nil, err
	}
	g := &gate{settings: s, config: filepath.Join(dir, "proxy.yaml"), ca: ca, url: "https://" + s.listen}
	if s.plainHTTP {
		g.url = "http://" + s.listen
	}
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	argv := []string{g.binary(), "serve", "--config", g.config}
	if s.level != "" {
		argv = append(argv, "--log-level", s.level)
	}
	if s.resolves != nil {
		hosts, err := hostsFile(dir, s.resolves)
		if err != nil {
			return nil, err
		}
		argv = resolving(hosts, argv...)
	}
	g.process, err = start("sealgate", filepath.Join(dir, "sealgate.log"), s.env, argv...)
	if err != nil {
		return nil, err
	}
	if err := g.ready(20*time.Second, ca.answers(g.url+"/v2/")); err != nil {
		g.stop(time.Second)
		return nil, fmt.Errorf("%w\nwith the configuration\n%s", err, text)
	}
	return g, nil
}

// answer is what a request got, read to its end.
type answer struct {
	status int
	proto  string
	header http.Header
	body   string
}

// code and message are those of the first OCI error in the body.
func (a answer) code() string    { return a.ociError().Code }
func (a answer) message() string { return a.ociError().Message }

type ociError struct{ Code, Message string }

func (a answer) ociError() ociError {
	var body struct{ Errors []ociError }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || len(body.Errors) == 0 {
		return ociError{}
	}
	return body.Errors[0]
}

func (a answer) String() string {
	return fmt.Sprintf("%s %d %v\n%s", a.proto, a.status, a.header, a.body)
}

// request is one HTTP request to a gate. The zero value of each field is GET,
// HTTP/1.1 and nobody's credentials.
type request struct {
	method string
	path   string
	http2  bool
	user   *registryUser
	header http.Header
}

// send makes the request.
func (g *gate) send(r request) (answer, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequest(method, g.url+r.path, nil)
	if err != nil {
		return answer{}, err
	}
	maps.Copy(req.Header, r.header)
	if r.user != nil {
		req.SetBasicAuth(r.user.name, r.user.password)
	}
	client := &http.Client{
		Transport: g.ca.transport(r.http2),
		Timeout:   60 * time.Second,
		// A redirect is the answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Proto, resp.Header, string(body)}, err
}

// do is send for a request that has to be answered, whatever the answer.
func (g *gate) do(t *testing.T, r request) answer {
	t.Helper()
	a, err := g.send(r)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", r.method, r.path, err, g.tail())
	}
	return a
}

// get is do for the commonest request.
func (g *gate) get(t *testing.T, path string) answer {
	t.Helper()
	return g.do(t, request{path: path})
}

// manifest asks for a manifest by tag or digest.
func (g *gate) manifest(t *testing.T, repository, reference string) answer {
	t.Helper()
	return g.get(t, "/v2/"+repository+"/manifests/"+reference)
}

// wantServed fails unless the answer is the manifest of image.
func wantServed(t *testing.T, a answer, image pushed) {
	t.Helper()
	if a.status != http.StatusOK || sha256Of(a.body) != image.digest || a.header.Get("Docker-Content-Digest") != image.digest {
		t.Fatalf("want 200 with the manifest %s, got %v", image.digest, a)
	}
}

// wantRefused fails unless the answer is this OCI error; message is a part of it.
func wantRefused(t *testing.T, a answer, status int, code, message string) {
	t.Helper()
	if a.status != status || a.code() != code || !strings.Contains(a.message(), message) {
		t.Fatalf("want %d %s %q, got %v", status, code, message, a)
	}
}
