package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// text is the report: what is printed and what the document says.
func (r *results) text() string {
	var b strings.Builder
	r.head(&b)
	r.goalTable(&b)
	r.tagTable(&b)
	r.blobTable(&b)
	r.cacheTable(&b)
	r.crowdTable(&b)
	r.growthTable(&b)
	r.firstTable(&b)
	r.goTable(&b)
	r.foot(&b)
	return b.String()
}

func (r *results) head(b *strings.Builder) {
	m := r.machine
	fmt.Fprintf(b, `# Performance

<!-- Written by make bench (e2e/bench); edits are lost at the next run. -->

Measured %s in %s, at commit %s.

| | |
|---|---|
| machine | %d cores of %s, %s, Linux %s, load before the run %s |
| Go | %s |
| servers | %s; %s; OpenSSL's TLS in nginx and wrk, Go's in all others |
| client | %s |
| rounds | %d of %d s for each measurement, after one more that does not count, alternating; figures are medians, in brackets the least and the most |
| CPU | what the server's own processes used, wrk and what stands behind them left out |

`, m.when.Format("2006-01-02 15:04 UTC"), r.took.Round(time.Second), m.commit, m.cores, m.cpu, m.memory, m.kernel, m.load, m.goes, m.nginx, m.registry, m.wrk, r.settings.Rounds, r.settings.Seconds)
	// Building this program just before leaves some load behind.
	if load, err := strconv.ParseFloat(m.load, 64); err == nil && load > 1 {
		fmt.Fprintf(b, "**The machine was busy with other things before the run (load %s): do not rely on the figures.**\n\n", m.load)
	}
	if r.settings.Short || len(r.settings.parts) < len(parts) {
		b.WriteString("**A short or partial run: it shows that the bench works, and nothing else.**\n\n")
	}
}

func (r *results) goalTable(b *strings.Builder) {
	b.WriteString("## Goals\n\nRatios are medians of the ratios within each round.\n\n| | goal | measured | |\n|---|---|---|---|\n")
	for _, g := range goals {
		value, ok := g.figure(r)
		if !ok {
			continue
		}
		verdict := "met"
		if !g.met(value) {
			verdict = "**missed**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", g.what, g.want, g.format(value), verdict)
	}
}

// order is that of the tables.
var order = []string{sealgate, nginx, bareHTTP, bareQuiet, bareRepo, mirror}

func (r *results) tagTable(b *strings.Builder) {
	if len(r.tags) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Reads of one tag\n\n`wrk -t1 -c%d`, TLS 1.3, keep-alive, access log to a file (but for one row), everything warm.\n\n", tagConnections)
	b.WriteString("| | reads/s | | p50 | p99 | CPU per read | Sealgate is |\n|---|---:|---|---:|---:|---:|---:|\n")
	for _, name := range order {
		s := r.tags[name]
		times, _ := r.tagRatio(name)
		fmt.Fprintf(b, "| %s | %.0f | %s | %s | %s | %.0f µs | %.2f × |\n", name, s.median(sample.perSecond), spread(s, sample.perSecond), millis(s.median(p50)), millis(s.median(p99)), s.median(sample.cpuPerRead), times)
	}
}

func (r *results) blobTable(b *strings.Builder) {
	if len(r.blobs) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Blobs\n\n`wrk -t1 -c%d`, %d blobs of %d MiB from the same docker-registry, nginx passing them on as Sealgate does.\n\n", blobConnections, blobs, blobSize>>20)
	b.WriteString("| | MiB/s | | CPU per MiB |\n|---|---:|---|---:|\n")
	for _, name := range []string{sealgate, nginx} {
		s := r.blobs[name]
		fmt.Fprintf(b, "| %s | %.0f | %s | %.0f µs |\n", name, s.median(sample.mibPerSecond), spread(s, sample.mibPerSecond), s.median(sample.cpuPerMiB))
	}
	fmt.Fprintf(b, "\nPeak RSS (VmHWM) of Sealgate after this and the reads of one tag: %s.\n", mebibytes(float64(r.rss)))
}

func (r *results) cacheTable(b *strings.Builder) {
	if len(r.cachedBlobs) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## From the cache\n\nThe same blobs and tag from servers that have kept them: `wrk -t1 -c%d` for blobs, `-c%d` for the tag. That the registry hears nothing of the blobs any more is checked before.\n\n", blobConnections, tagConnections)
	b.WriteString("| | MiB/s | | CPU per MiB |\n|---|---:|---|---:|\n")
	for _, name := range []string{sealgate, nginxFull} {
		s := r.cachedBlobs[name]
		fmt.Fprintf(b, "| %s | %.0f | %s | %.0f µs |\n", name, s.median(sample.mibPerSecond), spread(s, sample.mibPerSecond), s.median(sample.cpuPerMiB))
	}
	b.WriteString("\n| | reads/s | | p50 | p99 |\n|---|---:|---|---:|---:|\n")
	for _, name := range []string{sealgate, mirror} {
		s := r.cachedTags[name]
		fmt.Fprintf(b, "| %s | %.0f | %s | %s | %s |\n", name, s.median(sample.perSecond), spread(s, sample.perSecond), millis(s.median(p50)), millis(s.median(p99)))
	}
}

func (r *results) crowdTable(b *strings.Builder) {
	if len(r.crowd) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Large blobs for many\n\n%d clients at once, each with a connection of its own, each reading a blob of %d MiB; %d different blobs. A Sealgate of its own for every row, the second with what the first has kept.\n\n", crowdClients, r.crowdBlob>>20, r.crowdBlobs)
	b.WriteString("| blobs | peak RSS | reads of the registry | took |\n|---|---:|---:|---:|\n")
	for _, c := range r.crowd {
		fmt.Fprintf(b, "| %s | %s | %d | %s |\n", c.what, mebibytes(float64(c.rss)), c.reads, c.took.Round(100*time.Millisecond))
	}
}

func (r *results) growthTable(b *strings.Builder) {
	if len(r.growth) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Many repositories\n\nOne tag of each repository in turn, `wrk -t1 -c%d`; ten tags are signed in each. A Sealgate of its own for every row, which has read all of them before; `refresh` and `authorisation-ttl` are longer than the run, so that what it asks the trust server meanwhile is what it could not keep in memory.\n\n", tagConnections)
	b.WriteString("| repositories | reads/s | | p50 | p99 | p99 / one | peak RSS | refreshes |\n|---:|---:|---|---:|---:|---:|---:|---:|\n")
	for _, n := range r.settings.repositories() {
		s := r.growth[n]
		fmt.Fprintf(b, "| %d | %.0f | %s | %s | %s | %.2f | %s | %d |\n", n, s.median(sample.perSecond), spread(s, sample.perSecond), millis(s.median(p50)), millis(s.median(p99)), ratio(s, r.growth[1], p99), mebibytes(float64(r.growRSS[n])), r.growAsks[n])
	}
	if r.steady != nil {
		fmt.Fprintf(b, "\nWith the default `refresh` (60 s) and `authorisation-ttl` (30 s), %d repositories, once for %d s: %.0f reads/s, p50 %s, p99 %s; meanwhile the trust server was asked for %d timestamps and the registry for %d manifests by HEAD and %d by GET.\n",
			slices.Max(r.settings.repositories()), steadySeconds, r.steady.perSecond(), millis(r.steady.P50), millis(r.steady.P99), r.asked["timestamp"], r.asked["HEAD manifest"], r.asked["GET manifest"])
	}
}

func (r *results) firstTable(b *strings.Builder) {
	if len(r.first) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## First requests\n\n%d requests at once for a repository that was never asked for, on as many open connections; each answer of the upstreams takes %s.\n\n", firstRequests, firstDelay)
	b.WriteString("| refreshes | manifest fetches | other questions | all answered after |\n|---:|---:|---:|---:|\n")
	for _, f := range r.first {
		fmt.Fprintf(b, "| %d | %d | %d | %s |\n", f.refreshes, f.manifests, f.others, f.slowest.Round(time.Millisecond))
	}
}

func (r *results) goTable(b *strings.Builder) {
	if r.goTests == nil {
		return
	}
	b.WriteString("\n## In the process\n\n`go test -bench`, no network.\n\n| | | B/op | allocs/op |\n|---|---:|---:|---:|\n")
	for _, row := range goRows {
		value, _ := r.goTests.median(row, row.unit)
		if row.unit != "ns/op" {
			fmt.Fprintf(b, "| %s | %s | | |\n", row.what, byteCount(value))
			continue
		}
		size, _ := r.goTests.median(row, "B/op")
		allocs, _ := r.goTests.median(row, "allocs/op")
		fmt.Fprintf(b, "| %s | %s | %.0f | %.0f |\n", row.what, duration(value), size, allocs)
	}
}

func (r *results) foot(b *strings.Builder) {
	b.WriteString(`
## How it is measured

All servers run on the same machine as wrk, as processes of their own, listen on loopback, speak TLS 1.3 with TLS_AES_128_GCM_SHA256 and a certificate of the same kind, and write an access line for each request to a file that is emptied after each measurement.

- *Sealgate* is the built binary with ` + "`credentials: passthrough`" + ` and default intervals, in front of docker-registry over TLS and the sandbox's trust server; the tag is signed in targets/releases. Clients send no credentials.
- *nginx* has a worker for each core, ` + "`proxy_cache`" + ` for manifests, passes blobs on without spooling them, and keeps its connections to the same docker-registry.
- *From the cache* Sealgate is one with ` + "`credentials: anonymous`, `redirects: follow` and `cache`" + ` on the filesystem, nginx another one with ` + "`proxy_cache`" + ` for everything and its buffers as they are built; both have read all blobs before, which the kernel then has in memory.
- *net/http* answers every request with the bytes and headers that Sealgate sent once, and nothing more than that.
- *docker-registry* is the one that stands behind the two; the *mirror* is another one with ` + "`proxy.remoteurl`" + `, asked by tag.
- Many repositories come from a trust server and registry in the bench's own process, whose repositories all hold the same image.
`)
}

func spread(s series, figure func(sample) float64) string {
	values := s.each(figure)
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("(%.0f–%.0f)", slices.Min(values), slices.Max(values))
}

func millis(micros float64) string { return fmt.Sprintf("%.2f ms", micros/1e3) }
