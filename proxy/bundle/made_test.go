package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sealgate/sealgate/proxy/content"
)

const app = "registry.example.com/team/app"

// made is an image to put into a bundle: a manifest, and what is below it.
type made struct {
	manifest *content.Manifest
	below    []made
	blobs    [][]byte
}

func (m made) digest() digest.Digest { return digest.Digest(m.manifest.Digest) }

func newManifest(t testing.TB, mediaType string, body any) *content.Manifest {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	m, err := content.Check(sha256.Sum256(raw), raw, mediaType)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func described(mediaType string, raw []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// image has a configuration and a layer that says words.
func image(t testing.TB, words string) made {
	t.Helper()
	config, layer := []byte(`{"os":"linux","architecture":"amd64","words":"`+words+`"}`), []byte("layer that says "+words)
	return made{blobs: [][]byte{config, layer}, manifest: newManifest(t, v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: two, MediaType: v1.MediaTypeImageManifest,
		Config: described(v1.MediaTypeImageConfig, config),
		Layers: []v1.Descriptor{described(v1.MediaTypeImageLayer, layer)},
	})}
}

// index lists images for linux/amd64, linux/arm64, and so on.
func index(t testing.TB, images ...made) made {
	t.Helper()
	list := v1.Index{Versioned: two, MediaType: v1.MediaTypeImageIndex}
	for i, m := range images {
		d := described(m.manifest.MediaType, m.manifest.Body)
		d.Platform = &v1.Platform{OS: "linux", Architecture: []string{"amd64", "arm64", "s390x"}[i]}
		list.Manifests = append(list.Manifests, d)
	}
	return made{below: images, manifest: newManifest(t, v1.MediaTypeImageIndex, list)}
}

// put adds all of m to a bundle but the images that are not wanted.
func (m made) put(t testing.TB, w *Writer, unwanted ...digest.Digest) {
	t.Helper()
	ctx := t.Context()
	if err := w.PutManifest(ctx, m.manifest); err != nil {
		t.Fatal(err)
	}
	for _, raw := range m.blobs {
		if d := digest.FromBytes(raw); !w.Has(ctx, d) {
			if err := w.PutBlob(ctx, d, int64(len(raw)), bytes.NewReader(raw)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, child := range m.below {
		if !slices.Contains(unwanted, child.digest()) {
			child.put(t, w, unwanted...)
		}
	}
}

// trustOf is metadata that nobody signed.
func trustOf(words string) map[string][]byte {
	root := []byte(`{"root":"` + words + `"}`)
	return map[string][]byte{"1.root.json": root, "root.json": root, "timestamp.json": []byte(`{"timestamp":"` + words + `"}`)}
}

// saved is a bundle of these tags of app in a directory.
func saved(t testing.TB, tags map[string]made) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "site")
	w := newWriter(t, dir)
	all := Saved{GUN: app, Trust: trustOf("app"), Tags: map[string]digest.Digest{}}
	for tag, m := range tags {
		m.put(t, w)
		all.Tags[tag] = m.digest()
	}
	if err := w.Finish(t.Context(), []Saved{all}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newWriter(t testing.TB, dir string) *Writer {
	t.Helper()
	w, err := NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// archived is the archive of a bundle; the directory is gone.
func archived(t testing.TB, dir string) (name string) {
	t.Helper()
	name = dir + ".tar"
	if err := Pack(t.Context(), dir, name, nil); err != nil {
		t.Fatal(err)
	}
	return name
}

// entry is one of an archive.
type entry struct {
	tar.Header
	body []byte
}

func entries(t testing.TB, name string) (all []entry) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(mustRead(t, name)))
	for {
		header, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{*header, body})
	}
}

// rewritten is an archive of these entries.
func rewritten(t testing.TB, all []entry) (name string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range all {
		e.Size, e.Format = int64(len(e.body)), tar.FormatUnknown
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(t.TempDir(), "rewritten.tar")
	write(t, name, b.Bytes())
	return name
}

func shuffled(all []entry) []entry {
	all = slices.Clone(all)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(t testing.TB, name string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens a bundle until the test ends.
func open(t testing.TB, name string) (*Bundle, error) {
	t.Helper()
	b, err := Open(name)
	if err == nil {
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return b, err
}

// wantError fails unless err says text.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("want an error that says %q, got %v", text, err)
	}
}

// readWhole checks every file of a bundle against its name.
func readWhole(ctx context.Context, b *Bundle, names []string) error {
	for _, name := range names {
		if err := verifyFile(ctx, b.from, name, nil); err != nil {
			return err
		}
	}
	return nil
}
