package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// newExempt is a private registry in which "1.0" is signed, "dev-1", "dev-2" and
// "a-dev" are exempt, and "unsigned" is neither.
func newExempt(t *testing.T) *private {
	t.Helper()
	p := newPrivate(t, users)
	for _, tag := range []string{"dev-1", "dev-2", "a-dev", "devel"} {
		p.push("acme/app", tag, tag)
	}
	p.reg.Policy = always(proxy.Policy{Exempt: []string{"dev-*", "*-dev"}})
	p.quiet()
	return p
}

func listOfTags(t *testing.T, a answer) []string {
	t.Helper()
	var list struct{ Tags []string }
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != 200 {
		t.Fatalf("no list: %v", a)
	}
	return list.Tags
}

// TestAnExemptTagNeverConsultsTrust, whatever is known or wrong there, and the
// tags beside it do.
func TestAnExemptTagNeverConsultsTrust(t *testing.T) {
	p := newExempt(t)
	p.trust.fail("acme/app", fmt.Errorf("%w: forged", trustcache.ErrMalicious))
	g := p.gate(t, time.Minute)
	for tag, status := range map[string]int{"dev-1": 200, "a-dev": 200, "dev-none": 404, "1.0": 503, "unsigned": 503, "devel": 503, "DEV-1": 503} {
		a := sameForHead(t, g, "/v2/acme/app/manifests/"+tag, "Authorization", alice, "Accept", dockerV2+", "+ociManifest)
		if a.status != status {
			t.Errorf("%s: got %v", tag, a)
		}
	}
	if a := g.get("/v2/acme/app/manifests/dev-1"); a.status != 401 {
		t.Errorf("a stranger got %v", a)
	}
	g.stop()
	seen := 0
	for _, line := range lines(t, g) {
		if exempt := line["tag"] == "dev-1" || line["tag"] == "a-dev"; exempt && line["status"] == 200.0 {
			seen++
			if line["decision"] != "pass" || line["reason"] != "exempt" {
				t.Errorf("logged as %v", line)
			}
		}
	}
	if seen == 0 {
		t.Error("no line of an exempt tag")
	}
}

func TestExemptTagsAreListedWithTheSignedOnes(t *testing.T) {
	p := newExempt(t)
	g := p.gate(t, time.Minute)
	want := []string{"1.0", "2.0", "a-dev", "dev-1", "dev-2"}
	if got := listOfTags(t, g.get("/v2/acme/app/tags/list", "Authorization", alice)); !slices.Equal(got, want) {
		t.Errorf("listed %q", got)
	}
	for n := 1; n <= len(want)+1; n++ { // page by page
		var got []string
		next := fmt.Sprintf("/v2/acme/app/tags/list?n=%d", n)
		for next != "" {
			a := g.get(next, "Authorization", alice)
			page := listOfTags(t, a)
			if len(page) > n {
				t.Errorf("n=%d: a page of %d", n, len(page))
			}
			got = append(got, page...)
			next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
		}
		if !slices.Equal(got, want) {
			t.Errorf("n=%d: listed %q", n, got)
		}
	}
	for _, authorization := range []string{"", basic("mallory", "x")} {
		if a := g.get("/v2/acme/app/tags/list", "Authorization", authorization); a.status != 401 {
			t.Errorf("%q got %v", authorization, a)
		}
	}
	if got := listOfTags(t, g.get("/v2/acme/nowhere/tags/list", "Authorization", alice)); len(got) != 0 {
		t.Errorf("of a repository that is not there: %q", got)
	}
}

// TestARegistryThatListsOddly: nothing of it gets through, and it ends.
func TestARegistryThatListsOddly(t *testing.T) {
	page := func(w http.ResponseWriter, more bool, tags ...string) {
		if more {
			w.Header().Set("Link", `<x>; rel="next"`)
		}
		json.NewEncoder(w).Encode(map[string]any{"tags": tags})
	}
	asked := 0
	for name, c := range map[string]struct {
		list   http.HandlerFunc
		status int
		want   []string
	}{
		"pages": {func(w http.ResponseWriter, r *http.Request) {
			page(w, r.URL.Query().Get("last") == "", "dev-"+r.URL.Query().Get("last")+"x")
		}, 200, []string{"1.0", "2.0", "dev-dev-xx", "dev-x"}},
		"no tags":            {func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`{"name":"x","tags":null}`)) }, 200, []string{"1.0", "2.0"}},
		"repeated, unsorted": {func(w http.ResponseWriter, r *http.Request) { page(w, false, "dev-b", "dev-a", "dev-b", "1.0") }, 200, []string{"1.0", "2.0", "dev-a", "dev-b"}},
		"what is no tag": {func(w http.ResponseWriter, r *http.Request) {
			page(w, true, "dev-/../x", "dev-\n", "dev-"+strings.Repeat("x", 200))
		}, 200, []string{"1.0", "2.0"}},
		"the same page": {func(w http.ResponseWriter, r *http.Request) { page(w, true, "dev-a") }, 502, nil},
		"no end":        {func(w http.ResponseWriter, r *http.Request) { asked++; page(w, true, fmt.Sprint("dev-", asked)) }, 502, nil},
		"no JSON":       {func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>")) }, 502, nil},
		"too much": {func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(`{"tags":["` + strings.Repeat("x", 5<<20) + `"]}`))
		}, 502, nil},
		"403": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }, 403, nil},
		"500": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, 502, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newExempt(t)
			p.upstream.lie(c.list)
			a := p.gate(t, time.Minute).get("/v2/acme/app/tags/list", "Authorization", alice)
			if a.status != c.status {
				t.Fatalf("got %v", a)
			}
			if c.want != nil {
				if got := listOfTags(t, a); !slices.Equal(got, c.want) {
					t.Errorf("listed %q", got)
				}
			}
		})
	}
}

// TestAPolicyIsForItsRepositories: modes beside each other behind one gate.
func TestAPolicyIsForItsRepositories(t *testing.T) {
	p := newPrivate(t, users)
	modes := map[string]proxy.Mode{registryName + "/acme/app": proxy.Enforced, registryName + "/acme/plain": proxy.Permissive}
	p.reg.Policy = func(gun string) *proxy.Policy {
		mode, ok := modes[gun]
		if !ok {
			mode = proxy.Disabled
		}
		return &proxy.Policy{Mode: mode}
	}
	p.push("acme/free", "x", "six")
	g := p.gate(t, time.Minute)
	for _, tt := range []struct {
		repository, tag string
		status          int
		warning         bool
	}{
		{"acme/app", "1.0", 200, false}, {"acme/app", "unsigned", 404, false},
		{"acme/plain", "unsigned", 200, true}, {"acme/free", "x", 200, false},
	} {
		a := g.get("/v2/"+tt.repository+"/manifests/"+tt.tag, "Authorization", alice, "Accept", dockerV2+", "+ociManifest)
		if a.status != tt.status || (a.header.Get("Warning") != "") != tt.warning {
			t.Errorf("%s:%s: got %v with warning %q", tt.repository, tt.tag, a, a.header.Get("Warning"))
		}
	}
}

// TestWhoMayOnlyListSeesNoSignedTags: the registry's list admits nobody to the
// names that are signed.
func TestWhoMayOnlyListSeesNoSignedTags(t *testing.T) {
	for _, trustErr := range []error{nil, trustcache.ErrMalicious} {
		p := newExempt(t)
		if trustErr != nil {
			p.trust.fail("acme/app", trustErr)
		}
		p.upstream.lie(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/tags/list") {
				w.Write([]byte(`{"tags":["dev-1","1.0"]}`))
				return
			}
			w.WriteHeader(http.StatusForbidden)
		})
		a := p.gate(t, time.Minute).get("/v2/acme/app/tags/list", "Authorization", alice)
		if got := listOfTags(t, a); !slices.Equal(got, []string{"dev-1"}) || a.header.Get("Warning") != "" {
			t.Errorf("listed %q with %q", got, a.header.Get("Warning"))
		}
	}
}

// TestAListOfManyTagsTakesLittleMemory: the registry's list is bounded, and
// read once for all who ask for it with the same credentials.
func TestAListOfManyTagsTakesLittleMemory(t *testing.T) {
	p := newExempt(t)
	var page strings.Builder
	page.WriteString(`{"tags":["dev-x"`)
	for i := 0; page.Len() < 900<<10; i++ {
		fmt.Fprintf(&page, `,"dev-%d"`, i)
	}
	var asked atomic.Int64
	release := make(chan struct{})
	p.upstream.lie(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		<-release
		w.Header().Set("Link", `<x>; rel="next"`)
		fmt.Fprintf(w, `%s,"dev-z%d"]}`, page.String(), n)
	})
	g := p.gate(t, time.Minute)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if a := g.get("/v2/acme/app/tags/list?n=1", "Authorization", alice); a.status != 502 {
				t.Errorf("got %v", a)
			}
		})
	}
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	all.Wait()
	if n := asked.Load(); n > 20 { // one page is more than the tags that are kept
		t.Errorf("the registry was asked %d times", n)
	}
}

// TestAListSaysThatItMayBeShort where a tag by itself cannot be judged.
func TestAListSaysThatItMayBeShort(t *testing.T) {
	_, reg, _ := newPublic(t)
	trust := &pretend{}
	trust.views = map[string]trustcache.View{gun("acme/app"): {Snapshot: trustcache.NewSnapshot(trustcache.Contents{
		GUN: gun("acme/app"), Expires: time.Now().Add(time.Hour),
		Hidden: []trustcache.HiddenTag{{Tag: "1.0", Roles: []string{releases}, Missing: []string{"qa"}, Doubt: "targets/team cannot be read"}},
	})}}
	reg.Trust = trust
	g := gateFor(t, reg)
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 503 {
		t.Errorf("got %v", a)
	}
	if a := g.get("/v2/acme/app/tags/list"); len(listOfTags(t, a)) != 0 || !strings.Contains(a.header.Get("Warning"), "cannot be judged") {
		t.Errorf("got %v with %q", a, a.header.Get("Warning"))
	}
}
