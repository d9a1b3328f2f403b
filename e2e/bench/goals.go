package main

import (
	"fmt"
	"slices"
)

// goal is a figure that was promised.
type goal struct {
	what    string
	want    string
	figure  func(*results) (value float64, ok bool) // not ok: not measured
	most    float64                                 // the bound, from above
	least   float64                                 // or from below
	exactly bool                                    // least is also the most
	format  func(float64) string
}

func (g goal) met(value float64) bool {
	switch {
	case g.exactly:
		return value == g.least
	case g.most > 0:
		return value <= g.most
	}
	return value >= g.least
}

// goals are what the product promises of its speed and size.
var goals = []goal{
	{what: "tag reads / bare net/http with an access log", want: "≥ 0.90", least: 0.9, format: times,
		figure: func(r *results) (float64, bool) { return r.tagRatio(bareHTTP) }},
	{what: "tag reads / nginx from its cache", want: "≥ 0.65", least: 0.65, format: times,
		figure: func(r *results) (float64, bool) { return r.tagRatio(nginx) }},
	{what: "blobs / nginx", want: "≥ 0.95", least: 0.95, format: times,
		figure: func(r *results) (float64, bool) {
			return ratio(r.blobs[sealgate], r.blobs[nginx], sample.mibPerSecond), len(r.blobs[nginx]) > 0
		}},
	{what: "cached blobs / nginx from its cache", want: "≥ 0.90", least: 0.9, format: times,
		figure: func(r *results) (float64, bool) {
			return ratio(r.cachedBlobs[sealgate], r.cachedBlobs[nginxFull], sample.mibPerSecond), len(r.cachedBlobs[nginxFull]) > 0
		}},
	{what: "cached tag reads / docker-registry's mirror", want: "≥ 100", least: 100, format: plain,
		figure: func(r *results) (float64, bool) {
			return ratio(r.cachedTags[sealgate], r.cachedTags[mirror], sample.perSecond), len(r.cachedTags[mirror]) > 0
		}},
	{what: "peak RSS, 64 clients with a cold blob of 256 MiB each", want: "≤ 150 MiB", most: 150 << 20, format: mebibytes, figure: crowdFigure("cold")},
	{what: "peak RSS, 64 clients with a cached blob of 256 MiB each", want: "≤ 150 MiB", most: 150 << 20, format: mebibytes, figure: crowdFigure("cached")},
	{what: "peak RSS, one repository in use, tags and blobs", want: "≤ 100 MiB", most: 100 << 20, format: mebibytes,
		figure: func(r *results) (float64, bool) { return float64(r.rss), len(r.tags)+len(r.blobs) > 0 }},
	{what: "peak RSS, the most repositories in use", want: "≤ 100 MiB", most: 100 << 20, format: mebibytes,
		figure: func(r *results) (float64, bool) {
			rss, ok := r.growRSS[slices.Max(r.settings.repositories())]
			return float64(rss), ok
		}},
	{what: "resolve", want: "≤ 150 ns", most: 150, format: duration, figure: goFigure("Resolve", "ns/op")},
	{what: "resolve, allocations", want: "0", exactly: true, format: plain, figure: goFigure("Resolve", "allocs/op")},
	{what: "unchanged refresh of 10,000 tags", want: "≤ 0.2 ms", most: 0.2e6, format: duration, figure: goFigure("Unchanged10000", "ns/op")},
	{what: "cold verification of 10,000 tags", want: "≤ 120 ms (better: 60)", most: 120e6, format: duration, figure: goFigure("FirstLook/10000_tags", "ns/op")},
	{what: "memory per cached signed tag", want: "≤ 150 B", most: 150, format: byteCount, figure: goFigure("MemoryPerTag", "B/tag")},
	{what: "p99 with the most repositories / with one", want: "≤ 1.20", most: 1.2, format: times,
		figure: func(r *results) (float64, bool) {
			most := slices.Max(r.settings.repositories())
			return ratio(r.growth[most], r.growth[1], p99), len(r.growth[most]) > 0
		}},
	{what: "1,000 first requests: refreshes", want: "exactly 1", least: 1, exactly: true, format: plain,
		figure: func(r *results) (float64, bool) { return r.worst(func(f firstResult) int { return f.refreshes }) }},
	{what: "1,000 first requests: manifest fetches", want: "exactly 1", least: 1, exactly: true, format: plain,
		figure: func(r *results) (float64, bool) { return r.worst(func(f firstResult) int { return f.manifests }) }},
}

func goFigure(name, unit string) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		for _, row := range goRows {
			if row.name == name {
				return r.goTests.median(row, unit)
			}
		}
		return 0, false
	}
}

func crowdFigure(what string) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		for _, c := range r.crowd {
			if c.what == what {
				return float64(c.rss), true
			}
		}
		return 0, false
	}
}

func (r *results) tagRatio(to string) (float64, bool) {
	return ratio(r.tags[sealgate], r.tags[to], sample.perSecond), len(r.tags[to]) > 0
}

// worst is the count that is farthest from one.
func (r *results) worst(count func(firstResult) int) (float64, bool) {
	worst := 1
	for _, f := range r.first {
		if n := count(f); n == 0 || n > worst {
			worst = n
		}
	}
	return float64(worst), len(r.first) > 0
}

func times(v float64) string { return fmt.Sprintf("%.2f", v) }

func plain(v float64) string { return fmt.Sprintf("%.0f", v) }

func byteCount(v float64) string { return fmt.Sprintf("%.0f B", v) }

func mebibytes(v float64) string { return fmt.Sprintf("%.0f MiB", v/(1<<20)) }

// duration prints nanoseconds in the unit that suits them.
func duration(ns float64) string {
	switch {
	case ns < 10e3:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	}
	return fmt.Sprintf("%.2f ms", ns/1e6)
}
