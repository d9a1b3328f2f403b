package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache/guard"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
)

// TestTheTrustStoreKeepsWhatANotaryStoreMust over a restart, with every field.
func TestTheTrustStoreKeepsWhatANotaryStoreMust(t *testing.T) {
	const gun = "registry.example.com/acme/app"
	disk := inmemory.New()
	restarted := func() notary.Store { return newTrustStore(state.New(state.Options{Driver: disk})) }
	at := func(version int) *notary.State {
		floor := notary.Floor{Signers: []string{"k1", "k2"}, Version: version, Payload: sha256.Sum256([]byte{byte(version)})}
		return &notary.State{Root: []byte("root"), Anchor: []byte("anchor"), Floors: map[string][]notary.Floor{"root": {floor}, "targets/releases": {floor}}}
	}
	load := func(want *notary.State) *notary.State {
		t.Helper()
		got, err := restarted().Load(gun)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("loaded %+v, expected %+v", got, want)
		}
		return got
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	never := load(nil)
	must(restarted().Save(gun, never, at(1)))
	first := load(at(1))
	must(restarted().Save(gun, first, at(2)))
	second := load(at(2))
	must(restarted().Forget(gun))
	anew := load(&notary.State{Epoch: 1, Floors: map[string][]notary.Floor{}})
	for what, old := range map[string]*notary.State{"what was never there": never, "what was replaced": first, "what was forgotten": second} {
		if err := restarted().Save(gun, old, at(3)); !errors.Is(err, notary.ErrConflict) {
			t.Errorf("saved over %s: %v", what, err)
		}
	}
	must(restarted().Save(gun, anew, at(1)))
	want := at(1)
	want.Epoch = 1
	load(want)
}

// hanging is a driver that answers nothing and takes no notice of deadlines.
type hanging struct {
	driver.StorageDriver
	until chan struct{}
}

func (h hanging) List(context.Context, string) ([]string, error) {
	<-h.until
	return nil, nil
}

// TestADiskThatHangsIsGivenUp, and a bounded number of what waits for it stays
// behind.
func TestADiskThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		s := newTrustStore(state.New(state.Options{Driver: hanging{inmemory.New(), until}}))
		for range maxStoring + 1 {
			go s.Load("r/a")
		}
		begin := time.Now()
		if _, err := s.Load("r/a"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != storeTimeout {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		close(until)
		synctest.Wait()
		if _, err := s.Load("r/a"); err != nil {
			t.Errorf("when it answers again: %v", err)
		}
	})
}

// bursting is a driver with a bug.
type bursting struct{ driver.StorageDriver }

func (bursting) List(context.Context, string) ([]string, error) { panic("a bug") }

// TestADriverThatPanicsIsAnError, and takes no place from those that come.
func TestADriverThatPanicsIsAnError(t *testing.T) {
	s := newTrustStore(state.New(state.Options{Driver: bursting{inmemory.New()}}))
	for range maxStoring + 1 {
		var caught *guard.Panic
		if _, err := s.Load("r/a"); !errors.As(err, &caught) {
			t.Fatalf("got %v", err)
		}
	}
}
