package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const origin = "https://registry.test"

func newAuthorisations(ttl time.Duration, now func() time.Time) *authorisations {
	return &authorisations{ttl: ttl, now: now, remembered: newRemembered()}
}

func TestAuthorisationsAreBounded(t *testing.T) {
	a := newAuthorisations(time.Hour, time.Now)
	for i := range 2 * maxRemembered {
		a.remember(origin, "gun", fmt.Sprint("Bearer ", i))
	}
	if n := a.since.Len(); n != maxRemembered {
		t.Errorf("%d are remembered", n)
	}
	if a.known(origin, "gun", "Bearer 0") || !a.known(origin, "gun", fmt.Sprint("Bearer ", 2*maxRemembered-1)) {
		t.Error("the oldest should have gone")
	}
}

func TestAuthorisationsKeepNoCredential(t *testing.T) {
	a, b := newAuthorisations(time.Hour, time.Now), newAuthorisations(time.Hour, time.Now)
	a.remember(origin, "gun", "Bearer secret")
	if text := fmt.Sprintf("%+v %+v", a.since.Keys(), a.since.Values()); strings.Contains(text, "secret") {
		t.Error("a credential is kept")
	}
	if a.key(origin, "gun", "Bearer secret") == b.key(origin, "gun", "Bearer secret") {
		t.Error("two processes hash alike, so that a hash could be tried elsewhere")
	}
}

func TestAuthorisationKeysAreNotAmbiguous(t *testing.T) {
	a := newAuthorisations(time.Hour, time.Now)
	a.remember(origin, "gun/a", "b")
	for _, other := range [][2]string{{"gun/", "ab"}, {"gun/ab", ""}, {"gun/a", ""}, {"gun/a", "B"}, {"gun", "/a\x00b"}} {
		if a.known(origin, other[0], other[1]) {
			t.Errorf("%q is taken for another", other)
		}
	}
}

func TestAnAuthorisationEndsWhenTheClockSaysSo(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAuthorisations(time.Minute, func() time.Time { return now })
	a.remember(origin, "gun", "x")
	now = now.Add(time.Minute - 1)
	if !a.known(origin, "gun", "x") {
		t.Error("it ended early")
	}
	if now = now.Add(1); a.known(origin, "gun", "x") {
		t.Error("it did not end")
	}
	if a.since.Len() != 0 {
		t.Error("what ended is kept")
	}
}

func TestAnAuthorisationIsForOneServer(t *testing.T) {
	a := newAuthorisations(time.Hour, time.Now)
	a.remember(origin, "gun", "x")
	if a.known(origin+".other", "gun", "x") {
		t.Error("another server's word counts")
	}
}

func TestAShorterTTLHoldsForWhatIsRememberedAlready(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAuthorisations(time.Hour, func() time.Time { return now })
	a.remember(origin, "gun", "x")
	now = now.Add(time.Minute)
	reloaded := &authorisations{ttl: time.Minute, now: a.now, remembered: a.remembered}
	if !a.known(origin, "gun", "x") || reloaded.known(origin, "gun", "x") {
		t.Error("what is remembered does not last as long as the ttl that holds now")
	}
}
