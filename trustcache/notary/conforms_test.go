package notary_test

import (
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

// TestSource is what any source must pass, for ours with its state and its files
// kept as the command keeps them.
func TestSource(t *testing.T) {
	trustcachetest.TestSource(t, func(tb testing.TB, lying *trustcachetest.World) func() trustcache.Source {
		w, disk, on := &world{lying}, inmemory.New(), newFiles()
		pin := pinned(w.keyOf("root"))
		return func() trustcache.Source { return w.source(storedOn(tb, disk), keeping(on), pin) }
	})
}
