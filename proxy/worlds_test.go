package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// twin is one of two worlds that differ only in what is not signed.
type twin struct {
	*world
	gate *gate
}

func newTwin(t *testing.T, users map[string]string, passthrough bool, unsigned func(*world) []image) (twin, *pretend, []image) {
	w, trust := newWorld(t, users), &pretend{}
	a, b := w.push("acme/app", "1.0", "one"), w.push("acme/app", "2.0", "two")
	hidden := unsigned(w)
	trust.sign("acme/app", target("1.0", a), target("2.0", b), target("drifted", a), target("gone", imageOf([]byte("never pushed"))))
	trust.fail("acme/dark", trustcache.ErrUnreachable)
	reg := w.front(t)
	reg.Trust, reg.Passthrough, reg.NotaryURL = trust, passthrough, nil
	g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: time.Minute})
	w.quiet()
	return twin{w, g}, trust, append(hidden, a)
}

// TestTwoWorldsThatDifferInUnsignedTags: the same requests get the same
// answers, byte for byte, and leave the same trace at the registry.
func TestTwoWorldsThatDifferInUnsignedTags(t *testing.T) {
	rich := func(w *world) (hidden []image) {
		for _, tag := range []string{"unsigned", "0.0", "zzz", hex64, "sha256-" + hex64, "1.0-rc1"} {
			hidden = append(hidden, w.push("acme/app", tag, tag))
		}
		hidden = append(hidden, w.push("acme/app", "drifted", "moved on"), w.push("acme/plain", "latest", "plain"), w.push("acme/dark", "latest", "dark"))
		return hidden
	}
	poor := func(w *world) []image {
		w.push("acme/plain", "other", "plain")
		return nil
	}
	for _, setup := range []struct {
		name        string
		users       map[string]string
		passthrough bool
		header      []string
	}{
		{"open registry, anonymous gate", nil, false, nil},
		{"open registry, passthrough", nil, true, nil},
		{"private registry, a stranger", users, true, nil},
		{"private registry, somebody let in", users, true, []string{"Authorization", alice}},
	} {
		t.Run(setup.name, func(t *testing.T) {
			one, _, known := newTwin(t, setup.users, setup.passthrough, rich)
			two, _, _ := newTwin(t, setup.users, setup.passthrough, poor)
			signed := one.images["acme/app:1.0"]
			targets := []string{"/v2/", "/v2/_catalog", "/v2/acme/app/manifests/" + signed.digest, "/v2/acme/app/blobs/" + signed.blob, "/v2/acme/app/blobs/" + sha256, "/v2/acme/app/manifests/" + sha256, "/v2/acme/app/referrers/" + signed.digest}
			for _, tag := range []string{"1.0", "2.0", "drifted", "gone", "unsigned", "0.0", "zzz", hex64, "sha256-" + hex64, "1.0-rc1", "absent"} {
				targets = append(targets, "/v2/acme/app/manifests/"+tag)
			}
			for _, repository := range []string{"acme/app", "acme/plain", "acme/dark", "acme/none"} {
				targets = append(targets, "/v2/"+repository+"/manifests/latest", "/v2/"+repository+"/tags/list", "/v2/"+repository+"/tags/list?n=1", "/v2/"+repository+"/tags/list?n=2&last=1.0-rc0")
			}
			for _, target := range targets {
				for _, header := range [][]string{nil, {"If-None-Match", known[0].digest}, {"Range", "bytes=0-9"}, {"Accept", "application/json"}} {
					for _, method := range []string{http.MethodGet, http.MethodHead} {
						header := append(slices.Clone(header), setup.header...)
						one.quiet()
						two.quiet()
						a, b := one.gate.do(method, target, header...), two.gate.do(method, target, header...)
						if what := a.differs(b); what != nil {
							t.Errorf("%s %s %q: the worlds are told apart by %v", method, target, header, what)
						}
						sameTrace(t, one, two, method+" "+target)
					}
				}
			}
		})
	}
}

func sameTrace(t *testing.T, one, two twin, what string) {
	t.Helper()
	a, b := one.registry.Requests(), two.registry.Requests()
	if len(a) != len(b) {
		t.Errorf("%s: one registry was asked %v, the other %v", what, one.asked(), two.asked())
		return
	}
	for i := range a {
		if a[i].Method != b[i].Method || a[i].Target != b[i].Target || a[i].Authorization != b[i].Authorization || differentHeaders(a[i].Header, b[i].Header) != nil {
			t.Errorf("%s: one registry was asked %+v, the other %+v", what, a[i], b[i])
		}
		if strings.Contains(a[i].Target, "unsigned") || strings.Contains(a[i].Target, "/tags/") {
			t.Errorf("%s: the registry was asked %s", what, a[i].Target)
		}
	}
}
