package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	tagConnections  = 32
	blobConnections = 8
	// steadySeconds is how long a gate with its default intervals is watched.
	steadySeconds = 40
)

// series are the samples of one contestant, one for each round.
type series []sample

// results are all that a run measured.
type results struct {
	settings    settings
	machine     machine
	goTests     goResults
	tags        map[string]series // by contestant
	blobs       map[string]series
	cachedBlobs map[string]series
	cachedTags  map[string]series
	growth      map[int]series // by the number of repositories
	steady      *sample
	asked       map[string]int // at the upstreams while steady was measured
	rss         int64          // Sealgate's peak, with tags and blobs
	growRSS     map[int]int64  // Sealgate's peaks, by the number of repositories
	growAsks    map[int]int    // how often the trust server was asked while they were measured
	first       []firstResult
	crowd       []crowdResult
	crowdBlob   int64 // the size of each of its blobs
	crowdBlobs  int   // how many of them are different
	took        time.Duration
}

// task is one measurement of a round.
type task struct {
	what    string
	measure func(context.Context) (sample, error)
	keep    func(sample)
	after   func()
	show    func(sample) string
}

// rounds measures every task once in each round. Where it begins rotates, so
// that none is always measured after the same other one.
func (s settings) rounds(ctx context.Context, tasks []task) error {
	for round := range s.Rounds {
		for i := range tasks {
			t := tasks[(i+round)%len(tasks)]
			taken, err := t.measure(ctx)
			if err != nil {
				return fmt.Errorf("round %d: %s: %w", round+1, t.what, err)
			}
			t.keep(taken)
			t.after()
			s.progress("round %d/%d: %-46s %s", round+1, s.Rounds, t.what, t.show(taken))
		}
	}
	return nil
}

func showTags(s sample) string {
	return fmt.Sprintf("%9.0f/s   p50 %.2f ms   p99 %.2f ms   %.0f µs of CPU each", s.perSecond(), s.P50/1e3, s.P99/1e3, s.cpuPerRead())
}

func showBlobs(s sample) string {
	return fmt.Sprintf("%9.0f MiB/s   %.0f µs of CPU per MiB", s.mibPerSecond(), s.cpuPerMiB())
}

// tagTasks read one signed tag, over and over, from every contestant.
func (l *lab) tagTasks(r *results) (tasks []task) {
	for _, c := range l.contestants {
		tasks = append(tasks, task{
			what: "tags: " + c.name,
			measure: func(ctx context.Context) (sample, error) {
				return l.wrk(ctx, c, tagPath, tagConnections, r.settings.Seconds, reportScript)
			},
			keep:  func(s sample) { r.tags[c.name] = append(r.tags[c.name], s) },
			after: c.emptyLog,
			show:  showTags,
		})
	}
	return tasks
}

// blobTasks read blobs through the two that pass them on.
func (l *lab) blobTasks(r *results) (tasks []task) {
	for _, name := range []string{sealgate, nginx} {
		c := l.find(name)
		tasks = append(tasks, task{
			what: "blobs: " + name,
			measure: func(ctx context.Context) (sample, error) {
				return l.wrk(ctx, c, "/", blobConnections, r.settings.Seconds, walkScript, l.blobs...)
			},
			keep:  func(s sample) { r.blobs[name] = append(r.blobs[name], s) },
			after: c.emptyLog,
			show:  showBlobs,
		})
	}
	return tasks
}

// fleetPath is where the n-th repository of a fleet has the tag.
const fleetPath = "/v2/bench/r%d/manifests/" + tag

// growthTasks read a tag of 1, 100, 10,000 repositories in turn, each number
// from a Sealgate of its own that has read all of them before.
func (l *lab) growthTasks(ctx context.Context, r *results, f *fleet) (tasks []task, gates map[int]*contestant, err error) {
	gates = map[int]*contestant{}
	for _, n := range r.settings.repositories() {
		gate, err := l.openGate(ctx, gateOptions{name: "grown-" + strconv.Itoa(n), upstream: f.url, notary: f.url, rootKey: f.metadata.rootKey, asleep: true})
		if err != nil {
			return nil, nil, err
		}
		gates[n] = gate
		begin := time.Now()
		if err := l.warm(ctx, gate, n); err != nil {
			return nil, nil, fmt.Errorf("warm %d repositories: %w", n, err)
		}
		gate.emptyLog()
		r.settings.progress("%d repositories are warm after %s", n, time.Since(begin).Round(time.Millisecond))
		tasks = append(tasks, task{
			what:    fmt.Sprintf("growth: %d repositories", n),
			measure: func(ctx context.Context) (sample, error) { return l.walk(ctx, gate, n, r.settings.Seconds) },
			keep:    func(s sample) { r.growth[n] = append(r.growth[n], s) },
			after: func() {
				gate.emptyLog()
				r.growAsks[n] += f.take()["timestamp"]
			},
			show: showTags,
		})
	}
	f.take()
	return tasks, gates, nil
}

func (l *lab) walk(ctx context.Context, gate *contestant, repositories, seconds int) (sample, error) {
	return l.wrk(ctx, gate, "/", tagConnections, seconds, walkScript, strconv.Itoa(repositories), fleetPath)
}

// steady watches a Sealgate with its default intervals, so that refreshes and
// questions to the registry are part of what is measured.
func (l *lab) steady(ctx context.Context, r *results, f *fleet) error {
	n := slices.Max(r.settings.repositories())
	gate, err := l.openGate(ctx, gateOptions{name: "steady", upstream: f.url, notary: f.url, rootKey: f.metadata.rootKey})
	if err != nil {
		return err
	}
	defer gate.stop()
	if err := l.warm(ctx, gate, n); err != nil {
		return err
	}
	f.take()
	s, err := l.walk(ctx, gate, n, steadySeconds)
	if err != nil {
		return err
	}
	r.steady, r.asked = &s, f.take()
	r.settings.progress("defaults: %d repositories: %s, asked %v", n, showTags(s), r.asked)
	return nil
}

// median is the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// each is one figure of every sample.
func (s series) each(figure func(sample) float64) []float64 {
	values := make([]float64, 0, len(s))
	for _, taken := range s {
		values = append(values, figure(taken))
	}
	return values
}

func (s series) median(figure func(sample) float64) float64 { return median(s.each(figure)) }

// ratio is the median of the ratios of two series, round by round: what
// changes on the machine between two rounds is in both halves of each.
func ratio(a, b series, figure func(sample) float64) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if below := figure(b[i]); below > 0 {
			ratios = append(ratios, figure(a[i])/below)
		}
	}
	return median(ratios)
}

func p50(s sample) float64 { return s.P50 }

func p99(s sample) float64 { return s.P99 }
