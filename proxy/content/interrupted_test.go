package content

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// TestASweepInterruptedByAnotherProcess, at each of its operations in turn: it
// removes nothing that the other has said to be there, but where it had just
// looked at the very object that it is to remove, which no lock of ours guards.
func TestASweepInterruptedByAnotherProcess(t *testing.T) {
	d, body := blobOf(1, 1000)
	for name, do := range map[string]func(*Store) (repository string, err error){
		"that puts it for another repository": func(s *Store) (string, error) {
			return "team/other", s.PutBlob(t.Context(), "team/other", d, bytes.NewReader(body))
		},
		"that puts it again": func(s *Store) (string, error) {
			return repository, s.PutBlob(t.Context(), repository, d, bytes.NewReader(body))
		},
		"that reads it": func(s *Store) (string, error) {
			_, err := s.Blob(t.Context(), repository, d)
			return repository, err
		},
		"that pins it": func(s *Store) (string, error) {
			err := s.Pin(t.Context(), repository, "v1", []digest.Digest{d})
			if is, hasErr := s.Has(t.Context(), repository, d); !is && err == nil {
				err = errors.Join(ErrNotCached, hasErr)
			}
			return repository, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			points, lost := 0, 0
			for reached := true; reached; points++ {
				disk := onDisk(expiring(t, d, body))
				other := newStore(t, StoreOptions{Driver: disk, TTL: time.Hour})
				where, said := "", error(nil)
				f := &failing{StorageDriver: disk, fails: func(n int) bool {
					if n == points+1 {
						where, said = do(other)
					}
					return false
				}}
				s := newStore(t, StoreOptions{Driver: f, TTL: time.Hour})
				sweepOf(t, s)
				reached = where != ""
				if said != nil && !errors.Is(said, ErrNotCached) {
					t.Errorf("at %d: %v", points, said)
				}
				if reached && said == nil && !has(t, other, where, d) {
					lost++
				}
			}
			if points < 10 || lost > 2 {
				t.Errorf("lost at %d of %d operations", lost, points)
			}
		})
	}
}

// expiring makes a directory with a blob in it that nobody has used for long.
func expiring(t *testing.T, d digest.Digest, body []byte) string {
	directory := t.TempDir()
	s := newStore(t, StoreOptions{Driver: onDisk(directory)})
	must(t, s.PutBlob(t.Context(), repository, d, bytes.NewReader(body)))
	at := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{link{layers, repository, d}.path(), dataPath(d)} {
		must(t, os.Chtimes(filepath.Join(directory, path), at, at))
	}
	return directory
}

// TestAPinHoldsBytesThatNothingLinksYet: they are being put.
func TestAPinHoldsBytesThatNothingLinksYet(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		d, _ := putBlob(t, s, repository, 1, 1000)
		must(t, s.o.Driver.Delete(t.Context(), link{layers, repository, d}.path()))
		must(t, s.Pin(t.Context(), "team/other", "v1", []digest.Digest{d}))
		if did := sweepOf(t, later(t, s, 1000*time.Hour, nil)); did.Bytes != 1000 || did.PinnedBytes != 1000 {
			t.Errorf("%+v", did)
		}
		must(t, s.Pin(t.Context(), "team/other", "v1", nil))
		if did := sweepOf(t, later(t, s, 1000*time.Hour, nil)); did.Bytes != 0 || did.Freed != 1000 {
			t.Errorf("unpinned: %+v", did)
		}
	})
}
