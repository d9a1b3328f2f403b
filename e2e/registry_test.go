package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sealgate/sealgate/e2e/sandbox"
)

// registry is Debian's docker-registry with an access log.
type registry struct {
	*process
	config string // path
	addr   string
	url    string
	user   *registryUser
	ca     *authority

	tokens *tokenServer // nil: it asks for none

	// unfiltered marks a registry that stands behind a Sealgate which is told
	// not to enforce, so that reads by tag are right there.
	unfiltered bool
}

type registryOptions struct {
	plainHTTP  bool
	user       *registryUser // whom it serves, and who pushes; nil: everybody
	unfiltered bool

	// elsewhere is the URL of another server, to which the registry redirects
	// for its blobs; "": nowhere.
	elsewhere string

	// tokens makes a token service say whom the registry serves and, with
	// notaryTokens, whom the Notary server does. It is at a loopback address of
	// its own, or, where tokenPath is set, at that path of where gates listen,
	// to be served by the test.
	tokens       *sandbox.TokenOptions
	tokenPath    string
	notaryTokens bool
	service      *tokenServer // what a world made of tokens
}

// registryUser is somebody whom a private registry knows.
type registryUser struct{ name, password, htpasswd string }

// alice's third field is `htpasswd -nbB alice wonderland`.
var alice = registryUser{"alice", "wonderland", "$2b$05$Yf1vFVB62M2nN4OzrKzZoOq00T9uDz7B9tuC1AOFTQRNB4CQHk/D2"}

func startRegistry(dir string, ca *authority, o registryOptions) (*registry, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: info, accesslog: {disabled: false}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp:\n  addr: %s\n  secret: e2e\n",
		filepath.Join(dir, "registry"), addr)
	scheme := "http"
	if !o.plainHTTP {
		scheme = "https"
		cert, key, err := ca.serverPair("registry")
		if err != nil {
			return nil, err
		}
		config += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", cert, key)
	}
	switch {
	case o.service != nil:
		auth, err := json.Marshal(map[string]any{"token": o.service.auth()})
		if err != nil {
			return nil, err
		}
		config += fmt.Sprintf("auth: %s\n", auth)
	case o.user != nil:
		file := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(file, []byte(o.user.name+":"+o.user.htpasswd+"\n"), 0o600); err != nil {
			return nil, err
		}
		config += fmt.Sprintf("auth: {htpasswd: {realm: e2e, path: %s}}\n", file)
	}
	if o.elsewhere != "" {
		config += fmt.Sprintf("middleware: {storage: [{name: redirect, options: {baseurl: %q}}]}\n", o.elsewhere)
	}
	file := filepath.Join(dir, "registry.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	r := &registry{addr: addr, url: scheme + "://" + addr, user: o.user, ca: ca, tokens: o.service, unfiltered: o.unfiltered, config: file}
	return r, r.start(filepath.Join(dir, "registry.log"))
}

// start has it serve, with its log in a file of its own.
func (r *registry) start(log string) (err error) {
	if r.process, err = start("docker-registry", log, nil, "docker-registry", "serve", r.config); err != nil {
		return err
	}
	suite.keep(r)
	if err = r.ready(15*time.Second, r.ca.answers(r.url+"/v2/")); err != nil {
		r.stop(time.Second)
	}
	return err
}

// kill ends it at once.
func (r *registry) kill() {
	_ = r.cmd.Process.Kill() // an error says that it has ended
	<-r.done
}

// again is a registry that was killed, with what it had and at the address that
// it had.
func (r *registry) again(t *testing.T) *registry {
	t.Helper()
	next := *r
	if err := next.start(fmt.Sprintf("%s-%d", r.log, time.Now().UnixNano())); err != nil {
		t.Fatal(err)
	}
	return &next
}

// publisherAgent marks the suite's own pushes in the access log: pushing looks
// at a tag before it writes it.
const publisherAgent = "e2e-publisher"

// push writes an image or an index under repository:tag, past Sealgate.
func (r *registry) push(repository, tag string, what remote.Taggable) (v1.Hash, int64, error) {
	ref, err := name.ParseReference(r.addr+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		return v1.Hash{}, 0, err
	}
	var transport http.RoundTripper = http.DefaultTransport
	if strings.HasPrefix(r.url, "https:") {
		transport = r.ca.transport(true)
	}
	options := []remote.Option{remote.WithTransport(transport), remote.WithUserAgent(publisherAgent)}
	switch {
	case r.tokens != nil:
		// Past the realm, which may be at a Sealgate that does not run yet.
		token, err := r.tokens.Token(r.user.name, time.Hour, "repository:"+repository+":pull,push")
		if err != nil {
			return v1.Hash{}, 0, err
		}
		options[0] = remote.WithTransport(bearing{transport, token})
	case r.user != nil:
		options = append(options, remote.WithAuth(&authn.Basic{Username: r.user.name, Password: r.user.password}))
	}
	if err := remote.Push(ref, what, options...); err != nil {
		return v1.Hash{}, 0, err
	}
	manifest, err := what.RawManifest()
	if err != nil {
		return v1.Hash{}, 0, err
	}
	digest, size, err := v1.SHA256(strings.NewReader(string(manifest)))
	return digest, size, err
}

// requests lists what the access log has after the first skip requests, each as
// method and target.
func (r *registry) requests(skip int) []string {
	var all []string
	for _, m := range accessLine.FindAllStringSubmatch(r.output(), -1) {
		all = append(all, m[1]+" "+m[2])
	}
	return all[min(skip, len(all)):]
}

var (
	accessLine = regexp.MustCompile(`"(GET|HEAD) (\S+) HTTP/`)
	byDigest   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// tagReads lists the access log's reads of manifests by anything but a digest.
// It decodes escapes as generously as the registry's own router does.
func (r *registry) tagReads() []string {
	var found []string
	for line := range strings.Lines(r.output()) {
		m := accessLine.FindStringSubmatch(line)
		if m == nil || strings.Contains(line, publisherAgent) {
			continue
		}
		path, _, _ := strings.Cut(m[2], "?")
		for range 3 {
			if decoded, err := url.PathUnescape(path); err == nil {
				path = decoded
			}
		}
		if _, reference, ok := strings.Cut(path, "/manifests/"); ok && !byDigest.MatchString(reference) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
