package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/sealgate/sealgate/rewrite"
	"github.com/sealgate/sealgate/trustcache"
)

// serveTags lists the signed tags, in pages of our own: the registry is never
// asked for its list.
func (g *gate) serveTags(w http.ResponseWriter, r *http.Request, route Route, rec *record) error {
	repo := g.repo(route.Repository)
	view, trustErr := g.Trust.Repository(r.Context(), repo.gun)
	if errors.Is(trustErr, context.Canceled) {
		return trustErr
	}
	found, err := g.admitToList(r.Context(), repo, g.authorization(r), view)
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
	if view.Snapshot != nil && found && limit > 0 {
		var more bool
		if page, more = view.Page(route.Last, limit); more {
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
