package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnACMEStorageThatIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newACMEStorage(t.TempDir())
		if err := errors.Join(s.Lock(ctx, "a"), s.Store(ctx, "k", []byte("v"))); err != nil {
			t.Fatal(err)
		}
		if value, err := s.Load(ctx, "k"); err != nil || string(value) != "v" || !s.Exists(ctx, "k") {
			t.Errorf("stored: %q, %v", value, err)
		}
		second := make(chan error)
		go func() { second <- s.Lock(ctx, "a") }()
		synctest.Wait()
		select {
		case err := <-second:
			t.Errorf("a lock was given twice: %v", err)
		default:
		}
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for a lock: %v", err)
		}
		begin, closed := time.Now(), make(chan time.Time)
		go func() {
			s.close(time.Minute)
			closed <- time.Now()
		}()
		time.Sleep(time.Second)
		if err := errors.Join(s.Store(ctx, "last", nil), s.Unlock(ctx, "a")); err != nil {
			t.Errorf("what a job does before it ends: %v", err)
		}
		if took := (<-closed).Sub(begin); took != time.Second {
			t.Errorf("closed after %v, and the job ended after a second", took)
		}
		if err := s.Store(ctx, "late", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("stored after the end: %v", err)
		}
		if err := s.Lock(ctx, "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("locked after the end: %v", err)
		}
	})
}

func TestACloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newACMEStorage(t.TempDir())
		if err := s.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		s.close(time.Minute)
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}
