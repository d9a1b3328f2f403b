package notary

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// terms say how far past their expiry roles stand; see Options.
type terms struct {
	grace   time.Duration // timestamp and snapshot
	lasting bool          // the others, for ever
}

func (o *Options) terms() terms {
	return terms{grace: o.Grace, lasting: o.Transport == nil && o.AllowExpired}
}

// past is how far past its expiry the role stands.
func (t terms) past(role string) time.Duration {
	switch role {
	case "timestamp":
		return max(timestampGrace, t.grace)
	case "snapshot":
		return t.grace
	}
	return 0
}

// offline says that nobody can be asked.
func (s *Source) offline() bool { return s.opts.Transport == nil }

// fetchKept is the update of a source that asks nobody: what is kept is verified
// as if a server had just sent it, and raises the floors. Who keeps something
// newer there writes the timestamp last, so that what it leads to is there.
func (u *update) fetchKept() (*trustcache.Snapshot, error) {
	if u.state == nil {
		return nil, fmt.Errorf("%w: %s", trustcache.ErrNotLoaded, u.gun)
	}
	var err error
	u.kept, _, err = u.source.readKept(u.gun)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s: what was loaded of it is no longer there: load a bundle with it", trustcache.ErrStore, u.gun)
	case err != nil:
		return nil, u.storeFailed("read", err)
	}
	return u.run()
}

// ageOf says when a role expired that no longer stands, and what can be done.
func (u *update) ageOf(role string, expires time.Time) string {
	text := fmt.Sprintf("%s of %s expired at %s", role, u.gun, expires.UTC().Format(time.RFC3339))
	if past := u.source.opts.terms().past(role); past > timestampGrace {
		text += fmt.Sprintf(", more than the grace of %s ago", past)
	}
	if u.source.offline() {
		text += ": load a newer bundle"
	}
	return text
}
