package config

import (
	"strings"
	"testing"
)

// Where a key stands, in a configuration that is right otherwise.
const (
	topLevel = `tls: {plain-http: {}}
registries: [{name: registry.example.com, upstream: "https://o.example.com", notary: {url: "https://n.example.com"}}]
content-trust: {mode: enforced}
$`
	inTLS = `tls: {$}
state-dir: state
registries: [{name: registry.example.com, upstream: "https://o.example.com", notary: {url: "https://n.example.com"}}]
content-trust: {mode: enforced}
`
	inRegistry = `tls: {plain-http: {}}
registries: [{name: registry.example.com, upstream: "https://o.example.com", notary: {url: "https://n.example.com"}, $}]
content-trust: {mode: enforced}
`
	inTrust = `tls: {plain-http: {}}
registries: [{name: registry.example.com, upstream: "https://o.example.com", notary: {url: "https://n.example.com"}}]
content-trust: {mode: enforced, $}
`
)

// Keys whose feature is not built yet: refused, as the only problem, with
// another value than the default; accepted with the default.
func TestNotSupportedYet(t *testing.T) {
	for _, test := range []struct {
		in, accepted string
		refused      []string
		key          string
	}{
		{topLevel, "storage: {gcs: null, inmemory: {}}", []string{"storage: {gcs: {bucket: b, keyfile: hunter2}}", "storage: {gcs: {}}"}, "storage.gcs"},
		{topLevel, "storage: {azure: null, inmemory: {}}", []string{"storage: {azure: {container: c}}"}, "storage.azure"},
	} {
		file := func(value string) []byte { return []byte(strings.Replace(test.in, "$", value, 1)) }
		t.Run("accepted "+test.accepted, func(t *testing.T) {
			if _, err := Parse("f", file(test.accepted), "."); err != nil {
				t.Error(err)
			}
		})
		for _, value := range test.refused {
			t.Run("refused "+value, func(t *testing.T) {
				c, err := Parse("f", file(value), ".")
				if err == nil {
					t.Fatalf("accepted as %+v", c)
				}
				if got := err.Error(); !strings.Contains(got, ": "+test.key+": not supported yet: ") || strings.Contains(got, "\n") || strings.Contains(got, "hunter2") {
					t.Errorf("got %s", got)
				}
			})
		}
	}
}

// What is refused as a whole is still decoded strictly.
func TestNotSupportedYetIsStillDecodedStrictly(t *testing.T) {
	for _, test := range []struct{ in, value, want string }{
		{topLevel, "clients: {alow: []}", `clients.alow: unknown key: did you mean "allow"?`},
		{topLevel, "clients: {allow: [10.0.0.1/8]}", `clients.allow[0]: "10.0.0.1/8" has bits set outside its mask: write 10.0.0.0/8`},
		{topLevel, "clients: {allow: [10.0.0.1]}", `clients.allow[0]: "10.0.0.1" is not a network: expected CIDR form, such as 10.0.0.0/8`},
		{inRegistry, "offline: {grace: 30}", `registries[0].offline.grace: "30" is not a duration`},
		{inRegistry, "cache: {max-size: big}", `registries[0].cache.max-size: "big" is not a size`},
		{inRegistry, "cache: 5GiB", `registries[0].cache: expected a mapping of keys to values, got a string`},
		{inTrust, "signers: {qa: {key: []}}", `content-trust.signers.qa.key: unknown key: did you mean "keys"?`},
		{inTrust, "policies: [{match: [a]}]", `content-trust.policies[0].match: expected a string, got a list`},
		{inTrust, "policies: {}", `content-trust.policies: expected a list of policies, got a mapping`},
		{topLevel, "storage: {gcs: {a: 1, a: 2}}", `storage.gcs.a: repeated key: it was given on line 4 already`},
	} {
		t.Run(test.value, func(t *testing.T) {
			_, err := Parse("f", []byte(strings.Replace(test.in, "$", test.value, 1)), ".")
			if err == nil || !strings.Contains(err.Error(), ": "+test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
