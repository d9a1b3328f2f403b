package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAuthorisationsAreBounded(t *testing.T) {
	a := newAuthorisations(time.Hour, time.Now)
	for i := range 2 * maxRemembered {
		a.remember("gun", fmt.Sprint("Bearer ", i))
	}
	if n := a.until.Len(); n != maxRemembered {
		t.Errorf("%d are remembered", n)
	}
	if a.known("gun", "Bearer 0") || !a.known("gun", fmt.Sprint("Bearer ", 2*maxRemembered-1)) {
		t.Error("the oldest should have gone")
	}
}

func TestAuthorisationsKeepNoCredential(t *testing.T) {
	a, b := newAuthorisations(time.Hour, time.Now), newAuthorisations(time.Hour, time.Now)
	a.remember("gun", "Bearer secret")
	if text := fmt.Sprintf("%+v %+v", a.until.Keys(), a.until.Values()); strings.Contains(text, "secret") {
		t.Error("a credential is kept")
	}
	if a.key("gun", "Bearer secret") == b.key("gun", "Bearer secret") {
		t.Error("two processes hash alike, so that a hash could be tried elsewhere")
	}
}

func TestAuthorisationKeysAreNotAmbiguous(t *testing.T) {
	a := newAuthorisations(time.Hour, time.Now)
	a.remember("gun/a", "b")
	for _, other := range [][2]string{{"gun/", "ab"}, {"gun/ab", ""}, {"gun/a", ""}, {"gun/a", "B"}, {"gun", "/a\x00b"}} {
		if a.known(other[0], other[1]) {
			t.Errorf("%q is taken for another", other)
		}
	}
}

func TestAnAuthorisationEndsWhenTheClockSaysSo(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAuthorisations(time.Minute, func() time.Time { return now })
	a.remember("gun", "x")
	now = now.Add(time.Minute - 1)
	if !a.known("gun", "x") {
		t.Error("it ended early")
	}
	if now = now.Add(1); a.known("gun", "x") {
		t.Error("it did not end")
	}
	if a.until.Len() != 0 {
		t.Error("what ended is kept")
	}
}
