package trustcachetest_test

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The TUF library logs here and nowhere else.
	logrus.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// recorder is a test that is expected to fail.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
	text   string
}

func (r *recorder) Error(args ...any)                 { r.fail(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }
func (r *recorder) Fail()                             { r.fail("") }
func (r *recorder) FailNow()                          { r.fail(""); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed, r.text = true, r.text+text+"\n"
}

// record returns what c says about a source; "" where the source passes.
func record(tb testing.TB, c trustcachetest.Check, install trustcachetest.Install) string {
	r := &recorder{TB: tb}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(r, install)
	}()
	<-ended
	if !r.Failed() {
		return ""
	}
	return r.text + "failed"
}

// process is what a bad source is made from: a good one with a change.
type process func(change func(*notary.Options)) *notary.Source

// made installs what start makes of each process. What is remembered outlives it.
func made(start func(p process) trustcache.Source) trustcachetest.Install {
	return func(_ testing.TB, w *trustcachetest.World) func() trustcache.Source {
		kept := notary.NewMemoryStore()
		pins := notary.Pins{Kind: notary.RootKeys, IDs: []string{w.Parties["root"].Keys[0].Canonical()}}
		return func() trustcache.Source {
			return start(func(change func(*notary.Options)) *notary.Source {
				opts := notary.Options{
					URL: &url.URL{Scheme: "https", Host: "notary.test"}, Transport: w, Now: w.Now,
					Pins: func(string) notary.Pins { return pins }, Store: kept,
				}
				change(&opts)
				return notary.New(opts)
			})
		}
	}
}

func good(*notary.Options) {}

// fetcher is a source made of a function.
type fetcher func(ctx context.Context, gun string, prev *trustcache.Snapshot) (*trustcache.Snapshot, error)

func (f fetcher) Fetch(ctx context.Context, gun string, prev *trustcache.Snapshot) (*trustcache.Snapshot, error) {
	return f(ctx, gun, prev)
}

func TestTheSuiteCatchesBadSources(t *testing.T) {
	checks := map[string]trustcachetest.Check{}
	for _, c := range trustcachetest.Checks() {
		if _, twice := checks[c.Name]; twice {
			t.Errorf("two checks are called %q", c.Name)
		}
		checks[c.Name] = c
	}
	for _, source := range sources() {
		t.Run(source.name, func(t *testing.T) {
			run := func(name string) string {
				c, ok := checks[name]
				if !ok {
					t.Fatalf("there is no check %q", name)
				}
				return record(t, c, source.install)
			}
			for _, name := range source.caught {
				if text := run(name); text == "" || !strings.Contains(text, source.says) {
					t.Errorf("%q says %q, expected a failure with %q", name, text, source.says)
				}
			}
			for _, name := range append(source.passes, "what is signed is visible, for as long as all that decides is valid") {
				if text := run(name); text != "" {
					t.Errorf("%q fails: %s", name, text)
				}
			}
		})
	}
}

// source is one that the suite has to tell from a good one.
type source struct {
	name    string
	install trustcachetest.Install
	caught  []string // checks that it fails
	says    string   // what they say
	passes  []string // checks that have nothing to do with what is wrong with it
}

func sources() []source {
	return []source{
		{
			name:    "good",
			install: made(func(p process) trustcache.Source { return p(good) }),
			passes: []string{
				"what one source saw, another on the same store does not go back on",
				"a fork of a root that is known",
				"targets rotates",
				"another root, and all that it lists, at first sight",
				"connection refused, after a restart",
				"targets/releases signed by a stranger, of a known repository",
				"an older timestamp, after a restart",
			},
		},
		{
			name: "serves what it had when anything fails",
			install: made(func(p process) trustcache.Source {
				s := p(good)
				return fetcher(func(ctx context.Context, gun string, prev *trustcache.Snapshot) (*trustcache.Snapshot, error) {
					snap, err := s.Fetch(ctx, gun, prev)
					if err != nil && prev != nil {
						return prev, nil
					}
					return snap, err
				})
			}),
			caught: []string{
				"connection refused, of a known repository",
				"a known repository is gone, by Notary's own word, of a known repository",
				"targets signed by a stranger, of a known repository",
				"an older timestamp, of a known repository",
				"what expires between two updates",
			},
			says: "a snapshot with",
			passes: []string{
				"connection refused, at first sight",
				"connection refused, after a restart",
				"targets signed by a stranger, after a restart",
				"a publication is seen in one update",
			},
		},
		{
			name: "forgets versions",
			install: made(func(p process) trustcache.Source {
				return fetcher(func(ctx context.Context, gun string, _ *trustcache.Snapshot) (*trustcache.Snapshot, error) {
					return p(func(o *notary.Options) { o.Store = nil }).Fetch(ctx, gun, nil)
				})
			}),
			caught: []string{
				"targets as it was before and shorter, re-sealed with a newer snapshot and timestamp, of a known repository",
				"targets as it was before and shorter, re-sealed with a newer snapshot and timestamp, after a restart",
				"an older timestamp, of a known repository",
				"targets/releases of the same version with other bytes, of a known repository",
				"what one source saw, another on the same store does not go back on",
				"targets is back from versions that nobody can reach",
			},
			says: "a snapshot with",
			passes: []string{
				"targets signed by a stranger, of a known repository",
				"targets expired, at first sight",
				"connection refused, of a known repository",
			},
		},
		{
			name: "forgets over a restart",
			install: made(func(p process) trustcache.Source {
				return p(func(o *notary.Options) { o.Store = nil })
			}),
			caught: []string{
				"an older timestamp, after a restart",
				"targets/releases as it was before and shorter, re-sealed with a newer snapshot and timestamp, after a restart",
				"a known repository is gone, by Notary's own word, after a restart",
			},
			passes: []string{
				"an older timestamp, of a known repository",
				"targets/releases as it was before and shorter, re-sealed with a newer snapshot and timestamp, of a known repository",
				"a known repository is gone, by Notary's own word, of a known repository",
				"targets signed by a stranger, after a restart",
			},
		},
		{
			name: "believes any root",
			install: made(func(p process) trustcache.Source {
				return p(func(o *notary.Options) { o.Pins, o.TrustOnFirstUse = nil, true })
			}),
			caught: []string{
				"another root, and all that it lists, at first sight",
				"a next root that the one before has not signed, at first sight",
			},
			says: "a snapshot with",
			passes: []string{
				"another root, and all that it lists, of a known repository",
				"another root, and all that it lists, after a restart",
				"targets signed by a stranger, at first sight",
				"a fork of a root that is known",
			},
		},
		{
			name: "falls back to targets",
			install: made(func(p process) trustcache.Source {
				s, fallback := p(good), p(func(o *notary.Options) {
					o.Store, o.Policy = nil, func(string) *notary.Policy { return &notary.Policy{Roles: []string{"targets"}} }
				})
				return fetcher(func(ctx context.Context, gun string, prev *trustcache.Snapshot) (*trustcache.Snapshot, error) {
					snap, err := s.Fetch(ctx, gun, prev)
					if err != nil {
						if second, e := fallback.Fetch(ctx, gun, nil); e == nil {
							return second, nil
						}
					}
					return snap, err
				})
			}),
			caught: []string{
				"targets/releases signed by a stranger, at first sight",
				"targets/releases signed by a stranger, of a known repository",
				"targets/releases expired, after a restart",
				"the role that decides is dropped from the snapshot, of a known repository",
			},
			says: "a snapshot with",
			passes: []string{
				"targets signed by a stranger, at first sight",
				"snapshot signed by a stranger, at first sight",
				"connection refused, of a known repository",
			},
		},
		{
			name: "calls all that fails unsigned",
			install: made(func(p process) trustcache.Source {
				s := p(good)
				return fetcher(func(ctx context.Context, gun string, prev *trustcache.Snapshot) (*trustcache.Snapshot, error) {
					snap, err := s.Fetch(ctx, gun, prev)
					if err != nil {
						err = fmt.Errorf("%w: %s", trustcache.ErrNoTrustData, gun)
					}
					return snap, err
				})
			}),
			caught: []string{
				"connection refused, at first sight",
				"connection refused, of a known repository",
				"targets signed by a stranger, at first sight",
				"targets expired, after a restart",
			},
			says: "expected the class",
			passes: []string{
				"a repository that never was has no trust data",
				"a publication is seen in one update",
			},
		},
	}
}
