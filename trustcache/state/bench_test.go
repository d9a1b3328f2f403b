package state_test

import (
	"path/filepath"
	"testing"

	"github.com/sealgate/sealgate/trustcache/state"
)

// BenchmarkNow is part of every read of a tag.
func BenchmarkNow(b *testing.B) {
	clock, err := state.OpenClock(filepath.Join(b.TempDir(), "clock"), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			clock.Now()
		}
	})
	b.Run("all cores", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				clock.Now()
			}
		})
	})
}
