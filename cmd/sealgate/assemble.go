package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/guard"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
)

// parts is a configuration brought to life, without a listener.
type parts struct {
	cfg          *config.Config
	certificates *certificates // nil for plain HTTP
	clients      *clients
	policy       func(gun string) *config.Policy // as configured
	handler      *proxy.Handler
	registries   []registryParts
	audit        io.WriteCloser // that requests are recorded in; nil for none, and closed by the audit log alone
	inUse        sync.RWMutex   // held for reading by every request
}

// registryParts are what one registry's trust comes from; source and trust
// are nil where no Notary server is configured.
type registryParts struct {
	name    string
	offline *config.Offline // nil where there are servers
	now     func() time.Time
	source  *notary.Source
	judging notary.Options // that source was made with
	trust   *trustcache.Cache
	cache   *registryCache // nil where nothing is kept
	// asked is the registry for the operator: with credentials of ours or nobody's.
	// Its Upstream is nil where there is none.
	asked      proxy.Registry
	transports []*upstream.Transport
	logins     []*upstream.Login
}

// lasting is what outlives a configuration: parts are made with it.
type lasting struct {
	log     zerolog.Logger
	series  *prometheus.Registry
	metrics *admin.Metrics // in series
	recent  *admin.Recent
	caching *caching  // nil where nothing is served
	audit   *auditLog // as caching
	tracing *tracing  // nil where nothing is traced
	*remembered
}

func newLasting(log zerolog.Logger, m *remembered) (lasting, error) {
	l := lasting{log: log, series: prometheus.NewRegistry(), recent: admin.NewRecent(), remembered: m}
	var err error
	l.metrics, err = admin.NewMetrics(l.series, version)
	return l, err
}

// assemble joins the parts that cfg describes, without certificates. They take
// over what before, nil at the start, knows and may still be believed. Close
// them when done.
func (l lasting) assemble(cfg *config.Config, before *parts) (*parts, error) {
	rules, err := readTrustRules(cfg.ContentTrust)
	if err != nil {
		return nil, err
	}
	clients, err := newClients(cfg, l.log)
	if err != nil {
		return nil, err
	}
	p := &parts{cfg: cfg, clients: clients, policy: policies(cfg.ContentTrust, func(p config.Policy) *config.Policy { return &p })}
	var registries []proxy.Registry
	for _, reg := range cfg.Registries {
		made, rp, err := l.assembleRegistry(reg, rules)
		if err == nil && l.caching != nil && (reg.Cache != nil || reg.Offline != nil) {
			if err = closeContent(cfg.Storage); err == nil {
				rp.cache, err = l.caching.cache(reg, before)
			}
		}
		p.registries = append(p.registries, rp)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("registry %s: %w", reg.Name, err)
		}
		if rp.cache != nil {
			made.Cache = rp.cache.store
		}
		registries = append(registries, made)
	}
	opts := proxy.Options{
		Registries:       registries,
		UploadKeys:       l.uploadKeys,
		BehindTLSProxy:   cfg.TLS.PlainHTTP != nil && cfg.TLS.PlainHTTP.BehindTLSProxy,
		AuthorisationTTL: cfg.ContentTrust.AuthorisationTTL,
		Log:              l.log,
		Observe:          l.observeRequest,
		Entries:          l.record(cfg),
		Client:           clients.of,
		MinRate:          cfg.Limits.MinRate,
		ClientLimits:     proxy.ClientLimits{AtOnce: cfg.Limits.RequestsPerClient, PerSecond: cfg.Limits.RequestsPerSecond, Burst: cfg.Limits.Burst},
		Tracer:           l.tracing.tracer(),
	}
	if slices.ContainsFunc(p.registries, func(r registryParts) bool { return r.cache != nil && r.offline == nil }) {
		if opts.Flights, err = l.caching.open(); err != nil {
			p.close()
			return nil, fmt.Errorf("state-dir: %w", err)
		}
	}
	if before != nil {
		opts.Before = before.handler
		p.adopt(before)
	}
	p.handler = proxy.New(opts)
	return p, nil
}

func (l lasting) observeRequest(o proxy.Outcome) {
	l.metrics.Request(admin.RequestOutcome{
		Registry: o.Registry, Route: o.Route.String(), Decision: o.Decision, Reason: o.Reason,
		Status: o.Status, Bytes: o.Bytes, Duration: o.Duration,
		From: o.From, WouldDeny: o.WouldDeny, WouldChange: o.WouldChange, SignedLengthDiffers: o.LengthDiffers, Panicked: o.Panicked,
	})
}

// record hands the record of a request to those who keep some.
func (l lasting) record(cfg *config.Config) func(proxy.Entry) {
	audited := l.audit != nil && cfg.Audit != nil
	return func(e proxy.Entry) {
		if audited {
			l.audit.record(e)
		}
		if d, ok := denialOf(e); ok {
			l.recent.Deny(d, e.Client)
		}
	}
}

// adopt takes over the snapshots that today's pins vouch for.
func (p *parts) adopt(before *parts) {
	for _, now := range p.registries {
		for _, old := range before.registries {
			if old.name == now.name && old.trust != nil && now.trust != nil {
				now.trust.Adopt(old.trust, now.source.Adopt)
			}
		}
	}
}

func (p *parts) close() {
	for _, r := range p.registries {
		if r.trust != nil {
			r.trust.Close()
		}
		for _, login := range r.logins {
			login.Close()
		}
		for _, transport := range r.transports {
			transport.CloseIdleConnections()
		}
	}
}

// trustRules are what all registries' trust is judged by, with the files that it
// names read.
type trustRules struct {
	config.ContentTrust
	pins    func(gun string) notary.Pins
	signers map[string]notary.Signer
}

func readTrustRules(ct config.ContentTrust) (trustRules, error) {
	rules := trustRules{ContentTrust: ct}
	var err error
	if rules.pins, err = newPins(ct.TrustPinning); err != nil {
		return rules, err
	}
	rules.signers, err = readSigners(ct)
	return rules, err
}

// source is what a trust source judges by, whatever it asks.
func (r trustRules) source(now func() time.Time) notary.Options {
	return notary.Options{
		Now:  now,
		Pins: r.pins,
		Policy: policies(r.ContentTrust, func(p config.Policy) *notary.Policy {
			return &notary.Policy{Roles: p.Roles, Required: required(p, r.signers)}
		}),
		TrustOnFirstUse: r.TrustOnFirstUse,
		AllowExpired:    r.AllowExpiredCachedTrustData,
		Limits:          notary.Limits(r.Limits),
	}
}

// assembleRegistry makes what stands before one registry. What has to be closed
// is in the parts, also where there is an error.
func (l lasting) assembleRegistry(reg config.Registry, rules trustRules) (proxy.Registry, registryParts, error) {
	rp := registryParts{name: reg.Name, offline: reg.Offline, now: l.remembered.now}
	made := proxy.Registry{
		Name:          reg.Name,
		Hosts:         reg.Hosts,
		MirrorHosts:   reg.MirrorHosts,
		URL:           reg.Upstream,
		RedirectHosts: reg.RedirectHosts,
		Follow:        reg.Redirects == config.RedirectsFollow,
		PassPaths:     reg.PassPaths,
		Passthrough:   reg.Credentials.Kind == config.Passthrough,
		Policy:        policies(rules.ContentTrust, func(p config.Policy) *proxy.Policy { return &proxy.Policy{Mode: mode(p.Mode), Exempt: p.ExemptTags} }),
		Expose:        expose(reg.Notary.Expose),
		Denial:        denial(reg.Denial),
		SignatureTags: reg.SignatureTags == config.SignatureTagsPass,
	}
	opts := rules.source(l.remembered.now)
	opts.Store, opts.Files = l.remembered.store, l.remembered.files
	opts.OnUnkept = func(gun string, err error) {
		l.log.Warn().Str("gun", gun).Err(err).Msg("metadata cannot be kept: a restart would have to fetch it")
	}
	wires := wiring{lasting: l, reg: reg, parts: &rp}
	if err := wires.servers(&made, &opts); err != nil || reg.Offline == nil && reg.Notary.URL == nil {
		return made, rp, err
	}
	rp.source, rp.judging = notary.New(opts), opts
	if reg.Offline != nil {
		made.Offline = &proxy.Offline{Metadata: rp.source.Metadata, Now: l.remembered.now}
	}
	rp.trust = trustcache.New(trustcache.Options{
		Source:   rp.source,
		Refresh:  rules.Refresh,
		MaxStale: rules.MaxStale,
		Now:      l.remembered.now,
		OnRefresh: func(r trustcache.Refresh) {
			defer guard.Tell(l.panicked("refresh"))
			if caught := (*guard.Panic)(nil); errors.As(r.Err, &caught) || errors.As(trustcache.Cause(r.Err), &caught) {
				l.panicked("storage")(caught)
			}
			logRefresh(l.log, r)
			if !r.Restore {
				l.metrics.TrustRefresh(reg.Name, r)
				l.recent.Refreshed(r, l.remembered.now())
			}
		},
		// Offline it is the source that knows which roles may be expired.
		AllowExpired: rules.AllowExpiredCachedTrustData && reg.Offline == nil,
	})
	made.Trust, made.TrustWrites, made.Refresh = rp.trust, reg.Notary.Writes, rp.trust.Refresh
	return made, rp, nil
}

func mode(m config.Mode) proxy.Mode {
	switch m {
	case config.Permissive:
		return proxy.Permissive
	case config.Disabled:
		return proxy.Disabled
	}
	return proxy.Enforced
}

func denial(d string) proxy.Denial {
	switch d {
	case config.DenialDenied:
		return proxy.Denied
	case config.DenialStrictMirror:
		return proxy.StrictMirror
	}
	return proxy.NotFound
}

// policies returns a function that finds what was made of the policy of a GUN.
func policies[T any](ct config.ContentTrust, made func(config.Policy) *T) func(gun string) *T {
	above, byMatch := ct.EffectivePolicies()
	values := map[string]*T{}
	for match, p := range byMatch {
		values[match] = made(p)
	}
	matcher, rest := config.NewMatcher(values), made(above)
	return func(gun string) *T {
		if found, ok := matcher.Find(gun); ok {
			return found
		}
		return rest
	}
}

// required are the signers that a policy names.
func required(p config.Policy, signers map[string]notary.Signer) []notary.Signer {
	var all []notary.Signer
	for _, name := range p.RequiredSigners {
		all = append(all, signers[name])
	}
	return all
}

// readSigners reads the certificates of the signers that are given by one.
func readSigners(ct config.ContentTrust) (map[string]notary.Signer, error) {
	signers := map[string]notary.Signer{}
	for name, s := range ct.Signers {
		made := notary.Signer{Name: name, Keys: s.Keys, Role: s.Role}
		if s.CertFile != "" {
			certificates, err := config.LoadCertificates(s.CertFile)
			if err == nil {
				made.Keys, err = notary.CertificateKeys(certificates)
			}
			if err != nil {
				return nil, fmt.Errorf("content-trust.signers.%s.cert-file: %w", name, err)
			}
		}
		signers[name] = made
	}
	return signers, nil
}

func expose(e string) proxy.Expose {
	switch e {
	case config.ExposeAlways:
		return proxy.ExposeAlways
	case config.ExposeAuto:
		return proxy.ExposeAuto
	}
	return proxy.ExposeNever
}

// logRefresh says what became of a refresh: failures are worth a look, and a
// failed verification is worth waking up for.
func logRefresh(log zerolog.Logger, r trustcache.Refresh) {
	var e *zerolog.Event
	text := "trust refresh failed"
	cause := trustcache.Cause(r.Err)
	switch {
	case r.Restore:
		e, text = log.Warn(), "trust data that was kept cannot be used"
		if errors.Is(r.Err, trustcache.ErrExpired) {
			e = log.Debug() // nobody has asked for it for a while
		}
	case r.Recovered:
		e, text = log.Info(), "trust data is fresh again"
	case r.Err == nil:
		e, text = log.Debug(), "trust data is fresh"
	case trustcache.Absent(r.Err):
		e, text = log.Debug(), "no trust data"
	case trustcache.Alarming(r.Err), errors.Is(cause, state.ErrDamaged):
		e = log.Error().Bool("alarm", true)
	default:
		e = log.Warn()
	}
	if r.Panic != nil {
		e.Bytes("stack", r.Panic)
	}
	if r.Err != nil {
		e.AnErr("error", r.Err)
		if !r.Restore {
			e.Bool("standing", r.Standing)
		}
	}
	if cause != nil {
		e.AnErr("cause", cause)
	}
	e.Str("gun", r.GUN).Dur("duration_ms", r.Duration).Msg(text)
}
