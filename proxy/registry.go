package proxy

import (
	"context"
	"net/http"
	"net/url"

	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
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

// Registry is one registry as the gate stands in front of it. Name and Hosts are
// required, URL and Upstream, or Offline, Trust unless Policy disables it for all.
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
	// Offline, where it is not nil, makes this a registry that nobody can be asked
	// about: everything comes from what was loaded, content from Cache. URL,
	// Upstream and all that is about servers, clients' credentials and writing stay
	// unset then, and Policy enforces everywhere.
	Offline *Offline
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
	// Cache holds what was read by digest, for the clients that may read it: nil
	// means that nothing is kept but manifests, in memory. It needs Follow and
	// Options.Flights, but for an offline registry.
	Cache *content.Store
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

// withDefaults is reg with what nil stands for.
func (reg Registry) withDefaults() Registry {
	if reg.Offline != nil {
		reg.URL, reg.Upstream = offlineURL(), nowhere{}
	}
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
	if reg.Policy == nil {
		enforced := &Policy{}
		reg.Policy = func(string) *Policy { return enforced }
	}
	return reg
}
