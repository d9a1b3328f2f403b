package content

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// aged is a store on disk, and how to make a link of it as old as that.
func aged(t *testing.T, ttl time.Duration) (*Store, func(link, time.Duration)) {
	directory := t.TempDir()
	s := newStore(t, StoreOptions{Driver: onDisk(directory), TTL: ttl})
	return s, func(l link, old time.Duration) {
		at := time.Now().Add(-old)
		must(t, os.Chtimes(filepath.Join(directory, l.path()), at, at))
	}
}

func age(tb testing.TB, s *Store, l link) time.Duration {
	tb.Helper()
	info, err := s.o.Driver.Stat(tb.Context(), l.path())
	must(tb, err)
	return time.Since(info.ModTime())
}

// TestAUseRenewsWhatIsOld, of a store that has just been opened.
func TestAUseRenewsWhatIsOld(t *testing.T) {
	s, old := aged(t, 24*time.Hour)
	d, _ := putBlob(t, s, repository, 1, 100)
	m := image(t, 1)
	must(t, s.PutManifest(t.Context(), repository, m))
	blob, manifest := link{layers, repository, d}, link{manifests, repository, digest.Digest(m.Digest)}
	for name, test := range map[string]struct {
		link link
		use  func(*Store) error
	}{
		"blob":     {blob, func(s *Store) error { _, err := s.Blob(t.Context(), repository, d); return err }},
		"manifest": {manifest, func(s *Store) error { _, err := s.Manifest(t.Context(), repository, manifest.digest); return err }},
		"manifest served from memory": {manifest, func(s *Store) error {
			s.UseManifest(t.Context(), repository, m.Digest)
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, test2 := range []struct {
				before  time.Duration
				renewed bool
			}{{30 * time.Minute, false}, {2 * time.Hour, true}, {30 * time.Hour, true}} {
				old(test.link, test2.before)
				must(t, test.use(newStore(t, s.o)))
				if got := age(t, s, test.link); (got < time.Minute) != test2.renewed {
					t.Errorf("a link of %v is %v old after a use", test2.before, got)
				}
			}
		})
	}
	old(blob, 30*time.Hour)
	_, err := s.Blob(t.Context(), repository, d)
	must(t, err)
	old(manifest, 30*time.Hour)
	if did := sweepOf(t, s); did.Expired != 1 || did.Links != 1 || !has(t, s, repository, d) || has(t, s, repository, manifest.digest) {
		t.Errorf("%+v: want the unused manifest gone and the used blob there", did)
	}
}

// TestAUseThatIsNotWrittenCountsForASweep of the same process.
func TestAUseThatIsNotWrittenCountsForASweep(t *testing.T) {
	s, old := aged(t, 0)
	s.o.MaxSize = 1500
	used, _ := putBlob(t, s, repository, 1, 1000)
	other, _ := putBlob(t, s, repository, 2, 1000)
	old(link{layers, repository, used}, 40*time.Minute)
	old(link{layers, repository, other}, 20*time.Minute)
	c := &clock{-10 * time.Second}
	s.o.Now = c.now
	_, err := s.Blob(t.Context(), repository, used)
	must(t, err)
	if got := age(t, s, link{layers, repository, used}); got < 30*time.Minute {
		t.Fatalf("it is written, %v old", got)
	}
	c.ahead = time.Minute
	if sweepOf(t, s); !has(t, s, repository, used) || has(t, s, repository, other) {
		t.Error("want the one gone that was used longer ago")
	}
}

// TestAUseOfWhatIsGoneBringsNothingBack.
func TestAUseOfWhatIsGoneBringsNothingBack(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		m := image(t, 1)
		must(t, s.PutManifest(t.Context(), repository, m))
		must(t, s.Drop(t.Context(), repository, digest.Digest(m.Digest)))
		s.UseManifest(t.Context(), repository, m.Digest)
		later(t, s, 100*time.Hour, nil).UseManifest(t.Context(), repository, m.Digest)
		_, err := s.Manifest(t.Context(), repository, digest.Digest(m.Digest))
		wantError(t, err, ErrNotCached)
		if got := objects(t, s); len(got) != 1 { // the bytes, until a sweep
			t.Errorf("there is %q", got)
		}
		if did := sweepOf(t, later(t, s, 2*time.Hour, nil)); did.Freed != int64(len(m.Body)) || len(objects(t, s)) != 0 {
			t.Errorf("%+v", did)
		}
	})
}
