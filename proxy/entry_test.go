package proxy_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy"
)

// full is an entry with something in each of its fields, as no request has it.
func full() proxy.Entry {
	return proxy.Entry{
		Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Alarm: true, RequestID: "0f", TraceID: "0e", Client: "10.0.0.7", Certificate: "ci", Method: "GET",
		Registry: "registry.example.com", Route: proxy.ManifestByTag, Repository: "team/app",
		Tag: "1.0", Digest: "sha256:d", File: "root.json", Prefix: "/ui/", Host: "evil.example", Path: "/v2/x",
		Decision: "pass", Reason: "unsigned", Message: "no trust data", From: "store", Would: "deny", UpstreamDigest: "sha256:u", SignedDigest: "sha256:s", Signers: []string{"targets/releases"},
		LengthDiffers: true, SignedLength: 7, Stale: "timeout", Cause: "why", Status: 200, Bytes: 42, Duration: 1500 * time.Microsecond,
	}
}

// TestTheSchemaOfTheAuditLogStaysAsItIs: others read it with programs of their
// own. Fields are added here, and none is changed.
func TestTheSchemaOfTheAuditLogStaysAsItIs(t *testing.T) {
	entry := full()
	fields := reflect.ValueOf(entry)
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			t.Errorf("%s is not looked at here", fields.Type().Field(i).Name)
		}
	}
	var line bytes.Buffer
	log := zerolog.New(&line)
	log.Log().EmbedObject(&entry).Send()
	const want = `{"alarm":true,"request_id":"0f","client":"10.0.0.7","method":"GET","registry":"registry.example.com","route":"manifest-by-tag",` +
		`"trace_id":"0e","client_certificate":"ci","path":"/v2/x","repository":"team/app","tag":"1.0","digest":"sha256:d","file":"root.json","prefix":"/ui/",` +
		`"decision":"pass","reason":"unsigned","from":"store","would":"deny","upstream_digest":"sha256:u","signed_digest":"sha256:s","signers":["targets/releases"],` +
		`"signed_length_differs":7,"stale":"timeout","cause":"why","status":200,"bytes":42,"duration_ms":1.5}` + "\n"
	if line.String() != want {
		t.Errorf("got\n%swant\n%s", &line, want)
	}
	line.Reset()
	log.Log().EmbedObject(&proxy.Entry{Host: "evil.example"}).Send()
	const least = `{"request_id":"","client":"","method":"","registry":"","route":"refused","host":"evil.example","path":"","decision":"","status":0,"bytes":0,"duration_ms":0}` + "\n"
	if line.String() != least {
		t.Errorf("got\n%swant\n%s", &line, least)
	}
}

func TestTheManualHasEveryFieldOfTheAuditLog(t *testing.T) {
	manual, err := os.ReadFile("../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(manual), "| `reason` | what to do |")
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*)\\|").FindAllStringSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
			documented[name[1]] = true
		}
	}
	var line bytes.Buffer
	entry, refused := full(), proxy.Entry{}
	log := zerolog.New(&line)
	log.Log().EmbedObject(&entry).EmbedObject(&refused).Str("time", "").Str("level", "").Send()
	var written map[string]any
	if err := json.Unmarshal(line.Bytes(), &written); err != nil {
		t.Fatal(err)
	}
	for name := range written {
		if !documented[name] {
			t.Errorf("%s is not in docs/log.md", name)
		}
	}
	for name := range documented {
		if _, found := written[name]; !found {
			t.Errorf("docs/log.md has %s, which is never written", name)
		}
	}
}

// TestWhoeverKeepsRecordsGetsWhatTheLineSays of every request, at any level of
// the log.
func TestWhoeverKeepsRecordsGetsWhatTheLineSays(t *testing.T) {
	p := newPrivate(t, users)
	for _, tt := range []struct{ name, target, host string }{
		{"a signed tag", "/v2/acme/app/manifests/1.0", registryName},
		{"an unsigned tag", "/v2/acme/app/manifests/unsigned", registryName},
		{"a blob", "/v2/acme/app/blobs/" + p.a.blob, registryName},
		{"trust data", "/v2/" + registryName + "/acme/app/_trust/tuf/root.json", registryName},
		{"no route", "/v2/acme/app//1.0", registryName},
		{"no route, for terminals", "/v2/\u009b2J\u202e//" + strings.Repeat("\u00e9", 200), registryName},
		{"an unknown host", "/v2/", "evil.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var got []proxy.Entry
			g := startGate(t, proxy.Options{
				Registries: []proxy.Registry{p.reg}, AuthorisationTTL: time.Minute,
				Entries: func(e proxy.Entry) { mu.Lock(); defer mu.Unlock(); got = append(got, e) },
			})
			before := time.Now()
			g.rawGet(http.MethodGet, tt.target, "Host: "+tt.host, "Authorization: "+alice)
			g.stop()
			all := lines(t, g)
			if len(got) != 2 || len(all) != 2 { // rawGet ends the connection with a request of its own
				t.Fatalf("%d entries, %d lines", len(got), len(all))
			}
			if e := got[0]; e.Time.Before(before) || e.Time.After(time.Now()) || e.Duration <= 0 {
				t.Errorf("it ended %s, after %s", e.Time, e.Duration)
			}
			var again bytes.Buffer
			log := zerolog.New(&again)
			log.WithLevel(got[0].Level()).EmbedObject(&got[0]).Msg("request")
			if text := strings.TrimSpace(again.String()); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("the line has what a terminal obeys: %q", text)
			}
			var fields map[string]any
			if err := json.Unmarshal(again.Bytes(), &fields); err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(fields, all[0], func(a, b any) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("the entry has %v\nthe line    %v", fields, all[0])
			}
		})
	}
}

// TestARecordThatIsKeptIsNoLargerThanWhatItSays, and neither is what is remembered
// of a repository: a client chooses how long the line of a request is that names it.
func TestARecordThatIsKeptIsNoLargerThanWhatItSays(t *testing.T) {
	const size, each = 60 << 10, 50
	p := newPrivate(t, nil)
	for name, tt := range map[string]struct{ method, target string }{
		"a tag":      {http.MethodGet, "/v2/acme/app/manifests/unsigned"},
		"a blob":     {http.MethodGet, "/v2/acme/app/blobs/" + p.a.blob},
		"trust data": {http.MethodGet, "/v2/" + registryName + "/acme/app/_trust/tuf/root.json"},
		"no route":   {http.MethodGet, "/v2/acme/app//1.0"},
		"no GUN":     {http.MethodGet, "/v2/" + strings.Repeat("x", size) + "/acme/app/_trust/tuf/root.json"},
		"a method":   {strings.Repeat("X", size), "/v2/acme/app/manifests/unsigned"},
	} {
		t.Run(name, func(t *testing.T) {
			var kept []proxy.Entry
			h := proxy.New(proxy.Options{Registries: []proxy.Registry{p.reg}, Entries: func(e proxy.Entry) { kept = append(kept, e) }})
			before := inUse()
			for range each {
				r := httptest.NewRequest(tt.method, tt.target+"?"+strings.Repeat("x", size), nil)
				r.Host = registryName
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			if grown := inUse() - before; len(kept) != each || grown > each*size/2 {
				t.Errorf("%d records keep %d bytes", len(kept), grown)
			}
			runtime.KeepAlive(kept)
		})
	}
}

// inUse is how much memory is.
func inUse() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // pools keep something over one
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestRecordsAreKeptAtAnyLevelOfTheLog(t *testing.T) {
	p := newPrivate(t, nil)
	got := make(chan proxy.Entry, 1)
	var log bytes.Buffer
	g := serveGate(t, proxy.New(proxy.Options{
		Registries: []proxy.Registry{p.reg}, Log: zerolog.New(&log).Level(zerolog.ErrorLevel),
		Entries: func(e proxy.Entry) { got <- e },
	}))
	g.get("/v2/acme/app/manifests/unsigned")
	if e := <-got; e.Tag != "unsigned" || e.Decision != "deny" || e.Reason != "unsigned" || e.Status != 404 {
		t.Errorf("got %+v", e)
	}
	g.stop()
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
}
