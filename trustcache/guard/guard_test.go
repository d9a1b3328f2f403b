package guard_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache/guard"
)

func TestAPanicIsAnError(t *testing.T) {
	var caught *guard.Panic
	err := guard.Run(func() error { panic("a bug") })
	if !errors.As(err, &caught) || caught.Value != "a bug" || caught.Error() != "panic: a bug" || !bytes.Contains(caught.Stack, []byte("TestAPanicIsAnError")) {
		t.Errorf("got %#v", err)
	}
	failed := errors.New("failed")
	if err := guard.Run(func() error { return failed }); err != failed {
		t.Errorf("got %v, want the error itself", err)
	}
	if err := guard.Run(func() error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestALoopBeginsAnewAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		caught := 0
		guard.Loop(t.Context(), func(context.Context) {
			at = append(at, time.Since(start))
			if len(at) < 10 {
				panic("a bug")
			}
		}, func(*guard.Panic) { caught++ })
		if caught != 9 || at[1] != time.Second || at[2] != 3*time.Second || at[9]-at[8] != time.Minute {
			t.Errorf("%d were caught; begun at %v", caught, at)
		}
	})
}

func TestALoopEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	guard.Loop(ctx, func(ctx context.Context) { cancel(); panic("a bug") }, func(*guard.Panic) {})
}
