package sandbox

import (
	"slices"
	"strings"
)

// Rights are the actions (pull, push, delete) that are allowed, by repository:
// its name, a name's beginning that ends in "/*", or "*" for every repository.
// A repository's name has no registry before it.
type Rights map[string][]string

// has says whether an action on a repository is among the rights.
func (r Rights) has(repository, action string) bool {
	for pattern, actions := range r {
		prefix, wild := strings.CutSuffix(pattern, "*")
		if (pattern == repository || wild && strings.HasPrefix(repository, prefix)) && slices.Contains(actions, action) {
			return true
		}
	}
	return false
}

// tokenAccess is one entry of a token's access claim.
type tokenAccess struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// String is the scope that the entry grants.
func (a tokenAccess) String() string {
	return a.Type + ":" + a.Name + ":" + strings.Join(a.Actions, ",")
}

// parseScope reads "repository:<name>:<actions>"; a name may have a port in it.
func parseScope(scope string) (a tokenAccess, ok bool) {
	kind, rest, _ := strings.Cut(scope, ":")
	colon := strings.LastIndexByte(rest, ':')
	if kind != "repository" || colon < 1 {
		return tokenAccess{}, false
	}
	return tokenAccess{Type: kind, Name: rest[:colon], Actions: strings.Split(rest[colon+1:], ",")}, true
}

// allowed is what a user may have of the scopes; user "" is everybody.
func (t *Tokens) allowed(user string, scopes []string) []tokenAccess {
	granted := []tokenAccess{} // an empty claim is [], not null
	own := t.opts.Users[user].Rights
	for _, scope := range scopes {
		asked, ok := parseScope(scope)
		if !ok {
			continue
		}
		repository := withoutRegistry(asked.Name)
		asked.Actions = slices.DeleteFunc(asked.Actions, func(action string) bool {
			if action == "*" { // Notary's name for removing a repository's trust data
				action = "delete"
			}
			return !own.has(repository, action) && !t.opts.Public.has(repository, action)
		})
		if len(asked.Actions) > 0 {
			granted = append(granted, asked)
		}
	}
	return granted
}

// withoutRegistry drops the registry from a GUN: Notary names repositories by
// those, a registry by what comes after.
func withoutRegistry(name string) string {
	first, rest, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return rest
	}
	return name
}
