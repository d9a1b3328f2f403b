package content

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// manyLinks writes so many links, of 100 repositories, each to bytes of its own.
func manyLinks(b *testing.B, directory string, links int) {
	b.Helper()
	for i := range links {
		d := digest.FromString(fmt.Sprint(i))
		l := link{layers, fmt.Sprint("team/app", i%100), d}
		for path, content := range map[string]string{l.path(): string(d), dataPath(d): "x"} {
			path = filepath.Join(directory, path)
			must(b, os.MkdirAll(filepath.Dir(path), 0o700))
			must(b, os.WriteFile(path, []byte(content), 0o600))
		}
	}
}

// BenchmarkSweep walks 100,000 links and as many blobs, and removes nothing.
func BenchmarkSweep(b *testing.B) {
	const links = 100_000
	directory := b.TempDir()
	manyLinks(b, directory, links)
	s := newStore(b, StoreOptions{Driver: onDisk(directory), TTL: time.Hour * 1000, MaxSize: 1 << 40})
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		found, err := s.look(context.Background(), time.Now())
		must(b, err)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/links, "heldB/link")
		runtime.KeepAlive(found)
		if did := sweepOf(b, s); did.Links != links {
			b.Fatalf("%+v", did)
		}
		b.ReportMetric(float64(s.Stats().SweepDuration.Milliseconds()), "ms/sweep")
	}
}

// BenchmarkUseManifest is part of every read of a tag from memory.
func BenchmarkUseManifest(b *testing.B) {
	s := newStore(b, StoreOptions{Driver: onDisk(b.TempDir())})
	m := image(b, 1)
	must(b, s.PutManifest(context.Background(), repository, m))
	b.ReportAllocs()
	for b.Loop() {
		s.UseManifest(context.Background(), repository, m.Digest)
	}
}

// BenchmarkManifest is a read of a manifest that is not in memory.
func BenchmarkManifest(b *testing.B) {
	s := newStore(b, StoreOptions{Driver: onDisk(b.TempDir())})
	m := image(b, 1)
	must(b, s.PutManifest(context.Background(), repository, m))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Manifest(context.Background(), repository, digest.Digest(m.Digest)); err != nil {
			b.Fatal(err)
		}
	}
}
