package config

import (
	"testing"
	"time"
)

// TestAnOfflineRegistryAsksNobody: it needs no more than a name and a storage, has
// no credentials, and others beside it can have what it cannot.
func TestAnOfflineRegistryAsksNobody(t *testing.T) {
	for _, more := range []string{"", ", credentials: anonymous, push: false, redirects: pass, signature-tags: hidden, upstream: null, notary: null, cache: {max-size: 5GiB, ttl: 24h}"} {
		c, err := Parse("f", []byte(`tls: {plain-http: {}}
storage: {filesystem: {rootdirectory: state}}
registries:
  - {name: docker.io, hosts: [mirror.example.com], offline: {grace: 720h}`+more+`}
  - {name: registry.example.com, upstream: "https://o.example.com", notary: {url: "https://n.example.com"}}
content-trust:
  mode: enforced
  policies: [{match: registry.example.com/*, mode: permissive, exempt-tags: [dev]}, {match: docker.io/library/*, roles: [targets]}]
`), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		offline, other := c.Registries[0], c.Registries[1]
		if offline.Offline == nil || offline.Offline.Grace != 720*time.Hour || offline.Upstream != nil || offline.Notary.URL != nil || len(offline.Realms) > 0 {
			t.Errorf("got %+v", offline)
		}
		if offline.Credentials.Kind != Anonymous || other.Credentials.Kind != Passthrough || other.Offline != nil {
			t.Errorf("credentials are %s and %s", offline.Credentials.Kind, other.Credentials.Kind)
		}
	}
}

func TestAnOfflineRegistryHasNoGraceUnlessItSaysSo(t *testing.T) {
	c, err := Parse("f", []byte(`tls: {plain-http: {}}
storage: {filesystem: {rootdirectory: state}}
registries: [{name: registry.example.com, offline: {}}]
content-trust: {mode: enforced}
`), t.TempDir())
	if err != nil || c.Registries[0].Offline == nil || c.Registries[0].Offline.Grace != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
}
