package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
)

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
