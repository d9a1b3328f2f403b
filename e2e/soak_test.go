package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soakTime says how long TestSoak goes on; by default it is short.
const soakTime = "E2E_SOAK"

// soak is clients that pull through two gates, one with a cache, while what is
// around them fails by turns.
type soak struct {
	*world
	gates            []*gate
	registry, notary *failing
	images           []pushed // that team/app:signed has been signed for, under mu
	blob             string
	mu               sync.Mutex

	faults       atomic.Int64 // that began or ended: odd while there is one
	calm         atomic.Int64 // since when there is none, in nanoseconds
	right, beset atomic.Int64 // answers as if nothing was, and failures beside a fault
}

// TestSoak: never a wrong digest, never 404 for what is signed, never anything for
// what is not; a request fails only beside a fault, and at the end all is as it was.
func TestSoak(t *testing.T) {
	t.Parallel()
	lasts := 8 * time.Second
	if text := os.Getenv(soakTime); text != "" {
		lasts = must(time.ParseDuration(text))(t)
	}
	s := newSoak(t)
	s.load(t, time.Second, nil) // what any work takes
	before := s.footprint(t)
	s.load(t, lasts, s.trouble)
	s.registry.well(t)
	s.notary.well(t)
	for _, g := range s.gates {
		eventually(t, 30*time.Second, func() error {
			a := g.manifest(t, "team/app", "signed")
			if served(a, s.images...) != len(s.images)-1 || a.header.Get("Warning") != "" {
				return fmt.Errorf("all is well, and still %v", a)
			}
			return nil
		})
		if alarms := g.alarms(); alarms != nil {
			t.Errorf("%s", alarms)
		}
	}
	var after footprint
	eventually(t, 30*time.Second, func() error {
		after = s.footprint(t)
		if after.goroutines > before.goroutines+20 || after.descriptors > before.descriptors+20 || after.mib > before.mib+128 {
			return fmt.Errorf("%+v has become %+v", before, after)
		}
		return nil
	})
	measured(t, lasts, s.faults.Load()/2, s.right.Load(), s.beset.Load(),
		before.goroutines, before.descriptors, before.mib, after.goroutines, after.descriptors, after.mib)
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{world: ownWorld(t, registryOptions{})}
	s.mustBegin(t, "team/app")
	image, blobs := s.layered(t, "team/app", "signed", 1, 1<<20)
	s.images, s.blob = []pushed{image}, blobs[1]
	s.mustSay(t, "team/app", "unsigned", "unsigned words")
	s.registry, s.notary = newFailing(t, s.ca, s.world.registry.url), newFailing(t, s.ca, s.world.notary.url)
	for _, cache := range []bool{false, true} {
		s.gates = append(s.gates, s.another(t, func(o *settings) {
			o.upstream, o.notary, o.credentials, o.refresh = s.registry.url, s.notary.url, "anonymous", 500*time.Millisecond
			if cache {
				cached(o)
			}
		}))
	}
	return s
}

// footprint is what the gates take together.
type footprint struct{ goroutines, descriptors, mib int }

func (s *soak) footprint(t *testing.T) (f footprint) {
	t.Helper()
	for _, g := range s.gates {
		f.goroutines += g.goroutines(t)
		f.descriptors += g.descriptors(t)
		f.mib += g.residentKiB(t) >> 10
	}
	return f
}

// load has clients pull for so long, beside trouble.
func (s *soak) load(t *testing.T, lasts time.Duration, trouble func(*testing.T, context.Context)) {
	t.Helper()
	const clients = 12
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var all sync.WaitGroup
	for i := range clients {
		p := s.gates[i%2].puller(t, i%4 < 2)
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if err := s.request(p, n); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			p.client.CloseIdleConnections()
		})
	}
	if trouble != nil {
		trouble(t, ctx)
	}
	all.Wait()
}

// request is the nth of a client. Its error is of what must not be.
func (s *soak) request(p puller, n int) error {
	begun, calm := s.faults.Load(), time.Now().Add(-2*time.Second).UnixNano() > s.calm.Load()
	err := s.pull(p, n)
	if err == nil {
		s.right.Add(1)
		return nil
	}
	var refused *refusal
	if errors.As(err, &refused) && (refused.status == 404 || refused.status < 400) {
		return err
	}
	if calm && begun%2 == 0 && s.faults.Load() == begun {
		return fmt.Errorf("with no fault anywhere: %w", err)
	}
	s.beset.Add(1)
	return nil
}

func (s *soak) pull(p puller, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch n % 4 {
	case 0: // what is not signed
		_, err := p.fetch(ctx, "/v2/team/app/manifests/unsigned", io.Discard)
		var refused *refusal
		if errors.As(err, &refused) && refused.status == 404 {
			return nil
		}
		if err == nil {
			return &refusal{"unsigned", 200, "served"}
		}
		return err
	case 1: // a client that hangs up
		_, err := p.fetch(ctx, "/v2/team/app/blobs/"+s.blob, hangingUp(cancel))
		if ctx.Err() != nil {
			err = nil
		}
		return err
	case 2:
		return p.blob(ctx, "team/app", s.blob)
	}
	digest, err := p.fetch(ctx, "/v2/team/app/manifests/signed", io.Discard)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && !slices.ContainsFunc(s.images, func(i pushed) bool { return i.digest == digest }) {
		err = &refusal{"signed", 200, "served is " + digest}
	}
	return err
}

// hangingUp is a client that has read enough.
type hangingUp context.CancelFunc

func (h hangingUp) Write(p []byte) (int, error) {
	h()
	return len(p), nil
}

// trouble has one thing fail after the other, until ctx ends.
func (s *soak) trouble(t *testing.T, ctx context.Context) {
	ofNotary := slices.Sorted(maps.Keys(misbehaviours))
	ofRegistry := slices.DeleteFunc(slices.Clone(ofNotary), func(name string) bool {
		return strings.HasPrefix(name, "404") // which says, of a registry, that it has not got it
	})
	bad := []string{"listen: [", "tls: {}"}
	for n := 0; ctx.Err() == nil; n++ {
		s.faults.Add(1)
		server, names := s.registry, ofRegistry
		if n%2 == 1 {
			server, names = s.notary, ofNotary
		}
		server.fail(misbehaviours[names[rand.IntN(len(names))]])
		pause(ctx)
		switch n % 4 {
		case 1: // reloads, of a bad file first
			for _, g := range s.gates {
				good := g.text(t, func(*settings) {})
				for _, text := range []string{bad[n/4%2], good} {
					if err := g.write(text); err != nil {
						t.Error(err)
					}
					if a, err := g.control("POST", "/reload", ""); err != nil || (a.status == 200) != (text == good) {
						t.Errorf("reload: %v, %v", a, err)
					}
				}
			}
		case 3: // the registry's connections are reset once more
			s.registry.line.cut()
			s.registry.line.restore(t)
		}
		server.well(t)
		s.calm.Store(time.Now().UnixNano())
		s.faults.Add(1)
		if n%4 == 2 {
			s.signAnew(t)
		}
		pause(ctx)
		pause(ctx)
		pause(ctx)
	}
}

// pause is a second, more or less.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(500+rand.IntN(1000)) * time.Millisecond):
	}
}

// signAnew has the tag be another image.
func (s *soak) signAnew(t *testing.T) {
	words := strings.Repeat("more ", len(s.images)) + "words"
	image, err := s.say("team/app", "signed", words)
	if err != nil {
		t.Error(err)
		return
	}
	s.mu.Lock()
	s.images = append(s.images, image)
	s.mu.Unlock()
	if err := s.sign(s.gun("team/app"), "signed", image); err != nil {
		t.Error(err)
	}
}
