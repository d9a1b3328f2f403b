package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

// Trust says which tags of a repository are signed. Implementations are safe
// for concurrent use; errors wrap trustcache's sentinels or are ctx's.
type Trust interface {
	// Repository returns the view of a repository by GUN.
	Repository(ctx context.Context, gun string) (trustcache.View, error)
	// Tag is Repository for a caller that wants one tag of it.
	Tag(ctx context.Context, gun, tag string) (trustcache.View, error)
}

// Mode is what becomes of tags that nobody signed.
type Mode uint8

const (
	// Enforced: they do not exist.
	Enforced Mode = iota
	// Permissive: the registry's tags pass, and it is said, counted and logged
	// what would have become of them.
	Permissive
	// Disabled: the registry's tags pass, and trust is not consulted.
	Disabled
)

// Policy is what is done about the tags of a repository.
type Policy struct {
	Mode Mode
	// Exempt are patterns of tags for which trust is never consulted: a tag, in
	// which "*" stands for any characters, also none.
	Exempt []string
}

// Registry is one registry as the gate stands in front of it. Name, Hosts,
// URL and Upstream are required, Trust unless Policy disables it for all.
type Registry struct {
	// Name is what publishers typed when they signed: the GUN of a repository
	// is Name, "/", repository. DockerHub has rules of its own (Repository).
	Name string
	// Hosts are the Host headers that mean this registry: a host, for any
	// port, a host:port, or "*" for all that no other registry names.
	Hosts []string
	// MirrorHosts are Host headers, as in Hosts but without "*", on which
	// containerd's ?ns= may choose this registry, by its Name or one of its Hosts;
	// several registries may share one. On a Host that only "*" covers ns chooses
	// among all registries. Nil means none.
	MirrorHosts []string
	// URL is the registry's address; its path comes before /v2/.
	URL *url.URL
	// Upstream sends requests of our own to the registry, probes and the
	// manifests of tags, Bodies those that are passed on for as long as a client
	// reads; nil Bodies means Upstream. They follow no redirect.
	Upstream, Bodies http.RoundTripper
	// Anonymous asks the registry what it shows to nobody in particular; nil
	// means Upstream. It has no credentials of ours, where those have.
	Anonymous http.RoundTripper
	// RedirectHosts are the hosts to which the registry may redirect us; never
	// back to itself. The manifest of a signed tag is always followed there,
	// everything that is passed on only with Follow; else the client is told.
	RedirectHosts []string
	Follow        bool
	// Redirected carries the requests that follow a redirect; nil means
	// Upstream or Bodies. It must have no credentials, and may refuse addresses
	// with an error that wraps upstream.ErrRedirect.
	Redirected http.RoundTripper
	// Passthrough: clients' own credentials go to the registry, and each
	// client is admitted by it. Otherwise Sealgate reads with its own, which
	// Upstream and Bodies add, or anonymously.
	Passthrough bool
	// PassPaths are path prefixes outside /v2/ of which everything is forwarded
	// with the client's own credentials, and Pass sends that: it must not identify
	// itself with credentials of ours. Nil Pass means Bodies.
	PassPaths []string
	Pass      http.RoundTripper
	// Policy returns what is done about the tags of a GUN. It must be safe for
	// concurrent use; what it returns is never nil and not modified. Nil means
	// Enforced for all, with no tag exempt.
	Policy func(gun string) *Policy
	// Denial is the form of the refusal of a tag, where its policy enforces.
	Denial Denial
	// SignatureTags: signature tags (IsSignatureTag) are the registry's own,
	// while nothing that could be run is in them. Otherwise they are tags like
	// any other.
	SignatureTags bool
	Trust         Trust
	// NotaryURL and Notary serve trust metadata to clients; nil NotaryURL or
	// ExposeNever means that none is served. Notary must not identify itself
	// with credentials or a certificate of ours.
	NotaryURL *url.URL
	Notary    http.RoundTripper
	Expose    Expose
	// Push lets clients write to the registry, with their own credentials: it
	// needs Passthrough.
	Push bool
	// Writes sends what clients push; nil means Bodies. Like Bodies it follows no
	// redirect, and it must not repeat a request.
	Writes http.RoundTripper
	// TrustWrites lets clients publish trust data, with their own credentials:
	// it needs Passthrough and NotaryURL. Who may publish is for the Notary server
	// to say.
	TrustWrites bool
	// NotaryWrites sends what clients publish; nil means Notary.
	NotaryWrites http.RoundTripper
	// Refresh, when not nil, has the trust data of a GUN read anew; it returns
	// when that is done, or ctx is.
	Refresh func(ctx context.Context, gun string) error
}

// Options configure a Handler.
type Options struct {
	Registries []Registry
	// AuthorisationTTL is how long it is remembered that a client may read a
	// repository; zero means that every request is put to the registry.
	AuthorisationTTL time.Duration
	// ManifestBytes bounds the verified manifests in memory; zero means 32 MiB.
	// With Before the bound of the first handler holds.
	ManifestBytes int64
	// ManifestTimeout bounds fetching one manifest; zero means 20 s.
	ManifestTimeout time.Duration
	// BehindTLSProxy says that clients speak TLS with a proxy in front, also where
	// a request comes without: the registry is told how the client came.
	BehindTLSProxy bool
	// UploadKeys returns the keys of upload locations, at least one; the first
	// seals. It is called when one is needed for the first time, and again for
	// keys that are not known. It must be safe for concurrent use. Nil means one
	// key for as long as this handler, and those that replace it, last.
	UploadKeys func(context.Context) ([]UploadKey, error)
	// Log receives one access line per request and what went wrong.
	Log zerolog.Logger
	// Observe, when not nil, is told the outcome of every request, after the
	// answer, from the request's goroutine.
	Observe func(Outcome)
	// Client says who sent a request; it is called once for each, from the
	// request's goroutine. Nil: whoever has the connection, and nobody is refused.
	Client func(*http.Request) Client
	// Before is the handler that this one replaces at a reload, nil at start:
	// the manifests in memory go on being used, and what registries said of
	// clients, as far as a registry's URL and name stay.
	Before *Handler
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Handler is the gate. It is safe for concurrent use.
type Handler struct {
	opts   Options
	gates  *hosts
	shared *shared
}

// gate is the handler of one registry.
type gate struct {
	Registry
	*shared
	origin           string            // the registry's URL
	manifestUpstream http.RoundTripper // for the manifests of tags
	realms           *realms
}

// shared is what all gates have in common, under keys that begin with the GUN.
type shared struct {
	auth            *authorisations
	closedNotaries  *authorisations // GUNs of which a Notary server tells nobody without credentials
	slowTrust       *authorisations // GUNs that mode permissive has waited for in vain
	manifests       *content.Manifests
	uploads         *uploadTokens
	behindTLSProxy  bool
	fetches, probes singleflight.Group
	lists           *semaphore.Weighted // of registries' tags, being read
	judging         *semaphore.Weighted // signature tags
	verdicts        *verdicts           // on what is in them
	manifestTimeout time.Duration
}

// New returns a handler.
func New(opts Options) *Handler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Client == nil {
		opts.Client = peer
	}
	if opts.ManifestBytes <= 0 {
		opts.ManifestBytes = 32 << 20
	}
	if opts.ManifestTimeout <= 0 {
		opts.ManifestTimeout = manifestTimeout
	}
	h := &Handler{opts: opts, shared: newShared(opts)}
	var gates []*gate
	for _, reg := range opts.Registries {
		if reg.Bodies == nil {
			reg.Bodies = reg.Upstream
		}
		if reg.Pass == nil {
			reg.Pass = reg.Bodies
		}
		if reg.Writes == nil {
			reg.Writes = reg.Bodies
		}
		if reg.NotaryWrites == nil {
			reg.NotaryWrites = reg.Notary
		}
		if reg.Anonymous == nil {
			reg.Anonymous = reg.Upstream
		}
		if reg.Follow {
			reg.Bodies = &upstream.Follower{Transport: reg.Bodies, Elsewhere: reg.Redirected, Hosts: reg.RedirectHosts}
		}
		if reg.Policy == nil {
			enforced := &Policy{}
			reg.Policy = func(string) *Policy { return enforced }
		}
		gates = append(gates, &gate{
			Registry:         reg,
			shared:           h.shared,
			origin:           reg.URL.String(),
			realms:           &realms{},
			manifestUpstream: &upstream.Follower{Transport: reg.Upstream, Elsewhere: reg.Redirected, Hosts: reg.RedirectHosts},
		})
	}
	h.gates = newHosts(gates)
	return h
}

func newShared(opts Options) *shared {
	clients, notaries, manifests, verdicts := newRemembered(), newRemembered(), content.NewManifests(opts.ManifestBytes), newVerdicts()
	uploads := newUploadTokens(opts.UploadKeys, opts.Now)
	if opts.Before != nil {
		before := opts.Before.shared
		clients, notaries, manifests, verdicts = before.auth.remembered, before.closedNotaries.remembered, before.manifests, before.verdicts
		uploads = before.uploads
	}
	return &shared{
		auth:            &authorisations{ttl: opts.AuthorisationTTL, now: opts.Now, remembered: clients},
		closedNotaries:  &authorisations{ttl: opts.AuthorisationTTL, now: opts.Now, remembered: notaries},
		slowTrust:       &authorisations{ttl: watchPause, now: opts.Now, remembered: newRemembered()},
		lists:           semaphore.NewWeighted(maxLists),
		judging:         semaphore.NewWeighted(maxJudging),
		verdicts:        verdicts,
		manifests:       manifests,
		uploads:         uploads,
		behindTLSProxy:  opts.BehindTLSProxy,
		manifestTimeout: opts.ManifestTimeout,
	}
}

// ManifestStats sums up the verified manifests in memory.
func (h *Handler) ManifestStats() content.Stats { return h.shared.manifests.Stats() }

// repo is a repository behind a gate.
type repo struct {
	name string // as the registry knows it
	gun  string // as it is signed: the registry's name, "/", name
}

func (g *gate) repo(name string) repo { return repo{name: name, gun: g.Name + "/" + name} }

// ServeHTTP implements http.Handler. See the package documentation.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := newRecord(r, h.opts.Client(r), h.opts.Now())
	out := &countingWriter{ResponseWriter: w}
	out.Header()["X-Request-Id"] = rec.id[:]
	defer func() {
		p := recover()
		if p != nil {
			h.recovered(out, rec, p)
		}
		now := h.opts.Now()
		rec.log(h.opts.Log, out, now)
		if h.opts.Observe != nil {
			h.opts.Observe(rec.outcome(out, now))
		}
		if p == http.ErrAbortHandler || p != nil && rec.cut {
			panic(http.ErrAbortHandler) // net/http cuts the connection: the body is not whole
		}
	}()
	if err := h.serve(out, r, rec); err != nil {
		e := asError(err)
		if caught := (*panicError)(nil); errors.As(e.Cause, &caught) {
			h.panicked(rec, caught.value, caught.stack)
		}
		rec.failed(e)
		rec.denial.write(out, r.Method, e)
	}
}

func (h *Handler) recovered(out *countingWriter, rec *record, p any) {
	if p == http.ErrAbortHandler {
		rec.reason = "aborted"
		return
	}
	h.panicked(rec, p, debug.Stack())
	rec.cut = out.status != 0
	rec.failed(errInternal)
	if !rec.cut {
		rec.denial.write(out, rec.method, errInternal)
	}
}

func (h *Handler) panicked(rec *record, value any, stack []byte) {
	rec.panicked = true
	h.opts.Log.Error().Str("request_id", rec.id[0]).Interface("panic", value).Bytes("stack", stack).Msg("panic while serving")
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, rec *record) error {
	if rec.client.Refused != nil {
		return errClient.because(rec.client.Refused)
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace || r.RequestURI == "*" {
		return errMethod
	}
	g, target, err := h.gates.choose(r)
	if err != nil {
		return err
	}
	rec.registry = g.Name
	if prefix, found := g.passPrefix(target); found {
		return g.servePassPath(w, r, target, prefix, rec)
	}
	if asks, err := g.asksForToken(r, target); err != nil {
		return err
	} else if asks {
		return g.serveToken(w, r, target, rec)
	}
	if !reads(r.Method) && !g.Push && !g.TrustWrites {
		if strings.HasPrefix(target, "/v2/") {
			return errMethod
		}
		return errNoRoute
	}
	route, err := Parse(target)
	if err == nil {
		route, err = g.official(route)
	}
	if err != nil {
		return err
	}
	if err := g.takes(r.Method, route.Kind); err != nil {
		if route.Kind == Upload { // whose token may be all that its location asks for
			rec.path = Route{Kind: Uploads, Repository: route.Repository}.Path()
		}
		return err
	}
	rec.routed(route)
	if isWrite(r.Method, route.Kind) {
		return g.serveWrite(w, r, route)
	}
	switch route.Kind {
	case Base:
		return g.serveBase(w, r)
	case ManifestByTag:
		repo := g.repo(route.Repository)
		policy := g.Policy(repo.gun)
		switch {
		case policy.Exempts(route.Reference):
			rec.reason = "exempt"
		case policy.Mode == Enforced:
			rec.denial = g.Denial
			if g.SignatureTags && IsSignatureTag(route.Reference) {
				return g.serveSignatures(w, r, repo, route, rec)
			}
			return g.serveTag(w, r, repo, route, rec)
		case policy.Mode == Permissive:
			return g.watchTag(w, r, repo, route, rec)
		}
	case Tags:
		repo := g.repo(route.Repository)
		policy := g.Policy(repo.gun)
		switch policy.Mode {
		case Enforced:
			return g.serveTags(w, r, repo, policy, route, rec)
		case Permissive:
			return g.watchTags(w, r, route)
		}
	case TrustMetadata:
		return g.serveTrust(w, r, route)
	}
	return g.forward(w, r, route)
}

// serveBase answers the version check, by which clients learn whether and how
// to authenticate (OCI distribution-spec v1.1, "Determining Support").
func (g *gate) serveBase(w http.ResponseWriter, r *http.Request) error {
	if g.Passthrough {
		return g.forward(w, r, Route{Kind: Base})
	}
	h := w.Header()
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", "2")
	w.Write([]byte("{}")) // a client that is gone is told nothing
	return nil
}
