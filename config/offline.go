package config

import (
	"slices"
	"strings"
	"time"
)

// maxGrace bounds Offline.Grace: what is older than a year is no longer bounded
// by anything that a reader of the file would expect.
const maxGrace = 8760 * time.Hour

// askers are the keys of a registry that mean somebody who can be asked.
var askers = []string{"upstream", "upstream-ca-file", "credentials", "realms", "redirects", "redirect-hosts", "pass-paths", "push", "signature-tags", "notary"}

// offline checks that nothing is wanted of an offline registry for which anybody
// would have to be asked.
func (v *validator) offline(path string, r *Registry) {
	if r.Offline == nil {
		return
	}
	key := child(path, "offline")
	for _, name := range askers {
		at := child(path, name)
		v.require(at, !v.given[at] || r.unasked(name),
			"does not go with offline (line %d), which serves what was loaded and asks nobody: leave one of the two out", v.lines[key])
	}
	v.require(child(key, "grace"), 0 <= r.Offline.Grace && r.Offline.Grace <= maxGrace,
		"must be 0 or more and at most %s (a year), got %s", maxGrace, r.Offline.Grace)
	v.require(key, v.c.Storage.Driver != InMemory || v.suspect("storage"),
		`needs a storage that another process can write, since "sealgate bundle load" is one: write storage: {filesystem: {rootdirectory: …}}`)
	v.offlineMode(key, r)
}

// unasked says whether a key has a value that asks nobody.
func (r *Registry) unasked(name string) bool {
	switch name {
	case "credentials":
		return r.Credentials.Kind == Anonymous
	case "redirects":
		return r.Redirects == RedirectsPass
	case "push":
		return !r.Push
	case "signature-tags":
		return r.SignatureTags == SignatureTagsHidden
	}
	return false
}

// offlineMode checks that trust decides about every tag: nobody else has any.
func (v *validator) offlineMode(key string, r *Registry) {
	mode := v.c.ContentTrust.Mode
	v.require("content-trust.mode", mode == Enforced || mode == "",
		"must be enforced while %s is offline (line %d), which has no tags but the signed ones: other registries can have a policy of their own", r.Name, v.lines[key])
	for i, p := range v.c.ContentTrust.Policies {
		if !strings.HasPrefix(p.Match, r.Name+"/") {
			continue
		}
		at := element("content-trust.policies", i)
		v.require(child(at, "mode"), slices.Contains([]Mode{"", Enforced}, p.Mode),
			"must be enforced where %s is offline (line %d): it has no tags but the signed ones", r.Name, v.lines[key])
		v.require(child(at, "exempt-tags"), len(p.ExemptTags) == 0,
			"has no meaning where %s is offline (line %d): it has no tags but the signed ones", r.Name, v.lines[key])
	}
}
