package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

// named is an upstream that answers everything with its own name.
type named struct {
	name string
	mu   sync.Mutex
	got  []string // targets
}

func (n *named) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, r.URL.RequestURI())
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(n.name)), Request: r}, nil
}

func (n *named) targets() (got []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	got, n.got = n.got, nil
	return got
}

// namedRegistry is a registry of this name whose tags all pass.
func namedRegistry(t *testing.T, name string, hosts, mirrors []string) (*named, proxy.Registry) {
	up := &named{name: name}
	return up, proxy.Registry{
		Name: name, Hosts: hosts, MirrorHosts: mirrors,
		URL: mustURL(t, "https://origin.of."+strings.ReplaceAll(name, ":", ".")), Upstream: up,
		Policy: always(proxy.Policy{Mode: proxy.Disabled}),
	}
}

// TestWhichRegistryAnswers: by Host, and by ns only where it may choose.
func TestWhichRegistryAnswers(t *testing.T) {
	_, hub := namedRegistry(t, "docker.io", []string{"hub.example.com", "docker.io"}, []string{"mirror.example.com"})
	_, one := namedRegistry(t, "one.example.com:5000", []string{"one.example.com"}, []string{"mirror.example.com", "own.example.com:8443"})
	_, two := namedRegistry(t, "two.example.com", []string{"two.example.com", "own.example.com", "*"}, nil)
	_, six := namedRegistry(t, "six.example.com", []string{"fd00::6"}, []string{"fd00::7"})
	all := []proxy.Registry{hub, one, two, six}
	withoutStar := slices.Clone(all)
	withoutStar[2].Hosts = []string{"two.example.com", "own.example.com"}
	const refused = "421"
	for _, tt := range []struct {
		name, host, query, want string
		withoutStar             bool
	}{
		{name: "the host of a registry", host: "one.example.com", want: "one.example.com:5000"},
		{name: "the host of a registry drops ns", host: "one.example.com", query: "ns=docker.io", want: "one.example.com:5000"},
		{name: "the host of a registry drops what is no ns", host: "one.example.com", query: "ns=&ns=%zz", want: "one.example.com:5000"},
		{name: "a mirror, by name", host: "mirror.example.com", query: "ns=docker.io", want: "docker.io"},
		{name: "a mirror, on any port", host: "mirror.example.com:8443", query: "ns=docker.io", want: "docker.io"},
		{name: "a mirror, in capitals", host: "MIRROR.example.com", query: "ns=Docker.IO", want: "docker.io"},
		{name: "a mirror, by Docker Hub's old name", host: "mirror.example.com", query: "ns=index.docker.io", want: "docker.io"},
		{name: "a mirror, by Docker Hub's host", host: "mirror.example.com", query: "ns=registry-1.docker.io", want: "docker.io"},
		{name: "a mirror, by name with a port, as containerd escapes it", host: "mirror.example.com", query: "ns=one.example.com%3A5000", want: "one.example.com:5000"},
		{name: "a mirror, by name with a port", host: "mirror.example.com", query: "ns=one.example.com:5000", want: "one.example.com:5000"},
		{name: "a mirror, by host", host: "mirror.example.com", query: "ns=one.example.com", want: "one.example.com:5000"},
		{name: "a mirror, ns among other keys", host: "mirror.example.com", query: "a=b&ns=docker.io&n=1", want: "docker.io"},
		{name: "a mirror, with another port", host: "mirror.example.com", query: "ns=one.example.com:5001", want: refused},
		{name: "a mirror of others", host: "mirror.example.com", query: "ns=two.example.com", want: refused},
		{name: "a mirror of nobody of that name", host: "mirror.example.com", query: "ns=evil.example", want: refused},
		{name: "a mirror, an empty ns", host: "mirror.example.com", query: "ns=", want: refused},
		{name: "a mirror, ns without a value", host: "mirror.example.com", query: "ns", want: refused},
		{name: "a mirror, ns twice", host: "mirror.example.com", query: "ns=docker.io&ns=one.example.com", want: refused},
		{name: "a mirror, the same ns twice", host: "mirror.example.com", query: "ns=docker.io&ns=docker.io", want: refused},
		{name: "a mirror, ns twice, once escaped", host: "mirror.example.com", query: "ns=docker.io&%6es=one.example.com", want: refused},
		{name: "a mirror, ns with a path", host: "mirror.example.com", query: "ns=docker.io%2Flibrary", want: refused},
		{name: "a mirror, ns with a user", host: "mirror.example.com", query: "ns=a%40docker.io", want: refused},
		{name: "a mirror, ns as a URL", host: "mirror.example.com", query: "ns=https://docker.io", want: refused},
		{name: "a mirror, ns with a broken escape", host: "mirror.example.com", query: "ns=docker.io%", want: refused},
		{name: "a mirror, ns with a line's end", host: "mirror.example.com", query: "ns=docker.io%0d%0a", want: refused},
		{name: "a mirror, a star", host: "mirror.example.com", query: "ns=*", want: refused},
		{name: "a mirror without ns falls back to the star", host: "mirror.example.com", want: "two.example.com"},
		{name: "a mirror without ns and without a star", host: "mirror.example.com", want: refused, withoutStar: true},
		{name: "a mirror without a star", host: "mirror.example.com", query: "ns=docker.io", want: "docker.io", withoutStar: true},
		{name: "a mirror that is a host, without ns", host: "own.example.com:8443", want: "two.example.com"},
		{name: "a mirror that is a host, with ns", host: "own.example.com:8443", query: "ns=one.example.com", want: "one.example.com:5000"},
		{name: "a mirror that is a host, with its own ns, which does not list it", host: "own.example.com:8443", query: "ns=two.example.com", want: refused},
		{name: "a host that is a mirror on another port only", host: "own.example.com", query: "ns=one.example.com", want: "two.example.com"},
		{name: "an address that is a mirror", host: "[fd00::7]", query: "ns=%5Bfd00%3A%3A6%5D", want: "six.example.com"},
		{name: "an address that is a mirror, with a port", host: "[fd00::7]:8443", query: "ns=six.example.com", want: "six.example.com"},
		{name: "any other host, by the star", host: "elsewhere.example.com", want: "two.example.com"},
		{name: "any other host, with ns", host: "elsewhere.example.com", query: "ns=six.example.com", want: "six.example.com"},
		{name: "any other host, with an ns that nobody has", host: "elsewhere.example.com", query: "ns=evil.example", want: refused},
		{name: "any other host without a star", host: "elsewhere.example.com", query: "ns=docker.io", want: refused, withoutStar: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			registries := all
			if tt.withoutStar {
				registries = withoutStar
			}
			g := startGate(t, proxy.Options{Registries: registries})
			target := "/v2/acme/app/manifests/1.0"
			if tt.query != "" {
				target += "?" + tt.query
			}
			a := g.rawGet("GET", target, "Host: "+tt.host)
			got := string(a.body)
			if a.status == 421 {
				got = refused
			}
			if tt.want == refused && tt.query == "" && !strings.Contains(a.message(), "needs ns") {
				t.Errorf("it does not say what is missing: %v", a)
			}
			if got != tt.want {
				t.Errorf("got %v, want the answer of %s", a, tt.want)
			}
		})
	}
}

// TestNsReachesNoUpstream, whatever is asked for.
func TestNsReachesNoUpstream(t *testing.T) {
	up, reg := namedRegistry(t, "docker.io", []string{"docker.io"}, []string{"mirror.example.com"})
	g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}})
	for _, path := range []string{"", "team/app/manifests/1.0", "team/app/manifests/" + sha256, "team/app/blobs/" + sha256, "team/app/referrers/" + sha256, "team/app/tags/list"} {
		for _, host := range []string{"docker.io", "mirror.example.com"} {
			if a := g.rawGet("GET", "/v2/"+path+"?ns=docker.io", "Host: "+host); a.status != 200 {
				t.Errorf("%s: got %v", path, a)
			}
			if got := up.targets(); path != "" && !slices.Equal(got, []string{"/v2/" + path}) {
				t.Errorf("%s: the upstream was asked %q", path, got)
			}
		}
	}
}

// TestAClientGoesOnWhereNsHasLedIt: without ns, the star would be shown what the
// client has for another registry.
func TestAClientGoesOnWhereNsHasLedIt(t *testing.T) {
	_, star := namedRegistry(t, "star.example.com", []string{"*"}, nil)
	_, one := namedRegistry(t, "one.example.com:5000", []string{"one.example.com"}, []string{"mirror.example.com"})
	for _, tt := range []struct{ target, location, link, wantLocation, wantLink string }{
		{target: "/v2/app/blobs/" + sha256 + "?ns=one.example.com%3A5000", location: "/v2/app/blobs/x", wantLocation: "/v2/app/blobs/x?ns=one.example.com%3A5000"},
		{target: "/v2/app/blobs/" + sha256 + "?ns=one.example.com", location: "/v2/app/blobs/x?a=b", wantLocation: "/v2/app/blobs/x?a=b&ns=one.example.com"},
		{target: "/v2/app/blobs/" + sha256 + "?ns=one.example.com", location: "https://elsewhere.example/x", wantLocation: "https://elsewhere.example/x"},
		{target: "/v2/app/blobs/" + sha256, location: "/v2/app/blobs/x", wantLocation: "/v2/app/blobs/x"},
		{target: "/v2/app/tags/list?n=1&ns=one.example.com", link: `</v2/app/tags/list?n=1&last=a>; rel="next"`, wantLink: `</v2/app/tags/list?n=1&last=a&ns=one.example.com>; rel="next"`},
		{target: "/v2/app/tags/list?n=1", link: `</v2/app/tags/list?n=1&last=a>; rel="next"`, wantLink: `</v2/app/tags/list?n=1&last=a>; rel="next"`},
	} {
		answer := hook(func(r *http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
			if tt.location != "" {
				resp.StatusCode, resp.Header["Location"] = 307, []string{tt.location}
			}
			if tt.link != "" {
				resp.Header["Link"] = []string{tt.link}
			}
			return resp, nil
		})
		one.Upstream, star.Upstream = answer, answer
		g := startGate(t, proxy.Options{Registries: []proxy.Registry{star, one}})
		a := g.rawGet("GET", tt.target, "Host: mirror.example.com")
		if a.header.Get("Location") != tt.wantLocation || a.header.Get("Link") != tt.wantLink {
			t.Errorf("%s: got Location %q and Link %q, want %q and %q", tt.target, a.header.Get("Location"), a.header.Get("Link"), tt.wantLocation, tt.wantLink)
		}
	}
}

// TestTwoRegistriesShareNothing but the names of their repositories: trust,
// manifests in memory, what was remembered of a client and its credentials stay
// with the registry that they are of, on the hosts of both and on their mirror.
func TestTwoRegistriesShareNothing(t *testing.T) {
	one, two := newWorld(t, map[string]string{"alice": "alices-secret"}), newWorld(t, map[string]string{"bob": "bobs-secret"})
	trust := &pretend{}
	reg := func(w *world, name string) (proxy.Registry, image, image) {
		signed, unsigned := w.push("acme/app", "1.0", "of "+name), w.push("acme/app", "only", "more of "+name)
		r := w.front(t)
		r.Name, r.Hosts, r.MirrorHosts, r.Trust, r.Passthrough = name, []string{name}, []string{"mirror.example.com"}, trust, true
		trust.signGUN(name+"/acme/app", target("1.0", signed))
		return r, signed, unsigned
	}
	first, ofOne, onlyOne := reg(one, "one.example.com")
	second, ofTwo, _ := reg(two, "two.example.com")
	trust.signGUN("one.example.com/acme/app", target("1.0", ofOne), target("only", onlyOne))
	one.quiet()
	two.quiet()
	g := startGate(t, proxy.Options{Registries: []proxy.Registry{first, second}, AuthorisationTTL: time.Minute})
	for round := range 2 { // the second one from memory
		for _, at := range []struct{ host, query string }{{"", ""}, {"mirror.example.com", "?ns="}} {
			ask := func(name, tag, authorization string) answer {
				host, query := at.host, at.query
				if host == "" {
					host = name
				} else {
					query += name
				}
				return g.rawGet("GET", "/v2/acme/app/manifests/"+tag+query, "Host: "+host, "Authorization: "+authorization)
			}
			if a := ask("one.example.com", "1.0", alice); a.status != 200 || !bytes.Equal(a.body, ofOne.body) {
				t.Errorf("round %d at %q: alice got %v of her registry", round, at.host, a)
			}
			if a := ask("two.example.com", "1.0", bob); a.status != 200 || !bytes.Equal(a.body, ofTwo.body) {
				t.Errorf("round %d at %q: bob got %v of his registry", round, at.host, a)
			}
			if a := ask("one.example.com", "only", alice); a.status != 200 || !bytes.Equal(a.body, onlyOne.body) {
				t.Errorf("round %d at %q: alice got %v", round, at.host, a)
			}
			if a := ask("two.example.com", "only", bob); a.status != 404 {
				t.Errorf("round %d at %q: what is signed at the one registry is visible at the other: %v", round, at.host, a)
			}
			if a := ask("two.example.com", "1.0", alice); a.status != 401 {
				t.Errorf("round %d at %q: alice got %v of bob's registry", round, at.host, a)
			}
			if a := ask("one.example.com", "1.0", bob); a.status != 401 {
				t.Errorf("round %d at %q: bob got %v of alice's registry", round, at.host, a)
			}
		}
	}
	for _, w := range []*world{one, two} {
		w.heardNoTag(t)
	}
	// What alice says to the one registry the other does not hear.
	one.quiet()
	two.quiet()
	for _, target := range []string{"/v2/", "/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + ofOne.digest, "/v2/acme/app/blobs/" + ofOne.blob, "/v2/acme/app/tags/list"} {
		g.rawGet("GET", target+"?ns=one.example.com", "Host: mirror.example.com", "Authorization: Bearer of-alice-alone")
		g.rawGet("GET", target+"?ns=two.example.com", "Host: one.example.com", "Authorization: Bearer of-alice-alone")
	}
	if got := two.asked(); len(got) != 0 {
		t.Errorf("the other registry was asked %q", got)
	}
	if len(one.asked()) == 0 {
		t.Error("nobody was asked")
	}
}

// TestTheLogHasTheNamespaceThatNobodyHas: nothing else in the line tells it.
func TestTheLogHasTheNamespaceThatNobodyHas(t *testing.T) {
	_, one := namedRegistry(t, "one.example.com", []string{"one.example.com"}, []string{"mirror.example.com"})
	for query, cause := range map[string]any{"ns=evil.example&token=hunter2": `ns="evil.example"`, "ns=hunter2/x": nil} {
		g := startGate(t, proxy.Options{Registries: []proxy.Registry{one}})
		if a := g.rawGet("GET", "/v2/acme/app/manifests/1.0?"+query, "Host: mirror.example.com"); a.status != http.StatusMisdirectedRequest {
			t.Errorf("got %v", a)
		}
		g.stop() // waits for the line
		line := lines(t, g)[0]
		if line["reason"] != "unknown-namespace" || line["cause"] != cause {
			t.Errorf("%s: got %v", query, line)
		}
		for field, value := range line {
			if text, ok := value.(string); ok && strings.Contains(text, "hunter2") {
				t.Errorf("%s: %s repeats the query: %s", query, field, text)
			}
		}
	}
}
