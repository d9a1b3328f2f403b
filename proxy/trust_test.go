package proxy_test

import (
	"bytes"
	cryptosha256 "crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

const trustPath = "/v2/" + registryName + "/acme/app/_trust/tuf/"

func TestTrustMetadataIsPassedByteForByte(t *testing.T) {
	w := newWorld(t, nil)
	w.init("acme/app", releases)
	w.sign("acme/app", "1.0", w.push("acme/app", "1.0", "one"), releases)
	reg := w.front(t)
	reg.Passthrough = true
	g := gateFor(t, reg)
	for role, file := range map[string]string{"root": "root.json", "timestamp": "timestamp.json", "snapshot": "snapshot.json", "targets": "targets.json", releases: releases + ".json"} {
		raw := w.notary.File(gun("acme/app"), role)
		if raw == nil {
			t.Fatalf("there is no %s", role)
		}
		for _, name := range []string{file, fmt.Sprintf("%s.%x.json", role, cryptosha256.Sum256(raw))} {
			w.quiet()
			a := g.get(trustPath + name)
			if a.status != 200 || !bytes.Equal(a.body, raw) || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: got %v %v", name, a, a.header)
			}
		}
	}
	a := g.get(trustPath + "1.root.json")
	if a.status != 200 || !bytes.Equal(a.body, w.notary.File(gun("acme/app"), "root")) {
		t.Errorf("1.root.json: got %v", a)
	}
	if a := g.get(trustPath + "7.root.json"); a.status != 404 || a.code() != "METADATA_NOT_FOUND" {
		t.Errorf("7.root.json: got %v", a)
	}
	w.heardNoTag(t)
}

// exposed is a trust server over a registry, either of them private or not.
type exposed struct {
	*private
	root []byte
}

func newExposed(t *testing.T, users map[string]string, expose proxy.Expose, notaryClosed bool) (exposed, *gate) {
	e := exposed{private: newPrivate(t, users)}
	e.init("acme/app")
	e.root = e.notary.File(gun("acme/app"), "root")
	if notaryClosed {
		e.notarySpy.lie(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != bob {
				rw.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.example.com",service="r"`)
				rw.WriteHeader(401)
				return
			}
			send("application/json", e.root)(rw, r)
		})
	}
	e.reg.Expose = expose
	e.quiet()
	return e, e.gate(t, time.Minute)
}

func TestToWhomTrustMetadataIsExposed(t *testing.T) {
	for _, tt := range []struct {
		name         string
		users        map[string]string
		expose       proxy.Expose
		notaryClosed bool
		as           string
		status       int
		code         string
		registry     int // how often it was asked
		notary       int
	}{
		{"auto, open registry, a stranger", nil, proxy.ExposeAuto, false, "", 200, "", 1, 2},
		{"auto, open registry, with a token for the GUN alone", nil, proxy.ExposeAuto, false, "Bearer of-the-gun", 200, "", 1, 2},
		{"auto, private registry, a stranger", users, proxy.ExposeAuto, false, "", 401, "UNAUTHORIZED", 1, 1},
		{"auto, private registry, a wrong password", users, proxy.ExposeAuto, false, basic("alice", "x"), 401, "UNAUTHORIZED", 2, 1},
		{"auto, private registry, somebody let in", users, proxy.ExposeAuto, false, alice, 200, "", 2, 2},
		{"auto, closed Notary, a stranger", users, proxy.ExposeAuto, true, "", 401, "", 0, 2},
		{"auto, closed Notary, somebody it does not know", users, proxy.ExposeAuto, true, alice, 401, "", 0, 2},
		{"auto, closed Notary, somebody it knows", users, proxy.ExposeAuto, true, bob, 200, "", 0, 2},
		{"always, private registry, a stranger", users, proxy.ExposeAlways, false, "", 200, "", 0, 1},
		{"never, open registry, a stranger", nil, proxy.ExposeNever, false, "", 404, "METADATA_NOT_FOUND", 0, 0},
		{"never, private registry, somebody let in", users, proxy.ExposeNever, false, alice, 404, "METADATA_NOT_FOUND", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, g := newExposed(t, tt.users, tt.expose, tt.notaryClosed)
			var header []string
			if tt.as != "" {
				header = []string{"Authorization", tt.as}
			}
			a := g.get(trustPath+"root.json", header...)
			if a.status != tt.status || a.code() != tt.code || (tt.status == 200) != bytes.Equal(a.body, e.root) {
				t.Errorf("got %v, want %d %s", a, tt.status, tt.code)
			}
			if registry, notary := len(e.registry.Requests()), len(e.notary.Requests()); registry != tt.registry || notary != tt.notary {
				t.Errorf("the registry was asked %d times and the trust server %d times, want %d and %d", registry, notary, tt.registry, tt.notary)
			}
			if e.heardNoTag(t); tt.notaryClosed && a.status == 401 && a.header.Get("Www-Authenticate") != `Bearer realm="https://auth.example.com",service="r"` {
				t.Errorf("the trust server's challenge came as %q", a.header.Get("Www-Authenticate"))
			}
		})
	}
}

func TestTrustMetadataOfOtherNames(t *testing.T) {
	e, g := newExposed(t, nil, proxy.ExposeAlways, false)
	for _, target := range []string{
		"/v2/docker.io/acme/app/_trust/tuf/root.json", "/v2/registry.example.comx/acme/app/_trust/tuf/root.json", "/v2/" + registryName + ":5000/acme/app/_trust/tuf/root.json",
		"/v2/acme/app/_trust/tuf/root.json", "/v2/x/" + registryName + "/acme/app/_trust/tuf/root.json",
	} {
		if a := g.get(target); a.status != 404 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	if len(e.notary.Requests())+len(e.registry.Requests()) != 0 {
		t.Errorf("somebody was asked: %v %v", e.notary.Requests(), e.asked())
	}
	for _, target := range []string{trustPath + "timestamp.key", trustPath, "/v2/_trust/changefeed", "/v2/" + registryName + "/acme/app/_trust/changefeed"} {
		if a := g.get(target); a.status != 404 || len(e.notary.Requests()) != 0 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	for _, method := range []string{"POST", "DELETE"} {
		if a := g.do(method, trustPath); a.status != 405 || len(e.notary.Requests()) != 0 {
			t.Errorf("%s: got %v", method, a)
		}
	}
}

func TestTrustMetadataWhereItCannotBeKnown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect":       status(302, "Location", "https://evil.example/"),
		"status 500":       status(500),
		"status 502":       status(502),
		"another status":   status(418),
		"no answer at all": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, expose := range []proxy.Expose{proxy.ExposeAlways, proxy.ExposeAuto} {
				e, g := newExposed(t, nil, expose, false)
				e.notarySpy.lie(answer)
				a := g.get(trustPath + "root.json")
				if a.status != 503 || a.code() != "UNAVAILABLE" || a.header.Get("Retry-After") == "" || a.header["Location"] != nil || strings.Contains(string(a.body), lie) {
					t.Errorf("got %v %v", a, a.header)
				}
			}
		})
	}
	t.Run("an absence is told as such", func(t *testing.T) {
		e, g := newExposed(t, nil, proxy.ExposeAuto, false)
		e.trust.fail("acme/app", trustcache.ErrNoTrustData)
		if a := g.get(trustPath + "root.json"); a.status != 404 || a.code() != "METADATA_NOT_FOUND" {
			t.Errorf("got %v", a)
		}
		e.trust.fail("acme/app", trustcache.ErrMalicious)
		if a := g.get(trustPath + "root.json"); a.status != 503 {
			t.Errorf("got %v", a)
		}
	})
}

func TestHeadersThatReachTheTrustServer(t *testing.T) {
	e, g := newExposed(t, nil, proxy.ExposeAlways, false)
	header := append([]string{"Authorization", alice, "Accept", "application/json"}, oddHeaders[2:]...)
	g.get(trustPath+"root.json", header...)
	got := e.notarySpy.list()
	want := http.Header{"Authorization": {alice}, "Accept": {"application/json"}, "User-Agent": {"sealgate"}}
	if len(got) != 1 || differentHeaders(got[0].Header, want) != nil || got[0].Target != trustPath+"root.json" {
		t.Errorf("the trust server got %+v, want %v", got, want)
	}
}
