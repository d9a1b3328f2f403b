package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
)

// site has a store, and believes what is signed here.
type site struct {
	t         *testing.T
	store     *content.Store
	signed    map[string]made // by tag
	before    map[string]made // that were in force
	fails     error           // of the verification
	staged    func(server http.RoundTripper) error
	committed int
}

func newSite(t *testing.T, signed map[string]made) *site {
	return newSiteOn(t, inmemory.New(), signed)
}

func newSiteOn(t *testing.T, d driver.StorageDriver, signed map[string]made) *site {
	t.Helper()
	store, err := content.NewStore(t.Context(), content.StoreOptions{Driver: content.Root(d, "registry.example.com", "")})
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, store: store, signed: signed}
}

// update is what a site makes of trust data.
type update struct {
	site          *site
	before, after *trustcache.Snapshot
}

func (u *update) Before() *trustcache.Snapshot { return u.before }
func (u *update) After() *trustcache.Snapshot  { return u.after }
func (u *update) Commit(context.Context) error {
	u.site.committed++
	u.site.before = u.site.signed
	return nil
}

func snapshotOf(tags map[string]made) *trustcache.Snapshot {
	if tags == nil {
		return nil
	}
	c := trustcache.Contents{GUN: app, Expires: time.Unix(2e9, 0)}
	for tag, m := range tags {
		sum := trustcache.Digest(sumOf(m.digest()))
		c.Targets = append(c.Targets, trustcache.Target{Tag: tag, Digest: sum, Role: "targets", Signers: []string{"targets"}})
	}
	return trustcache.NewSnapshot(c)
}

func (s *site) find(gun string) (Place, error) {
	if gun != app {
		return Place{}, fmt.Errorf("no registry has %s", gun)
	}
	return Place{Name: "team/app", Store: s.store, Stage: func(_ context.Context, server http.RoundTripper) (Staged, error) {
		if s.staged != nil {
			if err := s.staged(server); err != nil {
				return nil, err
			}
		}
		if s.fails != nil {
			return nil, s.fails
		}
		return &update{s, snapshotOf(s.before), snapshotOf(s.signed)}, nil
	}}, nil
}

func (s *site) load(name string) (*Report, error) {
	s.t.Helper()
	b, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.Load(s.t.Context(), LoadOptions{Find: s.find})
}

// has says whether the store has all of an image.
func (s *site) has(m made) bool {
	ctx := s.t.Context()
	if _, err := s.store.Manifest(ctx, "team/app", m.digest()); err != nil {
		return false
	}
	for _, raw := range m.blobs {
		if b, err := s.store.Blob(ctx, "team/app", digest.FromBytes(raw)); err != nil || b.Size != int64(len(raw)) {
			return false
		}
	}
	return !slices.ContainsFunc(m.below, func(child made) bool { return !s.has(child) })
}

func (s *site) pinned(t *testing.T) (tags []string) {
	t.Helper()
	pins, err := s.store.Pins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pins {
		tags = append(tags, fmt.Sprintf("%s:%d", p.Tag, len(p.Digests)))
	}
	return tags
}

func TestABundleIsLoadedWhole(t *testing.T) {
	tags := map[string]made{"v1": image(t, "one"), "v2": index(t, image(t, "amd64"), image(t, "arm64"))}
	for name, at := range map[string]string{
		"archive":   archived(t, saved(t, tags)),
		"directory": saved(t, tags),
		"shuffled":  rewritten(t, shuffled(entries(t, archived(t, saved(t, tags))))),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, tags)
			report, err := s.load(at)
			if err != nil {
				t.Fatal(err)
			}
			if !s.has(tags["v1"]) || !s.has(tags["v2"]) || s.committed != 1 {
				t.Errorf("not all is there; committed %d times", s.committed)
			}
			v2 := report.Loaded[1]
			if v2.Name != app+":v2" || v2.Digest != tags["v2"].digest() || v2.Was || v2.Replaced != "" || !slices.Equal(v2.Platforms, []string{"linux/amd64", "linux/arm64"}) {
				t.Errorf("%+v", v2)
			}
			if got := s.pinned(t); !slices.Equal(got, []string{"v1:3", "v2:7"}) {
				t.Errorf("pinned %v", got)
			}
			again, err := s.load(at)
			if err != nil || !again.Loaded[0].Was || !again.Loaded[1].Was || again.Copied != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// TestWhatTwoRepositoriesShareCountsOnce as stored, and is new to both.
func TestWhatTwoRepositoriesShareCountsOnce(t *testing.T) {
	one := image(t, "one")
	dir, other := t.TempDir()+"/site", app+"2"
	w := newWriter(t, dir)
	one.put(t, w)
	tags := map[string]digest.Digest{"v1": one.digest()}
	if err := w.Finish(t.Context(), []Saved{{GUN: app, Trust: trustOf("app"), Tags: tags}, {GUN: other, Trust: trustOf("other"), Tags: tags}}); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := newSite(t, map[string]made{"v1": one})
	report, err := b.Load(t.Context(), LoadOptions{Find: func(gun string) (Place, error) {
		place, err := s.find(app)
		if gun == other {
			place.Name = "team/app2"
		}
		return place, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(one.manifest.Body))
	for _, raw := range one.blobs {
		size += int64(len(raw))
	}
	if report.Copied != size || len(report.Loaded) != 2 || report.Loaded[0].Was || report.Loaded[1].Was {
		t.Errorf("want %d bytes, for two that were not there: %+v", size, report)
	}
}

func TestASparseIndexIsLoadedAsFarAsItWasSaved(t *testing.T) {
	many := index(t, image(t, "amd64"), image(t, "arm64"))
	dir := t.TempDir() + "/site"
	w := newWriter(t, dir)
	many.put(t, w, many.below[1].digest())
	if err := w.Finish(t.Context(), []Saved{{GUN: app, Trust: trustOf("app"), Tags: map[string]digest.Digest{"v2": many.digest()}, Partial: true}}); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, map[string]made{"v2": many})
	report, err := s.load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if row := report.Loaded[0]; row.LeftOut != 1 || !slices.Equal(row.Platforms, []string{"linux/amd64"}) || !s.has(many.below[0]) || s.has(many.below[1]) {
		t.Errorf("%+v", row)
	}
}

// TestABundleIsRefusedWhole: whatever is wrong with it, nothing of it is visible.
func TestABundleIsRefusedWhole(t *testing.T) {
	one, two := image(t, "one"), index(t, image(t, "amd64"), image(t, "arm64"))
	tags := map[string]made{"v1": one, "v2": two}
	all := entries(t, archived(t, saved(t, tags)))
	layer, child := digest.FromBytes(one.blobs[1]), two.below[1].digest()
	for name, c := range map[string]struct {
		entries []entry
		site    func(*site)
		says    string
	}{
		"a byte of a layer":                {edited(all, blobName(layer), "layer", "lawyer"), nil, "have another digest"},
		"a byte of a manifest":             {edited(all, blobName(child), "schemaVersion", "schemaversion"), nil, "its bytes have another digest"},
		"a byte of metadata":               {edited(all, trustName(sumIn(all, t, "timestamp.json")), "app", "bpp"), nil, "have another digest"},
		"a layer is missing":               {without(all, blobName(layer)), nil, "is missing"},
		"a manifest is missing":            {without(all, blobName(child)), nil, "the manifest " + string(child) + " is not in it"},
		"the signed manifest is missing":   {without(all, blobName(two.digest())), nil, "is not in it"},
		"metadata is missing":              {without(all, trustName(sumIn(all, t, "timestamp.json"))), nil, "is missing"},
		"the index names another digest":   {edited(all, indexName, string(one.digest()), string(two.digest())), nil, "do not agree on what"},
		"another media type":               {edited(all, catalogName, "oci.image.index.v1", "oci.image.manifest.v1"), nil, "without a configuration"},
		"a repository of another registry": {replaced(all, "registry.example.com", "registry.example.net"), nil, "refused: no registry has registry.example.net/team/app"},
		"a tag that is not signed":         {all, func(s *site) { delete(s.signed, "v1") }, "refused: " + app + ":v1: the trust data that comes with it does not have this tag"},
		"a tag that is signed as another":  {all, func(s *site) { s.signed["v1"] = two }, "and " + string(two.digest()) + " is signed"},
		"trust data that is not believed":  {all, func(s *site) { s.fails = trustcache.ErrMalicious }, "refused: potential malicious behavior"},
		"trust data that is older":         {all, func(s *site) { s.fails = trustcache.ErrRolledBack }, "older than what was loaded here before"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, maps.Clone(tags))
			if c.site != nil {
				c.site(s)
			}
			_, err := s.load(rewritten(t, c.entries))
			wantError(t, err, c.says)
			if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrFormat) {
				t.Errorf("neither refused nor malformed: %v", err)
			}
			if s.committed != 0 || s.has(one) || len(s.pinned(t)) != 0 {
				t.Error("something of it is there")
			}
		})
	}
}

// sumIn is the sha256 of metadata of the only repository.
func sumIn(all []entry, t *testing.T, name string) string {
	t.Helper()
	for _, e := range all {
		if e.Name != catalogName {
			continue
		}
		_, rest, _ := strings.Cut(string(e.body), `"`+name+`": "`)
		sum, _, _ := strings.Cut(rest, `"`)
		return sum
	}
	return ""
}

// replaced has old replaced in every file.
func replaced(all []entry, old, with string) (other []entry) {
	for _, e := range all {
		if isBlob := strings.HasPrefix(e.Name, "blobs/"); !isBlob {
			e.body = []byte(strings.ReplaceAll(string(e.body), old, with))
		}
		other = append(other, e)
	}
	return other
}

func TestANewerBundleReplacesWhatIsNotSignedAnyMore(t *testing.T) {
	old := map[string]made{"v1": image(t, "one"), "v2": image(t, "two"), "v3": image(t, "three")}
	s := newSite(t, old)
	if _, err := s.load(saved(t, old)); err != nil {
		t.Fatal(err)
	}
	// v1 is signed anew and carried, v2 is signed anew and not carried, v3 is not
	// signed any more.
	s.signed = map[string]made{"v1": image(t, "uno"), "v2": image(t, "due")}
	report, err := s.load(saved(t, map[string]made{"v1": s.signed["v1"]}))
	if err != nil {
		t.Fatal(err)
	}
	if row := report.Loaded[0]; row.Replaced != string(old["v1"].digest()) || row.Was {
		t.Errorf("%+v", row)
	}
	if !slices.Equal(report.Gone, []string{app + ":v3"}) || !slices.Equal(report.Lacking, []string{app + ":v2"}) {
		t.Errorf("gone %v, lacking %v", report.Gone, report.Lacking)
	}
	if got := s.pinned(t); !slices.Equal(got, []string{"v1:3", "v2:3"}) {
		t.Errorf("pinned %v", got)
	}
}

// TestABundleAnswersAsTheNotaryServerDid, and offers older roots to a site that
// does not believe the newest.
func TestABundleAnswersAsTheNotaryServerDid(t *testing.T) {
	one := image(t, "one")
	dir := t.TempDir() + "/site"
	w := newWriter(t, dir)
	one.put(t, w)
	trust := trustOf("app")
	for n := 1; n <= 3; n++ {
		trust[rootName(n)] = fmt.Appendf(nil, `{"root":%d}`, n)
	}
	trust["root.json"] = []byte(`{"root":3}`)
	if err := w.Finish(t.Context(), []Saved{{GUN: app, Trust: trust, Tags: map[string]digest.Digest{"v1": one.digest()}}}); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, map[string]made{"v1": one})
	var offered []string
	s.staged = func(server http.RoundTripper) error {
		if got := ask(t, server, "timestamp.json"); got != `200 {"timestamp":"app"}` {
			t.Errorf("timestamp: %s", got)
		}
		for _, name := range []string{"4.root.json", "../root.json", "timestamp.key", "snapshot.json"} {
			if got := ask(t, server, name); got != `404 {"errors":[{"code":"METADATA_NOT_FOUND"}]}` {
				t.Errorf("%s: %s", name, got)
			}
		}
		offered = append(offered, ask(t, server, "root.json"))
		if len(offered) < 3 {
			return trustcache.ErrMalicious
		}
		return nil
	}
	if _, err := s.load(dir); err != nil {
		t.Fatal(err)
	}
	if want := []string{`200 {"root":3}`, `200 {"root":2}`, `200 {"root":1}`}; !slices.Equal(offered, want) {
		t.Errorf("offered %v", offered)
	}
}

// ask asks a Notary server for metadata of app.
func ask(t *testing.T, server http.RoundTripper, name string) string {
	t.Helper()
	req := (&http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: "bundle", Path: "/v2/" + app + "/_trust/tuf/" + name}}).WithContext(t.Context())
	resp, err := server.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}

// TestALoadThatIsCutShortIsCompletedByTheNext, wherever it was cut.
func TestALoadThatIsCutShortIsCompletedByTheNext(t *testing.T) {
	tags := map[string]made{"v1": image(t, "one"), "v2": index(t, image(t, "amd64"), image(t, "arm64"))}
	name := archived(t, saved(t, tags))
	for cut := int64(0); ; cut += 300 {
		s := newSite(t, tags)
		b, err := open(t, name)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = b.Load(ctx, LoadOptions{Find: s.find, Progress: func(done, _ int64) {
			if done >= cut {
				cancel()
			}
		}})
		cancel()
		if err == nil {
			return
		}
		if !errors.Is(err, context.Canceled) || s.committed > 0 {
			t.Fatalf("after %d bytes: %v, committed %d times", cut, err, s.committed)
		}
		if _, err := s.load(name); err != nil || !s.has(tags["v1"]) || !s.has(tags["v2"]) {
			t.Fatalf("after %d bytes it was not completed: %v", cut, err)
		}
	}
}
