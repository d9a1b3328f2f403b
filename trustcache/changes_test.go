package trustcache_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// signed is a snapshot of tags, each "tag=words"; "tag=" has no sha256.
func signed(tags ...string) *trustcache.Snapshot {
	c := trustcache.Contents{GUN: gun}
	for _, t := range tags {
		tag, words, _ := strings.Cut(t, "=")
		target := trustcache.Target{Tag: tag, NoDigest: words == ""}
		if words != "" {
			target.Digest = digest(words)
		}
		c.Targets = append(c.Targets, target)
	}
	return trustcache.NewSnapshot(c)
}

func TestChangesAreWhatDiffersInTheTags(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after []string
		n             int
		want          string
		all           int
	}{
		{name: "nothing at all", n: 9},
		{name: "the same signed anew", before: []string{"a=1", "b=2"}, after: []string{"a=1", "b=2"}, n: 9},
		{name: "signed", before: []string{"b=2"}, after: []string{"a=1", "b=2", "c=3"}, n: 9, want: "+a +c", all: 2},
		{name: "gone", before: []string{"a=1", "b=2", "c=3"}, after: []string{"b=2"}, n: 9, want: "-a -c", all: 2},
		{name: "moved", before: []string{"a=1", "b=2"}, after: []string{"a=1", "b=3"}, n: 9, want: "~b", all: 1},
		{name: "all of it", before: []string{"a=1", "b=2"}, after: []string{"b=3", "c=1"}, n: 9, want: "-a ~b +c", all: 3},
		{name: "its digest was taken away", before: []string{"a=1"}, after: []string{"a="}, n: 9, want: "-a", all: 1},
		{name: "more than is wanted", before: nil, after: []string{"a=1", "b=1", "c=1"}, n: 2, want: "+a +b", all: 3},
		{name: "a count alone", before: nil, after: []string{"a=1", "b=1"}, n: 0, all: 2},
	} {
		before, after := signed(c.before...), signed(c.after...)
		first, all := trustcache.Changes(before, after, c.n)
		var got []string
		for _, change := range first {
			mark := "~"
			switch {
			case change.Before == nil:
				mark = "+"
			case change.After == nil:
				mark = "-"
			}
			got = append(got, mark+change.Tag)
			if target, ok := after.Lookup(change.Tag); change.After != nil && (!ok || target.Digest != *change.After) {
				t.Errorf("%s: %s is not what is signed now", c.name, change.Tag)
			}
			if target, ok := before.Lookup(change.Tag); change.Before != nil && (!ok || target.Digest != *change.Before) {
				t.Errorf("%s: %s is not what was signed before", c.name, change.Tag)
			}
		}
		if strings.Join(got, " ") != c.want || all != c.all {
			t.Errorf("%s: got %v of %d, want %s of %d", c.name, got, all, c.want, c.all)
		}
	}
	if before := signed("a=1"); len(first(trustcache.Changes(before, before.Renew(trustcache.Contents{GUN: gun}), 9))) != 0 {
		t.Error("a renewed snapshot has changes")
	}
}

func first[T any](value T, _ int) T { return value }

func TestARefreshTellsWhatWasKnownBeforeAndAfter(t *testing.T) {
	s := newSource("a")
	var told []string
	tags := func(s *trustcache.Snapshot) string {
		if s == nil {
			return "nothing"
		}
		page, _ := s.Page("", 9)
		return strings.Join(page, ",")
	}
	in(t, s, trustcache.Options{MaxStale: time.Hour, OnRefresh: func(r trustcache.Refresh) {
		told = append(told, fmt.Sprintf("%s→%s", tags(r.Before), tags(r.After)))
	}}, func(t *testing.T, c *trustcache.Cache) {
		for _, step := range []struct {
			tags []string
			err  error
		}{{[]string{"a"}, nil}, {[]string{"a", "b"}, nil}, {nil, trustcache.ErrUnreachable}} {
			s.tell(func(s *source) { s.tags, s.err = step.tags, step.err })
			_ = c.Refresh(t.Context(), gun)
			synctest.Wait() // it is told after who waits has the answer
		}
		_ = c.Refresh(t.Context(), gun+"/other")
	})
	if got := strings.Join(told, " "); got != "nothing→a a→a,b a,b→a,b nothing→nothing" {
		t.Error(got)
	}
}

func TestPeekAsksNobody(t *testing.T) {
	s := newSource("a")
	in(t, s, trustcache.Options{MaxStale: time.Hour}, func(t *testing.T, c *trustcache.Cache) {
		if u, known := c.Peek(gun); known {
			t.Errorf("before anybody asked: %+v", u)
		}
		ask(t, c, gun)
		ask(t, c, gun+"/newer")
		u, known := c.Peek(gun)
		if !known || u.GUN != gun || u.Snapshot.Len() != 1 || u.Condition != trustcache.Fresh || u.Failure != nil || !u.Contact.Equal(time.Now()) {
			t.Errorf("fresh: %+v, %t", u, known)
		}
		if last := c.InUse(1)[0].GUN; last != gun+"/newer" {
			t.Errorf("a look counts as a use of %s", last)
		}
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		time.Sleep(2 * time.Minute)
		_, _ = c.Repository(t.Context(), gun)
		if u, _ := c.Peek(gun); u.Condition != trustcache.Stale || u.Failure != trustcache.ErrUnreachable || u.Snapshot == nil {
			t.Errorf("standing: %+v", u)
		}
		time.Sleep(2 * time.Hour)
		_, _ = c.Repository(t.Context(), gun)
		if u, _ := c.Peek(gun); u.Condition != trustcache.Ended {
			t.Errorf("ended: %+v", u)
		}
		s.tell(func(s *source) { s.err = trustcache.ErrUnpinned })
		_, _ = c.Repository(t.Context(), "none")
		if u, known := c.Peek("none"); !known || u.GUN != "none" || u.Snapshot != nil || u.Failure != trustcache.ErrUnpinned {
			t.Errorf("without a snapshot: %+v, %t", u, known)
		}
	})
}
