package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const repository = "team/app"

// drivers are those on which the store is tested.
func drivers() map[string]func(testing.TB) driver.StorageDriver {
	list := map[string]func(testing.TB) driver.StorageDriver{
		"filesystem": func(t testing.TB) driver.StorageDriver { return onDisk(t.TempDir()) },
		"elsewhere":  emptyDriver,
	}
	if os.Getenv(testBucket) != "" {
		delete(list, "filesystem")
	}
	return list
}

func onDisk(directory string) driver.StorageDriver {
	return filesystem.New(filesystem.DriverParameters{RootDirectory: directory, MaxThreads: 64})
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func newStore(tb testing.TB, o StoreOptions) *Store {
	tb.Helper()
	s, err := NewStore(context.Background(), o)
	must(tb, err)
	return s
}

// onEach runs a test on a store of its own on each driver.
func onEach(t *testing.T, test func(*testing.T, *Store)) {
	for name, open := range drivers() {
		t.Run(name, func(t *testing.T) {
			test(t, newStore(t, StoreOptions{Driver: Root(open(t), "registry.example.com", "")}))
		})
	}
}

func sumOf(body []byte) [32]byte { return asSum(digest.FromBytes(body)) }

// image is a manifest of one layer, whose bytes differ with n.
func image(tb testing.TB, n int) *Manifest {
	tb.Helper()
	return typed(tb, v1.MediaTypeImageManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%064x","size":2},
		"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%064x","size":3}]}`, v1.MediaTypeImageManifest, n, n+1))
}

// blobOf returns size bytes that differ with n, and their digest.
func blobOf(n, size int) (digest.Digest, []byte) {
	body := bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(n >> 16), 'x'}, size/4+1)[:size]
	return digest.FromBytes(body), body
}

func putBlob(tb testing.TB, s *Store, repository string, n, size int) (digest.Digest, []byte) {
	tb.Helper()
	d, body := blobOf(n, size)
	must(tb, s.PutBlob(context.Background(), repository, d, bytes.NewReader(body)))
	return d, body
}

// readBlob returns the bytes of a blob from offset on.
func readBlob(s *Store, repository string, d digest.Digest, offset int64) ([]byte, error) {
	b, err := s.Blob(context.Background(), repository, d)
	if err != nil {
		return nil, err
	}
	r, err := b.Open(context.Background(), offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantError(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("got error %v, want %v", err, want)
	}
}

func TestWhatWasPutIsRead(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		m := image(t, 1)
		must(t, s.PutManifest(t.Context(), repository, m))
		got, err := s.Manifest(t.Context(), repository, digest.Digest(m.Digest))
		must(t, err)
		if !bytes.Equal(got.Body, m.Body) || got.MediaType != m.MediaType || got.Digest != m.Digest || got.Header.ETag[0] != m.Header.ETag[0] {
			t.Errorf("got %+v", got)
		}
		for i, size := range []int{0, 1, 100_000, 5 << 20} {
			d, body := putBlob(t, s, repository, i, size)
			for _, offset := range []int{0, 1, size / 2, size} {
				if offset > size {
					continue
				}
				got, err := readBlob(s, repository, d, int64(offset))
				if err != nil || !bytes.Equal(got, body[offset:]) {
					t.Errorf("%d bytes from %d: got %d, %v", size, offset, len(got), err)
				}
			}
			for _, offset := range []int64{-1, int64(size) + 1} {
				if _, err := readBlob(s, repository, d, offset); err == nil {
					t.Errorf("offset %d of %d is no error", offset, size)
				}
			}
		}
	})
}

func TestNothingIsThereThatWasNotPut(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		d, _ := putBlob(t, s, repository, 1, 10)
		m := image(t, 1)
		must(t, s.PutManifest(t.Context(), repository, m))
		for name, test := range map[string]struct {
			repository string
			blob       digest.Digest
			manifest   digest.Digest
		}{
			"of another repository":  {"team/other", d, digest.Digest(m.Digest)},
			"of the repository over": {"team", d, digest.Digest(m.Digest)},
			"of one below":           {"team/app/x", d, digest.Digest(m.Digest)},
			"one as the other":       {repository, digest.Digest(m.Digest), d},
			"unknown":                {repository, digest.FromString("?"), digest.FromString("?")},
			"sha512":                 {repository, digest.SHA512.FromString(""), digest.SHA512.FromString("")},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := s.Blob(t.Context(), test.repository, test.blob)
				wantError(t, err, ErrNotCached)
				_, err = s.Manifest(t.Context(), test.repository, test.manifest)
				wantError(t, err, ErrNotCached)
			})
		}
	})
}

func TestABlobOfOtherBytesIsNotKept(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		d, body := blobOf(1, 1000)
		for name, r := range map[string]io.Reader{
			"fewer":  bytes.NewReader(body[:999]),
			"none":   bytes.NewReader(nil),
			"more":   io.MultiReader(bytes.NewReader(body), strings.NewReader("x")),
			"others": bytes.NewReader(append([]byte("X"), body[1:]...)),
		} {
			t.Run(name, func(t *testing.T) {
				wantError(t, s.PutBlob(t.Context(), repository, d, r), ErrDigest)
				_, err := s.Blob(t.Context(), repository, d)
				wantError(t, err, ErrNotCached)
				if left := objects(t, s); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
		t.Run("a reader that fails", func(t *testing.T) {
			cut := errors.New("cut")
			wantError(t, s.PutBlob(t.Context(), repository, d, io.MultiReader(bytes.NewReader(body), errReader{cut})), cut)
			if left := objects(t, s); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	})
}

// objects are the paths of all objects of a store.
func objects(tb testing.TB, s *Store) (list []string) {
	tb.Helper()
	err := s.o.Driver.Walk(context.Background(), "/", func(info driver.FileInfo) error {
		if !info.IsDir() {
			list = append(list, info.Path())
		}
		return nil
	})
	if !absent(err) {
		must(tb, err)
	}
	return list
}
