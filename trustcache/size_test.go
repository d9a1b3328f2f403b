package trustcache_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
)

// tags10k are tags of a usual length, each a string of its own.
func tags10k() []string {
	tags := make([]string, 10_000)
	for i := range tags {
		tags[i] = fmt.Sprintf("v1.%d.%d-linux", i/100, i%100)
	}
	slices.Sort(tags)
	return tags
}

func withoutDigest() (c trustcache.Contents) {
	for _, tag := range tags10k() {
		c.Targets = append(c.Targets, trustcache.Target{Tag: tag, NoDigest: true, Role: "targets", Signers: []string{"targets"}})
	}
	return c
}

func TestSizeIsCloseToWhatIsMeasured(t *testing.T) {
	for name, build := range map[string]func() *trustcache.Snapshot{
		"signed tags": func() *trustcache.Snapshot { return snapshot(gun, 0, tags10k()...) },
		"hidden tags": func() *trustcache.Snapshot {
			var c trustcache.Contents
			for _, tag := range tags10k() {
				c.Hidden = append(c.Hidden, trustcache.HiddenTag{Tag: tag, Roles: []string{"targets/alice"}})
			}
			return trustcache.NewSnapshot(c)
		},
		"tags without digest": func() *trustcache.Snapshot {
			return trustcache.NewSnapshot(withoutDigest())
		},
		"different signers": func() *trustcache.Snapshot {
			var c trustcache.Contents
			for i, tag := range tags10k() {
				c.Targets = append(c.Targets, trustcache.Target{Tag: tag, Role: "targets", Signers: []string{"targets", fmt.Sprint("targets/", i)}})
			}
			return trustcache.NewSnapshot(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			snap := build()
			measured := int64(heap()) - int64(before)
			runtime.KeepAlive(snap)
			if estimate := snap.Size(); estimate > 2*measured || measured > 2*estimate {
				t.Errorf("estimated %d bytes, measured %d", estimate, measured)
			}
			if name == "signed tags" && (snap.Size() > 200*10_000 || measured > 200*10_000) {
				t.Errorf("%d bytes estimated, %d measured for 10,000 tags", snap.Size(), measured)
			}
		})
	}
}

func TestEvidenceIsCounted(t *testing.T) {
	bare := trustcache.NewSnapshot(trustcache.Contents{}).Size()
	noted := trustcache.NewSnapshot(trustcache.Contents{Evidence: []trustcache.Evidence{{Note: string(make([]byte, 1000))}}}).Size()
	if noted < bare+1000 {
		t.Errorf("%d after %d bytes", noted, bare)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	snap := snapshot(gun, 0, tags10k()...)
	bare := trustcache.NewSnapshot(withoutDigest())
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := snap.Lookup("v1.50.50-linux"); !ok {
			t.Fatal("not found")
		}
		if _, ok := snap.Lookup("absent"); ok {
			t.Fatal("found")
		}
		if target, ok := bare.Lookup("v1.50.50-linux"); !ok || !target.NoDigest {
			t.Fatal("not found")
		}
		snap.At(77)
		snap.Page("v1.3", 100)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
