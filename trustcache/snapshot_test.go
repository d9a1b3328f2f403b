package trustcache_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// contents makes contents of some tags from bytes: few letters, so that
// prefixes, neighbours and duplicates are frequent.
func contents(from []byte) (c trustcache.Contents, want map[string]trustcache.Target) {
	want = map[string]trustcache.Target{}
	for i, b := range from {
		tag := strings.Repeat("a", int(b&3)) + string("Zab._-09"[b>>2&7]) + strings.Repeat("b", int(b>>5&1))
		target := trustcache.Target{
			Tag: tag, NoDigest: b>>6 == 3, Length: int64(i) - 1, Role: fmt.Sprint("role", b%5),
			Signers: []string{fmt.Sprint("role", b%5), fmt.Sprint("other", b%3)},
		}
		if !target.NoDigest {
			target.Digest = digest(fmt.Sprint(i))
		}
		c.Targets = append(c.Targets, target)
		if _, twice := want[tag]; !twice {
			want[tag] = target
		}
	}
	return c, want
}

func same(a, b trustcache.Target) bool {
	return a.Tag == b.Tag && a.Digest == b.Digest && a.NoDigest == b.NoDigest && a.Length == b.Length && a.Role == b.Role && slices.Equal(a.Signers, b.Signers)
}

// FuzzSnapshot: a snapshot answers as a map would, and walking it in pages of
// any size meets every servable tag once, in order.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte{}, 1, "")
	f.Add([]byte("hello, world"), 1, "b")
	f.Add([]byte{255, 255, 0, 0, 1, 2, 3, 200}, 3, "a")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	f.Add(all, 7, "zz")
	f.Fuzz(func(t *testing.T, from []byte, n int, last string) {
		c, want := contents(from)
		before := slices.Clone(c.Targets)
		snap := trustcache.NewSnapshot(c)
		if !slices.EqualFunc(before, c.Targets, same) {
			t.Fatal("the caller's targets were changed")
		}
		var tags []string
		unusable := 0
		for tag, target := range want {
			got, ok := snap.Lookup(tag)
			if !ok || !same(got, target) {
				t.Fatalf("tag %q: %v %+v, expected %+v", tag, ok, got, target)
			}
			if target.NoDigest {
				unusable++
				continue
			}
			tags = append(tags, tag)
		}
		slices.Sort(tags)
		if _, found := want[last]; !found {
			if got, ok := snap.Lookup(last); ok {
				t.Fatalf("found %+v for %q", got, last)
			}
		}
		if snap.Len() != len(tags) || len(snap.Unusable()) != unusable {
			t.Fatalf("%d tags and %d without digest, expected %d and %d", snap.Len(), len(snap.Unusable()), len(tags), unusable)
		}
		if !slices.IsSortedFunc(snap.Unusable(), func(a, b trustcache.Target) int { return strings.Compare(a.Tag, b.Tag) }) {
			t.Fatal("what has no digest is not sorted")
		}
		for i, tag := range tags {
			if got := snap.At(i); !same(got, want[tag]) {
				t.Fatalf("tag %d is %+v, expected %+v", i, got, want[tag])
			}
		}
		walk(t, snap, tags, 1+n&15)
		page, more := snap.Page(last, 1+n&15)
		after := tags[max(0, countUpTo(tags, last)):]
		if len(page) != min(len(after), 1+n&15) || !slices.Equal(page, after[:len(page)]) || more != (len(after) > len(page)) {
			t.Fatalf("after %q: %v (more: %v) of %v", last, page, more, after)
		}
	})
}

func countUpTo(sorted []string, last string) int {
	n := 0
	for _, tag := range sorted {
		if last != "" && tag <= last {
			n++
		}
	}
	return n
}

func walk(t *testing.T, snap *trustcache.Snapshot, want []string, n int) {
	t.Helper()
	var got []string
	last, more := "", true
	for more {
		var page []string
		page, more = snap.Page(last, n)
		if len(page) > n || more && len(page) != n {
			t.Fatalf("a page of %d has %d tags (more: %v)", n, len(page), more)
		}
		if got = append(got, page...); len(page) > 0 {
			last = page[len(page)-1]
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("pages of %d give %v, expected %v", n, got, want)
	}
}

func TestPagesOfAnySizeMeetEveryTag(t *testing.T) {
	var tags []string
	for i := range 60 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	slices.Sort(tags)
	mixed := slices.Clone(tags)
	rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	snap := snapshot(gun, 0, mixed...)
	for n := 1; n <= len(tags)+1; n++ {
		walk(t, snap, tags, n)
	}
}

func TestAppendingToAPageDoesNotReachTheSnapshot(t *testing.T) {
	snap := snapshot(gun, 0, "a", "b", "c")
	page, _ := snap.Page("", 1)
	_ = append(page, "x")
	if rest, _ := snap.Page("a", 2); !slices.Equal(rest, []string{"b", "c"}) {
		t.Errorf("the next page is %v", rest)
	}
}

func TestHiddenTagsAreSorted(t *testing.T) {
	hidden := []trustcache.HiddenTag{{Tag: "b", Roles: []string{"x"}}, {Tag: "a", Roles: []string{"y"}}}
	snap := trustcache.NewSnapshot(trustcache.Contents{Hidden: hidden})
	if got := snap.Hidden(); len(got) != 2 || got[0].Tag != "a" || got[1].Tag != "b" || hidden[0].Tag != "b" {
		t.Errorf("hidden: %v", got)
	}
	if _, ok := snap.Lookup("a"); ok || snap.Len() != 0 {
		t.Error("a hidden tag is visible")
	}
}

func TestRenewCarriesTheTagsOver(t *testing.T) {
	old := trustcache.NewSnapshot(trustcache.Contents{
		GUN: gun, Targets: []trustcache.Target{{Tag: "a", Digest: digest("a")}, {Tag: "b", NoDigest: true}}, Hidden: []trustcache.HiddenTag{{Tag: "c"}},
		Expires: time.Unix(1, 0), ExpiresRole: "old", Evidence: []trustcache.Evidence{{Role: "old"}}, Memo: 1, MemoSize: 10,
	})
	renewed := old.Renew(trustcache.Contents{
		GUN: "ignored", Expires: time.Unix(2, 0), ExpiresRole: "new", Evidence: []trustcache.Evidence{{Role: "new"}}, Memo: 2, MemoSize: 30,
	})
	a, _ := old.Page("", 1)
	b, _ := renewed.Page("", 1)
	if &a[0] != &b[0] || renewed.GUN() != gun || len(renewed.Hidden()) != 1 || len(renewed.Unusable()) != 1 {
		t.Error("the tags were not carried over")
	}
	if at, role := renewed.Expires(); at != time.Unix(2, 0) || role != "new" || renewed.Evidence()[0].Role != "new" || renewed.Memo() != 2 {
		t.Errorf("renewed: %s %s %v %v", at, role, renewed.Evidence(), renewed.Memo())
	}
	if at, role := old.Expires(); at != time.Unix(1, 0) || role != "old" || old.Memo() != 1 {
		t.Error("the old snapshot changed")
	}
	if renewed.Size() != old.Size()+20 {
		t.Errorf("size %d after %d", renewed.Size(), old.Size())
	}
	if n := testing.AllocsPerRun(100, func() { old.Renew(trustcache.Contents{}) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestDigestsAreWrittenAsTheImageSpecSays(t *testing.T) {
	if got, want := digest("").String(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("%s, expected %s", got, want)
	}
}

func TestSignersAreExactHoweverManySetsThereAre(t *testing.T) {
	var c trustcache.Contents
	for i := range 70_000 {
		tag := fmt.Sprintf("v%06d", i)
		c.Targets = append(c.Targets, trustcache.Target{Tag: tag, Digest: digest(tag), Role: "targets", Signers: []string{tag}})
	}
	snap := trustcache.NewSnapshot(c)
	for i := range c.Targets {
		if got := snap.At(i); !same(got, c.Targets[i]) {
			t.Fatalf("tag %d: %+v", i, got)
		}
	}
}
