package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sealgate/sealgate/proxy/content"
)

var two = specs.Versioned{SchemaVersion: 2}

func TestABundleIsAnImageLayoutOfTheSignedDigests(t *testing.T) {
	one, many := image(t, "one"), index(t, image(t, "amd64"), image(t, "arm64"))
	for name, at := range map[string]func(string) string{
		"directory": func(dir string) string { return dir },
		"archive":   func(dir string) string { return archived(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			b, err := open(t, at(saved(t, map[string]made{"v1": one, "v2": many})))
			if err != nil {
				t.Fatal(err)
			}
			for tag, m := range map[string]made{"v1": one, "v2": many} {
				d := indexed(t, b)[app+":"+tag][0]
				if d.Digest != m.digest() || d.MediaType != m.manifest.MediaType || d.Size != int64(len(m.manifest.Body)) {
					t.Errorf("%s: %+v", tag, d)
				}
				if d.Annotations[containerdName] != app+":"+tag {
					t.Errorf("%s: %v", tag, d.Annotations)
				}
			}
			if got := b.Catalog.Repositories[0].Tags[1]; got.Tag != "v2" || got.Digest != many.digest() || got.LeftOut != nil {
				t.Errorf("%+v", got)
			}
			var names []string
			for _, m := range []made{one, many, many.below[0], many.below[1]} {
				names = append(names, blobName(m.digest()))
				for _, raw := range m.blobs {
					names = append(names, blobName(digest.FromBytes(raw)))
				}
			}
			if err := readWhole(t.Context(), b, names); err != nil {
				t.Error(err)
			}
		})
	}
}

// indexed are the descriptors of the index by name.
func indexed(t *testing.T, b *Bundle) map[string][]v1.Descriptor {
	t.Helper()
	raw, err := readAll(b.from, indexName, maxIndex)
	var index v1.Index
	if err == nil {
		err = json.Unmarshal(raw, &index)
	}
	if err != nil {
		t.Fatal(err)
	}
	named := map[string][]v1.Descriptor{}
	for _, d := range index.Manifests {
		named[d.Annotations[refName]] = append(named[d.Annotations[refName]], d)
	}
	return named
}

// TestImagesOfDockersTypesAreNamedTwice: as what they are, and as what skopeo looks
// for.
func TestImagesOfDockersTypesAreNamedTwice(t *testing.T) {
	const docker = "application/vnd.docker.distribution.manifest.v2+json"
	one := image(t, "one")
	one.manifest = newManifest(t, docker, json.RawMessage(strings.Replace(string(one.manifest.Body), v1.MediaTypeImageManifest, docker, 1)))
	tags := map[string]made{"v1": one}
	dir := saved(t, tags)
	b, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	named := indexed(t, b)[app+":v1"]
	if len(named) != 2 || named[0].MediaType != docker || named[1].MediaType != v1.MediaTypeImageManifest || named[0].Digest != named[1].Digest {
		t.Errorf("%+v", named)
	}
	s := newSite(t, tags)
	if _, err := s.load(dir); err != nil || !s.has(one) {
		t.Errorf("it is not loaded: %v", err)
	}
}

func TestTheSameContentMakesTheSameArchive(t *testing.T) {
	tags := map[string]made{"v1": image(t, "one"), "v2": index(t, image(t, "amd64"), image(t, "arm64"))}
	a, b := mustRead(t, archived(t, saved(t, tags))), mustRead(t, archived(t, saved(t, tags)))
	if !bytes.Equal(a, b) {
		t.Errorf("archives of %d and %d bytes differ", len(a), len(b))
	}
}

func TestImagesThatWereLeftOutAreNamed(t *testing.T) {
	many := index(t, image(t, "amd64"), image(t, "arm64"))
	for name, c := range map[string]struct {
		partial bool
		says    string
	}{
		"on purpose":                {partial: true},
		"though all were asked for": {says: "the manifest " + string(many.below[1].digest()) + " is not in it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "site")
			w := newWriter(t, dir)
			many.put(t, w, many.below[1].digest())
			err := w.Finish(t.Context(), []Saved{{GUN: app, Trust: trustOf("app"), Tags: map[string]digest.Digest{"v2": many.digest()}, Partial: c.partial}})
			if c.says != "" {
				wantError(t, err, c.says)
				return
			}
			b, openErr := open(t, dir)
			if err := errors.Join(err, openErr); err != nil {
				t.Fatal(err)
			}
			if got := b.Catalog.Repositories[0].Tags[0]; got.Digest != many.digest() || !slices.Equal(got.LeftOut, []digest.Digest{many.below[1].digest()}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestASaveToADirectoryGoesOnWhereItEnded(t *testing.T) {
	one, old := image(t, "one"), image(t, "old")
	dir := saved(t, map[string]made{"v0": old, "v1": one})
	layer := digest.FromBytes(one.blobs[1])
	write(t, filepath.Join(dir, blobName(digest.FromBytes(one.blobs[0]))), []byte("damaged since"))
	write(t, filepath.Join(dir, blobsDir, ".partial-123"), []byte("left by a crash"))

	w := newWriter(t, dir)
	if _, err := open(t, dir); !errors.Is(err, ErrFormat) {
		t.Errorf("it is a bundle while it is being saved: %v", err)
	}
	if !w.Has(t.Context(), layer) || w.Has(t.Context(), digest.FromBytes(one.blobs[0])) || w.Has(t.Context(), digest.FromString("absent")) {
		t.Error("it should have the layer, and neither the damaged configuration nor what was never there")
	}
	one.put(t, w)
	if err := w.Finish(t.Context(), []Saved{{GUN: app, Trust: trustOf("app"), Tags: map[string]digest.Digest{"v1": one.digest()}}}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(dir, blobsDir))
	if err != nil || len(files) != 3 {
		t.Errorf("want the manifest, the configuration and the layer alone, got %v, %v", files, err)
	}
}

func TestBytesOfAnotherDigestAreNotSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	w := newWriter(t, dir)
	d := digest.FromString("right")
	if err := w.PutBlob(t.Context(), d, 5, strings.NewReader("wrong")); !errors.Is(err, content.ErrDigest) {
		t.Errorf("got %v", err)
	}
	if err := w.PutBlob(t.Context(), digest.SHA512.FromString("right"), 5, strings.NewReader("right")); err == nil {
		t.Error("a sha512 digest was taken")
	}
	files, err := os.ReadDir(filepath.Join(dir, blobsDir))
	if err != nil || len(files) != 0 || w.Has(t.Context(), d) {
		t.Errorf("something was left: %v, %v", files, err)
	}
}

func TestADirectoryInUseForSomethingElseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "thesis.txt"), []byte("mine"))
	if _, err := NewWriter(dir); err == nil || !strings.Contains(err.Error(), "it has thesis.txt") {
		t.Errorf("got %v", err)
	}
}

// TestNoArchiveIsLeftThatIsNotWhole, whatever ends the packing.
func TestNoArchiveIsLeftThatIsNotWhole(t *testing.T) {
	dir := saved(t, map[string]made{"v1": image(t, "one")})
	name := dir + ".tar"
	write(t, name, []byte("the archive before"))
	failing := errors.New("no space left")
	err := func() (err error) {
		defer func() { err, _ = recover().(error) }()
		return Pack(t.Context(), dir, name, func(int64, int64) { panic(failing) })
	}()
	if !errors.Is(err, failing) {
		t.Fatal(err)
	}
	if got := mustRead(t, name); string(got) != "the archive before" {
		t.Errorf("%q", got)
	}
	if err := Pack(t.Context(), t.TempDir(), name, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is no bundle was packed: %v", err)
	}
}
