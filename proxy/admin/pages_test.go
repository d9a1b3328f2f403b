package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache"
)

const gun = registry + "/app"

// watched is an admin.Watched with one registry.
type watched struct {
	fakeState
	hosts    []string
	uses     []trustcache.Use
	reload   admin.Reload
	policy   admin.Policy
	certs    []admin.Certificate
	compare  func(ctx context.Context, tags []string) ([]admin.InRegistry, error)
	compared []string
}

func (w *watched) Process() admin.Process {
	return admin.Process{Version: "1.2.3", Started: epoch.Add(-time.Hour), Now: epoch}
}
func (w *watched) Registries() []admin.RegistrySettings {
	return []admin.RegistrySettings{{Name: registry, Mode: "enforced", Upstream: "origin.internal", Notary: "notary.internal", MaxCache: 1000}}
}
func (w *watched) Policy(string) admin.Policy        { return w.policy }
func (w *watched) Certificates() []admin.Certificate { return w.certs }
func (w *watched) LastReload() admin.Reload          { return w.reload }
func (w *watched) Hosts() []string                   { return w.hosts }

func (w *watched) Compare(ctx context.Context, _ string, tags []string) ([]admin.InRegistry, error) {
	if w.compare == nil {
		return make([]admin.InRegistry, len(tags)), nil
	}
	w.compared = tags
	return w.compare(ctx, tags)
}

func (w *watched) Trust() []admin.TrustState {
	if w.uses == nil {
		w.uses = []trustcache.Use{use(gun, snapshot(gun, "1.0=a", "1.1=b"))}
	}
	return []admin.TrustState{{
		Registry: registry, Stats: trustcache.Stats{Known: len(w.uses), Fresh: len(w.uses), Hits: 3, Misses: 1},
		InUse: func(n int) []trustcache.Use { return append([]trustcache.Use{}, w.uses[:min(n, len(w.uses))]...) },
		Peek: func(gun string) (trustcache.Use, bool) {
			for _, u := range w.uses {
				if u.GUN == gun {
					return u, true
				}
			}
			return trustcache.Use{}, false
		},
	}}
}

// use is a repository with fresh trust data.
func use(gun string, s *trustcache.Snapshot) trustcache.Use {
	ends, _ := s.Expires()
	return trustcache.Use{
		GUN: gun, Snapshot: s, Condition: trustcache.Fresh, Contact: epoch.Add(-time.Minute), Ends: ends,
		Roles: []trustcache.RoleExpiry{{Role: "timestamp", Expires: epoch.AddDate(0, 0, 9)}, {Role: "targets", Expires: ends}},
	}
}

// seen is what happened so far, for pages to show.
func seen() *admin.Recent {
	r := admin.NewRecent()
	d := denied("nightly", "unsigned", -5)
	d.Cause = "the cause"
	r.Deny(d, "10.0.0.7")
	r.Refreshed(trustcache.Refresh{GUN: gun, Err: trustcache.ErrRolledBack}, epoch.Add(-time.Minute))
	r.Refreshed(trustcache.Refresh{GUN: gun, Before: snapshot(gun), After: snapshot(gun, "1.1=b")}, epoch.Add(-time.Minute))
	return r
}

func newPages(t *testing.T, w *watched) http.Handler { return newPagesOf(t, w, seen()) }

func newPagesOf(t *testing.T, w *watched, recent *admin.Recent) http.Handler {
	t.Helper()
	metrics, _ := newMetrics(t)
	metrics.Request(admin.RequestOutcome{Registry: registry, Route: "blob", Decision: "pass", Status: 200, From: "store"})
	metrics.Request(admin.RequestOutcome{Registry: registry, Route: "blob", Decision: "pass", Status: 206, From: "store"})
	metrics.Request(admin.RequestOutcome{Registry: registry, Route: "manifest-by-tag", Decision: "allow", Reason: "signed", Status: 200, From: "upstream"})
	w.caches = []admin.CacheState{{Registry: registry, Bytes: 250, Objects: 2, LastSweep: epoch}}
	p, err := admin.NewPages(admin.PagesOptions{Watched: w, Recent: recent, Metrics: metrics, Ready: ready})
	must(t, err)
	return p
}

// ask asks by the name localhost.
func ask(p http.Handler, method, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestPagesAndWhatTheySay(t *testing.T) {
	w := &watched{
		policy: admin.Policy{Mode: "permissive", Match: registry + "/*", RequiredSigners: []string{"qa"}, ExemptTags: []string{"dev-*"}},
		certs:  []admin.Certificate{{Names: []string{"gate.example.com"}, Issuer: "CA", Source: "files", NotAfter: epoch.Add(50 * time.Hour)}},
		reload: admin.Reload{Time: epoch.Add(-time.Minute), Error: "a mistake"},
	}
	p := newPages(t, w)
	for _, c := range []struct {
		method, target string
		status         int
		says           []string
	}{
		{"GET", "/", 200, []string{"nightly", "unsigned", "why", "the cause", "10.0.0.7", "rolled-back", "newly signed", "in 365 days",
			"gate.example.com", "Expires in 2 days", "Reload refused", "a mistake", "75 % of 4", "250 B of 1000 B (25 %)", "66 % of 3"}},
		{"HEAD", "/", 200, nil},
		{"GET", "/?q=1.1", 200, []string{"<b>:1.1</b>", "targets"}},
		{"GET", "/?q=" + registry + "/app:1.0", 200, []string{"<b>:1.0</b>"}},
		{"GET", "/?q=10.0.0.7", 200, []string{"nightly"}},
		{"GET", "/?q=nothing-has-this", 200, []string{"No tag in memory", "No repository in memory"}},
		{"GET", "/denials", 200, []string{"nightly"}},
		{"GET", "/denials?q=other", 200, []string{"Nothing with that in it"}},
		{"GET", "/changes", 200, []string{"newly signed", "1.1"}},
		{"GET", "/repositories", 200, []string{gun}},
		{"GET", "/repositories/" + gun, 200, []string{"permissive", "required signers: <b>qa</b>", "dev-*", "1.0", "it cannot be verified", "in 9 days", "Compare with the registry"}},
		{"GET", "/repositories/" + gun + "?q=1.1", 200, []string{`Signed tags <span class="count">1</span>`}},
		{"GET", "/repositories/" + registry + "/other", 404, []string{"nothing is in memory of this repository"}},
		{"GET", "/nothing", 404, []string{"there is /, /repositories"}},
		{"GET", "/repositories/" + gun + "?limit=0", 400, []string{"limit is a number from 1 to 1000"}},
		{"GET", "/?q=" + strings.Repeat("x", 201), 400, []string{"at most 200 bytes"}},
		{"GET", "/?q=%zz", 400, []string{"malformed"}},
		{"POST", "/", 405, []string{"GET and HEAD are served"}},
		{"DELETE", "/repositories/" + gun, 405, nil},
		{"GET", "/compare/" + gun, 405, []string{"POST it"}},
		{"POST", "/compare/" + gun, 200, []string{"In the registry", "not there"}},
		{"POST", "/compare/" + registry + "/other", 404, nil},
		{"GET", "/assets/style.css", 200, []string{"prefers-color-scheme: dark"}},
		{"GET", "/assets/refresh.js", 200, []string{"replaceChildren"}},
		{"GET", "/assets/icon.svg", 200, nil},
		{"GET", "/assets/overview.html", 404, nil},
		{"GET", "/assets/../watched.go", 404, nil},
	} {
		a := ask(p, c.method, c.target)
		name := c.method + " " + c.target
		if a.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", name, a.Code, c.status, a.Body)
		}
		for _, text := range c.says {
			if !strings.Contains(a.Body.String(), text) {
				t.Errorf("%s: no %q in\n%s", name, text, a.Body)
			}
		}
		h := a.Header()
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") ||
			h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "same-origin" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, h)
		}
		if allow := h.Get("Allow"); (allow != "") != (c.status == 405) {
			t.Errorf("%s: Allow %q", name, allow)
		}
	}
}

// TestWhatStrangersChooseIsShownAsText: names, tags, addresses, reasons, and what
// a reader looks for.
func TestWhatStrangersChooseIsShownAsText(t *testing.T) {
	const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}`
	recent := admin.NewRecent()
	d := denied(evil, evil, 0)
	d.GUN, d.Message, d.Cause, d.Digest, d.Alarm = registry+"/"+evil, evil, evil, evil, true
	recent.Deny(d, evil)
	s := trustcache.NewSnapshot(trustcache.Contents{GUN: gun, Targets: []trustcache.Target{{Tag: evil, Role: evil, Signers: []string{evil}}},
		Hidden: []trustcache.HiddenTag{{Tag: "x" + evil, Roles: []string{evil}}}, Evidence: []trustcache.Evidence{{Role: evil, Note: evil}}})
	u := use(gun, s)
	u.Failure = errors.New(evil)
	p := newPagesOf(t, &watched{uses: []trustcache.Use{u}, policy: admin.Policy{Match: evil}}, recent)
	query := "?q=" + strings.NewReplacer("<", "%3C", " ", "%20", "\"", "%22", ">", "%3E", "{", "%7B", "}", "%7D").Replace(evil)
	for _, path := range []string{"/", "/denials", "/changes", "/repositories", "/repositories/" + gun, "/" + query, "/denials" + query, "/repositories/" + gun + query, "/nothing/%3Cscript%3E"} {
		a := ask(p, "GET", path)
		if body := a.Body.String(); strings.Contains(body, "<script>") || strings.Contains(body, "<img") || !strings.Contains(body, "</html>") {
			t.Errorf("%s: %d\n%s", path, a.Code, body)
		}
	}
	a := ask(p, "GET", "/repositories/"+gun)
	if !strings.Contains(a.Body.String(), "&lt;script&gt;alert(1)") {
		t.Errorf("the tag is not shown:\n%s", a.Body)
	}
}

func TestTheAPIPaginatesTags(t *testing.T) {
	var tags []string
	for i := range 250 {
		tags = append(tags, fmt.Sprintf("t%03d=x", i))
	}
	p := newPages(t, &watched{uses: []trustcache.Use{use(gun, snapshot(gun, tags...))}})
	for _, limit := range []string{"", "&limit=7", "&limit=250", "&limit=1000"} {
		after, got := "", 0
		for {
			var page struct {
				Signed []struct{ Tag string }
				Total  int `json:"signed_total"`
				Next   string
			}
			a := ask(p, "GET", "/api/v1/repositories/"+gun+"?after="+after+limit)
			must(t, json.Unmarshal(a.Body.Bytes(), &page))
			for _, tag := range page.Signed {
				if want := fmt.Sprintf("t%03d", got); tag.Tag != want {
					t.Fatalf("limit %q: got %s, want %s", limit, tag.Tag, want)
				}
				got++
			}
			if page.Total != 250 {
				t.Errorf("total %d", page.Total)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if got != 250 {
			t.Errorf("limit %q: %d tags", limit, got)
		}
	}
}

func TestAComparisonSaysWhatTheRegistryHas(t *testing.T) {
	var tags []string
	for i := range 60 {
		tags = append(tags, fmt.Sprintf("t%02d=x", i))
	}
	w := &watched{uses: []trustcache.Use{use(gun, snapshot(gun, tags...))}}
	same := trustcache.Digest{0: 1, 31: 1}.String()
	w.compare = func(ctx context.Context, tags []string) ([]admin.InRegistry, error) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 30*time.Second {
			t.Error("it may take for ever")
		}
		found := make([]admin.InRegistry, len(tags))
		found[0].Digest, found[1].Digest, found[3].Err = same, "sha256:other", errors.New("the registry denies access")
		return found, nil
	}
	p := newPages(t, w)
	a := ask(p, "POST", "/api/v1/compare/"+gun)
	var c admin.Comparison
	must(t, json.Unmarshal(a.Body.Bytes(), &c))
	if a.Code != 200 || len(c.Tags) != 50 || len(w.compared) != 50 || c.Next != "t49" {
		t.Fatalf("%d: %d tags of %d, next %q", a.Code, len(c.Tags), len(w.compared), c.Next)
	}
	for i, want := range []string{admin.Same, admin.Differs, admin.Absent, admin.Unclear} {
		if c.Tags[i].Result != want || (c.Tags[i].Error != "") != (want == admin.Unclear) {
			t.Errorf("%+v, want %s", c.Tags[i], want)
		}
	}
	if ask(p, "POST", "/api/v1/compare/"+gun+"?after=t49"); len(w.compared) != 10 {
		t.Errorf("the rest are %q", w.compared)
	}
	w.compare = func(context.Context, []string) ([]admin.InRegistry, error) { return nil, errors.New("it is offline") }
	if a := ask(p, "POST", "/api/v1/compare/"+gun); a.Code != 502 || !strings.Contains(a.Body.String(), "offline") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

func TestOneComparisonAtATime(t *testing.T) {
	started, release := make(chan bool), make(chan bool)
	w := &watched{}
	w.compare = func(_ context.Context, tags []string) ([]admin.InRegistry, error) {
		started <- true
		<-release
		return make([]admin.InRegistry, len(tags)), nil
	}
	p := newPages(t, w)
	done := make(chan int)
	go func() { done <- ask(p, "POST", "/compare/"+gun).Code }()
	<-started
	if a := ask(p, "POST", "/api/v1/compare/"+gun); a.Code != 503 || !strings.Contains(a.Body.String(), "another comparison is under way") {
		t.Errorf("the second: %d %s", a.Code, a.Body)
	}
	if a := ask(p, "GET", "/"); a.Code != 200 {
		t.Errorf("a page meanwhile: %d", a.Code)
	}
	close(release)
	if code := <-done; code != 200 {
		t.Errorf("the first: %d", code)
	}
}

// TestTenThousandRepositoriesAreFewOnAPage: and what is looked for is found among
// all of them.
func TestTenThousandRepositoriesAreFewOnAPage(t *testing.T) {
	w := &watched{}
	for i := range 10_000 {
		name := fmt.Sprintf("%s/team/app-%d", registry, i)
		w.uses = append(w.uses, use(name, snapshot(name, "1.0=a", fmt.Sprintf("b%d=c", i))))
	}
	p := newPages(t, w)
	for path, most := range map[string]int{"/": 64 << 10, "/repositories": 2 << 20, "/?q=app-99": 256 << 10, "/api/v1/repositories": 64 << 10, "/api/v1/search?q=app": 64 << 10} {
		if a := ask(p, "GET", path); a.Code != 200 || a.Body.Len() > most {
			t.Errorf("%s: %d, %d bytes", path, a.Code, a.Body.Len())
		}
	}
	if a := ask(p, "GET", "/?q=b9999"); !strings.Contains(a.Body.String(), "app-9999") {
		t.Error("the last one is not found")
	}
	if a := ask(p, "GET", "/"); !strings.Contains(a.Body.String(), "9980 more") {
		t.Error("the page does not say how many are left out")
	}
}

// TestTheManualHasEveryFieldOfTheAPI: and every path.
func TestTheManualHasEveryFieldOfTheAPI(t *testing.T) {
	manual, err := os.ReadFile("../../docs/status.md")
	must(t, err)
	documented := map[string]bool{}
	for _, word := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(manual), -1) {
		documented[word[1]] = true
	}
	for _, answer := range []any{admin.Status{}, admin.Repository{}, admin.Summary{}, admin.Denial{}, admin.Alarm{}, admin.Change{}, admin.Comparison{}, admin.Found{}} {
		for _, field := range jsonFields(reflect.TypeOf(answer)) {
			if !documented[field] {
				t.Errorf("docs/status.md has no %s of %T", field, answer)
			}
		}
	}
	w := &watched{}
	a := ask(newPages(t, w), "GET", "/api/v1/nothing")
	for _, path := range regexp.MustCompile(`/api/v1/[a-zA-Z/]+`).FindAllString(a.Body.String(), -1) {
		if !documented[path] && !documented["POST "+path] {
			t.Errorf("docs/status.md has no %s", path)
		}
		path = strings.Replace(path, "GUN", gun, 1)
		method := "GET"
		if strings.Contains(path, "/compare/") {
			method = "POST"
		}
		answer := ask(newPages(t, w), method, path+"?q=1")
		if answer.Code != 200 || answer.Header().Get("Content-Type") != "application/json" || !json.Valid(answer.Body.Bytes()) || strings.Contains(answer.Body.String(), ":null") {
			t.Errorf("%s %s: %d %s", method, path, answer.Code, answer.Body)
		}
	}
	if a.Code != 404 || a.Header().Get("Content-Type") != "application/json" || !strings.HasPrefix(a.Body.String(), `{"error":"`) {
		t.Errorf("an error of the API: %d %s", a.Code, a.Body)
	}
}

// jsonFields are the names of all fields of an answer, those of its parts too.
func jsonFields(of reflect.Type) (names []string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
		return nil
	}
	for i := range of.NumField() {
		field := of.Field(i)
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
		names = append(names, jsonFields(field.Type)...)
	}
	return names
}
