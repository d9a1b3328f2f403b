package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// damages are what may become of bytes at rest.
var damages = map[string]func([]byte) []byte{
	"a flipped bit":    func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	"the last flipped": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	"cut":              func(b []byte) []byte { return b[:len(b)/2] },
	"cut to nothing":   func([]byte) []byte { return nil },
	"longer":           func(b []byte) []byte { return append(b, 'x') },
	"another manifest": func([]byte) []byte { return []byte(`{"schemaVersion":2,"config":{},"layers":[]}`) },
	"one that the library's reader panics on": func([]byte) []byte {
		return []byte(`{"schemaVersion":2,"manifests":5}`)
	},
	"huge": func([]byte) []byte { return make([]byte, maxManifest+1) },
}

func damage(tb testing.TB, s *Store, d digest.Digest, how func([]byte) []byte) {
	tb.Helper()
	raw, err := s.o.Driver.GetContent(context.Background(), dataPath(d))
	must(tb, err)
	must(tb, s.o.Driver.PutContent(context.Background(), dataPath(d), how(slices.Clone(raw))))
}

func TestADamagedManifestIsNotServed(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for name, how := range damages {
			t.Run(name, func(t *testing.T) {
				m := image(t, 1)
				must(t, s.PutManifest(t.Context(), repository, m))
				damage(t, s, digest.Digest(m.Digest), how)
				got, err := s.Manifest(t.Context(), repository, digest.Digest(m.Digest))
				if got != nil || err == nil || errors.Is(err, ErrNotCached) {
					t.Fatalf("got %v, %v", got, err)
				}
				must(t, s.PutManifest(t.Context(), repository, m))
				got, err = s.Manifest(t.Context(), repository, digest.Digest(m.Digest))
				if err != nil || !bytes.Equal(got.Body, m.Body) {
					t.Errorf("put again: %v, %v", got, err)
				}
			})
		}
	})
}

// TestADamagedBlobIsFoundOutAndRemoved by a store that has not hashed it yet.
func TestADamagedBlobIsFoundOutAndRemoved(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for name, how := range damages {
			t.Run(name, func(t *testing.T) {
				d, body := putBlob(t, s, repository, 1, 300_000)
				damage(t, s, d, how)
				var told []digest.Digest
				next := later(t, s, time.Minute, func(o *StoreOptions) { o.Damaged = func(d digest.Digest) { told = append(told, d) } })
				b, err := next.Blob(t.Context(), repository, d)
				must(t, err)
				got, err := readBlob(next, repository, d, 0)
				wantError(t, err, ErrDigest)
				if b.Size > 0 && int64(len(got)) >= b.Size {
					t.Errorf("all of %d bytes were read", b.Size)
				}
				if !slices.Equal(told, []digest.Digest{d}) || next.Stats().Damaged != 1 {
					t.Errorf("told of %v, %+v", told, next.Stats())
				}
				_, err = next.Blob(t.Context(), repository, d)
				wantError(t, err, ErrNotCached)
				putBlob(t, next, repository, 1, 300_000)
				if got, err := readBlob(next, repository, d, 0); err != nil || !bytes.Equal(got, body) {
					t.Errorf("put again: %d bytes, %v", len(got), err)
				}
			})
		}
	})
}

func TestABlobIsHashedOnceADay(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		d, body := putBlob(t, s, repository, 1, 1000)
		c := &clock{time.Minute}
		next := later(t, s, 0, func(o *StoreOptions) { o.Now = c.now })
		isHashed := func() bool {
			b, err := next.Blob(t.Context(), repository, d)
			must(t, err)
			r, err := b.Open(t.Context(), 0)
			must(t, err)
			defer r.Close()
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			_, is := r.(*proving)
			return is
		}
		if !isHashed() || isHashed() {
			t.Error("want the first read hashed, and not the second")
		}
		c.ahead += proveEvery
		if !isHashed() || isHashed() {
			t.Error("want a read hashed after a day")
		}
	})
}

func TestALinkThatPointsElsewhereIsNotFollowed(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		secret, _ := putBlob(t, s, "team/secret", 2, 1000)
		d, _ := putBlob(t, s, repository, 1, 1000)
		m := image(t, 1)
		must(t, s.PutManifest(t.Context(), repository, m))
		for _, content := range []string{string(secret), "", "sha256:abc", digest.SHA512.FromString("").String(), "../../x"} {
			must(t, s.o.Driver.PutContent(t.Context(), link{layers, repository, d}.path(), []byte(content)))
			if b, err := s.Blob(t.Context(), repository, d); err == nil {
				t.Errorf("link to %q: %+v", content, b)
			}
			must(t, s.o.Driver.PutContent(t.Context(), link{manifests, repository, digest.Digest(m.Digest)}.path(), []byte(content)))
			if got, err := s.Manifest(t.Context(), repository, digest.Digest(m.Digest)); err == nil && got.Digest != m.Digest {
				t.Errorf("link to %q: %s", content, got.Digest)
			}
		}
		putBlob(t, s, repository, 1, 1000)
		if _, err := s.Blob(t.Context(), repository, d); err != nil {
			t.Errorf("put again: %v", err)
		}
	})
}

func TestABlobThatIsCutUnderAReaderEndsInAnError(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		d, _ := putBlob(t, s, repository, 1, 1000)
		b, err := s.Blob(t.Context(), repository, d)
		must(t, err)
		damage(t, s, d, damages["cut"])
		r, err := b.Open(t.Context(), 0)
		must(t, err)
		defer r.Close()
		got, err := io.ReadAll(r)
		if len(got) != 500 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		must(t, s.o.Driver.Delete(t.Context(), dataDirectory(d)))
		_, err = b.Open(t.Context(), 0)
		wantError(t, err, ErrNotCached)
	})
}
