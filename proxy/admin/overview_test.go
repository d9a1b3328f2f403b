package admin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy/admin"
)

// TestTheOverviewSaysThatClientsGetErrors, for a while, also where nothing was ever
// in memory of what is away.
func TestTheOverviewSaysThatClientsGetErrors(t *testing.T) {
	for _, c := range []struct {
		name, decision string
		ago            time.Duration
		want           bool
	}{
		{"the registry is away", admin.Failed, 4 * time.Minute, true},
		{"it was", admin.Failed, 5 * time.Minute, false},
		{"an unsigned tag is hidden", admin.Denied, 0, false},
		{"mode permissive", admin.WouldDeny, 0, false},
	} {
		r := admin.NewRecent()
		d := denied("1.0", "upstream-unreachable", 0)
		d.Decision, d.Last = c.decision, epoch.Add(-c.ago)
		r.Deny(d, "10.0.0.7")
		page := ask(newPagesOf(t, &watched{}, r), "GET", "/").Body.String()
		if got := strings.Contains(page, "Some get errors"); got != c.want {
			t.Errorf("%s: said so: %v, want %v", c.name, got, c.want)
		}
		if c.want && !strings.Contains(page, "upstream-unreachable, the last one 4 min ago") {
			t.Errorf("%s: it does not say which: %s", c.name, page)
		}
	}
}
