package config

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// EffectivePolicies returns the policies by what they match, each completed by
// the keys above it, and what holds where none matches: its Match is "". Of a
// repository, the policy that a Matcher finds decides alone.
func (t *ContentTrust) EffectivePolicies() (above Policy, byMatch map[string]Policy) {
	above = Policy{Mode: t.Mode}
	byMatch = map[string]Policy{}
	for _, p := range t.Policies {
		if p.Mode == "" {
			p.Mode = above.Mode
		}
		byMatch[p.Match] = p
	}
	return above, byMatch
}

// demandsTrust is whether trust is consulted for any repository of the registry
// of this name.
func (t *ContentTrust) demandsTrust(registry string) bool {
	return t.Mode == Enforced || t.Mode == Permissive || slices.ContainsFunc(t.Policies, func(p Policy) bool {
		return strings.HasPrefix(p.Match, registry+"/") && (p.Mode == Enforced || p.Mode == Permissive)
	})
}

func (v *validator) signers(path string, signers map[string]Signer) {
	for _, name := range slices.Sorted(maps.Keys(signers)) {
		key, s := child(path, name), signers[name]
		v.require(key, name != "", "a signer needs a name")
		v.exactlyOne(key, "keys, cert-file and role", "keys", "cert-file", "role")
		if v.given[child(key, "keys")] {
			v.require(child(key, "keys"), len(s.Keys) > 0, "an empty list: expected at least one key ID")
			v.ids(child(key, "keys"), s.Keys, "key ID", "as the signer's client prints them")
		}
		v.signerCertificates(child(key, "cert-file"), s.CertFile)
		if v.given[child(key, "role")] {
			v.role(child(key, "role"), s.Role)
		}
	}
}

// signerCertificates checks that a file holds certificates of keys that Notary
// signs with.
func (v *validator) signerCertificates(key, file string) {
	if file == "" {
		return
	}
	certificates, err := LoadCertificates(file)
	if err != nil {
		v.add(key, "%s", err)
	}
	for _, cert := range certificates {
		switch cert.PublicKey.(type) {
		case *ecdsa.PublicKey, *rsa.PublicKey:
		default:
			v.add(key, "%s holds a certificate of a %s key, with which nothing is signed in Notary: ECDSA or RSA is expected; give the ID of another kind of key in keys", quote(file), cert.PublicKeyAlgorithm)
		}
	}
}

// role is the name of a role that signs tags: targets or a delegation (Notary
// v0.7, tuf/data/roles.go).
var role = regexp.MustCompile(`^targets(/[a-z0-9_-]+)*$`)

func (v *validator) role(key, name string) {
	v.require(key, role.MatchString(name) && len(name) <= 255,
		`%s is not a role that signs tags: expected "targets", or a delegation such as "targets/releases"`, quote(name))
}

func (v *validator) policies(path string, t *ContentTrust) {
	matches := map[string]string{}
	used := map[string]bool{}
	for i, p := range t.Policies {
		at := func(name string) string { return child(element(path, i), name) }
		if p.Match == "" {
			v.require(at("match"), false, "is missing: expected the name of a repository, or a wildcard such as %q", "registry.example.com/prod/*")
		} else {
			v.pattern(at("match"), p.Match)
		}
		v.distinct(matches, p.Match, at("match"), "one policy decides for a match")
		v.require(at("roles"), p.Roles == nil || len(p.Roles) > 0, "an empty list: leave it out for Docker's rule (targets/releases, then targets)")
		roles := map[string]string{}
		for j, name := range p.Roles {
			key := element(at("roles"), j)
			v.role(key, name)
			v.distinct(roles, name, key, "leave it out")
		}
		names := map[string]string{}
		for j, name := range p.RequiredSigners {
			key := element(at("required-signers"), j)
			_, known := t.Signers[name]
			v.require(key, known || v.suspect("content-trust.signers"), "%s is not one of content-trust.signers", quote(name))
			v.distinct(names, name, key, "leave it out")
			used[name] = true
		}
		tags := map[string]string{}
		for j, pattern := range p.ExemptTags {
			key := element(at("exempt-tags"), j)
			v.tagPattern(key, pattern)
			v.distinct(tags, pattern, key, "leave it out")
		}
	}
}

// tagPattern is a tag of the OCI distribution specification v1.1 in which "*"
// stands for any characters, also none.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_*][A-Za-z0-9_.*-]*$`)

func (v *validator) tagPattern(key, pattern string) {
	switch {
	case strings.Trim(pattern, "*") == "":
		v.require(key, false, "%s exempts every tag: write mode: disabled, if that is meant", quote(pattern))
	case !tagPattern.MatchString(pattern) || len(pattern) > 128:
		v.require(key, false, `%s is not a tag or a pattern of tags: expected letters, digits, "_", "." and "-", and "*" for any of them, such as "dev-*"`, quote(pattern))
	}
}
