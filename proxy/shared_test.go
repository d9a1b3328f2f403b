package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy"
)

// newPublic is a registry that everybody reads, with 1.0 of acme/app signed.
func newPublic(t *testing.T) (*world, proxy.Registry, image) {
	t.Helper()
	w := newWorld(t, nil)
	im := w.push("acme/app", "1.0", "one")
	trust := &pretend{}
	trust.sign("acme/app", target("1.0", im))
	reg := w.front(t)
	reg.Trust = trust
	w.quiet()
	return w, reg, im
}

// answerImage answers as the registry would.
func answerImage(w http.ResponseWriter, im image) {
	w.Header().Set("Content-Type", dockerV2)
	w.Write(im.body)
}

// TestWhatARegistryShowedIsNotTakenForAnothers: after a reload the name may
// stand for another registry, and what the first showed to one client is not
// the second's to everybody.
func TestWhatARegistryShowedIsNotTakenForAnothers(t *testing.T) {
	p := newPrivate(t, users)
	first := proxy.New(proxy.Options{Registries: []proxy.Registry{p.reg}, AuthorisationTTL: time.Minute, Log: zerolog.Nop()})
	const path = "/v2/acme/app/manifests/1.0"
	if a := serveGate(t, first).get(path, "Authorization", alice); a.status != 200 {
		t.Fatal(a)
	}
	other := newWorld(t, nil)
	public := other.push("acme/app", "x", "of the other registry")
	reg := other.front(t)
	reg.Trust, reg.Passthrough = p.trust, true
	g := serveGate(t, proxy.New(proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: time.Minute, Log: zerolog.Nop(), Before: first}))
	if a := g.get("/v2/acme/app/manifests/" + public.digest); a.status != 200 {
		t.Fatal(a)
	}
	if a := g.get(path); a.status != 404 {
		t.Errorf("a stranger got %v", a)
	}
}

// TestWithoutPassthroughAllClientsAreOne: what they say of themselves was never
// judged by the registry, and admits nobody when a reload asks for it.
func TestWithoutPassthroughAllClientsAreOne(t *testing.T) {
	w, reg, im := newPublic(t)
	before := proxy.New(proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: time.Minute, Log: zerolog.Nop()})
	g := serveGate(t, before)
	release := make(chan struct{})
	var arrived sync.Once
	reached := make(chan struct{})
	w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
		arrived.Do(func() { close(reached) })
		<-release
		answerImage(rw, im)
	})
	var all sync.WaitGroup
	const path = "/v2/acme/app/manifests/1.0"
	for i := range 20 {
		all.Go(func() {
			if a := g.get(path, "Authorization", fmt.Sprint("Bearer ", i)); a.status != 200 {
				t.Errorf("got %v", a)
			}
		})
	}
	<-reached
	close(release)
	all.Wait()
	if asked := w.asked(); len(asked) != 1 {
		t.Errorf("the registry was asked %v", asked)
	}
	reg.Passthrough = true
	w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
	after := serveGate(t, proxy.New(proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: time.Minute, Log: zerolog.Nop(), Before: before}))
	for _, authorization := range []string{"Bearer 1", "Bearer other"} {
		if a := after.get(path, "Authorization", authorization); a.status != 401 {
			t.Errorf("%s: got %v", authorization, a)
		}
	}
}

// TestNothingIsSharedWhenNothingIsRemembered: with a ttl of zero each request
// is put to the registry, also while another one's answer is on its way.
func TestNothingIsSharedWhenNothingIsRemembered(t *testing.T) {
	p := newPrivate(t, users)
	g := p.gate(t, 0)
	first, release := make(chan struct{}), make(chan struct{})
	var begun sync.Once
	p.upstream.lie(func(w http.ResponseWriter, r *http.Request) {
		mine := false
		begun.Do(func() { mine = true })
		if !mine { // the token was taken back meanwhile
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		close(first)
		<-release
		answerImage(w, p.a)
	})
	const path = "/v2/acme/app/manifests/1.0"
	var all sync.WaitGroup
	all.Go(func() {
		if a := g.get(path, "Authorization", alice); a.status != 200 {
			t.Errorf("the first: got %v", a)
		}
	})
	<-first
	if a := g.get(path, "Authorization", alice); a.status != 401 {
		t.Errorf("the second: got %v", a)
	}
	close(release)
	all.Wait()
}

// bomb is a transport with a defect.
type bomb struct{}

func (bomb) RoundTrip(*http.Request) (*http.Response, error) { panic("boom") }

func TestAPanicInWhatRequestsShareIsSeenAsOne(t *testing.T) {
	trust := &pretend{}
	trust.sign("acme/app", target("1.0", imageOf([]byte("{}"))))
	var got proxy.Outcome
	log := &logBuffer{}
	h := proxy.New(proxy.Options{Log: zerolog.New(log), Observe: func(o proxy.Outcome) { got = o },
		Registries: []proxy.Registry{{Name: registryName, Hosts: []string{registryName}, URL: mustURL(t, "http://x"), Upstream: bomb{}, Trust: trust}}})
	r := httptest.NewRequest("GET", "/v2/acme/app/manifests/1.0", nil)
	r.Host = registryName
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 500 || !got.Panicked || strings.Contains(w.Body.String(), "boom") {
		t.Errorf("answered %d %s, outcome %+v", w.Code, w.Body, got)
	}
	if text := log.String(); !strings.Contains(text, "boom") || !strings.Contains(text, "bomb.RoundTrip") {
		t.Errorf("no stack of it in the log: %s", text)
	}
}
