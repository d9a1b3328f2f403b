package trustcache_test

import (
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func BenchmarkLookup(b *testing.B) {
	snap := snapshot(gun, 0, tags10k()...)
	b.ReportAllocs()
	for b.Loop() {
		snap.Lookup("v1.50.50-linux")
	}
}

func BenchmarkLookupOfATagWithoutDigest(b *testing.B) {
	snap := trustcache.NewSnapshot(withoutDigest())
	b.ReportAllocs()
	for b.Loop() {
		snap.Lookup("v1.50.50-linux")
	}
}

func BenchmarkNewSnapshot10000(b *testing.B) {
	tags := tags10k()
	b.ReportAllocs()
	for b.Loop() {
		snapshot(gun, 0, tags...)
	}
}

func BenchmarkCacheTagWarm(b *testing.B) {
	s := newSource(tags10k()...)
	c := trustcache.New(trustcache.Options{Source: s, Refresh: time.Hour})
	defer c.Close()
	_, err := c.Tag(b.Context(), gun, "v1.50.50-linux")
	must(b, err)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Tag(b.Context(), gun, "v1.50.50-linux"); err != nil {
				b.Error(err)
			}
		}
	})
}
