package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache/guard"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

// Options configure a Handler.
type Options struct {
	Registries []Registry
	// AuthorisationTTL is how long it is remembered that a client may read a
	// repository; zero means that every request is put to the registry.
	AuthorisationTTL time.Duration
	// ManifestBytes bounds the verified manifests in memory; zero means 32 MiB.
	// With Before the bound of the first handler holds.
	ManifestBytes int64
	// ManifestTimeout bounds fetching one manifest, and the wait for a cache until
	// the registry is asked instead; zero means 20 s.
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
	// Entries, when not nil, is given the record of every request, once, after its
	// access line is written and whatever the level of the log. It is called from
	// the request's goroutine, before Observe, and holds up the client while it
	// does not return: it must be safe for concurrent use and must not block.
	Entries func(Entry)
	// Client says who sent a request; it is called once for each, from the
	// request's goroutine. Nil: whoever has the connection, and nobody is refused.
	Client func(*http.Request) Client
	// ClientLimits bound what each client that Client says to be Counted may ask
	// for; none by default.
	ClientLimits ClientLimits
	// MinRate is how slowly a body may come and go, in bytes a second, once the
	// time for which it may stand still is used up; zero: it must only not stand
	// still.
	MinRate int64
	// Flights fetch what the registries' caches do not have; nil where no registry
	// has one. Whoever made them closes them, after the last request.
	Flights *content.Flights
	// Before is the handler that this one replaces at a reload, nil at start:
	// the manifests in memory go on being used, and what registries said of
	// clients, as far as a registry's URL and name stay.
	Before *Handler
	// Tracer begins a span for each request, the root of a trace; what is done for
	// the request gets spans below it. Nil means that nothing is traced, which
	// costs nothing.
	Tracer trace.Tracer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Handler is the gate. It is safe for concurrent use.
type Handler struct {
	opts   Options
	gates  *hosts
	shared *shared
}

// shared is what all gates have in common, under keys that begin with the GUN.
type shared struct {
	auth            *authorisations
	closedNotaries  *authorisations // GUNs of which a Notary server tells nobody without credentials
	slowTrust       *authorisations // GUNs that mode permissive has waited for in vain
	manifests       *content.Manifests
	deletions       *atomic.Uint64 // how many may have left manifests and caches behind
	flights         *content.Flights
	log             zerolog.Logger
	uploads         *uploadTokens
	behindTLSProxy  bool
	fetches, probes singleflight.Group
	lists           *semaphore.Weighted // of registries' tags, being read
	judging         *semaphore.Weighted // signature tags
	keptFiles       *semaphore.Weighted // of trust metadata, being served
	verdicts        *verdicts           // on what is in them
	clients         *clientUse
	manifestTimeout time.Duration
	minRate         int64 // see pace
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
		if opts.Tracer != nil && reg.Trust != nil {
			reg.Trust = tracedTrust{reg.Trust}
		}
		gates = append(gates, newGate(reg.withDefaults(), h.shared))
	}
	h.gates = newHosts(gates)
	return h
}

func newShared(opts Options) *shared {
	clients, notaries, manifests, verdicts := newRemembered(), newRemembered(), content.NewManifests(opts.ManifestBytes), newVerdicts()
	uploads, deletions, use := newUploadTokens(opts.UploadKeys, opts.Now), new(atomic.Uint64), newClientUse()
	if opts.Before != nil {
		before := opts.Before.shared
		clients, notaries, manifests, verdicts = before.auth.remembered, before.closedNotaries.remembered, before.manifests, before.verdicts
		uploads, deletions, use = before.uploads, before.deletions, before.clients
	}
	return &shared{
		auth:            &authorisations{ttl: opts.AuthorisationTTL, now: opts.Now, remembered: clients},
		closedNotaries:  &authorisations{ttl: opts.AuthorisationTTL, now: opts.Now, remembered: notaries},
		slowTrust:       &authorisations{ttl: watchPause, now: opts.Now, remembered: newRemembered()},
		lists:           semaphore.NewWeighted(maxLists),
		judging:         semaphore.NewWeighted(maxJudging),
		keptFiles:       semaphore.NewWeighted(maxKeptFiles),
		verdicts:        verdicts,
		clients:         use,
		manifests:       manifests,
		deletions:       deletions,
		flights:         opts.Flights,
		log:             opts.Log,
		uploads:         uploads,
		behindTLSProxy:  opts.BehindTLSProxy,
		manifestTimeout: opts.ManifestTimeout,
		minRate:         opts.MinRate,
	}
}

// ManifestStats sums up the verified manifests in memory.
func (h *Handler) ManifestStats() content.Stats { return h.shared.manifests.Stats() }

// ServeHTTP implements http.Handler. See the package documentation.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := newRecord(r, h.opts.Client(r), h.opts.Now())
	out := &countingWriter{ResponseWriter: w, id: rec.id[:]}
	out.Header()["X-Request-Id"] = out.id
	r = h.begin(r, rec)
	defer func() {
		p := recover()
		if p != nil {
			h.recovered(out, rec, p)
		}
		now := h.opts.Now()
		h.finished(rec.entry(out, now), rec.span)
		if h.opts.Observe != nil {
			h.opts.Observe(rec.outcome(out, now))
		}
		if p == http.ErrAbortHandler || p != nil && rec.cut {
			panic(http.ErrAbortHandler) // net/http cuts the connection: the body is not whole
		}
	}()
	if err := h.serve(out, r, rec); err != nil {
		e := asError(err)
		if caught := (*guard.Panic)(nil); errors.As(e.Cause, &caught) {
			h.panicked(rec, caught.Value, caught.Stack)
		}
		rec.failed(e)
		rec.denial.write(out, r.Method, e)
	}
}

// finished writes the access line, and hands what is in it to whoever keeps
// records as well, and to the request's span.
func (h *Handler) finished(e Entry, span trace.Span) {
	e.end(span)
	h.opts.Log.WithLevel(e.Level()).EmbedObject(&e).Msg("request")
	if h.opts.Entries != nil {
		h.opts.Entries(e)
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
	h.opts.Log.Error().Str("request_id", rec.id[0]).Str("panic", fmt.Sprint(value)).Bytes("stack", stack).Msg("panic while serving")
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, rec *record) error {
	if rec.client.Refused != nil {
		return errClient.because(rec.client.Refused)
	}
	if err := h.shared.clients.enter(rec.client.Counted, h.opts.ClientLimits, h.opts.Now()); err != nil {
		rec.denial = h.form(r)
		return err
	}
	defer h.shared.clients.leave(rec.client.Counted)
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
		return g.serveWrite(w, r, route, rec)
	}
	return g.serveRead(w, r, route, rec)
}

// serveRead answers a read, by kind of route.
func (g *gate) serveRead(w http.ResponseWriter, r *http.Request, route Route, rec *record) error {
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
		return g.forwardTag(w, r, route, rec)
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
	case ManifestByDigest:
		if g.caches(route) && !g.beforePush(r) {
			return g.serveManifest(w, r, g.repo(route.Repository), route, rec)
		}
	case Blob:
		if g.caches(route) {
			return g.serveBlob(w, r, g.repo(route.Repository), route, rec)
		}
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
