package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/bundle"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
	"github.com/theupdateframework/notary/tuf/data"
)

// carrier is the side that saves: a publisher with a trust server.
type carrier struct {
	*trustcachetest.World
	t    *testing.T
	pin  string // of its first root
	repo string

	lacks string // how the names of metadata begin that is not saved; "": all is
}

func newCarrier(t *testing.T) *carrier {
	w := trustcachetest.NewWorld(t)
	return &carrier{World: w, t: t, pin: w.Parties["root"].Keys[0].Canonical(), repo: strings.TrimPrefix(w.GUN, "registry.example.com/")}
}

// publish signs an image that says words, and returns a bundle with it.
func (c *carrier) publish(tag, words string) (dir string, d digest.Digest) {
	c.t.Helper()
	manifest, blobs := tinyImage(c.t, words)
	sum := sha256.Sum256(manifest.Body)
	c.Content["targets"][tag] = data.FileMeta{Length: int64(len(manifest.Body)), Hashes: data.Hashes{"sha256": sum[:]}}
	c.Publish()
	return c.save(tag, manifest, blobs), digest.Digest(manifest.Digest)
}

// save makes a bundle of what is signed now.
func (c *carrier) save(tag string, manifest *content.Manifest, blobs [][]byte) (dir string) {
	c.t.Helper()
	opts := notary.Options{URL: &url.URL{Scheme: "https", Host: "notary.test"}, Transport: c.World, Now: c.Now, Store: notary.NewMemoryStore(), TrustOnFirstUse: true}
	proof, err := prove(c.t.Context(), opts, c.GUN)
	if err != nil {
		c.t.Fatal(err)
	}
	maps.DeleteFunc(proof.files, func(name string, _ []byte) bool { return c.lacks != "" && strings.HasPrefix(name, c.lacks) })
	dir = filepath.Join(c.t.TempDir(), "bundle")
	w, err := bundle.NewWriter(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, raw := range blobs {
		err = errors.Join(err, w.PutBlob(c.t.Context(), digest.FromBytes(raw), int64(len(raw)), bytes.NewReader(raw)))
	}
	err = errors.Join(err, w.PutManifest(c.t.Context(), manifest))
	if err == nil {
		err = w.Finish(c.t.Context(), []bundle.Saved{{GUN: c.GUN, Trust: proof.files, Tags: map[string]digest.Digest{tag: digest.Digest(manifest.Digest)}}})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// saveWithout makes a bundle that lacks the metadata whose names begin so.
func (c *carrier) saveWithout(prefix, tag string) (dir string) {
	c.t.Helper()
	manifest, blobs := tinyImage(c.t, "one")
	c.lacks = prefix
	defer func() { c.lacks = "" }()
	return c.save(tag, manifest, blobs)
}

func tinyImage(t *testing.T, words string) (*content.Manifest, [][]byte) {
	t.Helper()
	config := []byte(`{"os":"linux","architecture":"amd64","words":"` + words + `"}`)
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	body := []byte(`{"schemaVersion":2,"mediaType":"` + mediaType + `","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` +
		string(digest.FromBytes(config)) + `","size":` + "64" + `},"layers":[]}`)
	m, err := content.Check(sha256.Sum256(body), body, mediaType)
	if err != nil {
		t.Fatal(err)
	}
	return m, [][]byte{config}
}

// newTestSite is a site of an offline registry, that has pinned c's first root.
func (c *carrier) newTestSite(pin string) *site {
	c.t.Helper()
	cfg := &config.Config{
		Storage:    config.Storage{Driver: config.Filesystem, Parameters: map[string]any{"rootdirectory": c.t.TempDir()}},
		Registries: []config.Registry{{Name: "registry.example.com", Offline: &config.Offline{Grace: 24 * time.Hour}}},
	}
	cfg.ContentTrust.TrustPinning.RootKeys = map[string][]string{"registry.example.com/*": {pin}}
	s, err := openSite(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	s.now = c.Now
	return s
}

// load loads a bundle into s.
func load(t *testing.T, s *site, name string) (*bundle.Report, error) {
	t.Helper()
	b, err := bundle.Open(name)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.Load(t.Context(), bundle.LoadOptions{Find: s.find})
}

// shown is the digest that a server on the site's storage serves for a tag of c's,
// "" where it serves none.
func (c *carrier) shown(s *site, tag string) (digest.Digest, error) {
	c.t.Helper()
	opts := s.rules.source(s.now)
	opts.Grace, opts.Store, opts.Files = 24*time.Hour, s.memory.store, s.memory.files
	snap, err := notary.New(opts).Fetch(c.t.Context(), c.GUN, nil)
	if err != nil {
		return "", err
	}
	target, ok := snap.Lookup(tag)
	if !ok {
		return "", nil
	}
	store, err := s.store(s.cfg.Registries[0])
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := store.Manifest(c.t.Context(), c.repo, digest.Digest(target.Digest.String()))
	if err != nil {
		return "", err
	}
	return digest.Digest(m.Digest), nil
}

func (c *carrier) wantShown(s *site, tag string, want digest.Digest) {
	c.t.Helper()
	if got, err := c.shown(s, tag); err != nil || got != want {
		c.t.Errorf("%s: want %s, got %s, %v", tag, want, got, err)
	}
}

// wantRefused fails unless the bundle is refused for that reason, and what was
// shown before still is.
func (c *carrier) wantRefused(s *site, name, says string) {
	c.t.Helper()
	before, beforeErr := c.shown(s, "latest")
	_, err := load(c.t, s, name)
	if !errors.Is(err, bundle.ErrRefused) || !strings.Contains(err.Error(), says) {
		c.t.Errorf("want a refusal that says %q, got %v", says, err)
	}
	after, afterErr := c.shown(s, "latest")
	if before != after || (beforeErr == nil) != (afterErr == nil) {
		c.t.Errorf("it was %s, %v, and is %s, %v", before, beforeErr, after, afterErr)
	}
}

func TestALoadedBundleIsWhatTheSiteShows(t *testing.T) {
	c := newCarrier(t)
	s := c.newTestSite(c.pin)
	first, one := c.publish("latest", "one")
	if _, err := c.shown(s, "latest"); !errors.Is(err, trustcache.ErrNoTrustData) {
		t.Errorf("before: %v", err)
	}
	if _, err := load(t, s, first); err != nil {
		t.Fatal(err)
	}
	c.wantShown(s, "latest", one)
	second, two := c.publish("latest", "two")
	report, err := load(t, s, second)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Loaded[0]; got.Replaced != string(one) || got.Was || !slices.Equal(got.Signers, []string{"targets"}) {
		t.Errorf("%+v", got)
	}
	c.wantShown(s, "latest", two)
	if report, err = load(t, s, second); err != nil || !report.Loaded[0].Was {
		t.Errorf("again: %+v, %v", report, err)
	}
	c.wantRefused(s, first, "the bundle is older than what was loaded here before")
	c.wantShown(s, "latest", two)
}

func TestWhatTheSiteDoesNotBelieveIsRefused(t *testing.T) {
	c := newCarrier(t)
	s := c.newTestSite(c.pin)
	name, one := c.publish("latest", "one")
	if _, err := load(t, s, name); err != nil {
		t.Fatal(err)
	}
	other := newCarrier(t)
	forged, _ := other.publish("latest", "another publisher's")
	c.wantRefused(s, forged, "potential malicious behavior")
	c.wantRefused(c.newTestSite(c.pin), forged, "potential malicious behavior")

	tagged, _ := c.publish("v2", "two")
	lying := c.save("v3", func() *content.Manifest { m, _ := tinyImage(t, "two"); return m }(), func() [][]byte { _, blobs := tinyImage(t, "two"); return blobs }())
	c.wantRefused(s, lying, "does not have this tag")

	incomplete := c.saveWithout("snapshot.", "latest")
	c.wantRefused(c.newTestSite(c.pin), incomplete, "its trust data in the bundle is not complete")

	unpinned := c.newTestSite(c.pin)
	unpinned.rules.pins = func(string) notary.Pins { return notary.Pins{} }
	c.wantRefused(unpinned, tagged, "no pin covers")
	elsewhere := c.newTestSite(c.pin)
	elsewhere.cfg.Registries[0].Name = "registry.example.net"
	c.wantRefused(elsewhere, tagged, "is of no registry that is configured here")
	online := c.newTestSite(c.pin)
	online.cfg.Registries[0].Offline = nil
	c.wantRefused(online, tagged, "is not offline in this configuration")
	c.wantShown(s, "latest", one)
}

func TestTheGraceBoundsTheAgeOfABundle(t *testing.T) {
	c := newCarrier(t)
	c.Expires["timestamp"] = c.Now().Add(time.Hour)
	name, one := c.publish("latest", "one")
	c.Pass(20 * time.Hour)
	within := c.newTestSite(c.pin)
	if _, err := load(t, within, name); err != nil {
		t.Fatal(err)
	}
	c.wantShown(within, "latest", one)
	c.Pass(6 * time.Hour)
	c.wantRefused(c.newTestSite(c.pin), name, "more than the grace of 24h0m0s ago")
}

// TestARotatedRootIsFollowedFromTheOneThatThePinNames, by a site that knows
// nothing of the repository and by one that knows an older root.
func TestARotatedRootIsFollowedFromTheOneThatThePinNames(t *testing.T) {
	c := newCarrier(t)
	known := c.newTestSite(c.pin)
	name, _ := c.publish("latest", "one")
	if _, err := load(t, known, name); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.Rotate("root", trustcachetest.NewRootSigner(t, c.GUN, c.Now()))
	}
	c.Rotate("timestamp", trustcachetest.NewSigner(t))
	name, two := c.publish("latest", "two")
	for what, s := range map[string]*site{"a known repository": known, "a new one": c.newTestSite(c.pin), "pinned anew": c.newTestSite(c.Parties["root"].Keys[0].Canonical())} {
		if _, err := load(t, s, name); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		c.wantShown(s, "latest", two)
		opts := s.rules.source(s.now)
		opts.Store, opts.Files = s.memory.store, s.memory.files
		for _, root := range []string{"1.root.json", "2.root.json", "3.root.json", "root.json"} {
			if raw, err := notary.New(opts).Metadata(c.GUN, root); err != nil || !bytes.Equal(raw, c.Files[root]) {
				t.Errorf("%s: %s is not kept as it was: %v", what, root, err)
			}
		}
	}
}

// TestNoByteOfABundleCanBeChanged: it is refused, or what is shown is what was
// signed all the same.
func TestNoByteOfABundleCanBeChanged(t *testing.T) {
	c := newCarrier(t)
	dir, one := c.publish("latest", "one")
	name := dir + ".tar"
	if err := bundle.Pack(t.Context(), dir, name, nil); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed.tar")
	refused := 0
	for at := 0; at < len(raw); at += 97 {
		other := bytes.Clone(raw)
		other[at] ^= 1 << (at % 8)
		if err := os.WriteFile(changed, other, 0o600); err != nil {
			t.Fatal(err)
		}
		s := c.newTestSite(c.pin)
		if _, err := load(t, s, changed); err == nil {
			c.wantShown(s, "latest", one)
			continue
		}
		refused++
		if got, err := c.shown(s, "latest"); !errors.Is(err, trustcache.ErrNoTrustData) {
			t.Errorf("with byte %d changed it was refused and shows %s, %v", at, got, err)
		}
	}
	if all := len(raw) / 97; refused < all/4 {
		t.Errorf("only %d of %d changes were refused", refused, all)
	}
}

// mortal is a driver that writes so many times, and then never again.
type mortal struct {
	driver.StorageDriver
	left *int
}

var errDead = errors.New("killed")

func (m mortal) write() error {
	if *m.left == 0 {
		return errDead
	}
	*m.left--
	return nil
}

func (m mortal) PutContent(ctx context.Context, path string, raw []byte) error {
	if err := m.write(); err != nil {
		return err
	}
	return m.StorageDriver.PutContent(ctx, path, raw)
}

func (m mortal) Move(ctx context.Context, from, to string) error {
	if err := m.write(); err != nil {
		return err
	}
	return m.StorageDriver.Move(ctx, from, to)
}

func (m mortal) Delete(ctx context.Context, path string) error {
	if err := m.write(); err != nil {
		return err
	}
	return m.StorageDriver.Delete(ctx, path)
}

func (m mortal) Writer(ctx context.Context, path string, appends bool) (driver.FileWriter, error) {
	if err := m.write(); err != nil {
		return nil, err
	}
	return m.StorageDriver.Writer(ctx, path, appends)
}

// TestALoadThatIsKilledLeavesTheOldOrTheNew wherever it is, and is completed by
// the next.
func TestALoadThatIsKilledLeavesTheOldOrTheNew(t *testing.T) {
	c := newCarrier(t)
	first, one := c.publish("latest", "one")
	c.Rotate("root", trustcachetest.NewRootSigner(t, c.GUN, c.Now()))
	second, two := c.publish("latest", "two")
	for name, known := range map[string]bool{"a new repository": false, "a known one": true} {
		t.Run(name, func(t *testing.T) {
			ended := false
			for writes := 0; !ended; writes++ {
				s := c.newTestSite(c.pin)
				if known {
					if _, err := load(t, s, first); err != nil {
						t.Fatal(err)
					}
				}
				left := writes
				dying := *s
				d := mortal{s.memory.driver, &left}
				store := newTrustStore(state.New(state.Options{Driver: d}))
				dying.memory = &remembered{store: store, files: store, driver: d}
				dying.stores = map[string]*content.Store{}
				_, err := load(t, &dying, second)
				ended = left > 0
				if ended == (err != nil) && ended {
					t.Fatalf("after %d writes: %v", writes, err)
				}
				got, err := c.shown(s, "latest")
				old := known && err == nil && got == one
				absent := !known && (errors.Is(err, trustcache.ErrNoTrustData) || errors.Is(err, trustcache.ErrStore))
				if fresh := err == nil && got == two; !old && !absent && !fresh {
					t.Fatalf("after %d writes it shows %s, %v", writes, got, err)
				}
				if _, err := load(t, s, second); err != nil {
					t.Fatalf("after %d writes it is not completed: %v", writes, err)
				}
				c.wantShown(s, "latest", two)
			}
		})
	}
}

// TestTwoLoadsAtOnceLeaveTheNewer.
func TestTwoLoadsAtOnceLeaveTheNewer(t *testing.T) {
	c := newCarrier(t)
	s := c.newTestSite(c.pin)
	first, _ := c.publish("latest", "one")
	if _, err := load(t, s, first); err != nil {
		t.Fatal(err)
	}
	second, _ := c.publish("latest", "two")
	third, three := c.publish("latest", "three")
	b, err := bundle.Open(second)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	overtaken := false
	_, err = b.Load(t.Context(), bundle.LoadOptions{Find: s.find, Progress: func(int64, int64) {
		if !overtaken {
			overtaken = true
			if _, err := load(t, s, third); err != nil {
				t.Fatal(err)
			}
		}
	}})
	if !overtaken || err == nil || !strings.Contains(err.Error(), "more has become known of it meanwhile") {
		t.Errorf("%v", err)
	}
	c.wantShown(s, "latest", three)
}
