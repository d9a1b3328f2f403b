package proxy_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
)

// TestACacheThatFailsFailsNoPull: where it cannot be written, not even with an
// error, or read, or fails in the middle of a blob.
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
	t.Run("with a panic", func(t *testing.T) {
		c := w.cached(t, proxy.Options{})
		c.disk.panics.Store(true)
		pulls(t, c)
		for _, of := range []string{im.digest, digest} {
			c.log.wait(t, of+`","error":"panic: the driver has a bug"`)
		}
	})
	t.Run("on read", func(t *testing.T) {
		c := w.cached(t, proxy.Options{})
		pulls(t, c)
		c.waitFor(t, digest)
		c.disk.reads.Store(true)
		pulls(t, c)
		c.log.wait(t, "the cache cannot be read")
	})
	t.Run("by standing still", func(t *testing.T) {
		c := w.cached(t, proxy.Options{ManifestTimeout: 200 * time.Millisecond})
		pulls(t, c)
		c.waitFor(t, digest)
		c.disk.still.Store(true)
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

// TestABlobThatIsDamagedInTheCache is never whole, and comes from the registry
// the next time.
func TestABlobThatIsDamagedInTheCache(t *testing.T) {
	for _, size := range []int{50_000, 600_000} {
		w := newWorld(t, nil)
		c := w.cached(t, proxy.Options{})
		blob, digest := bytesOf(1, size)
		w.upstream.lie(serving(blob))
		c.get(blobPath(digest))
		c.waitFor(t, digest)
		c.settle()
		c.damage(t, digest)
		next, err := content.NewStore(t.Context(), content.StoreOptions{Driver: content.Root(c.disk, "registry.example.com", w.front(t).URL.String())})
		if err != nil {
			t.Fatal(err)
		}
		again := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Cache = next })
		if a := again.get(blobPath(digest)); a.cut == nil && !bytes.Equal(a.body, blob) {
			t.Errorf("the damaged one of %d bytes: got %v", size, a)
		}
		if a := again.get(blobPath(digest)); a.status != 200 || a.cut != nil || !bytes.Equal(a.body, blob) {
			t.Errorf("then: got %v, %v", a, a.cut)
		}
		if got := next.Stats().Damaged; got != 1 {
			t.Errorf("%d damaged blobs are counted", got)
		}
	}
}

// damage changes the first byte of what the cache has for a digest.
func (c *cachedGate) damage(t *testing.T, digest string) {
	t.Helper()
	found := ""
	err := c.disk.Walk(t.Context(), "/", func(info driver.FileInfo) error {
		if strings.HasSuffix(info.Path(), strings.TrimPrefix(digest, "sha256:")+"/data") {
			found = info.Path()
		}
		return nil
	})
	raw, readErr := c.disk.GetContent(t.Context(), found)
	if err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	raw = bytes.Clone(raw)
	raw[0] ^= 1
	if err := c.disk.PutContent(t.Context(), found, raw); err != nil {
		t.Fatal(err)
	}
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

// TestWhatTheRegistryHasLostCanBePushedAgain: a client that pushes asks what it need
// not send, and the cache must not answer for the registry.
func TestWhatTheRegistryHasLostCanBePushedAgain(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	one := w.push("acme/app", "1.0", "one")
	c := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Trust, reg.Passthrough, reg.Push = trust, true, true })
	paths := []string{"/v2/acme/app/manifests/" + one.digest, blobPath(one.blob)}
	for _, path := range paths {
		if get, head := c.get(path), c.do("HEAD", path); get.status != 200 || head.status != 200 {
			t.Fatal(get, head)
		}
	}
	c.waitFor(t, one.blob)
	w.upstream.lie(status(404))
	for _, path := range paths {
		if a := c.do("HEAD", path); a.status != 404 {
			t.Errorf("HEAD %s: got %v", path, a)
		}
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

// TestAManifestThatCouldNotBeKept is kept when there is room again, although it is
// served from memory all the time.
func TestAManifestThatCouldNotBeKept(t *testing.T) {
	w, clock := newWorld(t, nil), newClock()
	one := w.push("acme/app", "1.0", "one")
	disk := &moodyDriver{StorageDriver: inmemory.New()}
	store, err := content.NewStore(t.Context(), content.StoreOptions{Driver: disk, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	c := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Cache = store })
	read := func() {
		t.Helper()
		if a := c.get("/v2/acme/app/manifests/" + one.digest); a.status != 200 {
			t.Fatal(a)
		}
	}
	disk.writes.Store(true)
	read()
	for store.Stats().Failures == 0 {
		time.Sleep(time.Millisecond)
	}
	disk.writes.Store(false)
	w.upstream.lie(status(500))
	for range 100 {
		read()
		time.Sleep(time.Millisecond)
		if _, err := store.Manifest(t.Context(), "acme/app", digestName(one.digest)); err == nil {
			return
		}
		clock.advance(2 * time.Minute)
	}
	t.Error("it is not kept")
}

// TestWhatIsDeletedWhileItIsFetchedIsNotKept, wherever the fetch is.
func TestWhatIsDeletedWhileItIsFetchedIsNotKept(t *testing.T) {
	for _, kind := range []string{"manifests", "blobs"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, nil)
			one := w.push("acme/app", "1.0", "one")
			c := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) { reg.Passthrough, reg.Push = true, true })
			path, body := "/v2/acme/app/manifests/"+one.digest, one.body
			if kind == "blobs" {
				var digest string
				body, digest = bytesOf(1, 5000)
				path = blobPath(digest)
			}
			begun, goOn := make(chan struct{}), make(chan struct{})
			w.upstream.lie(func(w http.ResponseWriter, r *http.Request) {
				switch r.Method {
				case http.MethodDelete:
					w.WriteHeader(202)
				case http.MethodGet:
					close(begun)
					<-goOn
					fallthrough
				default:
					w.Header().Set("Content-Type", dockerV2)
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
				}
			})
			first := make(chan answer)
			go func() { a, _ := c.try("GET", path); first <- a }()
			<-begun
			if a := c.send("DELETE", path, ""); a.status != 202 {
				t.Errorf("DELETE: got %v", a)
			}
			close(goOn)
			if a := <-first; a.status != 200 || !bytes.Equal(a.body, body) {
				t.Errorf("who asked before: got %v", a)
			}
			w.upstream.lie(func(w http.ResponseWriter, r *http.Request) { // what is there is proven by anything
				if r.Method == http.MethodGet {
					w.WriteHeader(404)
				}
			})
			if a := c.get(path); a.status != 404 {
				t.Errorf("afterwards: got %v", a)
			}
			c.settle()
			if stats, err := c.store.Sweep(t.Context()); err != nil || stats.Links != 0 {
				t.Errorf("kept: %+v, %v", stats, err)
			}
		})
	}
}
