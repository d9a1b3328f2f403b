package notary_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
)

// worldOf signs that many tags in targets/releases.
func worldOf(tb testing.TB, tags int) *world {
	tb.Helper()
	w := newWorld(tb)
	w.Delegate(releases)
	for i := range tags {
		w.Sign(releases, fmt.Sprintf("v1.%d.%d-linux", i/100, i%100), i)
	}
	w.Publish()
	return w
}

func BenchmarkFirstLook(b *testing.B) {
	for _, tags := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(tags, " tags"), func(b *testing.B) {
			w := worldOf(b, tags)
			b.ReportAllocs()
			for b.Loop() {
				w.verified(w.source(), nil)
				w.Asked()
			}
		})
	}
}

func BenchmarkUnchanged10000(b *testing.B) {
	w := worldOf(b, 10_000)
	s := w.source()
	snap := w.verified(s, nil)
	b.ReportAllocs()
	for b.Loop() {
		snap = w.verified(s, snap)
		w.Asked()
	}
}

func BenchmarkOneTagMoreOf10000(b *testing.B) {
	w := worldOf(b, 10_000)
	s := w.source()
	first := w.verified(s, nil)
	w.Sign(releases, "latest", 1)
	w.Publish()
	w.wantNewer(s, first)
	b.ReportAllocs()
	for b.Loop() {
		w.verified(s, first)
		w.Asked()
	}
}

func (w *world) wantNewer(s trustcache.Source, prev *trustcache.Snapshot) {
	w.TB.Helper()
	snap, err := s.Fetch(w.TB.Context(), w.GUN, prev)
	must(w.TB, err)
	wantDigest(w.TB, snap, "latest", 1)
}

func BenchmarkOtherWriting10000(b *testing.B) {
	w := worldOf(b, 10_000)
	w.Spoil[releases] = func(file []byte) []byte { return bytes.Replace(file, []byte(`"_type":`), []byte(`"_type": `), 1) }
	w.Publish()
	b.ReportAllocs()
	for b.Loop() {
		w.verified(w.source(), nil)
		w.Asked()
	}
}
