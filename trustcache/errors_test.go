package trustcache_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
)

func TestKnowledgeAlarmAndOutageAreToldApart(t *testing.T) {
	for _, c := range []struct {
		err              error
		absent, alarming bool
	}{
		{trustcache.ErrNoTrustData, true, false},
		{trustcache.ErrNotLoaded, true, false},
		{trustcache.ErrUnpinned, true, false},
		{trustcache.ErrMalicious, false, true},
		{trustcache.ErrRolledBack, false, true},
		{trustcache.ErrVanished, false, true},
		{trustcache.ErrRefused, false, false},
		{trustcache.ErrStore, false, false},
		{trustcache.ErrExpired, false, false},
		{trustcache.ErrUnreachable, false, false},
		{&trustcache.PanicError{GUN: gun}, false, true},
		{errors.New("anything else"), false, false},
		{nil, false, false},
	} {
		wrapped := fmt.Errorf("while testing: %w", c.err)
		if got := trustcache.Absent(wrapped); got != c.absent {
			t.Errorf("%v: absent %v", c.err, got)
		}
		if got := trustcache.Alarming(wrapped); got != c.alarming {
			t.Errorf("%v: alarming %v", c.err, got)
		}
	}
}

func TestACaughtPanicKeepsItsStackToItself(t *testing.T) {
	err := func() (err error) {
		defer trustcache.CatchPanic(gun, &err)
		panic("a secret of the verifier")
	}()
	var caught *trustcache.PanicError
	if !errors.As(err, &caught) || !errors.Is(err, trustcache.ErrMalicious) || caught.GUN != gun {
		t.Fatalf("error %v", err)
	}
	if !strings.Contains(string(caught.Stack), "errors_test.go") {
		t.Errorf("stack: %s", caught.Stack)
	}
	if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "errors_test.go") || !strings.Contains(text, gun) {
		t.Errorf("text: %s", text)
	}
}

func TestCatchPanicLeavesOtherErrorsAlone(t *testing.T) {
	err := func() (err error) {
		defer trustcache.CatchPanic(gun, &err)
		return trustcache.ErrExpired
	}()
	if err != trustcache.ErrExpired {
		t.Error(err)
	}
}
