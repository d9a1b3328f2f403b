package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/sealgate/sealgate/rewrite"
	"github.com/sealgate/sealgate/trustcache"
)

// serveTags lists the signed tags, in pages of our own. The registry is asked
// for its list only where some of its tags are exempt, and no others of it are
// listed.
func (g *gate) serveTags(w http.ResponseWriter, r *http.Request, repo repo, policy *Policy, route Route, rec *record) error {
	view, trustErr := g.Trust.Repository(r.Context(), repo.gun)
	if errors.Is(trustErr, context.Canceled) {
		return trustErr
	}
	var exempt []string
	var found bool
	var err error
	if len(policy.Exempt) > 0 {
		exempt, found, err = g.exemptTags(r.Context(), repo, policy, g.authorization(r))
	} else {
		found, err = g.admitToList(r.Context(), repo, g.authorization(r), view)
	}
	if err != nil {
		return err
	}
	if trustErr != nil && !trustcache.Absent(trustErr) {
		return errTrust(repo.gun, trustErr)
	}
	rec.listed(view, trustErr)
	limit := route.Limit
	if limit < 0 {
		limit = maxPage
	}
	var page []string
	if found && limit > 0 {
		var more bool
		if page, more = listPage(view, exempt, route.Last, limit); more {
			w.Header().Set("Link", rewrite.NextTags(route.Repository, limit, page[len(page)-1]))
		}
	}
	body := rewrite.Tags(route.Repository, page)
	h := w.Header()
	warnStale(h, view)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Write(body) // a client that is gone is told nothing
	return nil
}
