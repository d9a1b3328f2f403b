package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadCAsCountsAuthoritiesOnly(t *testing.T) {
	dir := fixtures(t)
	for file, want := range map[string]int{"authority.pem": 1, "expired.pem": 1, "mixed.pem": 2} {
		cas, err := LoadCAs(filepath.Join(dir, file))
		if err != nil || len(cas) != want {
			t.Fatalf("%s: %d authorities, want %d: %v", file, len(cas), want, err)
		}
		for _, ca := range cas {
			if !ca.IsCA || ca.Subject.CommonName != "signing CA" {
				t.Errorf("%s: %s is no authority", file, ca.Subject)
			}
		}
	}
	for _, file := range []string{"ca.pem", "tls.key", "absent.pem", "broken.pem"} {
		if cas, err := LoadCAs(filepath.Join(dir, file)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, %v", file, cas, err)
		}
	}
}

func TestWarningsAboutPins(t *testing.T) {
	const before = "cert-ids decide before root-keys and those before ca, even a wildcard before an exact name"
	for _, test := range []struct {
		name, pins string
		want       []string
	}{
		{"certificates alone", "cert-ids: {registry.example.com:5000/a: [$ID]}", nil},
		{"an authority alone", "ca: {registry.example.com:5000/*: authority.pem}", nil},
		{"kinds beside each other", "cert-ids: {registry.example.com:5000/a: [$ID]}, root-keys: {registry.example.com:5000/b: [$ID]}, ca: {registry.example.com:5000/c: authority.pem}", nil},
		{"an exact name before the wildcard of a later kind", "cert-ids: {registry.example.com:5000/a: [$ID]}, root-keys: {registry.example.com:5000/*: [$ID]}", nil},
		{"a wildcard before a shorter one of a later kind", "root-keys: {registry.example.com:5000/a/*: [$ID]}, ca: {registry.example.com:5000/*: authority.pem}", nil},
		{"a wildcard beside the name before its star", "cert-ids: {registry.example.com:5000/a/*: [$ID]}, root-keys: {registry.example.com:5000/a: [$ID]}", nil},
		{"a wildcard before an exact name of a later kind", "cert-ids: {registry.example.com:5000/*: [$ID]}, root-keys: {registry.example.com:5000/a: [$ID]}", []string{
			`content-trust.trust-pinning.root-keys["registry.example.com:5000/a"]: never decides: cert-ids["registry.example.com:5000/*"] covers the same repositories, and ` + before}},
		{"the same pattern in every kind", "cert-ids: {registry.example.com:5000/a/*: [$ID]}, root-keys: {registry.example.com:5000/a/*: [$ID]}, ca: {registry.example.com:5000/a/*: authority.pem}", []string{
			`content-trust.trust-pinning.root-keys["registry.example.com:5000/a/*"]: never decides: cert-ids["registry.example.com:5000/a/*"] covers the same repositories, and ` + before,
			`content-trust.trust-pinning.ca["registry.example.com:5000/a/*"]: never decides: cert-ids["registry.example.com:5000/a/*"] covers the same repositories, and ` + before}},
		{"an authority that has expired", "ca: {registry.example.com:5000/*: mixed.pem}", []string{
			`content-trust.trust-pinning.ca["registry.example.com:5000/*"]: the certificate authority "signing CA" in "$DIR/mixed.pem" expired at 2004-01-10T13:37:04Z: what it has issued is refused`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := fixtures(t)
			data := strings.Replace(minimal, "mode: enforced", "mode: enforced, trust-pinning: {"+strings.ReplaceAll(test.pins, "$ID", aKeyID)+"}", 1)
			var got []string
			for _, warning := range mustParse(t, data, dir).Warnings() {
				if strings.Contains(warning, "pin") {
					got = append(got, strings.ReplaceAll(warning, dir, "$DIR"))
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}
