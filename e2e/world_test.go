package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// world is a CA, a registry, a Notary server, somebody who signs, and any
// number of Sealgates in front.
type world struct {
	dir      string
	ca       *authority
	tokens   *tokenServer // nil: there is none
	registry *registry
	notary   *notaryServer
	*publisher
	*gate // the one that the helpers use; nil before open

	listen  string // where gates of this world will listen, which is also the registry's name
	closers []func()
}

// newWorld starts a registry and a Notary server; no Sealgate yet.
func newWorld(dir string, o registryOptions) (w *world, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ca, err := newAuthority(dir)
	if err != nil {
		return nil, err
	}
	return newWorldUnder(ca, dir, o)
}

// newWorldUnder is newWorld with the CA of another.
func newWorldUnder(ca *authority, dir string, o registryOptions) (w *world, err error) {
	w = &world{dir: dir, ca: ca}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if err = os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return w, err
	}
	if w.listen, err = freeAddress(); err != nil {
		return w, err
	}
	if o.tokens != nil {
		if err = w.startTokens(o); err != nil {
			return w, err
		}
		o.service = w.tokens
	}
	if w.registry, err = startRegistry(dir, w.ca, o); err != nil {
		return w, err
	}
	w.atEnd(func() { w.registry.stop(5 * time.Second) })
	address, err := freeAddress()
	if err != nil {
		return w, err
	}
	if w.notary, err = startNotaryFor(o.notaryService(), dir, address, w.ca); err != nil {
		return w, err
	}
	w.atEnd(func() { w.notary.stop(5 * time.Second) })
	w.publisher = &publisher{dir: filepath.Join(dir, "keys"), server: w.notary.url, ca: w.ca.file}
	if o.notaryTokens {
		w.publisher.user = o.user
	}
	return w, nil
}

// startTokens makes the world's token service, and serves it where the test does
// not. The realm has a name: crane follows none to a loopback address.
func (w *world) startTokens(o registryOptions) (err error) {
	address, path := w.listen, o.tokenPath
	if path == "" {
		path = "/token"
		if address, err = freeAddress(); err != nil {
			return err
		}
	}
	_, port, _ := strings.Cut(address, ":")
	if w.tokens, err = newTokens(w.dir, "https://localhost:"+port+path, *o.tokens); err != nil || o.tokenPath != "" {
		return err
	}
	stop, err := serveTLS(w.ca, "tokens", address, w.tokens)
	if err == nil {
		w.atEnd(stop)
	}
	return err
}

// ownWorld is a world for one test alone.
func ownWorld(t *testing.T, o registryOptions) *world {
	t.Helper()
	dir, err := os.MkdirTemp(suite.dir, "world-")
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) atEnd(f func()) { w.closers = append(w.closers, f) }

func (w *world) close() {
	for len(w.closers) > 0 {
		last := len(w.closers) - 1
		w.closers[last]()
		w.closers = w.closers[:last]
	}
}

// defaults are the settings of a gate in front of this world: enforcing, with
// the publisher's root key pinned for every repository.
func (w *world) defaults() (settings, error) {
	key, err := w.rootKey()
	if err != nil {
		return settings{}, err
	}
	return settings{
		listen:      w.listen,
		name:        w.listen,
		hosts:       []string{w.listen, registryName},
		upstream:    w.registry.url,
		notary:      w.notary.url,
		credentials: "passthrough",
		mode:        "enforced",
		rootKeys:    map[string]string{w.listen + "/*": key},
		refresh:     3 * time.Second,
		maxStale:    time.Hour,
		authTTL:     2 * time.Second,
	}, nil
}

// open starts a Sealgate with the defaults as change leaves them; nil changes
// nothing. There has to be a root key: call begin first.
func (w *world) open(change func(*settings)) error {
	s, err := w.defaults()
	if err != nil {
		return err
	}
	if change != nil {
		change(&s)
	}
	dir, err := os.MkdirTemp(w.dir, "gate-")
	if err != nil {
		return err
	}
	g, err := openGate(dir, w.ca, s)
	if err != nil {
		return err
	}
	w.gate = g
	w.atEnd(func() { g.stop(20 * time.Second) })
	return nil
}

// mustOpen is open for a test.
func (w *world) mustOpen(t *testing.T, change func(*settings)) {
	t.Helper()
	if err := w.open(change); err != nil {
		t.Fatal(err)
	}
}

// gun is what publishers type for the repository.
func (w *world) gun(repository string) string { return w.listen + "/" + repository }

// tag is what clients type for it.
func (w *world) tag(repository, tag string) string { return w.listen + "/" + repository + ":" + tag }

// named is gun at the registry's own host name, which only dockerd can resolve.
func (w *world) named(repository string) string {
	_, port, _ := strings.Cut(w.listen, ":")
	return registryName + ":" + port + "/" + repository
}

// pushed is an image in the registry, or one that might have been.
type pushed struct {
	digest string
	size   int64
}

// push puts an image or index into the registry, past Sealgate.
func (w *world) push(repository, tag string, what remote.Taggable) (pushed, error) {
	digest, size, err := w.registry.push(repository, tag, what)
	return pushed{digest.String(), size}, err
}

// say pushes an image that prints words.
func (w *world) say(repository, tag, words string) (pushed, error) {
	image, err := saying(words)
	if err != nil {
		return pushed{}, err
	}
	return w.push(repository, tag, image)
}

// mustSay is say for a test.
func (w *world) mustSay(t *testing.T, repository, tag, words string) pushed {
	t.Helper()
	return must(w.say(repository, tag, words))(t)
}

// mustSign signs for a test.
func (w *world) mustSign(t *testing.T, repository, tag string, image pushed, roles ...string) {
	t.Helper()
	if err := w.sign(w.gun(repository), tag, image, roles...); err != nil {
		t.Fatal(err)
	}
}

// mustBegin begins a repository's trust data for a test.
func (w *world) mustBegin(t *testing.T, repository string) {
	t.Helper()
	if err := w.begin(w.gun(repository)); err != nil {
		t.Fatal(err)
	}
}

// must(f(…))(t) is f's result, or the end of the test.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func sha256Of(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha256:" + hex.EncodeToString(sum[:])
}
