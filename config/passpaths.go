package config

import (
	"regexp"
	"strings"
)

// passPathGrammar is a path prefix in canonical form: nothing in it is escaped,
// and no component is empty.
var passPathGrammar = regexp.MustCompile(`^(?:/[A-Za-z0-9._~@:+-]+)+/?$`)

// passPaths checks the prefixes that are forwarded: none of them may open the
// registry API, which is at /v2 and, where upstream has a path, below that too.
func (v *validator) passPaths(path string, r *Registry) {
	seen := map[string]string{}
	api := []string{"/v2"}
	if r.Upstream != nil && r.Upstream.Path != "" {
		api = append(api, r.Upstream.Path+"/v2")
	}
	for i, prefix := range r.PassPaths {
		key := element(path, i)
		if !passPathGrammar.MatchString(prefix) || strings.Contains(prefix+"/", "/./") || strings.Contains(prefix+"/", "/../") {
			v.add(key, `%s is not a path prefix: expected such as "/api" or "/harbor/", of letters, digits and ._~@:+-, with no empty component, "." or ".."`, quote(prefix))
			continue
		}
		for _, api := range api {
			if within(prefix, api) || within(api, prefix) {
				v.add(key, "%s opens %s, the registry API, past every decision about tags: name what is beside it", quote(prefix), api)
				break
			}
		}
		v.distinct(seen, prefix, key, "leave it out")
	}
}

// within says whether a path is another or below it, in whatever case a server
// takes them.
func within(path, above string) bool {
	path, above = strings.ToLower(strings.TrimSuffix(path, "/")), strings.ToLower(strings.TrimSuffix(above, "/"))
	return path == above || strings.HasPrefix(path, above+"/")
}
