package proxy_test

import (
	"bytes"
	cryptosha256 "crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// metadata keeps trust metadata in memory, of every GUN.
type metadata struct {
	mu   sync.Mutex
	kept map[string][]byte
	fail error
}

func (m *metadata) PutFile(gun, name string, raw []byte) (added bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.kept[gun+" "+name]
	m.kept[gun+" "+name] = bytes.Clone(raw)
	return !known, nil
}

func (m *metadata) File(gun, name string, limit int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	raw, ok := m.kept[gun+" "+name]
	switch {
	case m.fail != nil:
		return nil, m.fail
	case !ok || int64(len(raw)) > limit:
		return nil, fs.ErrNotExist
	}
	return raw, nil
}

func (m *metadata) KeepFiles(gun string, names []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.kept, func(key string, _ []byte) bool {
		name, ours := strings.CutPrefix(key, gun+" ")
		return ours && !slices.Contains(names, name)
	})
	return nil
}

func (m *metadata) DropFiles(gun string, names []string) error { return nil }

// carried is a site that no server reaches, and what was carried there.
type carried struct {
	*world
	clock  *clock
	files  *metadata
	state  notary.Store
	disk   *moodyDriver
	blob   []byte         // of the image that was loaded
	served *content.Store // by the last gate
}

// newCarried is a world with acme/app, of which 1.0 is signed, 2.0 is not, and
// nothing else was carried than the trust data.
func newCarried(t *testing.T) *carried {
	w := newWorld(t, nil)
	w.init("acme/app", releases)
	w.sign("acme/app", "1.0", w.push("acme/app", "1.0", "one"), releases)
	w.push("acme/app", "2.0", "two")
	c := &carried{world: w, clock: newClock(), files: &metadata{kept: map[string][]byte{}}, state: notary.NewMemoryStore(), disk: &moodyDriver{StorageDriver: inmemory.New()}}
	loading := c.source(notary.Options{URL: mustURL(t, w.notary.URL()), Transport: transport(t, w.ca.Pool()), KeepRoots: true})
	if _, err := loading.Fetch(t.Context(), gun("acme/app"), nil); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	return c
}

// load brings the image to the site as well: its manifest and its blobs.
func (c *carried) load(t *testing.T, repository string, im image) {
	t.Helper()
	fetch := func(what string) (body []byte, contentType string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.registry.URL()+"/v2/"+repository+"/"+what, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", proxy.ManifestTypes)
		resp, err := transport(t, c.ca.Pool()).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		a := whole(resp)
		if a.status != 200 {
			t.Fatalf("%s: %v", what, a)
		}
		return a.body, a.header.Get("Content-Type")
	}
	body, contentType := fetch("manifests/" + im.digest)
	m, err := content.Check(digestOf(im.digest), body, contentType)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.store(t).PutManifest(t.Context(), repository, m); err != nil {
		t.Fatal(err)
	}
	blob, _ := fetch("blobs/" + im.blob)
	if err := c.store(t).PutBlob(t.Context(), repository, digest.Digest(im.blob), bytes.NewReader(blob)); err != nil {
		t.Fatal(err)
	}
	c.blob = blob
	c.quiet()
}

// store is what was loaded, as another process opens it.
func (c *carried) store(t *testing.T) *content.Store {
	t.Helper()
	store, err := content.NewStore(t.Context(), content.StoreOptions{Driver: content.Root(c.disk, registryName, "")})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (c *carried) source(opts notary.Options) *notary.Source {
	opts.TrustOnFirstUse, opts.Store, opts.Files, opts.Now = true, c.state, c.files, c.clock.Now
	return notary.New(opts)
}

// gate stands in front of what was carried, and of nothing else.
func (c *carried) gate(t *testing.T, grace time.Duration) *gate {
	source := c.source(notary.Options{Grace: grace})
	trust := trustcache.New(trustcache.Options{Source: source, Now: c.clock.Now})
	t.Cleanup(trust.Close)
	c.served = c.store(t)
	return startGate(t, proxy.Options{Now: c.clock.Now, Registries: []proxy.Registry{{
		Name: registryName, Hosts: []string{registryName}, Trust: trust, Offline: &proxy.Offline{Metadata: source.Metadata}, Cache: c.served,
	}}})
}

// heardNobody fails when a server was asked for anything.
func (c *carried) heardNobody(t *testing.T) {
	t.Helper()
	c.heardNothing(t)
	if heard := c.notarySpy.list(); len(heard) > 0 {
		t.Errorf("the trust server was asked %v", heard)
	}
}

// TestAnOfflineRegistryAsksNobody: what trust knows it says, and what it does not
// have is nowhere.
func TestAnOfflineRegistryAsksNobody(t *testing.T) {
	c := newCarried(t)
	g := c.gate(t, 0)
	one := c.images["acme/app:1.0"]
	const nowhere = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for _, row := range []struct {
		target  string
		status  int
		code    string
		message string
	}{
		{"acme/app/manifests/1.0", 404, "MANIFEST_UNKNOWN", one.digest + " of acme/app is in no bundle that has been loaded here"},
		{"acme/app/manifests/2.0", 404, "MANIFEST_UNKNOWN", `no trust data for tag "2.0" in ` + gun("acme/app")},
		{"acme/other/manifests/1.0", 404, "MANIFEST_UNKNOWN", "remote trust data does not exist for " + gun("acme/other") + ": no bundle with it has been loaded"},
		{"acme/app/manifests/" + nowhere, 404, "MANIFEST_UNKNOWN", nowhere + " of acme/app is in no bundle that has been loaded here"},
		{"acme/app/blobs/" + nowhere, 404, "BLOB_UNKNOWN", nowhere + " of acme/app is in no bundle that has been loaded here"},
	} {
		a := g.get("/v2/" + row.target)
		if code, message := a.refusal(); a.status != row.status || code != row.code || message != row.message {
			t.Errorf("%s: got %v", row.target, a)
		}
		if head := g.do(http.MethodHead, "/v2/"+row.target); head.status != a.status || len(head.body) > 0 || len(differentHeaders(head.header, a.header)) > 0 {
			t.Errorf("HEAD %s: got %v, GET %v", row.target, head, a)
		}
	}
	if a := g.get("/v2/acme/app/tags/list"); a.status != 200 || string(a.body) != "{\"name\":\"acme/app\",\"tags\":[\"1.0\"]}\n" {
		t.Errorf("list: got %v", a)
	}
	if a := g.get("/v2/"); a.status != 200 {
		t.Errorf("/v2/: got %v", a)
	}
	if a := g.get("/v2/acme/app/referrers/" + one.digest); a.status != 200 || string(a.body) != `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}` ||
		a.header.Get("Content-Type") != "application/vnd.oci.image.index.v1+json" {
		t.Errorf("referrers: got %v %v", a, a.header)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPost} {
		if a := g.do(method, "/v2/acme/app/manifests/1.0"); a.status != 405 || a.code() != "UNSUPPORTED" {
			t.Errorf("%s: got %v", method, a)
		}
	}
	c.heardNobody(t)
}

// TestWhatWasLoadedIsServed by tag and by digest, as a registry serves it, also
// where it comes after the gate has said that it is not there.
func TestWhatWasLoadedIsServed(t *testing.T) {
	c := newCarried(t)
	g := c.gate(t, 0)
	one := c.images["acme/app:1.0"]
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 404 {
		t.Errorf("before it is loaded: got %v", a)
	}
	c.load(t, "acme/app", one)
	for _, reference := range []string{"1.0", one.digest} {
		a := g.get("/v2/acme/app/manifests/" + reference)
		if a.status != 200 || !bytes.Equal(a.body, one.body) || a.header.Get("Docker-Content-Digest") != one.digest {
			t.Errorf("%s: got %v %v", reference, a, a.header)
		}
		if head := g.do(http.MethodHead, "/v2/acme/app/manifests/"+reference); head.status != 200 || len(differentHeaders(head.header, a.header)) > 0 {
			t.Errorf("HEAD %s: got %v %v", reference, head, head.header)
		}
	}
	blob := "/v2/acme/app/blobs/" + one.blob
	if a := g.get(blob); a.status != 200 || !bytes.Equal(a.body, c.blob) {
		t.Errorf("blob: got %v", a)
	}
	if a := g.do(http.MethodHead, blob); a.status != 200 || a.header.Get("Content-Length") != fmt.Sprint(len(c.blob)) {
		t.Errorf("HEAD of the blob: got %v %v", a, a.header)
	}
	if a := g.get(blob, "Range", "bytes=5-9"); a.status != 206 || !bytes.Equal(a.body, c.blob[5:10]) {
		t.Errorf("range: got %v", a)
	}
	for _, target := range []string{"/v2/acme/other/blobs/" + one.blob, "/v2/acme/other/manifests/" + one.digest, "/v2/acme/app/manifests/2.0"} {
		if a := g.get(target); a.status != 404 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	c.heardNobody(t)
}

// TestWhatWasLoadedAndCannotBeReadIsNotReportedAsMissing.
func TestWhatWasLoadedAndCannotBeReadIsNotReportedAsMissing(t *testing.T) {
	c := newCarried(t)
	g := c.gate(t, 0)
	one := c.images["acme/app:1.0"]
	c.load(t, "acme/app", one)
	c.disk.reads.Store(true)
	for _, target := range []string{"manifests/1.0", "manifests/" + one.digest, "blobs/" + one.blob} {
		a := g.get("/v2/acme/app/" + target)
		if a.status != 503 || a.code() != "UNAVAILABLE" || strings.Contains(a.message(), "broken") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %v %v", target, a, a.header)
		}
	}
	c.disk.reads.Store(false)
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Errorf("afterwards: got %v", a)
	}
}

// TestAReadOfAnOfflineRegistryCountsOnce, whatever becomes of it.
func TestAReadOfAnOfflineRegistryCountsOnce(t *testing.T) {
	c := newCarried(t)
	g := c.gate(t, 0)
	one := c.images["acme/app:1.0"]
	read := func() {
		for _, target := range []string{"manifests/1.0", "blobs/" + one.blob} {
			g.get("/v2/acme/app/" + target)
		}
	}
	read()
	c.load(t, "acme/app", one)
	c.disk.reads.Store(true)
	read()
	c.disk.reads.Store(false)
	read()
	if s := c.served.Stats(); s.Misses != 2 || s.Failures != 2 || s.Hits != 2 {
		t.Errorf("%d misses, %d failures and %d hits, want 2 of each", s.Misses, s.Failures, s.Hits)
	}
}

// TestOfflineTrustMetadataIsWhatWasCarried, byte for byte, and nothing that is
// not there is a failure.
func TestOfflineTrustMetadataIsWhatWasCarried(t *testing.T) {
	c := newCarried(t)
	g := c.gate(t, 0)
	raw := func(role string) []byte { return c.notary.File(gun("acme/app"), role) }
	for name, want := range map[string][]byte{
		"root.json": raw("root"), "1.root.json": raw("root"), "timestamp.json": raw("timestamp"), "snapshot.json": raw("snapshot"), releases + ".json": raw(releases),
		fmt.Sprintf("targets.%x.json", cryptosha256.Sum256(raw("targets"))): raw("targets"),
	} {
		a := g.get(trustPath + name)
		if a.status != 200 || !bytes.Equal(a.body, want) || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %v %v", name, a, a.header)
		}
		if head := g.do(http.MethodHead, trustPath+name); head.status != 200 || len(head.body) > 0 || len(differentHeaders(head.header, a.header)) > 0 {
			t.Errorf("HEAD %s: got %v %v", name, head, head.header)
		}
	}
	other := strings.Replace(trustPath, "acme/app", "acme/other", 1)
	foreign := strings.Replace(trustPath, registryName, "other.example.com", 1)
	for _, target := range []string{trustPath + "2.root.json", trustPath + "timestamp.key", other + "timestamp.json", foreign + "timestamp.json"} {
		if a := g.get(target); a.status != 404 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	c.files.fail = errors.New("the disk is gone")
	if a := g.get(trustPath + "timestamp.json"); a.status != 503 || a.code() != "UNAVAILABLE" || strings.Contains(a.String(), "disk") {
		t.Errorf("unreadable: got %v", a)
	}
	c.heardNobody(t)
}

// TestTheAgeOfWhatWasCarriedIsSaid from its expiry to the end of the grace, and
// from then on it is why nothing is served.
func TestTheAgeOfWhatWasCarriedIsSaid(t *testing.T) {
	c := newCarried(t)
	g := c.gate(t, 48*time.Hour)
	view, err := c.source(notary.Options{Grace: 48 * time.Hour}).Fetch(t.Context(), gun("acme/app"), nil)
	if err != nil {
		t.Fatal(err)
	}
	role, at := view.FirstExpiry()
	if role != "timestamp" {
		t.Fatalf("%s expires first", role)
	}
	targets := []string{"/v2/acme/app/tags/list", "/v2/acme/app/manifests/2.0"}
	for _, target := range targets {
		if a := g.get(target); a.header.Get("Warning") != "" {
			t.Errorf("%s: warns %q of what is not old", target, a.header.Get("Warning"))
		}
	}
	c.clock.advance(at.Sub(c.clock.Now()))
	for _, target := range targets {
		if a := g.get(target); !slices.Equal(a.header["Warning"], []string{`112 sealgate "offline: timestamp expired at ` + at.UTC().Format(time.RFC3339) + `"`}) {
			t.Errorf("%s: warns %q", target, a.header["Warning"])
		}
	}
	c.clock.advance(48 * time.Hour)
	for _, target := range targets {
		if a := g.get(target); a.status != 503 || !strings.HasSuffix(a.message(), "more than the grace of 48h0m0s ago: load a newer bundle") {
			t.Errorf("%s: got %v", target, a)
		}
	}
	c.heardNobody(t)
}
