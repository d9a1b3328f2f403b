package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
)

// list asks for a page and returns its tags and where the next one is.
func list(t *testing.T, g *gate, target string) (tags []string, next string) {
	t.Helper()
	a := sameForHead(t, g, target)
	var body struct {
		Name string
		Tags []string
	}
	if err := json.Unmarshal(a.body, &body); err != nil || a.status != 200 || body.Name != "acme/app" || body.Tags == nil {
		t.Fatalf("%s: got %v", target, a)
	}
	want := http.Header{"Content-Type": {"application/json"}, "Content-Length": {fmt.Sprint(len(a.body))}, "Docker-Distribution-Api-Version": {"registry/2.0"}}
	if link := a.header.Get("Link"); link != "" {
		var ok bool
		if next, ok = strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`); !ok || !strings.HasPrefix(next, "/v2/acme/app/tags/list?") {
			t.Fatalf("%s: Link is %q", target, link)
		}
		want["Link"] = []string{link}
	}
	if what := differentHeaders(a.header, want); what != nil {
		t.Errorf("%s: the headers differ from what a list has: %v", target, what)
	}
	return body.Tags, next
}

func listed(t *testing.T, tags ...string) (*world, *gate) {
	t.Helper()
	w, trust := newWorld(t, nil), &pretend{}
	im := imageOf([]byte("x"))
	targets := []trustcache.Target{{Tag: "bare", NoDigest: true, Role: releases}}
	for _, tag := range tags {
		targets = append(targets, target(tag, im))
	}
	trust.sign("acme/app", targets...)
	reg := w.front(t)
	reg.Trust = trust
	return w, gateFor(t, reg)
}

func TestAListNamesTheSignedTags(t *testing.T) {
	w, g := listed(t, "b", "a", "B", "1.10", "1.9", "_x", "aa")
	sorted := []string{"1.10", "1.9", "B", "_x", "a", "aa", "b"}
	w.push("acme/app", "unsigned", "two")
	w.quiet()
	if tags, next := list(t, g, "/v2/acme/app/tags/list"); !slices.Equal(tags, sorted) || next != "" {
		t.Errorf("got %v and %q, want %v: signed, with a digest, sorted", tags, next, sorted)
	}
	for _, n := range []int{1, 2, 3, 4, 6, 7, 8, 1000} {
		t.Run(fmt.Sprintf("in pages of %d", n), func(t *testing.T) {
			var walked []string
			pages := 0
			for next := fmt.Sprintf("/v2/acme/app/tags/list?n=%d", n); next != ""; pages++ {
				var tags []string
				if tags, next = list(t, g, next); len(tags) > n || next != "" && len(tags) != n {
					t.Fatalf("a page of %d tags where %d were asked for", len(tags), n)
				}
				walked = append(walked, tags...)
			}
			if want := (len(sorted) + n - 1) / n; !slices.Equal(walked, sorted) || pages != want {
				t.Errorf("%d pages brought %v, want %d and %v", pages, walked, want, sorted)
			}
		})
	}
	for _, tt := range []struct {
		name, query string
		want        []string
		next        string
	}{
		{"n of zero", "n=0", []string{}, ""},
		{"last alone", "last=a", []string{"aa", "b"}, ""},
		{"last in the middle", "n=2&last=1.9", []string{"B", "_x"}, "/v2/acme/app/tags/list?last=_x&n=2"},
		{"a last that does not exist", "n=1&last=C", []string{"_x"}, "/v2/acme/app/tags/list?last=_x&n=1"},
		{"a last that is an unsigned tag", "n=1&last=unsigned", []string{}, ""},
		{"a last before all", "n=1&last=0", []string{"1.10"}, "/v2/acme/app/tags/list?last=1.10&n=1"},
		{"the last one", "last=b", []string{}, ""},
		{"a last after all", "n=5&last=zzz", []string{}, ""},
		{"a huge n", "n=99999999999999999999", sorted, ""},
		{"keys that nobody knows", "ns=docker.io&n=1&page=7", []string{"1.10"}, "/v2/acme/app/tags/list?last=1.10&n=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tags, next := list(t, g, "/v2/acme/app/tags/list?"+tt.query); !slices.Equal(tags, tt.want) || next != tt.next {
				t.Errorf("got %v and %q, want %v and %q", tags, next, tt.want, tt.next)
			}
		})
	}
	w.heardNothing(t)
}

func TestALongListComesInPagesOfAThousand(t *testing.T) {
	tags := make([]string, 2500)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%04d", i)
	}
	_, g := listed(t, tags...)
	for _, start := range []string{"", "?n=99999999"} {
		page, next := list(t, g, "/v2/acme/app/tags/list"+start)
		if len(page) != 1000 || next != "/v2/acme/app/tags/list?last=t0999&n=1000" {
			t.Fatalf("got %d tags and %q", len(page), next)
		}
		page, next = list(t, g, next)
		if len(page) != 1000 || page[0] != "t1000" {
			t.Fatalf("got %d tags", len(page))
		}
		if page, next = list(t, g, next); len(page) != 500 || next != "" {
			t.Fatalf("got %d tags and %q", len(page), next)
		}
	}
}

func TestAListWithoutTrustData(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	w.push("acme/app", "unsigned", "one")
	w.quiet()
	reg := w.front(t)
	reg.Trust = trust
	g := gateFor(t, reg)
	const empty = `{"name":"acme/app","tags":[]}` + "\n"
	for name, err := range map[string]error{"no trust data": trustcache.ErrNoTrustData, "no pin": trustcache.ErrUnpinned, "nothing signed": nil} {
		t.Run(name+" is an empty list", func(t *testing.T) {
			trust.sign("acme/app")
			trust.fail("acme/app", err)
			for _, query := range []string{"", "?n=1", "?n=0", "?last=a"} {
				if a := sameForHead(t, g, "/v2/acme/app/tags/list"+query); a.status != 200 || string(a.body) != empty || a.header["Link"] != nil {
					t.Errorf("got %v", a)
				}
			}
		})
	}
	for _, err := range []error{trustcache.ErrMalicious, trustcache.ErrExpired, trustcache.ErrVanished, trustcache.ErrUnreachable} {
		t.Run("not knowing is no list: "+err.Error(), func(t *testing.T) {
			trust.fail("acme/app", fmt.Errorf("%w: because", err))
			a := sameForHead(t, g, "/v2/acme/app/tags/list")
			isRefusal(t, a, 503, "UNAVAILABLE", err.Error()+": because", http.Header{"Retry-After": {"5"}})
		})
	}
	w.heardNothing(t)
}

func TestAMalformedPageIsRefused(t *testing.T) {
	w, g := listed(t, "a", "b")
	for _, query := range []string{"n=-1", "n=", "n", "n=1&n=1", "n=1;last=z", "n=0x10", "n=1e3", "n=%31", "last=a&last=b", "last=a%2Fb", "last=-"} {
		if a := sameForHead(t, g, "/v2/acme/app/tags/list?"+query); a.status != 400 {
			t.Errorf("%s: got %v", query, a)
		}
	}
	w.heardNothing(t)
}

func TestALinkNamesOnlyVisibleTags(t *testing.T) {
	_, g := listed(t, "a", "c")
	for _, query := range []string{"?n=1", "?n=1&last=b", "?n=1&last=0"} {
		a := g.get("/v2/acme/app/tags/list" + query)
		if link := a.header.Get("Link"); link != "" && !strings.Contains(link, "last=a&") && !strings.Contains(link, "last=c&") {
			t.Errorf("%s: Link is %q", query, link)
		}
	}
}
