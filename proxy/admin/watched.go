package admin

import (
	"context"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// Watched is what the status page shows, beside State: what was configured and
// what became of it. Its methods are called concurrently and ask nobody, but for
// Compare.
type Watched interface {
	State
	// Process says what runs, and since when.
	Process() Process
	// Registries returns what is configured, in that order.
	Registries() []RegistrySettings
	// Policy is what holds for a repository, by its name with the registry's.
	Policy(gun string) Policy
	// Certificates returns those that clients are shown; none for plain HTTP.
	Certificates() []Certificate
	// LastReload is that of the configuration; zero before the first.
	LastReload() Reload
	// Hosts returns the names, beside IP addresses and localhost, at which the
	// status page answers.
	Hosts() []string
	// Compare asks the registry of gun which digests it has for tags, with
	// credentials of ours or nobody's, and returns them in the same order. The error
	// says why it cannot be asked at all.
	Compare(ctx context.Context, gun string, tags []string) ([]InRegistry, error)
}

// Process is the program.
type Process struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"` // the time that trust goes by
}

// RegistrySettings is one registry of the configuration.
type RegistrySettings struct {
	Name string
	Mode string // enforced, permissive or disabled, where no policy says otherwise
	// Upstream and Notary are hosts; "" where there is none.
	Upstream, Notary string
	Offline          bool
	MaxCache         int64 // bytes; 0 where nothing is kept
}

// Policy is what is configured for a repository.
type Policy struct {
	Mode            string   `json:"mode"`
	Match           string   `json:"policy,omitempty"` // of the policy; "" where none matches
	RequiredSigners []string `json:"required_signers,omitempty"`
	ExemptTags      []string `json:"exempt_tags,omitempty"`
}

// Certificate is one that clients are shown.
type Certificate struct {
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	Source    string    `json:"source"` // self-signed, files or acme
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Reload is a reload of the configuration that has ended.
type Reload struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error,omitempty"` // why it was refused; "" where it was applied
}

// InRegistry is what a registry has for a tag: Digest "" and Err nil where it has
// none, Err where that cannot be known.
type InRegistry struct {
	Digest string
	Err    error
}

// peek finds the trust cache that knows gun.
func peek(w Watched, gun string) (registry TrustState, use trustcache.Use, known bool) {
	for _, t := range w.Trust() {
		if t.Peek == nil {
			continue
		}
		if use, known = t.Peek(gun); known {
			return t, use, true
		}
	}
	return TrustState{}, trustcache.Use{}, false
}
