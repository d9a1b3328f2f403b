package proxy

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/guard"
)

// Where what was served came from, in the access line.
const (
	fromMemory   = "memory"
	fromStore    = "store"
	fromFlight   = "flight" // the registry, together with others
	fromUpstream = "upstream"
)

// caches says whether the cache has anything to do with a route.
func (g *gate) caches(route Route) bool {
	return g.Cache != nil && (route.Kind == Blob || route.Kind == ManifestByDigest) && strings.HasPrefix(route.Reference, "sha256:")
}

// beforePush says whether a read is how a client that pushes finds out what the
// registry has already, and which the cache must not answer: what the registry
// has lost would never be pushed again.
func (g *gate) beforePush(r *http.Request) bool { return g.Push && r.Method == http.MethodHead }

// findManifest returns a verified manifest, in one reading, from memory or the
// cache. The error wraps content.ErrNotCached where neither has it; any other says
// why the cache could not be read. Whether a client may have it is another question.
func (g *gate) findManifest(ctx context.Context, r repo, digest trustcache.Digest) (m *content.Manifest, from string, err error) {
	since := g.deletions.Load()
	if m = g.manifests.Get(g.origin, r.gun, digest); m != nil {
		if g.Cache != nil && g.Cache.UseManifest(ctx, r.name, m.Digest) && g.Offline == nil {
			g.putInCacheLater(r, m, since) // it could not be written, or has left
		}
		return m, fromMemory, nil
	}
	if m, err = g.cachedManifest(ctx, r, digest); err != nil {
		return nil, "", err
	}
	g.putInMemory(r, m, since)
	return m, fromStore, nil
}

// putInMemory has a manifest in memory that was there when so many deletions had
// been, unless there was another since: it may be what was deleted.
func (g *gate) putInMemory(r repo, m *content.Manifest, since uint64) (there bool) {
	g.manifests.Put(g.origin, r.gun, m)
	if g.deletions.Load() == since {
		return true
	}
	g.manifests.Drop(g.origin, r.gun, m.Digest)
	return false
}

// cachedManifest is findManifest without memory.
func (g *gate) cachedManifest(ctx context.Context, r repo, of trustcache.Digest) (*content.Manifest, error) {
	if g.Cache == nil {
		return nil, content.ErrNotCached
	}
	ctx, span := startSpan(ctx, "cache read")
	defer span.End()
	patient, cancel := context.WithTimeout(ctx, g.manifestTimeout)
	defer cancel()
	m, err := g.Cache.Manifest(patient, r.name, digest.Digest(of.String()))
	if err == nil {
		err = oneReading(m.Body, m.MediaType)
	}
	if err != nil {
		g.logUnread(ctx, r, of.String(), err)
		return nil, err
	}
	return m, nil
}

// logUnread says that something may be in the cache and cannot be had from there,
// unless it is the client who has gone.
func (g *gate) logUnread(ctx context.Context, r repo, digest string, err error) {
	if errors.Is(err, content.ErrNotCached) || ctx.Err() != nil {
		return
	}
	text := "the cache cannot be read: the registry is asked"
	if g.Offline != nil {
		text = "what was loaded cannot be read"
	}
	g.log.Warn().Str("registry", g.Name).Str("repository", r.name).Str("digest", digest).Err(err).Msg(text)
}

// keepTimeout bounds keeping one manifest, keepBlobTimeout one blob.
const (
	keepTimeout     = time.Minute
	keepBlobTimeout = time.Hour
)

// keepManifest keeps what the registry sent: in memory now, in the cache not while
// its clients wait. since is as for putInMemory.
func (g *gate) keepManifest(r repo, m *content.Manifest, since uint64) {
	if g.putInMemory(r, m, since) && g.Cache != nil {
		g.putInCacheLater(r, m, since)
	}
}

// putInCacheLater has a manifest written to the cache, and removed again where it
// may be what was deleted since.
func (g *gate) putInCacheLater(r repo, m *content.Manifest, since uint64) {
	g.flights.Later(int64(len(m.Body)), func(ctx context.Context) {
		if g.deletions.Load() != since {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, keepTimeout)
		defer cancel()
		err := guard.Run(func() error { return g.Cache.PutManifest(ctx, r.name, m) })
		if err == nil && g.deletions.Load() != since {
			err = guard.Run(func() error { return g.Cache.Drop(ctx, r.name, digest.Digest(m.Digest)) })
		}
		g.logUnkept(r, m.Digest, err)
	})
}

// logUnkept says that something could not be written to the cache; nothing where
// err is nil or it never is. What is not kept was served all the same, and is
// fetched again.
func (g *gate) logUnkept(r repo, digest string, err error) {
	if err != nil && !errors.Is(err, content.ErrUncacheable) {
		g.log.Warn().Str("registry", g.Name).Str("repository", r.name).Str("digest", digest).Err(err).Msg("the cache cannot be written: what was served is not kept")
	}
}

// drop forgets what was deleted at the registry, or may have been.
func (g *gate) drop(ctx context.Context, route Route) {
	r := g.repo(route.Repository)
	g.deletions.Add(1) // before it is looked what there is
	g.manifests.Drop(g.origin, r.gun, route.Reference)
	if !g.caches(route) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	g.flights.Drop(ctx, g.blobKey(r, route.Reference))
	if err := g.Cache.Drop(ctx, r.name, digest.Digest(route.Reference)); err != nil {
		g.log.Error().Str("registry", g.Name).Str("repository", r.name).Str("digest", route.Reference).Err(err).Msg("what was deleted stays in the cache")
	}
}

// serveManifest answers a read of a manifest by digest: from memory, the cache or
// the registry. What no client could mistake for something else is served as it
// is, and kept if it can be; anything else is forwarded as if there was no cache.
func (g *gate) serveManifest(w http.ResponseWriter, r *http.Request, repo repo, route Route, rec *record) error {
	m, from, err := g.manifest(r.Context(), repo, g.authorization(r), sha256Of(route.Reference))
	rec.from = from
	switch {
	case unfit(err):
		rec.from = fromUpstream
		return g.forward(w, r, route)
	case missing(err):
		return notFound("not-in-registry", "manifest "+route.Reference+" is not in the registry")
	case err != nil:
		return err
	}
	writeManifest(w, r, m)
	return nil
}

// sha256Of reads a digest that is a sha256 by the grammar.
func sha256Of(text string) (d trustcache.Digest) {
	hex.Decode(d[:], []byte(strings.TrimPrefix(text, "sha256:")))
	return d
}

// missing says whether the registry does not have a manifest or a blob.
func missing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == "not-in-registry"
}

// unfit says whether the registry has something by this digest that is none of
// the manifests that are served by tag: a client that asks by digest judges for
// itself.
func unfit(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Reason {
	case "schema1", "upstream-mismatch", "upstream-two-readings", "upstream-encoding", "upstream-oversize":
		return true
	}
	return false
}

// outage says what it means that the registry gave no answer to a question for
// something, where there is a cache that clients rely on at such times:
// unavailable for now, and why. Any other error stays what it is. Where the registry
// says who may read, that is all that is said: whether something is in the cache,
// and what was asked for in the name of a tag, is nothing to those it would not let.
func (g *gate) outage(err error, what string) error {
	e, ok := errors.AsType[*Error](err)
	if g.Cache == nil || !ok || !e.away {
		return err
	}
	if g.Passthrough {
		return unavailable("not-cached", errors.New("the registry cannot be reached: it has what is not in the cache, and says who may have what is")).because(e)
	}
	return unavailable("not-cached", fmt.Errorf("%s is not in the cache and the registry cannot be reached", what)).because(e)
}
