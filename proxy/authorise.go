package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/sealgate/sealgate/trustcache"
)

// emptyBlob is the sha256 of nothing: a digest that can be asked for in any
// repository without touching what is in it.
const emptyBlob = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

const (
	// maxProbes bounds how many signed digests are asked for before a list.
	maxProbes = 5
	// maxRemembered bounds the authorisations that are remembered.
	maxRemembered = 16384
	// probeTimeout bounds one question to the registry.
	probeTimeout = 15 * time.Second
)

// authorisations remembers that the registry let somebody read a repository.
type authorisations struct {
	ttl time.Duration
	now func() time.Time
	*remembered
}

// remembered outlives a reload. It is keyed by hashes under a key of this
// process, so that no credential is kept.
type remembered struct {
	salt [sha256.Size]byte

	mu    sync.Mutex
	since *simplelru.LRU[[sha256.Size]byte, time.Time]
}

func newRemembered() *remembered {
	m := &remembered{}
	rand.Read(m.salt[:])
	m.since, _ = simplelru.NewLRU[[sha256.Size]byte, time.Time](maxRemembered, nil)
	return m
}

// key names a client (authorization, "" for none) of a repository of the
// server at origin.
func (m *remembered) key(origin, gun, authorization string) [sha256.Size]byte {
	b := make([]byte, 0, 512)
	b = append(b, m.salt[:]...)
	b = append(b, origin...)
	b = append(b, 0)
	b = append(b, gun...)
	b = append(b, 0)
	b = append(b, authorization...)
	return sha256.Sum256(b)
}

// remember keeps that the client may read the repository.
func (a *authorisations) remember(origin, gun, authorization string) {
	if a.ttl <= 0 {
		return
	}
	k, now := a.key(origin, gun, authorization), a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since.Add(k, now)
}

// known says whether this Authorization, or none, was let in a while ago.
func (a *authorisations) known(origin, gun, authorization string) bool {
	if a.ttl <= 0 {
		return false
	}
	now := a.now()
	if a.valid(a.key(origin, gun, authorization), now) {
		return true
	}
	return authorization != "" && a.valid(a.key(origin, gun, ""), now)
}

func (a *authorisations) valid(k [sha256.Size]byte, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	since, ok := a.since.Get(k)
	if ok && now.Sub(since) >= a.ttl {
		a.since.Remove(k)
		ok = false
	}
	return ok
}

// authorization is what the registry is asked with for this client: without
// passthrough all clients are the same one.
func (g *gate) authorization(r *http.Request) string {
	if !g.Passthrough {
		return ""
	}
	return r.Header.Get("Authorization")
}

// lets says whether a status of a by-digest read means that the reader may
// read the repository.
func lets(status int) bool { return status == http.StatusOK || status == http.StatusTemporaryRedirect }

// admit makes sure that the client may read the repository before anything
// that depends on its trust data leaves. found is false when the registry
// answered 404: enough for a refusal, not for content. The error is an *Error.
func (g *gate) admit(ctx context.Context, r repo, authorization string, probe Route) (found bool, err error) {
	if !g.Passthrough {
		return true, nil // whoever may connect may read with our credentials
	}
	if g.auth.known(g.origin, r.gun, authorization) {
		return true, nil
	}
	found, err = share(ctx, g, &g.probes, r, probe.Reference, authorization, probeTimeout, func(ctx context.Context) (bool, error) {
		if g.auth.known(g.origin, r.gun, authorization) {
			return true, nil // another flight has just landed
		}
		return g.probe(ctx, r, authorization, probe)
	})
	return found, g.outage(err, probe.Reference)
}

// probe asks the registry whether the client may read the repository.
func (g *gate) probe(ctx context.Context, r repo, authorization string, probe Route) (found bool, err error) {
	resp, err := g.ask(ctx, g.Upstream, http.MethodHead, probe, authorization)
	if err != nil {
		return false, errUpstream(err)
	}
	resp.Body.Close()
	switch {
	case lets(resp.StatusCode):
		g.auth.remember(g.origin, r.gun, authorization)
		return true, nil
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	}
	return false, g.refused(resp)
}

// admitToDenial admits a client to the answer that a tag does not exist: by
// the signed tag that sorts first, or, where there is none, the empty blob. A
// digest that is not there is enough, since nothing is given away.
func (g *gate) admitToDenial(ctx context.Context, r repo, authorization string, view trustcache.View) error {
	probe := Route{Kind: Blob, Repository: r.name, Reference: emptyBlob}
	if view.Snapshot != nil && view.Len() > 0 {
		probe = Route{Kind: ManifestByDigest, Repository: r.name, Reference: view.At(0).Digest.String()}
	}
	_, err := g.admit(ctx, r, authorization, probe)
	return err
}

// admitToList admits a client to the names of the signed tags: by one signed
// digest that the registry has. found is false when it has none of the first
// few: then the list has to look empty, since nothing proves that the client
// may see more.
func (g *gate) admitToList(ctx context.Context, r repo, authorization string, view trustcache.View) (found bool, err error) {
	if view.Snapshot == nil || view.Len() == 0 {
		return true, g.admitToDenial(ctx, r, authorization, view)
	}
	tried := map[trustcache.Digest]bool{}
	for i := 0; i < view.Len() && len(tried) < maxProbes; i++ {
		digest := view.At(i).Digest
		if tried[digest] {
			continue
		}
		tried[digest] = true
		found, err = g.admit(ctx, r, authorization, Route{Kind: ManifestByDigest, Repository: r.name, Reference: digest.String()})
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}
