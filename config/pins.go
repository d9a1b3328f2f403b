package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

var pinnedID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (v *validator) trustPinning(path string, p *TrustPinning) {
	at := func(name string) string { return child(path, name) }
	v.pinnedIDs(at("cert-ids"), p.CertIDs, "certificate ID", `as "docker trust inspect" prints them for root keys`)
	v.pinnedIDs(at("root-keys"), p.RootKeys, "root key ID", "as the publisher's client prints them")
	for _, pattern := range slices.Sorted(maps.Keys(p.CA)) {
		key, file := child(at("ca"), pattern), p.CA[pattern]
		v.pattern(key, pattern)
		if file == "" {
			v.require(key, false, "is missing: expected the path of a PEM file of certificate authorities, or leave the pattern out")
		} else if _, err := LoadCAs(file); err != nil {
			if errors.Is(err, errNoAuthority) {
				err = fmt.Errorf("%w: expected one that issues root certificates (a root certificate itself is pinned by its ID, in cert-ids)", err)
			}
			v.add(key, "%s", err)
		}
	}
	if p.OfficialLibraryImages {
		v.add(at("official-library-images"), "must be false: Docker has retired the signatures of the official images; sign what you approve in a Notary of your own, and pin your own key in root-keys")
	}
}

func (v *validator) pinnedIDs(path string, pins map[string][]string, what, source string) {
	for _, pattern := range slices.Sorted(maps.Keys(pins)) {
		key, ids := child(path, pattern), pins[pattern]
		v.pattern(key, pattern)
		v.require(key, len(ids) > 0, "an empty list: expected at least one %s, or leave the pattern out", what)
		v.ids(key, ids, what, source)
	}
}

// ids checks a list of IDs of keys or certificates.
func (v *validator) ids(key string, ids []string, what, source string) {
	seen := map[string]string{}
	for i, id := range ids {
		at := element(key, i)
		v.require(at, pinnedID.MatchString(id), "%s is not a %s: expected 64 lower-case hexadecimal digits, %s", quote(id), what, source)
		v.distinct(seen, id, at, "leave it out")
	}
}

// pattern checks a pattern over the repositories of the configured registries.
func (v *validator) pattern(key, pattern string) {
	var names []string
	for _, r := range v.c.Registries {
		names = append(names, r.Name)
	}
	if len(names) == 0 || slices.Contains(names, "") {
		names = []string{strings.Split(pattern, "/")[0]} // a missing name is reported where it is missing
	}
	if err := checkPattern(pattern, names); err != nil {
		v.add(key, "%s", err)
	}
}

var errNoAuthority = errors.New("holds no certificate authority")

// LoadCAs is LoadCertificates for certificate authorities, of which there has to
// be one. Other certificates in the file do not count.
func LoadCAs(file string) ([]*x509.Certificate, error) {
	all, err := LoadCertificates(file)
	if err != nil {
		return nil, err
	}
	cas := slices.DeleteFunc(all, func(c *x509.Certificate) bool { return !c.IsCA })
	if len(cas) == 0 {
		return nil, fmt.Errorf("%s %w", quote(file), errNoAuthority)
	}
	return cas, nil
}

// pinKind is the patterns of one kind of pin.
type pinKind struct {
	name     string
	patterns []string // sorted
}

// kinds are the kinds of pins in the order in which they decide.
func (p TrustPinning) kinds() []pinKind {
	return []pinKind{
		{"cert-ids", slices.Sorted(maps.Keys(p.CertIDs))},
		{"root-keys", slices.Sorted(maps.Keys(p.RootKeys))},
		{"ca", slices.Sorted(maps.Keys(p.CA))},
	}
}

// covers is whether a pin covers a repository of the registry of this name.
func (p TrustPinning) covers(name string) bool {
	return slices.ContainsFunc(p.kinds(), func(k pinKind) bool {
		return slices.ContainsFunc(k.patterns, func(pattern string) bool { return strings.HasPrefix(pattern, name+"/") })
	})
}

// warnings are about pins that do not do what they seem to.
func (p TrustPinning) warnings(path string, now time.Time, warn func(key, format string, args ...any)) {
	kinds := p.kinds()
	for i, kind := range kinds {
		for _, pattern := range kind.patterns {
			if decides := overridden(pattern, kinds[:i]); decides != "" {
				warn(child(child(path, kind.name), pattern), "never decides: %s covers the same repositories, and cert-ids decide before root-keys and those before ca, even a wildcard before an exact name", decides)
			}
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(p.CA)) {
		cas, err := LoadCAs(p.CA[pattern])
		if err != nil {
			continue // changed since it was checked; whoever uses it finds out
		}
		for _, ca := range cas {
			if now.After(ca.NotAfter) {
				warn(child(child(path, "ca"), pattern), "the certificate authority %s in %s expired at %s: what it has issued is refused",
					quote(ca.Subject.CommonName), quote(p.CA[pattern]), ca.NotAfter.UTC().Format(time.RFC3339))
			}
		}
	}
}

// overridden names the pin of a kind before that covers all that pattern does;
// "" where there is none.
func overridden(pattern string, before []pinKind) string {
	for _, kind := range before {
		for _, other := range kind.patterns {
			// What matches the pattern as if it were a name matches all that the
			// pattern does.
			if MatchPattern(other, pattern) {
				return child(kind.name, other)
			}
		}
	}
	return ""
}
