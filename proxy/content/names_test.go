package content

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// strangeNames are repositories that would be something else in the layout, or
// outside it.
var strangeNames = []string{
	"", ".", "..", "/", "a/", "/a", "a//b", "a/../b", "../a", "a/..", "a/./b", "a\x00b", "a b", "a\\b", "ä", "A", "Team/app",
	"a/_layers", "_layers/a", "a/_manifests/revisions", "a/_uploads/x", "_uploads", "a/_layers/sha256",
	"registry.example.com:5000/app", "a:b", "a@sha256:00", "-a", "a-", "a/.b", strings.Repeat("a", 256),
}

// untouched is a driver that nothing may be asked of.
type untouched struct {
	driver.StorageDriver
	tb testing.TB
}

func (d untouched) GetContent(_ context.Context, path string) ([]byte, error) {
	d.tb.Errorf("read %q", path)
	return nil, driver.PathNotFoundError{Path: path}
}

func (d untouched) Reader(_ context.Context, path string, _ int64) (io.ReadCloser, error) {
	d.tb.Errorf("read %q", path)
	return nil, driver.PathNotFoundError{Path: path}
}

func (d untouched) PutContent(_ context.Context, path string, _ []byte) error {
	d.tb.Errorf("written %q", path)
	return nil
}

func (d untouched) Writer(_ context.Context, path string, _ bool) (driver.FileWriter, error) {
	d.tb.Errorf("written %q", path)
	return nil, io.ErrClosedPipe
}

func (d untouched) Stat(_ context.Context, path string) (driver.FileInfo, error) {
	d.tb.Errorf("asked of %q", path)
	return nil, driver.PathNotFoundError{Path: path}
}

func (d untouched) Delete(_ context.Context, path string) error {
	d.tb.Errorf("deleted %q", path)
	return nil
}

// askAll does everything for a repository and digests; each must be an error.
func askAll(t *testing.T, s *Store, repository string, d digest.Digest, m *Manifest) {
	t.Helper()
	_, blob := s.Blob(t.Context(), repository, d)
	_, manifest := s.Manifest(t.Context(), repository, d)
	for what, err := range map[string]error{
		"blob": blob, "manifest": manifest,
		"put blob":     s.PutBlob(t.Context(), repository, d, bytes.NewReader(nil)),
		"put manifest": s.PutManifest(t.Context(), repository, m),
		"pin":          s.Pin(t.Context(), repository, "v1", []digest.Digest{d}),
	} {
		if err == nil {
			t.Errorf("%s of %q, %q is no error", what, repository, d)
		}
	}
	s.UseManifest(t.Context(), repository, string(d))
}

func TestAStrangeRepositoryIsRefusedBeforeTheDriver(t *testing.T) {
	s := newStore(t, StoreOptions{Driver: untouched{inmemory.New(), t}})
	for _, name := range strangeNames {
		askAll(t, s, name, digest.FromString("x"), image(t, 1))
		if err := s.Pin(t.Context(), name, "v1", nil); err == nil {
			t.Errorf("unpin of %q is no error", name)
		}
		if err := s.Drop(t.Context(), name, digest.FromString("x")); err == nil {
			t.Errorf("drop of %q is no error", name)
		}
	}
}

func TestAStrangeDigestIsRefusedBeforeTheDriver(t *testing.T) {
	s := newStore(t, StoreOptions{Driver: untouched{inmemory.New(), t}})
	for _, d := range []digest.Digest{
		"", "sha256", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "latest",
		"sha256:../../../../etc/passwd", digest.Digest("SHA256:" + strings.Repeat("a", 64)), digest.Digest("sha256:" + strings.Repeat("A", 64)),
		digest.Digest("sha256:" + strings.Repeat("a", 63) + "/"), digest.Digest("sha256:" + strings.Repeat("a", 65)),
		digest.SHA512.FromString(""), digest.SHA384.FromString(""),
	} {
		m := *image(t, 1)
		m.Digest = string(d)
		askAll(t, s, repository, d, &m)
	}
	for _, d := range []digest.Digest{digest.SHA512.FromString(""), digest.SHA384.FromString("")} {
		wantError(t, s.PutBlob(t.Context(), repository, d, bytes.NewReader(nil)), ErrUncacheable)
		if err := s.Drop(t.Context(), repository, d); err != nil {
			t.Errorf("drop of %s: %v", d, err)
		}
	}
}

// TestANameIsRefusedOrHasAPlaceOfItsOwn, be it made of whatever means something
// in the layout.
func TestANameIsRefusedOrHasAPlaceOfItsOwn(t *testing.T) {
	parts := []string{"a", "b9", "_", "__", "___", ".", "..", "-", "/", "//", "_layers", "_manifests", "_uploads", "revisions", "sha256", "link", "data", "A", ":", "%", strings.Repeat("a", 64)}
	rng, taken := rand.New(rand.NewPCG(1, 1)), 0
	for range 50_000 {
		name := ""
		for range 1 + rng.IntN(7) {
			name += parts[rng.IntN(len(parts))]
		}
		if _, err := parseRepository(name); err != nil {
			continue
		}
		taken++
		for _, k := range []kind{manifests, layers} {
			wantOwnPlace(t, link{k, name, digest.FromString("x")})
		}
	}
	if taken < 1000 {
		t.Errorf("only %d names were taken", taken)
	}
}

func wantOwnPlace(t *testing.T, l link) {
	t.Helper()
	if got, ok := parseLink(l.path()); !ok || got != l {
		t.Errorf("%+v is read as %+v", l, got)
	}
	below, ok := strings.CutPrefix(l.path(), repositories+"/"+l.repository+"/_")
	if !ok || path.Clean(l.path()) != l.path() || strings.Contains(below, "/_") || strings.Contains(l.repository, "/_") || !driver.PathRegexp.MatchString(l.path()) {
		t.Errorf("%q is at %q", l.repository, l.path())
	}
}

// TestTheLayoutIsDistributions: the library writes where this package reads.
func TestTheLayoutIsDistributions(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		d, _ := putBlob(t, s, repository, 1, 10)
		m := image(t, 1)
		must(t, s.PutManifest(t.Context(), repository, m))
		want := map[string]bool{
			dataPath(d): true, link{layers, repository, d}.path(): true,
			dataPath(digest.Digest(m.Digest)): true, link{manifests, repository, digest.Digest(m.Digest)}.path(): true,
		}
		for _, path := range objects(t, s) {
			if !want[path] {
				t.Errorf("there is %q too", path)
			}
			delete(want, path)
		}
		if len(want) > 0 {
			t.Errorf("missing: %v", want)
		}
	})
}

func TestRegistriesShareNothing(t *testing.T) {
	for name, open := range drivers() {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			one := newStore(t, StoreOptions{Driver: Root(d, "registry.example.com", "https://a.example.com")})
			blob, _ := putBlob(t, one, repository, 1, 1000)
			for _, other := range []driver.StorageDriver{
				Root(d, "registry.example.com", ""), Root(d, "registry.example.com", "https://b.example.com"),
				Root(d, "registry.example.co", "https://a.example.com"), Root(d, "registry.example.com\x00https://a.example.com", ""),
			} {
				s := later(t, newStore(t, StoreOptions{Driver: other}), 1000*3600e9, func(o *StoreOptions) { o.MaxSize, o.TTL = 1, 1 })
				_, err := s.Blob(t.Context(), repository, blob)
				wantError(t, err, ErrNotCached)
				if did := sweepOf(t, s); did != (Swept{Took: did.Took}) {
					t.Errorf("swept %+v", did)
				}
			}
			if !has(t, newStore(t, StoreOptions{Driver: Root(d, "registry.example.com", "https://a.example.com")}), repository, blob) {
				t.Error("it is gone")
			}
		})
	}
}
