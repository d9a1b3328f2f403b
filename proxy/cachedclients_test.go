package proxy_test

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

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

// TestACacheBehindCredentialsOfOurOwn serves whoever may connect, and the registry
// is asked nothing about it.
func TestACacheBehindCredentialsOfOurOwn(t *testing.T) {
	p := newPrivate(t, users)
	p.logIn(t, knownAs("alice", users["alice"]))
	c := p.cached(t, proxy.Options{}, func(reg *proxy.Registry) {
		reg.Trust, reg.Upstream, reg.Anonymous = p.trust, p.reg.Upstream, p.reg.Anonymous
	})
	paths := []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + p.b.digest, blobPath(p.a.blob)}
	for _, path := range paths {
		if a := c.get(path, "Authorization", basic("mallory", "x")); a.status != 200 {
			t.Errorf("%s: got %v", path, a)
		}
	}
	c.waitFor(t, p.a.blob)
	p.quiet()
	for _, path := range paths {
		if a := sameForHead(t, c.gate, path); a.status != 200 || a.header["Www-Authenticate"] != nil {
			t.Errorf("%s: got %v", path, a)
		}
	}
	p.heardNothing(t)
	p.upstream.lie(status(401, "Www-Authenticate", `Basic realm="x"`))
	for _, path := range []string{"/v2/acme/app/manifests/" + im("x").digest, blobPath(im("x").digest)} {
		if a := sameForHead(t, c.gate, path); a.status != 502 || a.header["Www-Authenticate"] != nil {
			t.Errorf("what the registry refuses us: got %v", a)
		}
	}
}

// TestRepositoriesShareNothing: what is cached of one is the registry's to give of
// another.
func TestRepositoriesShareNothing(t *testing.T) {
	w := newWorld(t, nil)
	im := w.push("acme/app", "1.0", "one")
	w.push("acme/other", "1.0", "two")
	c := w.cached(t, proxy.Options{})
	for _, path := range []string{"/v2/acme/app/manifests/" + im.digest, blobPath(im.blob)} {
		if a := c.get(path); a.status != 200 {
			t.Fatal(a)
		}
	}
	c.waitFor(t, im.blob)
	for _, path := range []string{"/v2/acme/other/manifests/" + im.digest, "/v2/acme/other/blobs/" + im.blob} {
		if a := sameForHead(t, c.gate, path); a.status != 404 {
			t.Errorf("%s: got %v", path, a)
		}
	}
}

// TestABlobThatIsKeptElsewhere is fetched where the registry redirects to, without
// the client's credentials, and cached; each client is the registry's to admit.
func TestABlobThatIsKeptElsewhere(t *testing.T) {
	w, cdn, elsewhere, im := redirected(t)
	c := w.cached(t, proxy.Options{AuthorisationTTL: time.Minute}, func(reg *proxy.Registry) {
		reg.Passthrough, reg.Redirected, reg.RedirectHosts = true, elsewhere.Redirected, elsewhere.RedirectHosts
	})
	first := c.get(blobPath(im.blob), "Authorization", alice)
	if first.status != 200 || imageOf(first.body).digest != im.blob {
		t.Fatal(first)
	}
	c.waitFor(t, im.blob)
	for _, got := range cdn.upstream.list() {
		if got.Header["Authorization"] != nil {
			t.Errorf("the other host got %+v", got)
		}
	}
	cdn.quiet()
	if a := sameForHead(t, c.gate, blobPath(im.blob), "Authorization", alice); !bytes.Equal(a.body, first.body) {
		t.Errorf("from the cache: got %v", a)
	}
	if got := cdn.asked(); len(got) != 0 {
		t.Errorf("the other host was asked %v", got)
	}
}

// TestARegistryThatRedirectsOtherwise: 302 says nothing of the client, so that what
// it asks for is forwarded.
func TestARegistryThatRedirectsOtherwise(t *testing.T) {
	w, cdn, elsewhere, im := redirected(t)
	c := w.cached(t, proxy.Options{}, func(reg *proxy.Registry) {
		reg.Passthrough, reg.Redirected, reg.RedirectHosts = true, elsewhere.Redirected, elsewhere.RedirectHosts
	})
	w.upstream.lie(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, cdn.registry.URL()+r.URL.Path, http.StatusFound)
	})
	for range 2 {
		if a := c.get(blobPath(im.blob), "Authorization", alice); a.status != 200 || imageOf(a.body).digest != im.blob {
			t.Errorf("got %v", a)
		}
	}
}
