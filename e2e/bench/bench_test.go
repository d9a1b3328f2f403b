package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

func TestParseSample(t *testing.T) {
	s, err := parseSample("Running 2s test\n  1 threads\n" + marker + `{"requests":200,"duration":2000000,"bytes":4194304,"p50":500.0,"p99":1500.5,"connect":0,"read":0,"write":0,"status":0,"timeout":0}` + "\nmore\n")
	if err != nil || s.failed() != nil {
		t.Fatal(err, s.failed())
	}
	s.cpu = 4 * time.Millisecond
	if s.perSecond() != 100 || s.mibPerSecond() != 2 || s.P99 != 1500.5 || s.cpuPerRead() != 20 || s.cpuPerMiB() != 1000 {
		t.Errorf("got %+v", s)
	}
	if _, err := parseSample("unable to connect"); err == nil || !strings.Contains(err.Error(), "unable to connect") {
		t.Errorf("without a report: %v", err)
	}
}

func TestASampleWithAnErrorIsWorthless(t *testing.T) {
	for _, s := range []sample{{}, {Requests: 1, Connect: 1}, {Requests: 1, Read: 1}, {Requests: 1, Write: 1}, {Requests: 1, Status: 1}, {Requests: 1, Timeout: 1}} {
		if s.failed() == nil {
			t.Errorf("%+v passes", s)
		}
	}
}

func TestParseGo(t *testing.T) {
	results := parseGo(`goos: linux
pkg: github.com/sealgate/sealgate/trustcache/notary
cpu: AMD EPYC
BenchmarkFirstLook/10_tags-2         	    1000	    200 ns/op	  16 B/op	       1 allocs/op
BenchmarkFirstLook/10_tags-2         	    1000	    100 ns/op	  16 B/op	       1 allocs/op
BenchmarkFirstLook/10_tags-2         	    1000	    400 ns/op	  16 B/op	       1 allocs/op
PASS
ok  	github.com/sealgate/sealgate/trustcache/notary	1.2s
pkg: github.com/sealgate/sealgate/e2e/bench
BenchmarkMemoryPerTag 	       1	 309129312 ns/op	       147.1 B/tag
`)
	for _, tc := range []struct {
		row  goRow
		unit string
		want float64
	}{
		{goRow{pkg: "trustcache/notary", name: "FirstLook/10_tags"}, "ns/op", 200},
		{goRow{pkg: "trustcache/notary", name: "FirstLook/10_tags"}, "allocs/op", 1},
		{goRow{pkg: "e2e/bench", name: "MemoryPerTag"}, "B/tag", 147.1},
	} {
		if got, ok := results.median(tc.row, tc.unit); !ok || got != tc.want {
			t.Errorf("%s in %s: got %v, %v, want %v", tc.row.name, tc.unit, got, ok, tc.want)
		}
	}
	if _, ok := results.median(goRow{pkg: "proxy", name: "FirstLook/10_tags"}, "ns/op"); ok {
		t.Error("a benchmark was found in a package that does not have it")
	}
}

func TestParseStat(t *testing.T) {
	group, used, ok := parseStat("42 (a) b (c) S 1 40 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 8 0 100 1 1")
	if !ok || group != 40 || used != 2*time.Second {
		t.Errorf("got %d, %s, %v", group, used, ok)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1 2"} {
		if _, _, ok := parseStat(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParsePeakRSS(t *testing.T) {
	if rss, err := parsePeakRSS("Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"); err != nil || rss != 2<<20 {
		t.Errorf("got %d, %v", rss, err)
	}
	if _, err := parsePeakRSS("Name:\tx\n"); err == nil {
		t.Error("no VmHWM, no error")
	}
}

func TestRoundsRotate(t *testing.T) {
	s := settings{Rounds: 3, log: io.Discard}
	var order, kept []string
	var tasks []task
	for _, name := range []string{"a", "b"} {
		tasks = append(tasks, task{
			what:    name,
			measure: func(context.Context) (sample, error) { order = append(order, name); return sample{}, nil },
			keep:    func(sample) { kept = append(kept, name) },
			after:   func() {},
			show:    showTags,
		})
	}
	if err := s.rounds(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "b", "a", "a", "b"}; !slices.Equal(order, want) || !slices.Equal(kept, want) {
		t.Errorf("measured %v, kept %v, want %v", order, kept, want)
	}
	broken := errors.New("broken")
	tasks[1].measure = func(context.Context) (sample, error) { return sample{}, broken }
	if err := s.rounds(t.Context(), tasks); !errors.Is(err, broken) {
		t.Errorf("a failed measurement: %v", err)
	}
}

func TestRatioIsThatOfTheRounds(t *testing.T) {
	// The machine was half as fast in the second round, and odd in the third.
	a := series{{Requests: 100, Micros: 1e6}, {Requests: 50, Micros: 1e6}, {Requests: 1, Micros: 1e6}}
	b := series{{Requests: 200, Micros: 1e6}, {Requests: 100, Micros: 1e6}, {Requests: 1000, Micros: 1e6}}
	if got := ratio(a, b, sample.perSecond); got != 0.5 {
		t.Errorf("got %v", got)
	}
	if got := ratio(a, nil, sample.perSecond); got != 0 {
		t.Errorf("nothing to compare with: got %v", got)
	}
}

func TestGoals(t *testing.T) {
	for _, tc := range []struct {
		name  string
		goal  goal
		value float64
		met   bool
	}{
		{"a lower bound is met at it", goal{least: 0.9}, 0.9, true},
		{"a lower bound is missed below it", goal{least: 0.9}, 0.89, false},
		{"an upper bound is met at it", goal{most: 150}, 150, true},
		{"an upper bound is missed above it", goal{most: 150}, 151, false},
		{"exactly one is one", goal{least: 1, exactly: true}, 1, true},
		{"exactly one is not two", goal{least: 1, exactly: true}, 2, false},
		{"exactly none is none", goal{exactly: true}, 0, true},
		{"exactly none is not one", goal{exactly: true}, 1, false},
	} {
		if tc.goal.met(tc.value) != tc.met {
			t.Errorf("%s: got %v", tc.name, !tc.met)
		}
	}
}

// whole is a run in which every part measured something.
func whole() *results {
	r := &results{
		settings:    settings{Rounds: 1, Seconds: 6, parts: parts},
		goTests:     goResults{},
		tags:        map[string]series{},
		blobs:       map[string]series{},
		growth:      map[int]series{},
		cachedBlobs: map[string]series{sealgate: {{Requests: 1, Bytes: 1 << 30, Micros: 1e6}}, nginxFull: {{Requests: 1, Bytes: 1 << 30, Micros: 8e5}}},
		cachedTags:  map[string]series{sealgate: {{Requests: 20_000, Micros: 1e6}}, mirror: {{Requests: 150, Micros: 1e6}}},
		crowd:       []crowdResult{{what: "cold", rss: 151 << 20, reads: 64}, {what: "cached", rss: 60 << 20}},
		crowdBlob:   crowdBlob,
		crowdBlobs:  64,
		growRSS:     map[int]int64{10_000: 90 << 20},
		growAsks:    map[int]int{10_000: 17},
		steady:      &sample{Requests: 40, Micros: 4e7},
		asked:       map[string]int{"timestamp": 321},
		rss:         120 << 20,
		first:       []firstResult{{refreshes: 1, manifests: 1}, {refreshes: 2, manifests: 1}},
	}
	for i, name := range order {
		r.tags[name] = series{{Requests: int64(1000 - 100*i), Micros: 1e6, P99: 1000}}
	}
	for _, name := range []string{sealgate, nginx} {
		r.blobs[name] = series{{Requests: 1, Bytes: 1 << 30, Micros: 1e6}}
	}
	for i, n := range r.settings.repositories() {
		r.growth[n] = series{{Requests: 1000, Micros: 1e6, P99: float64(1000 + 300*i)}}
	}
	for _, row := range goRows {
		r.goTests[row.key()] = goResult{row.unit: {100}, "allocs/op": {0}}
	}
	return r
}

func TestTheReportSaysWhatWasMissed(t *testing.T) {
	text := whole().text()
	for _, line := range []string{
		"| tag reads / bare net/http with an access log | ≥ 0.90 | 1.25 | met |",
		"| peak RSS, one repository in use, tags and blobs | ≤ 100 MiB | 120 MiB | **missed** |",
		"| peak RSS, the most repositories in use | ≤ 100 MiB | 90 MiB | met |",
		"| cached blobs / nginx from its cache | ≥ 0.90 | 0.80 | **missed** |",
		"| cached tag reads / docker-registry's mirror | ≥ 100 | 133 | met |",
		"| peak RSS, 64 clients with a cold blob of 256 MiB each | ≤ 150 MiB | 151 MiB | **missed** |",
		"| peak RSS, 64 clients with a cached blob of 256 MiB each | ≤ 150 MiB | 60 MiB | met |",
		"| cold | 151 MiB | 64 | 0s |",
		"| resolve | ≤ 150 ns | 100 ns | met |",
		"| p99 with the most repositories / with one | ≤ 1.20 | 1.60 | **missed** |",
		"| 1,000 first requests: refreshes | exactly 1 | 2 | **missed** |",
		"| 1,000 first requests: manifest fetches | exactly 1 | 1 | met |",
		"| 10000 | 1000 | (1000–1000) | 0.00 ms | 1.60 ms | 1.60 | 90 MiB | 17 |",
		"321 timestamps",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	if n := strings.Count(text, "met |") + strings.Count(text, "**missed** |"); n != len(goals) {
		t.Errorf("%d verdicts for %d goals", n, len(goals))
	}
	for _, row := range goRows {
		if !strings.Contains(text, "| "+row.what+" |") {
			t.Errorf("%q is not in the report", row.what)
		}
	}
}

func TestAPartialReportHasNoRowsOfOtherParts(t *testing.T) {
	r := whole()
	r.settings.parts = []string{"tags"}
	r.goTests, r.blobs, r.growth, r.growRSS, r.first, r.steady = nil, nil, nil, nil, nil, nil
	r.cachedBlobs, r.cachedTags, r.crowd = nil, nil, nil
	text := r.text()
	if strings.Contains(text, "## In the process") || strings.Contains(text, "resolve") || strings.Contains(text, "From the cache\n") || strings.Contains(text, "Large blobs") || !strings.Contains(text, "partial run") {
		t.Errorf("got\n%s", text)
	}
}

func TestABusyMachineIsNamed(t *testing.T) {
	for load, busy := range map[string]bool{"0.31": false, "3.57": true, "": false} {
		r := whole()
		r.machine.load = load
		if strings.Contains(r.text(), "busy") != busy {
			t.Errorf("load %q: want busy %v in\n%s", load, busy, r.text())
		}
	}
}

func TestOnlyAWholeRunWritesTheDocument(t *testing.T) {
	for args, out := range map[string]string{
		"":                       document,
		"-rounds 3":              document,
		"-out x.md":              "x.md",
		"-short":                 "",
		"-parts tags,go":         "",
		"-sealgate /bin/true":    "",
		"-short -out x.md":       "",
		"-parts go -out some.md": "",
	} {
		s, err := parse(strings.Fields(args), io.Discard)
		if err != nil || s.out != out {
			t.Errorf("%q: document %q, %v, want %q", args, s.out, err, out)
		}
	}
	for _, bad := range []string{"-rounds 0", "-seconds 0", "-parts tag", "x", "-nothing"} {
		if _, err := parse(strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestABlobOfAQuarryIsWhatItsDigestSays(t *testing.T) {
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	const size = 3<<20 + 17
	q, err := openQuarry(ca, 3, size)
	if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	l := &lab{ca: ca}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, DisableKeepAlives: true}}
	seen := map[string]bool{}
	for _, path := range q.paths {
		req, err := l.request(t.Context(), q.url+path)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		n, err := io.Copy(h, resp.Body)
		resp.Body.Close()
		if sum := hex.EncodeToString(h.Sum(nil)); err != nil || n != size || !strings.HasSuffix(path, sum) || seen[sum] {
			t.Errorf("%s: %d bytes with the digest %s, %v", path, n, sum, err)
		} else {
			seen[sum] = true
		}
	}
	if n := q.reads.Load(); n != 3 {
		t.Errorf("%d reads were counted", n)
	}
}

func TestFirstReadsAreCountedAtTheUpstreams(t *testing.T) {
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	image := newImage([]byte(`{"schemaVersion":2}`), "application/vnd.docker.distribution.manifest.v2+json")
	m, err := newMetadata(registryName, []string{tag}, image.digest, len(image.body))
	if err != nil {
		t.Fatal(err)
	}
	f, err := startFleet(ca, m, image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.slowDown(time.Millisecond)
	l := &lab{ca: ca, manifest: image}
	clients, err := l.dial(t.Context(), f.url, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, c := range clients {
			c.conn.Close()
		}
	}()
	if err := l.together(clients, f.url+"/v2/bench/r0/manifests/"+image.String()); err != nil {
		t.Error(err)
	}
	if err := l.together(clients, f.url+"/v2/bench/r0/_trust/tuf/timestamp.json"); err == nil {
		t.Error("an answer that is not the manifest passes")
	}
	if asked, want := f.take(), map[string]int{"GET manifest": 5, "timestamp": 5}; !maps.Equal(asked, want) {
		t.Errorf("counted %v, want %v", asked, want)
	}
	if asked := f.take(); len(asked) != 0 {
		t.Errorf("counted %v twice", asked)
	}
}
