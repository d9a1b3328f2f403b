package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
)

// Expose says to whom a Notary server's metadata is served.
type Expose uint8

const (
	// ExposeAuto serves it where the Notary server itself refuses anonymous
	// reads, and otherwise to clients that may read the repository.
	ExposeAuto Expose = iota
	// ExposeAlways serves it to everybody who can connect.
	ExposeAlways
	// ExposeNever serves it to nobody.
	ExposeNever
)

// serveTrust passes a read of trust metadata to the Notary server, so that
// Docker Content Trust's clients work with no trust server set. The metadata
// names tags, so in ExposeAuto nobody sees it who may not see the tags.
// Sealgate's own credentials for the Notary server are never used.
func (g *gate) serveTrust(w http.ResponseWriter, r *http.Request, route Route) error {
	name, ok := g.signs(route.Repository)
	if ok && g.Offline != nil {
		return g.serveKeptTrust(w, r, route)
	}
	if !ok || g.NotaryURL == nil || g.Expose == ExposeNever {
		return errNoTrustFile
	}
	if g.Expose == ExposeAuto {
		if err := g.admitToTrust(r, repo{name: name, gun: route.Repository}); err != nil {
			return err
		}
	}
	p := passage{
		base: g.NotaryURL, via: g.Notary, route: route,
		credentials: g.Passthrough,
		minRate:     g.minRate,
		judge:       g.judgeNotary,
		fail:        errNotary,
	}
	return p.serve(w, r)
}

// signs returns the repository of a GUN; ok is false for one of another
// registry, or that no client of Docker Hub would type.
func (g *gate) signs(gun string) (name string, ok bool) {
	name, ok = strings.CutPrefix(gun, g.Name+"/")
	return name, ok && validName(name) && Repository(g.Name, name) == name
}

// errNotary: no answer came from the trust server. Its address stays in the log.
func errNotary(err error) *Error {
	if errors.Is(err, context.Canceled) {
		return errClientGone.because(err)
	}
	return unavailable("unreachable", trustcache.ErrUnreachable).because(err)
}

// judgeNotary lets answers about metadata pass; a redirect or a failure of the
// trust server is not knowing, and so is its challenge where nobody's
// credentials would reach it.
func (g *gate) judgeNotary(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNotModified, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return nil
	case http.StatusUnauthorized:
		if g.Passthrough {
			return nil
		}
	}
	return unavailable("unreachable", fmt.Errorf("%w: status %d", trustcache.ErrUnreachable, resp.StatusCode))
}

// admitToTrust is ExposeAuto. A Docker client's token names the GUN and not
// the repository, so that the registry may refuse it where it lets in a client
// with none: no credentials are tried first, then the client's own.
func (g *gate) admitToTrust(r *http.Request, repo repo) error {
	closed, err := g.notaryIsClosed(r.Context(), repo.gun)
	if err != nil || closed {
		return err
	}
	authorization := g.authorization(r)
	view, trustErr := g.Trust.Repository(r.Context(), repo.gun)
	if trustErr != nil {
		if err := g.admitToDenial(r.Context(), repo, authorization, view); err != nil {
			return err
		}
		if trustcache.Absent(trustErr) {
			return errNoTrustFile
		}
		return errTrust(repo.gun, trustErr)
	}
	if !g.Passthrough {
		return g.admitAnybodyToTrust(r.Context(), repo, view)
	}
	found, err := g.admitToList(r.Context(), repo, "", view)
	if (err != nil || !found) && authorization != "" {
		found, err = g.admitToList(r.Context(), repo, authorization, view)
	}
	if err == nil && !found {
		return errNoTrustFile
	}
	return err
}

// admitAnybodyToTrust is for a gate that reads anonymously or with credentials
// of its own: what the registry shows to nobody without credentials is not told
// here either.
func (g *gate) admitAnybodyToTrust(ctx context.Context, r repo, view trustcache.View) error {
	asked := *g
	asked.Passthrough = true     // so that the registry is asked at all,
	asked.Upstream = g.Anonymous // and not with credentials of ours
	if found, err := asked.admitToList(ctx, r, "", view); err != nil || !found {
		return errNoTrustFile.because(err)
	}
	return nil
}

// notaryIsClosed asks the Notary server, with no credentials, whether it lets
// anybody read; then its own judgement of the client's credentials is enough.
func (g *gate) notaryIsClosed(ctx context.Context, gun string) (bool, error) {
	if g.closedNotaries.known(g.NotaryURL.String(), gun, "") {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	probe := Route{Kind: TrustMetadata, Repository: gun, Reference: "timestamp.json"}
	req := (&http.Request{Method: http.MethodGet, URL: build(g.NotaryURL, probe), Header: http.Header{"User-Agent": {"sealgate"}}}).WithContext(ctx)
	resp, err := g.Notary.RoundTrip(req)
	if err != nil {
		return false, errNotary(err)
	}
	upstream.Discard(resp)
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		g.closedNotaries.remember(g.NotaryURL.String(), gun, "")
		return true, nil
	}
	return false, nil
}
