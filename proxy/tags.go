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
	authorization := g.authorization(r)
	var exempt []string
	if len(policy.Exempt) > 0 {
		var err error
		if exempt, err = g.exemptTags(r.Context(), repo, policy, authorization); err != nil {
			return err
		}
	}
	found, err := g.admitToList(r.Context(), repo, authorization, view)
	switch {
	case err != nil && (len(policy.Exempt) == 0 || !isRefusal(err)):
		return err
	case err != nil: // the registry shows the client its list, and not what is in it
		view, trustErr, found = trustcache.View{}, nil, false
	case trustErr != nil && !trustcache.Absent(trustErr):
		return errTrust(repo.gun, trustErr)
	}
	rec.listed(view, trustErr)
	limit := route.Limit
	if limit < 0 {
		limit = maxPage
	}
	signed := view
	if !found {
		signed = trustcache.View{} // nothing proves that the client may see more
	}
	var page []string
	if limit > 0 {
		var more bool
		if page, more = listPage(signed, exempt, route.Last, limit); more {
			w.Header().Set("Link", keepNamespaceInLink(g.ns, rewrite.NextTags(route.Repository, limit, page[len(page)-1])))
		}
	}
	body := rewrite.Tags(route.Repository, page)
	h := w.Header()
	warnStale(h, view)
	warnDoubt(h, signed)
	g.warnAge(h, view)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Write(body) // a client that is gone is told nothing
	return nil
}

// isRefusal says whether the registry knows the client and does not let it, or
// does not know it.
func isRefusal(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// warnDoubt says in a header (RFC 7234 section 5.5) that a tag may be missing
// from a list: asked for by itself, it cannot be judged.
func warnDoubt(h http.Header, view trustcache.View) {
	if view.Snapshot != nil && view.Doubtful() && h.Get("Warning") == "" {
		h.Set("Warning", `199 sealgate "some tags are left out that cannot be judged: metadata of signers that are required cannot be verified"`)
	}
}
