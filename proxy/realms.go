package proxy

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sealgate/sealgate/proxy/upstream"
	"golang.org/x/sync/singleflight"
)

const (
	// realmsFor is how long it is believed where the registry's token server is;
	// in the last realmsEarly of that it is asked again meanwhile.
	realmsFor   = 5 * time.Minute
	realmsEarly = time.Minute
	// realmsPause is how long a registry that did not answer is left alone.
	realmsPause = 5 * time.Second
	// maxTokenPaths bounds the paths that are believed at once.
	maxTokenPaths = 64
)

// realms remembers what the registry's challenge says of where its token server
// is. The zero value knows nothing.
type realms struct {
	flights singleflight.Group
	known   atomic.Pointer[realmsKnown]
}

type realmsKnown struct {
	paths []string
	until time.Time
	err   error // why there is no answer
}

// asksForToken says whether a request is for the registry's token server on its
// own host. Only the registry's answer to an anonymous GET /v2/ says where that
// is: one that a client got, or one to us, which is asked for when
// something comes that can be nothing else than a request for a token.
func (g *gate) asksForToken(r *http.Request, target string) (bool, error) {
	if !g.Passthrough || r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false, nil
	}
	path, query, _ := strings.Cut(target, "?")
	known := g.realms.known.Load()
	there, looks := known != nil && slices.Contains(known.paths, path), looksLikeToken(r, query)
	if !there && !looks {
		return false, nil
	}
	now := g.auth.now()
	fresh := known != nil && now.Before(known.until)
	if fresh && known.err == nil && there && now.After(known.until.Add(-realmsEarly)) {
		nobody, leave := context.WithCancel(r.Context())
		leave() // before it begins: this client is not kept waiting
		_, _ = g.askForRealms(nobody)
	}
	if !fresh && validTokenPath(path) {
		asked, err := g.askForRealms(r.Context())
		if err != nil {
			return false, err
		}
		known, fresh = asked, true
	}
	switch {
	case !fresh:
		return false, nil
	case known.err != nil && looks && validTokenPath(path):
		return false, known.err
	}
	return slices.Contains(known.paths, path), nil
}

// looksLikeToken says whether a request has what clients send for a token
// (Distribution's token authentication specification): a stranger's guess at a
// path costs the registry nothing.
func looksLikeToken(r *http.Request, query string) bool {
	if r.Method == http.MethodPost {
		return strings.HasPrefix(r.Header.Get("Content-Type"), urlencoded)
	}
	if query == "" {
		return false
	}
	for pair := range strings.SplitSeq(query, "&") {
		switch key, _, _ := strings.Cut(pair, "="); key {
		case "service", "scope", "account", "client_id":
			return true
		}
	}
	return false
}

// askForRealms is fetchRealms once for all who ask at the same time; it goes on
// when ctx is done.
func (g *gate) askForRealms(ctx context.Context) (*realmsKnown, error) {
	return join(ctx, &g.realms.flights, "", probeTimeout, func(ctx context.Context) (*realmsKnown, error) { return g.fetchRealms(ctx), nil })
}

// fetchRealms asks the registry as nobody in particular. That it gives no answer
// is remembered too, for a moment.
func (g *gate) fetchRealms(ctx context.Context) *realmsKnown {
	resp, err := g.ask(ctx, g.Upstream, http.MethodGet, Route{Kind: Base}, "")
	if err == nil {
		defer upstream.Discard(resp)
		if known := g.learnRealms(resp); known != nil {
			return known
		}
		err = errRelayed(resp)
	} else {
		err = errUpstream(err)
	}
	known := &realmsKnown{until: g.auth.now().Add(realmsPause), err: err}
	g.realms.known.Store(known)
	return known
}

// overhearRealms takes over what a client was told who asked for /v2/ with no
// credentials. It adds, for as long as what was known is believed, and never takes
// away: some registries answer a browser otherwise than docker, and a stranger
// who plays one would close the token server to everybody.
func (g *gate) overhearRealms(resp *http.Response) {
	if resp.StatusCode != http.StatusUnauthorized {
		return
	}
	now := g.auth.now()
	heard := &realmsKnown{paths: g.tokenPaths(resp.Header), until: now.Add(realmsFor)}
	if known := g.realms.known.Load(); known != nil && known.err == nil && now.Before(known.until) {
		if !slices.ContainsFunc(heard.paths, func(path string) bool { return !slices.Contains(known.paths, path) }) {
			return
		}
		heard.paths, heard.until = append(heard.paths, known.paths...), known.until
	}
	if len(heard.paths) == 0 || len(heard.paths) > maxTokenPaths {
		return
	}
	g.realms.known.Store(heard)
}

// learnRealms takes over what an answer to an anonymous GET /v2/ of our own says;
// nil where it says nothing of who is let in.
func (g *gate) learnRealms(resp *http.Response) *realmsKnown {
	known := &realmsKnown{until: g.auth.now().Add(realmsFor)}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		known.paths = g.tokenPaths(resp.Header)
	default:
		return nil
	}
	g.realms.known.Store(known)
	return known
}
