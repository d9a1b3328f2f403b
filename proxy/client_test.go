package proxy_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/sealgate/sealgate/proxy"
)

// TestARefusedClientLearnsNothing: whatever it asks for, it gets one answer, and
// nobody else hears of it.
func TestARefusedClientLearnsNothing(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	image := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", image))
	reg := w.front(t)
	reg.Trust = trust
	g := startGate(t, proxy.Options{
		Registries: []proxy.Registry{reg},
		Client: func(*http.Request) proxy.Client {
			return proxy.Client{Address: "192.0.2.1", Refused: errors.New("a secret rule")}
		},
	})
	w.quiet()
	for _, path := range []string{"/v2/", "/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + image.digest, "/v2/acme/app/tags/list", "/nothing"} {
		a := g.rawGet(http.MethodGet, path)
		isRefusal(t, a, http.StatusForbidden, "DENIED", "this client is not one of those that sealgate serves", nil)
	}
	w.heardNothing(t)
}
