package content

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// standing is a driver that stands still when it is told to, as a server does to
// which no packet comes through.
type standing struct {
	driver.StorageDriver
	still atomic.Bool
}

func (d *standing) wait(ctx context.Context) error {
	if !d.still.Load() {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (d *standing) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := d.wait(ctx); err != nil {
		return nil, err
	}
	return d.StorageDriver.Stat(ctx, path)
}

func (d *standing) GetContent(ctx context.Context, path string) ([]byte, error) {
	if err := d.wait(ctx); err != nil {
		return nil, err
	}
	return d.StorageDriver.GetContent(ctx, path)
}

func (d *standing) PutContent(ctx context.Context, path string, content []byte) error {
	if err := d.wait(ctx); err != nil {
		return err
	}
	return d.StorageDriver.PutContent(ctx, path, content)
}

// TestAStoreThatStandsStillIsNotWaitedFor: a client has the registry to ask.
func TestAStoreThatStandsStillIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &standing{StorageDriver: inmemory.New()}
		s := newStore(t, StoreOptions{Driver: disk, TTL: time.Hour})
		blob, _ := putBlob(t, s, repository, 1, 1000)
		m := image(t, 1)
		must(t, s.PutManifest(t.Context(), repository, m))
		time.Sleep(time.Hour) // so that a use would write
		disk.still.Store(true)
		took := func(what string, most time.Duration, do func() error) {
			t.Helper()
			began := time.Now()
			if err := do(); err == nil || errors.Is(err, ErrNotCached) {
				t.Errorf("%s: got %v", what, err)
			}
			if took := time.Since(began); took > most {
				t.Errorf("%s took %v", what, took)
			}
		}
		took("a blob", patience, func() error { _, err := s.Blob(t.Context(), repository, blob); return err })
		took("a manifest, then", 0, func() error {
			_, err := s.Manifest(t.Context(), repository, digest.Digest(m.Digest))
			return err
		})
		time.Sleep(pause)
		began := time.Now()
		for range 3 {
			s.UseManifest(t.Context(), repository, m.Digest)
		}
		if took := time.Since(began); took > patience {
			t.Errorf("uses of what is in memory took %v", took)
		}
		time.Sleep(pause)
		disk.still.Store(false)
		if _, err := s.Blob(t.Context(), repository, blob); err != nil {
			t.Errorf("when it goes on: %v", err)
		}
	})
}
