package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

const (
	// watchPatience is how long a read waits for trust data that decides nothing.
	watchPatience = 2 * time.Second
	// watchPause is how long the reads after it do not wait at all.
	watchPause = 10 * time.Second
)

// What enforcing would have made of a read, in the log.
const (
	wouldAllow  = "allow"
	wouldDeny   = "deny"
	wouldChange = "change"
)

// watchTag passes a read of a tag on to the registry, as mode permissive has
// it, and notes what enforcing would have made of it. Who may read it is the
// registry's decision alone, and only those who may are told in the answer.
func (g *gate) watchTag(w http.ResponseWriter, r *http.Request, route Route, rec *record) error {
	d, err := g.wouldDecide(r.Context(), route, rec)
	if err != nil {
		return err
	}
	signed := d.Target.Digest.String()
	return g.forwardJudged(w, r, route, func(resp *http.Response) error {
		if err := g.judge(r, route, resp); err != nil {
			return err
		}
		rec.upstreamDigest = answeredDigest(r, resp)
		rec.would = would(d, resp.StatusCode, rec.upstreamDigest)
		warnWould(w.Header(), resp.StatusCode, rec, signed)
		return nil
	})
}

// answeredDigest is the digest of what the registry has for a tag, "" where it
// does not say: what did not change since is what the client has.
func answeredDigest(r *http.Request, resp *http.Response) string {
	digest := resp.Header.Get("Docker-Content-Digest")
	if had := r.Header["If-None-Match"]; digest == "" && resp.StatusCode == http.StatusNotModified && len(had) == 1 {
		digest = strings.Trim(strings.TrimPrefix(had[0], "W/"), `"`)
	}
	if !validDigest(digest) {
		return ""
	}
	return digest
}

// watchTags passes a tag list on to the registry and says that it is no list of
// signed tags.
func (g *gate) watchTags(w http.ResponseWriter, r *http.Request, route Route) error {
	return g.forwardJudged(w, r, route, func(resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			w.Header().Set("Warning", `299 sealgate "content trust is permissive: these are the registry's tags, signed or not"`)
		}
		return g.judge(r, route, resp)
	})
}

// wouldDecide is the decision that enforcing would have made. The error is the
// client's, which is gone.
func (g *gate) wouldDecide(ctx context.Context, route Route, rec *record) (Decision, error) {
	repo := g.repo(route.Repository)
	patience := watchPatience
	if g.slowTrust.known(g.origin, repo.gun, "") {
		patience = 0
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	view, trustErr := g.Trust.Tag(patient, repo.gun, route.Reference)
	switch {
	case ctx.Err() != nil:
		return Decision{}, ctx.Err()
	case errors.Is(trustErr, context.DeadlineExceeded):
		if patience > 0 {
			g.slowTrust.remember(g.origin, repo.gun, "")
		}
		trustErr = fmt.Errorf("%w: %s: no answer within %s", trustcache.ErrUnreachable, repo.gun, watchPatience)
	}
	d := Decide(repo.gun, route.Reference, view, trustErr)
	rec.watched(d, view)
	return d, nil
}

// would says what enforcing would have made of the registry's answer to a read
// of a tag; "" where it would have been no other, or where that is not known.
func would(d Decision, status int, digest string) string {
	readable := lets(status) || status == http.StatusNotModified
	switch {
	case readable && d.Denial != nil:
		return wouldDeny
	case readable && digest == d.Target.Digest.String():
		return wouldAllow
	case readable && digest != "":
		return wouldChange
	case status == http.StatusNotFound && d.Denial == nil:
		return wouldChange // what is signed was there by digest, perhaps
	}
	return ""
}

// warnWould tells the client's user (RFC 7234 section 5.5, warn-code 299) what
// is going to become of the tag, if the registry lets the client read it.
func warnWould(h http.Header, status int, rec *record, signed string) {
	if status == http.StatusNotFound {
		return
	}
	switch rec.would {
	case wouldDeny:
		h.Set("Warning", fmt.Sprintf(`299 sealgate "content trust is permissive: this tag would be denied: %s"`, rec.reason))
	case wouldChange:
		h.Set("Warning", fmt.Sprintf(`299 sealgate "content trust is permissive: this tag would be the signed %s"`, signed))
	}
}
