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

// authorisations remembers that the registry let somebody read a repository:
// keyed by hashes under a key of this process, so that no credential is kept.
type authorisations struct {
	ttl  time.Duration
	now  func() time.Time
	salt [sha256.Size]byte

	mu    sync.Mutex
	until *simplelru.LRU[[sha256.Size]byte, time.Time]
}

func newAuthorisations(ttl time.Duration, now func() time.Time) *authorisations {
	a := &authorisations{ttl: ttl, now: now}
	rand.Read(a.salt[:])
	a.until, _ = simplelru.NewLRU[[sha256.Size]byte, time.Time](maxRemembered, nil)
	return a
}

func (a *authorisations) key(gun, authorization string) [sha256.Size]byte {
	b := make([]byte, 0, 512)
	b = append(b, a.salt[:]...)
	b = append(b, gun...)
	b = append(b, 0)
	b = append(b, authorization...)
	return sha256.Sum256(b)
}

// remember keeps that authorization ("" for none) may read the repository.
func (a *authorisations) remember(gun, authorization string) {
	if a.ttl <= 0 {
		return
	}
	k, until := a.key(gun, authorization), a.now().Add(a.ttl)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until.Add(k, until)
}

// known says whether this Authorization, or none, was let in a while ago.
func (a *authorisations) known(gun, authorization string) bool {
	if a.ttl <= 0 {
		return false
	}
	now := a.now()
	if a.valid(a.key(gun, authorization), now) {
		return true
	}
	return authorization != "" && a.valid(a.key(gun, ""), now)
}

func (a *authorisations) valid(k [sha256.Size]byte, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.until.Get(k)
	if ok && !now.Before(until) {
		a.until.Remove(k)
		ok = false
	}
	return ok
}

// lets says whether a status of a by-digest read means that the reader may
// read the repository.
func lets(status int) bool { return status == http.StatusOK || status == http.StatusTemporaryRedirect }

// admit makes sure that the client may read the repository before anything
// that depends on its trust data leaves. found is false when the registry
// answered 404: enough for a refusal, not for content. The error is an *Error.
func (g *gate) admit(ctx context.Context, repository, authorization string, probe Route) (found bool, err error) {
	if !g.Passthrough {
		return true, nil // whoever may connect may read with our credentials
	}
	if g.auth.known(g.gun(repository), authorization) {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, err := g.ask(ctx, g.Upstream, http.MethodHead, probe, authorization)
	if err != nil {
		return false, errUpstream(err)
	}
	resp.Body.Close()
	switch {
	case lets(resp.StatusCode):
		g.auth.remember(g.gun(repository), authorization)
		return true, nil
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	}
	return false, g.refused(resp)
}

// admitToDenial admits a client to the answer that a tag does not exist: by
// the signed tag that sorts first, or, where there is none, the empty blob. A
// digest that is not there is enough, since nothing is given away.
func (g *gate) admitToDenial(ctx context.Context, repository, authorization string, view trustcache.View) error {
	probe := Route{Kind: Blob, Repository: repository, Reference: emptyBlob}
	if view.Snapshot != nil && view.Len() > 0 {
		probe = Route{Kind: ManifestByDigest, Repository: repository, Reference: view.At(0).Digest.String()}
	}
	_, err := g.admit(ctx, repository, authorization, probe)
	return err
}

// admitToList admits a client to the names of the signed tags: by one signed
// digest that the registry has. found is false when it has none of the first
// few: then the list has to look empty, since nothing proves that the client
// may see more.
func (g *gate) admitToList(ctx context.Context, repository, authorization string, view trustcache.View) (found bool, err error) {
	if view.Snapshot == nil || view.Len() == 0 {
		return true, g.admitToDenial(ctx, repository, authorization, view)
	}
	tried := map[trustcache.Digest]bool{}
	for i := 0; i < view.Len() && len(tried) < maxProbes; i++ {
		digest := view.At(i).Digest
		if tried[digest] {
			continue
		}
		tried[digest] = true
		found, err = g.admit(ctx, repository, authorization, Route{Kind: ManifestByDigest, Repository: repository, Reference: digest.String()})
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}
