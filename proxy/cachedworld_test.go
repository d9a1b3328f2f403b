package proxy_test

import (
	"bytes"
	"context"
	cryptosha256 "crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
)

// cachedGate is a gate with a cache in front of a world.
type cachedGate struct {
	*gate
	w       *world
	store   *content.Store
	disk    *moodyDriver
	flights *content.Flights
}

// moodyDriver is a storage driver that fails when it is told to.
type moodyDriver struct {
	driver.StorageDriver
	reads, writes, middle, still atomic.Bool // middle: readers end with an error after some bytes; still: they wait for ctx's end
	panics                       atomic.Bool // on writes
}

var errDisk = errors.New("the disk is broken")

func (d *moodyDriver) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if d.reads.Load() {
		return nil, errDisk
	}
	if d.still.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r, err := d.StorageDriver.Reader(ctx, path, offset)
	if err == nil && d.middle.Load() {
		return readCloser{io.MultiReader(io.LimitReader(r, 100_000), broken{}), r}, nil
	}
	return r, err
}

type readCloser struct {
	io.Reader
	io.Closer
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errDisk }

func (d *moodyDriver) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if d.reads.Load() {
		return nil, errDisk
	}
	return d.StorageDriver.Stat(ctx, path)
}

func (d *moodyDriver) Writer(ctx context.Context, path string, add bool) (driver.FileWriter, error) {
	if d.writes.Load() {
		return nil, errDisk
	}
	return d.StorageDriver.Writer(ctx, path, add)
}

func (d *moodyDriver) PutContent(ctx context.Context, path string, b []byte) error {
	if d.panics.Load() {
		panic("the driver has a bug")
	}
	if d.writes.Load() {
		return errDisk
	}
	return d.StorageDriver.PutContent(ctx, path, b)
}

// cached starts a gate with a cache before the world.
func (w *world) cached(t testing.TB, opts proxy.Options, change ...func(*proxy.Registry)) *cachedGate {
	t.Helper()
	reg := w.front(t)
	c := &cachedGate{w: w, disk: &moodyDriver{StorageDriver: inmemory.New()}}
	var err error
	if c.store, err = content.NewStore(t.Context(), content.StoreOptions{Driver: content.Root(c.disk, reg.Name, reg.URL.String())}); err != nil {
		t.Fatal(err)
	}
	if opts.Flights == nil {
		opts.Flights = newFlights(t, nil)
	}
	c.flights = opts.Flights
	reg.Cache, reg.Follow = c.store, true
	for _, f := range change {
		f(&reg)
	}
	opts.Registries = []proxy.Registry{reg}
	c.gate = startGate(t, opts)
	return c
}

// newFlights returns flights over a spool, on disk where it is nil.
func newFlights(t testing.TB, spool content.Spool) *content.Flights {
	t.Helper()
	if spool == nil {
		var err error
		if spool, err = content.NewDirSpool(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	f := content.NewFlights(content.FlightsOptions{Spool: spool})
	t.Cleanup(f.Close)
	return f
}

// settle returns when nothing is being fetched or kept any more: the gate serves
// no request afterwards.
func (c *cachedGate) settle() {
	c.stop()
	c.flights.Close()
}

// bytesOf makes bytes that do not compress, and their digest.
func bytesOf(seed byte, size int) ([]byte, string) {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b, fmt.Sprintf("sha256:%x", cryptosha256.Sum256(b))
}

// serving answers for blobs as a registry does.
func serving(blobs ...[]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, b := range blobs {
			if strings.HasSuffix(r.RequestURI, fmt.Sprintf("/blobs/sha256:%x", cryptosha256.Sum256(b))) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
				return
			}
		}
		http.NotFound(w, r)
	}
}

// gets are the requests with GET that reached the registry, with their Range.
func (w *world) gets() (all []string) {
	for _, a := range w.upstream.list() {
		if a.Method == http.MethodGet {
			all = append(all, strings.TrimSpace(a.Target+" "+a.Header.Get("Range")))
		}
	}
	return all
}

func blobPath(digest string) string { return "/v2/acme/app/blobs/" + digest }

// waitFor returns when a blob is in the cache.
func (c *cachedGate) waitFor(t testing.TB, d string) {
	t.Helper()
	for range 10_000 {
		if _, err := c.store.Blob(t.Context(), "acme/app", digest.Digest(d)); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it is not kept")
}

func digestName(text string) digest.Digest { return digest.Digest(text) }
