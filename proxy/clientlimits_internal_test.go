package proxy

import (
	"net/netip"
	"testing"
	"time"
)

// However many clients come, what is remembered of them is bounded, and nothing is
// left of those that are gone.
func TestManyClientsTakeLittleMemory(t *testing.T) {
	use, now := newClientUse(), time.Now()
	address := netip.MustParseAddr("10.0.0.0")
	for range 3 * maxPaced {
		client := netip.PrefixFrom(address, 32)
		if err := use.enter(client, ClientLimits{AtOnce: 1, PerSecond: 1, Burst: 1}, now); err != nil {
			t.Fatal(err)
		}
		use.leave(client)
		address = address.Next()
	}
	if use.paces.Len() != maxPaced || len(use.underWay) != 0 {
		t.Errorf("%d rates and %d clients are remembered", use.paces.Len(), len(use.underWay))
	}
}
