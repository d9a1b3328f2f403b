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
	"slices"
	"strconv"
	"strings"
	"sync"
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
	reads, writes, middle atomic.Bool // middle: readers end with an error after some bytes
}

var errDisk = errors.New("the disk is broken")

func (d *moodyDriver) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if d.reads.Load() {
		return nil, errDisk
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

func TestABlobIsFetchedOnceAndServedWithoutTheRegistry(t *testing.T) {
	w := newWorld(t, nil)
	c := w.cached(t, proxy.Options{})
	blob, digest := bytesOf(1, 700_000)
	w.upstream.lie(serving(blob))
	clients := make([]*http.Client, 4)
	for i := range clients {
		clients[i] = c.client()
		if _, err := c.by(clients[i], "GET", "/connect"); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			a, err := c.by(clients[i%len(clients)], "GET", blobPath(digest))
			if err != nil || a.status != 200 || a.cut != nil || !bytes.Equal(a.body, blob) {
				t.Errorf("got %v, %v, %v", a, a.cut, err)
			}
		})
	}
	all.Wait()
	if got := w.gets(); !slices.Equal(got, []string{blobPath(digest)}) {
		t.Errorf("the registry was asked %v", got)
	}
	c.settle()
	again := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Cache = c.store })
	w.upstream.lie(status(500))
	w.quiet()
	if a := sameForHead(t, again.gate, blobPath(digest)); a.status != 200 || !bytes.Equal(a.body, blob) {
		t.Errorf("from the cache: got %v", a)
	}
	w.heardNothing(t)
}

// TestHeadOfABlobIsGetWithoutItsBody, whether it is in the cache or not (I4).
func TestHeadOfABlobIsGetWithoutItsBody(t *testing.T) {
	w := newWorld(t, nil)
	c := w.cached(t, proxy.Options{})
	blob, digest := bytesOf(1, 5000)
	w.upstream.lie(serving(blob))
	want := http.Header{
		"Content-Type": {"application/octet-stream"}, "Content-Length": {"5000"}, "Docker-Content-Digest": {digest}, "Etag": {`"` + digest + `"`}, "Accept-Ranges": {"bytes"},
		"Docker-Distribution-Api-Version": {"registry/2.0"}, "X-Content-Type-Options": {"nosniff"},
	}
	head := c.do("HEAD", blobPath(digest))
	if what := differentHeaders(head.header, want); what != nil || head.status != 200 {
		t.Errorf("HEAD of what is not there: %v %v", head.status, what)
	}
	if n := len(w.gets()); n != 0 {
		t.Errorf("HEAD made the gate fetch %d times", n)
	}
	get := c.get(blobPath(digest))
	if what := differentHeaders(get.header, want); what != nil || !bytes.Equal(get.body, blob) {
		t.Errorf("GET of what is not there: %v %v", get, what)
	}
	c.waitFor(t, digest)
	hit := sameForHead(t, c.gate, blobPath(digest))
	if what := differentHeaders(hit.header, want); what != nil || !bytes.Equal(hit.body, blob) {
		t.Errorf("of what is there: %v %v", hit, what)
	}
	_, absent := bytesOf(2, 10)
	for _, method := range []string{"GET", "HEAD"} {
		if a := c.do(method, blobPath(absent)); a.status != 404 || method == "GET" && a.code() != "BLOB_UNKNOWN" {
			t.Errorf("%s of what is nowhere: got %v", method, a)
		}
	}
}

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

func TestPartsOfABlob(t *testing.T) {
	w := newWorld(t, nil)
	c := w.cached(t, proxy.Options{})
	blob, digest := bytesOf(1, 5000)
	w.upstream.lie(serving(blob))
	if a := c.get(blobPath(digest), "Range", "bytes=100-199"); a.status != 206 || !bytes.Equal(a.body, blob[100:200]) {
		t.Errorf("of what is not there: got %v", a)
	}
	if a := c.get(blobPath(digest), "Range", "bytes=0-"); a.status != 206 || !bytes.Equal(a.body, blob) || a.header.Get("Content-Range") != "bytes 0-4999/5000" {
		t.Errorf("all of what is not there: got %v", a)
	}
	if got := w.gets(); !slices.Equal(got, []string{blobPath(digest) + " bytes=100-199", blobPath(digest)}) {
		t.Errorf("the registry was asked %q", got)
	}
	c.waitFor(t, digest)
	w.quiet()
	tag := `"` + digest + `"`
	for _, tt := range []struct {
		name         string
		header       []string
		status       int
		body         []byte
		contentRange string
	}{
		{"a part", []string{"Range", "bytes=100-199"}, 206, blob[100:200], "bytes 100-199/5000"},
		{"from somewhere on", []string{"Range", "bytes=4000-"}, 206, blob[4000:], "bytes 4000-4999/5000"},
		{"the last bytes", []string{"Range", "bytes=-10"}, 206, blob[4990:], "bytes 4990-4999/5000"},
		{"more than all", []string{"Range", "bytes=-9999999999999999999999"}, 206, blob, "bytes 0-4999/5000"},
		{"past the end", []string{"Range", "bytes=4990-9999999999999999999999"}, 206, blob[4990:], "bytes 4990-4999/5000"},
		{"one byte", []string{"Range", "bytes=0-0"}, 206, blob[:1], "bytes 0-0/5000"},
		{"after the end", []string{"Range", "bytes=5000-"}, 416, nil, "bytes */5000"},
		{"the last none", []string{"Range", "bytes=-0"}, 416, nil, "bytes */5000"},
		{"two parts are all", []string{"Range", "bytes=0-1,3-4"}, 200, blob, ""},
		{"what is no range is all", []string{"Range", "bytes=9-3"}, 200, blob, ""},
		{"other units are all", []string{"Range", "lines=1-2"}, 200, blob, ""},
		{"signs are no digits", []string{"Range", "bytes=+1-+3"}, 200, blob, ""},
		{"a part of this blob", []string{"Range", "bytes=1-2", "If-Range", tag}, 206, blob[1:3], "bytes 1-2/5000"},
		{"a part of another blob", []string{"Range", "bytes=1-2", "If-Range", `"x"`}, 200, blob, ""},
		{"what the client has", []string{"If-None-Match", tag}, 304, nil, ""},
		{"what the client has not", []string{"If-None-Match", `"x"`}, 200, blob, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := c.get(blobPath(digest), tt.header...)
			if a.status != tt.status || tt.body != nil && !bytes.Equal(a.body, tt.body) || a.header.Get("Content-Range") != tt.contentRange {
				t.Errorf("got %v, Content-Range %q", a, a.header.Get("Content-Range"))
			}
			head := c.do("HEAD", blobPath(digest), tt.header...)
			if what := differentHeaders(head.header, a.header); what != nil || head.status != a.status {
				t.Errorf("HEAD: %v %v", head.status, what)
			}
			if tt.status != 304 && a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
				t.Errorf("Content-Length %s of %d bytes", a.header.Get("Content-Length"), len(a.body))
			}
		})
	}
	w.heardNothing(t)
}

// TestABlobThatIsWrongIsNeverWhole: clients are cut off, nothing is kept, and the
// next one has the registry asked again.
func TestABlobThatIsWrongIsNeverWhole(t *testing.T) {
	w := newWorld(t, nil)
	blob, digest := bytesOf(1, 300_000)
	for _, tt := range []struct {
		name string
		lie  http.HandlerFunc
	}{
		{"other bytes", func(w http.ResponseWriter, _ *http.Request) {
			other, _ := bytesOf(2, len(blob))
			w.Write(other)
		}},
		{"cut in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
			w.Write(blob[:200_000])
			panic(http.ErrAbortHandler)
		}},
		{"longer, with the same beginning", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob)+1))
			w.Write(blob)
			w.Write([]byte{0})
		}},
		{"shorter, of no announced length", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(blob[:200_000])
			http.NewResponseController(w).Flush()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := w.cached(t, proxy.Options{})
			w.upstream.lie(tt.lie)
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					a, err := c.try("GET", blobPath(digest))
					if err == nil && a.cut == nil {
						t.Errorf("somebody had it whole: %d bytes", len(a.body))
					}
				})
			}
			all.Wait()
			w.upstream.lie(serving(blob))
			w.quiet()
			if a := c.get(blobPath(digest)); a.status != 200 || !bytes.Equal(a.body, blob) {
				t.Errorf("afterwards: got %v", a)
			}
			if len(w.gets()) != 1 {
				t.Error("something had been kept")
			}
		})
	}
}

// TestAClientThatHangsUp does not fail the others.
func TestAClientThatHangsUp(t *testing.T) {
	w := newWorld(t, nil)
	c := w.cached(t, proxy.Options{})
	blob, digest := bytesOf(1, 300_000)
	begun, goOn := make(chan struct{}), make(chan struct{})
	w.upstream.lie(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
		w.Write(blob[:100_000])
		http.NewResponseController(w).Flush()
		close(begun)
		<-goOn
		w.Write(blob[100_000:])
	})
	ctx, hangUp := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://"+c.addr+blobPath(digest), nil)
		req.Host = registryName
		resp, err := c.client().Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		first <- err
	}()
	<-begun
	second := make(chan answer)
	go func() { a, _ := c.try("GET", blobPath(digest)); second <- a }()
	hangUp()
	if err := <-first; err == nil {
		t.Error("the first client was served")
	}
	close(goOn)
	if a := <-second; a.status != 200 || a.cut != nil || !bytes.Equal(a.body, blob) {
		t.Errorf("got %v, %v", a, a.cut)
	}
}

// shortSpool has room for so many bytes of each blob.
type shortSpool struct{ room int64 }

type shortFile struct {
	content.SpoolFile
	left int64
}

func (s shortSpool) create(under content.Spool) (content.SpoolFile, error) {
	file, err := under.Create()
	return &shortFile{file, s.room}, err
}

func (f *shortFile) Write(p []byte) (int, error) {
	n := min(int64(len(p)), f.left)
	f.left -= n
	written, err := f.SpoolFile.Write(p[:n])
	if err == nil && int(n) < len(p) {
		err = errDisk
	}
	return written, err
}

type spoolFunc func() (content.SpoolFile, error)

func (f spoolFunc) Create() (content.SpoolFile, error) { return f() }

// TestAFullDiskFailsNoPull: those who read go on from the registry where the
// spool ends, also where it knows no ranges.
func TestAFullDiskFailsNoPull(t *testing.T) {
	w := newWorld(t, nil)
	blob, digest := bytesOf(1, 600_000)
	whole := func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); serving(blob)(w, r) }
	for _, tt := range []struct {
		name string
		lie  http.HandlerFunc
		room int64 // -1: none at all
	}{{"in the middle", serving(blob), 250_000}, {"in the middle, without ranges", whole, 250_000}, {"from the start", serving(blob), 0}, {"before the start", serving(blob), -1}} {
		t.Run(tt.name, func(t *testing.T) {
			under, err := content.NewDirSpool(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			c := w.cached(t, proxy.Options{Flights: newFlights(t, spoolFunc(func() (content.SpoolFile, error) {
				if tt.room < 0 {
					return nil, errDisk
				}
				return shortSpool{tt.room}.create(under)
			}))})
			w.upstream.lie(tt.lie)
			w.quiet()
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if a, err := c.try("GET", blobPath(digest)); err != nil || a.status != 200 || a.cut != nil || !bytes.Equal(a.body, blob) {
						t.Errorf("got %v, %v, %v", a, a.cut, err)
					}
				})
			}
			all.Wait()
			if tt.room > 0 && !slices.Contains(w.gets(), blobPath(digest)+" bytes=250000-") {
				t.Errorf("the registry was asked %q", w.gets())
			}
			c.settle()
			if _, err := c.store.Blob(t.Context(), "acme/app", digestName(digest)); !errors.Is(err, content.ErrNotCached) {
				t.Errorf("in the cache: %v", err)
			}
		})
	}
}

func digestName(text string) digest.Digest { return digest.Digest(text) }

// TestACacheThatFailsFailsNoPull: where it cannot be written, or read, or fails in
// the middle of a blob.
func TestACacheThatFailsFailsNoPull(t *testing.T) {
	w := newWorld(t, nil)
	im := w.push("acme/app", "1.0", "one")
	blob, digest := bytesOf(1, 600_000)
	pulls := func(t *testing.T, c *cachedGate) {
		t.Helper()
		w.upstream.lie(nil)
		if a := c.get("/v2/acme/app/manifests/" + im.digest); a.status != 200 || !bytes.Equal(a.body, im.body) {
			t.Errorf("the manifest: got %v", a)
		}
		w.upstream.lie(serving(blob))
		if a := c.get(blobPath(digest)); a.status != 200 || a.cut != nil || !bytes.Equal(a.body, blob) {
			t.Errorf("the blob: got %v, %v", a, a.cut)
		}
	}
	t.Run("on write", func(t *testing.T) {
		c := w.cached(t, proxy.Options{})
		c.disk.writes.Store(true)
		pulls(t, c)
		c.log.wait(t, "the cache cannot be written")
		c.disk.writes.Store(false)
		pulls(t, c)
		c.waitFor(t, digest)
	})
	t.Run("on read", func(t *testing.T) {
		c := w.cached(t, proxy.Options{})
		pulls(t, c)
		c.waitFor(t, digest)
		c.disk.reads.Store(true)
		pulls(t, c)
		c.log.wait(t, "the cache cannot be read")
	})
	t.Run("in the middle", func(t *testing.T) {
		c := w.cached(t, proxy.Options{})
		pulls(t, c)
		c.waitFor(t, digest)
		w.quiet()
		c.disk.middle.Store(true)
		pulls(t, c)
		if got := w.gets(); !slices.Contains(got, blobPath(digest)+" bytes=100000-") {
			t.Errorf("the registry was asked %q", got)
		}
	})
}

// TestManifestsByDigest come from the registry once, from memory afterwards, and
// from the cache after a restart; the same one is served by tag.
func TestManifestsByDigest(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	im, list := w.push("acme/app", "1.0", "one"), w.push("acme/app", "2.0", "index two")
	trust.sign("acme/app", target("1.0", im))
	c := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Trust = trust })
	w.quiet()
	for _, im := range []image{im, list} {
		a := sameForHead(t, c.gate, "/v2/acme/app/manifests/"+im.digest)
		if a.status != 200 || !bytes.Equal(a.body, im.body) || a.header.Get("Docker-Content-Digest") != im.digest {
			t.Errorf("got %v", a)
		}
		if a := sameForHead(t, c.gate, "/v2/acme/app/manifests/"+im.digest, "If-None-Match", im.digest); a.status != 304 {
			t.Errorf("for one who has it: got %v", a)
		}
	}
	if a := c.get("/v2/acme/app/manifests/1.0"); a.status != 200 || !bytes.Equal(a.body, im.body) {
		t.Errorf("by tag: got %v", a)
	}
	if got := w.asked(); !slices.Equal(got, []string{"GET /v2/acme/app/manifests/" + im.digest, "GET /v2/acme/app/manifests/" + list.digest}) {
		t.Errorf("the registry was asked %v", got)
	}
	c.settle()
	again := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Cache, reg.Trust = c.store, trust })
	w.quiet()
	for _, path := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + im.digest} {
		if a := again.get(path); a.status != 200 || !bytes.Equal(a.body, im.body) || a.header.Get("Content-Type") != dockerV2 {
			t.Errorf("%s: got %v", path, a)
		}
	}
	w.heardNothing(t)
	for path, from := range map[string]string{"1.0": "store", im.digest: "memory"} {
		if !strings.Contains(again.log.String(), `"`+path+`"`) || !strings.Contains(again.log.String(), `"from":"`+from+`"`) {
			t.Errorf("the log does not say that %s came from %s", path, from)
		}
	}
}

// TestWhatIsNoManifestToBeServedByTag passes by digest, untouched, and is not kept.
func TestWhatIsNoManifestToBeServedByTag(t *testing.T) {
	w := newWorld(t, nil)
	both := []byte(`{"schemaVersion":2,"manifests":[],"layers":[]}`)
	artifact := []byte(`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}`)
	for _, tt := range []struct {
		name, contentType string
		body              []byte
		digest            string
	}{
		{"schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[]}`), im("payload").digest},
		{"two readings", dockerV2, both, imageOf(both).digest},
		{"another type", "application/vnd.oci.artifact.manifest.v1+json", artifact, imageOf(artifact).digest},
		{"other bytes, for the client to find out", dockerV2, []byte(`{"layers":[]}`), im("asked for").digest},
		{"sha512", dockerV2, []byte(`{"layers":[]}`), "sha512:" + strings.Repeat("a", 128)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := w.cached(t, proxy.Options{})
			w.upstream.lie(send(tt.contentType, tt.body))
			for range 2 {
				if a := c.get("/v2/acme/app/manifests/" + tt.digest); a.status != 200 || !bytes.Equal(a.body, tt.body) || a.header.Get("Content-Type") != tt.contentType {
					t.Errorf("got %v", a)
				}
			}
			c.settle()
			if stats := c.store.Stats(); stats.Bytes != 0 {
				t.Errorf("kept: %+v", stats)
			}
		})
	}
}

func im(text string) image { return imageOf([]byte(text)) }

// TestAnOutageOfTheRegistry: what is in the cache is served, and of what is not it
// is said that it cannot be had now, never that it does not exist.
func TestAnOutageOfTheRegistry(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	one, two := w.push("acme/app", "1.0", "one"), w.push("acme/app", "2.0", "two")
	trust.sign("acme/app", target("1.0", one), target("2.0", two))
	c := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Trust = trust })
	for _, path := range []string{"/v2/acme/app/manifests/1.0", blobPath(one.blob)} {
		if a := c.get(path); a.status != 200 {
			t.Fatal(a)
		}
	}
	c.waitFor(t, one.blob)
	soon := http.Header{"Retry-After": {"5"}}
	check := func(t *testing.T, c *cachedGate) {
		for _, path := range []string{"/v2/", "/v2/acme/app/tags/list", "/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + one.digest, blobPath(one.blob)} {
			if a := sameForHead(t, c.gate, path); a.status != 200 {
				t.Errorf("%s: got %v", path, a)
			}
		}
		for path, digest := range map[string]string{"/v2/acme/app/manifests/2.0": two.digest, "/v2/acme/app/manifests/" + two.digest: two.digest, blobPath(two.blob): two.blob} {
			isRefusal(t, sameForHead(t, c.gate, path), 503, "UNAVAILABLE", digest+" is not in the cache and the registry cannot be reached", soon)
		}
		if a := c.get(blobPath(two.blob), "Range", "bytes=5-9"); a.status != 503 || a.code() != "UNAVAILABLE" {
			t.Errorf("a part of what is not there: got %v", a)
		}
		if a := c.get("/v2/acme/app/referrers/" + one.digest); a.status != 503 || a.code() != "UNAVAILABLE" {
			t.Errorf("referrers: got %v", a)
		}
	}
	closed(t, w.registry)
	t.Run("while it runs", func(t *testing.T) { check(t, c) })
	c.settle()
	t.Run("after a restart", func(t *testing.T) {
		check(t, w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Cache, reg.Trust = c.store, trust }))
	})
}

// TestARegistryBehindAProxyThatIsDown answers for it, with a status of 502 to 504.
func TestARegistryBehindAProxyThatIsDown(t *testing.T) {
	w := newWorld(t, nil)
	c := w.cached(t, proxy.Options{})
	for _, code := range []int{502, 503, 504} {
		w.upstream.lie(status(code))
		for _, path := range []string{"/v2/acme/app/manifests/" + im("x").digest, blobPath(im("x").digest)} {
			isRefusal(t, sameForHead(t, c.gate, path), 503, "UNAVAILABLE", im("x").digest+" is not in the cache and the registry cannot be reached", http.Header{"Retry-After": {"5"}})
		}
	}
}

// TestTheCacheGivesNobodyWhatTheRegistryWouldNot (I7): neither what others have
// pulled nor what they are pulling, whatever is remembered of clients.
func TestTheCacheGivesNobodyWhatTheRegistryWouldNot(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute} {
		t.Run("authorisation-ttl "+ttl.String(), func(t *testing.T) {
			p := newPrivate(t, users)
			c := p.cached(t, proxy.Options{AuthorisationTTL: ttl}, func(reg *proxy.Registry) { reg.Trust, reg.Passthrough = p.trust, true })
			blob, digest := bytesOf(1, 300_000)
			begun, goOn := make(chan struct{}), make(chan struct{})
			p.upstream.lie(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "HEAD" || strings.Contains(r.RequestURI, "/manifests/") {
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
					return
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
				w.Write(blob[:100_000])
				http.NewResponseController(w).Flush()
				close(begun)
				<-goOn
				w.Write(blob[100_000:])
			})
			strangers := func(what string) {
				t.Helper()
				for _, header := range [][]string{nil, {"Authorization", basic("alice", "wrong")}, {"Authorization", "Bearer x"}} {
					for _, part := range [][]string{nil, {"Range", "bytes=5-9"}, {"If-None-Match", digest}} {
						for _, path := range []string{blobPath(digest), "/v2/acme/app/manifests/" + p.a.digest} {
							if a := sameForHead(t, c.gate, path, append(slices.Clone(part), header...)...); a.status != 401 || a.header.Get("Www-Authenticate") != `Basic realm="sandbox"` {
								t.Errorf("%s: %s with %v %v: got %v", what, path, header, part, a)
							}
						}
					}
				}
			}
			first := make(chan answer)
			go func() { a, _ := c.try("GET", blobPath(digest), "Authorization", alice); first <- a }()
			<-begun
			strangers("while it is fetched")
			second := make(chan answer)
			go func() { a, _ := c.try("GET", blobPath(digest), "Authorization", bob); second <- a }()
			close(goOn)
			for _, a := range []answer{<-first, <-second} {
				if a.status != 200 || !bytes.Equal(a.body, blob) {
					t.Errorf("an authorised client: got %v", a)
				}
			}
			c.waitFor(t, digest)
			p.upstream.lie(nil)
			if a := c.get("/v2/acme/app/manifests/"+p.a.digest, "Authorization", alice); a.status != 200 {
				t.Errorf("the manifest: got %v", a)
			}
			strangers("when it is in the cache")
			p.quiet()
			if a := c.get("/v2/acme/app/manifests/"+p.a.digest, "Authorization", bob); a.status != 200 {
				t.Errorf("bob: got %v", a)
			}
			if n := len(p.asked()); ttl == 0 && n != 1 {
				t.Errorf("the registry was asked %d times about bob", n)
			}
			p.upstream.lie(status(403))
			if a := c.get(blobPath(digest), "Authorization", "Basic x"); a.status != 401 && a.status != 403 {
				t.Errorf("got %v", a)
			}
			if a := c.get(blobPath(digest), "Authorization", bob); ttl == 0 && a.status != 403 {
				t.Errorf("who may not read any more: got %v", a)
			}
			for _, secret := range users {
				if strings.Contains(c.log.String(), secret) {
					t.Error("a password is in the log")
				}
			}
		})
	}
}

// TestWhatIsDeletedIsNotServedFromTheCache.
func TestWhatIsDeletedIsNotServedFromTheCache(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	one := w.push("acme/app", "1.0", "one")
	c := w.cached(t, proxy.Options{AuthorisationTTL: time.Minute}, func(reg *proxy.Registry) {
		reg.Trust, reg.Passthrough, reg.Push = trust, true, true
	})
	paths := []string{"/v2/acme/app/manifests/" + one.digest, blobPath(one.blob)}
	for _, path := range paths {
		if a := c.get(path); a.status != 200 {
			t.Fatal(a)
		}
	}
	c.waitFor(t, one.blob)
	w.upstream.lie(status(405))
	for _, path := range paths {
		if a := c.send("DELETE", path, ""); a.status != 405 {
			t.Errorf("a DELETE that the registry refuses: got %v", a)
		}
		if a := c.get(path); a.status != 200 {
			t.Errorf("%s after it: got %v", path, a)
		}
	}
	w.upstream.lie(status(202))
	for _, path := range paths {
		if a := c.send("DELETE", path, ""); a.status != 202 {
			t.Errorf("DELETE: got %v", a)
		}
	}
	w.upstream.lie(status(404))
	for _, path := range paths {
		if a := c.get(path); a.status != 404 {
			t.Errorf("%s afterwards: got %v", path, a)
		}
	}
}
