// Command bench measures Sealgate beside nginx, net/http and docker-registry
// and writes docs/performance.md. Run it with `make bench`, or with `make
// bench-smoke` to see in a minute that it works: figures from that mean nothing.
//
//	go run ./e2e/bench [-rounds 5] [-seconds 5] [-short] [-parts go,tags,blobs,cache,growth,steady,first,crowd]
//	                   [-sealgate BINARY] [-out docs/performance.md]
//
// It needs Linux, nginx, wrk and docker-registry, and a machine that does
// nothing else. Everything listens on loopback, on free ports, and is gone at
// the end, whatever the end is.
//
// Rounds alternate between the contestants and each figure is the median over
// the rounds, so that what happens on the machine meanwhile meets all of them.
// Where goals.go has a goal for a figure, the goal is printed beside it; a goal
// that is missed is no failure of the run, an answer other than 200 is.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// document is where the results go, below the module's root.
	document = "docs/performance.md"
	// bareCommand is the first argument of the program as a contestant.
	bareCommand = "serve-bare"
)

// parts are what a run consists of.
var parts = []string{"go", "tags", "blobs", "cache", "growth", "steady", "first", "crowd"}

// settings are what the flags say.
type settings struct {
	Rounds  int
	Seconds int // of each use of wrk
	Short   bool
	parts   []string
	binary  string
	out     string // "" writes no document

	log io.Writer
}

func (s settings) with(part string) bool { return slices.Contains(s.parts, part) }

// repositories are the sizes of the growth that is measured.
func (s settings) repositories() []int {
	if s.Short {
		return []int{1, 100, 1000}
	}
	return []int{1, 100, 10_000}
}

func (s settings) progress(format string, values ...any) {
	fmt.Fprintf(s.log, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, values...)...)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == bareCommand {
		fmt.Fprintln(os.Stderr, serveBare(os.Args[2:]))
		os.Exit(1)
	}
	s, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err = run(ctx, s, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{log: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.Rounds, "rounds", 5, "how often everything is measured")
	flags.IntVar(&s.Seconds, "seconds", 5, "how long each measurement takes")
	flags.BoolVar(&s.Short, "short", false, "one round of two seconds, fewer repositories, no document: shows that the bench works")
	chosen := flags.String("parts", strings.Join(parts, ","), "what to measure; anything less writes no document")
	flags.StringVar(&s.binary, "sealgate", "", "measure this binary instead of building one; writes no document")
	flags.StringVar(&s.out, "out", document, "the document; empty writes none")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.parts = strings.Split(*chosen, ",")
	var wrong error
	for _, part := range s.parts {
		if !slices.Contains(parts, part) {
			wrong = fmt.Errorf("-parts: %q: some of %s are expected", part, strings.Join(parts, ","))
		}
	}
	if flags.NArg() > 0 || s.Rounds < 1 || s.Seconds < 1 {
		wrong = fmt.Errorf("-rounds and -seconds are at least 1, and there are no arguments")
	}
	if wrong != nil {
		fmt.Fprintln(stderr, "bench:", wrong)
		return s, wrong
	}
	if s.Short {
		s.Rounds, s.Seconds = 1, 2
		s.parts = slices.DeleteFunc(s.parts, func(part string) bool { return part == "steady" })
	}
	if s.Short || s.binary != "" || len(s.parts) < len(parts) {
		s.out = ""
	}
	return s, nil
}

// run measures, prints, and writes the document.
func run(ctx context.Context, s settings, stdout io.Writer) error {
	logrus.SetOutput(io.Discard) // the Notary library logs to the global logger
	// Where nginx is, and who is not root may not look.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin"); err != nil {
		return err
	}
	begin := time.Now()
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	r := &results{settings: s, tags: map[string]series{}, blobs: map[string]series{}, cachedBlobs: map[string]series{}, cachedTags: map[string]series{}, growth: map[int]series{}, growRSS: map[int]int64{}, growAsks: map[int]int{}}
	if r.machine, err = lookAround(ctx, root); err != nil {
		return err
	}
	if s.with("go") {
		benchtime, count := "300ms", s.Rounds
		if s.Short {
			benchtime = "20ms"
		}
		s.progress("go test -bench, %d times %s each", count, benchtime)
		if r.goTests, err = runGo(ctx, root, benchtime, count); err != nil {
			return err
		}
	}
	if err := measure(ctx, root, r); err != nil {
		return err
	}
	r.took = time.Since(begin)
	text := r.text()
	fmt.Fprint(stdout, text)
	if s.out == "" {
		return nil
	}
	path := s.out
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	s.progress("writing %s", path)
	return os.WriteFile(path, []byte(text), 0o644)
}

// measure does everything that needs servers.
func measure(ctx context.Context, root string, r *results) error {
	s := r.settings
	if !slices.ContainsFunc(s.parts, func(part string) bool { return part != "go" }) {
		return nil
	}
	l, err := newLab(root, s.binary)
	if err != nil {
		return err
	}
	defer l.close()
	s.progress("building Sealgate, starting the contestants")
	if err := l.build(ctx); err != nil {
		return err
	}
	if err := l.furnish(ctx); err != nil {
		return err
	}
	f, err := l.openFleet()
	if err != nil {
		return err
	}
	var tasks []task
	var gates map[int]*contestant
	if s.with("tags") {
		tasks = append(tasks, l.tagTasks(r)...)
	}
	if s.with("blobs") {
		tasks = append(tasks, l.blobTasks(r)...)
	}
	if s.with("cache") {
		more, err := l.cacheTasks(ctx, r)
		if err != nil {
			return err
		}
		tasks = append(tasks, more...)
	}
	if s.with("growth") {
		var more []task
		if more, gates, err = l.growthTasks(ctx, r, f); err != nil {
			return err
		}
		tasks = append(tasks, more...)
	}
	if err := s.rounds(ctx, tasks); err != nil {
		return err
	}
	if r.rss, err = l.find(sealgate).peakRSS(); err != nil {
		return err
	}
	for n, gate := range gates {
		if r.growRSS[n], err = gate.peakRSS(); err != nil {
			return err
		}
		gate.stop()
	}
	if s.with("steady") {
		if err := l.steady(ctx, r, f); err != nil {
			return err
		}
	}
	if s.with("first") {
		if err := l.firstReads(ctx, r, f); err != nil {
			return err
		}
	}
	if s.with("crowd") {
		return l.crowd(ctx, r)
	}
	return nil
}

// openFleet signs ten tags for the lab's image in any number of repositories.
func (l *lab) openFleet() (*fleet, error) {
	tags := []string{tag}
	for i := range 9 {
		tags = append(tags, fmt.Sprintf("0.%d", i))
	}
	m, err := newMetadata(registryName, tags, l.manifest.digest, len(l.manifest.body))
	if err != nil {
		return nil, err
	}
	f, err := startFleet(l.ca, m, l.manifest)
	if err == nil {
		l.atEnd(f.close)
	}
	return f, err
}
