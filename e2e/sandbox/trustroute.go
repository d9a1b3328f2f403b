package sandbox

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/theupdateframework/notary/tuf/data"
)

const (
	trustInfix = "/_trust/tuf/"
	healthPath = "/_notary_server/health"
)

var (
	metadataVersion = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)
	metadataSHA256  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// trustRoute is a parsed path below /v2/<gun>/_trust/tuf/.
type trustRoute struct {
	gun  data.GUN
	kind trustKind
	role data.RoleName // empty for trustCollection
	// At most one of these is set; neither means the current file.
	version int
	sha256  string
}

type trustKind int

const (
	trustCollection trustKind = iota // the directory itself: publish, delete
	trustMetadata                    // a role's file
	trustKey                         // a server-held key
)

// parseTrustPath reads a path as it stood on the wire. The last dot-separated
// parts of the file name decide, which is unambiguous because a role has no
// dots. What is not in clean form is refused and never repaired.
func parseTrustPath(path string) (trustRoute, *trustError) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	gun, file, found := strings.Cut(rest, trustInfix)
	if !ok || !found {
		return trustRoute{}, errNotFound
	}
	if !validGUN(gun) {
		return trustRoute{}, errGUN
	}
	route := trustRoute{gun: data.GUN(gun)}
	if file == "" {
		return route, nil
	}
	parts := strings.Split(file, ".")
	switch {
	case len(parts) == 2 && parts[1] == "key":
		route.kind, route.role = trustKey, data.RoleName(parts[0])
	case len(parts) == 2 && parts[1] == "json":
		route.kind, route.role = trustMetadata, data.RoleName(parts[0])
	case len(parts) == 3 && parts[2] == "json" && metadataVersion.MatchString(parts[0]):
		route.kind, route.role = trustMetadata, data.RoleName(parts[1])
		route.version, _ = strconv.Atoi(parts[0]) // at most nine digits
	case len(parts) == 3 && parts[2] == "json" && metadataSHA256.MatchString(parts[1]):
		route.kind, route.role = trustMetadata, data.RoleName(parts[0])
		route.sha256 = strings.ToLower(parts[1])
	default:
		return trustRoute{}, errNotFound
	}
	if !data.ValidRole(route.role) || route.kind == trustKey && !serverHeld(route.role) {
		return trustRoute{}, errNotFound
	}
	return route, nil
}

// validGUN accepts what can be the name of a repository, with or without a
// registry before it. A percent sign is never part of one, so the path needs no
// decoding; ".." cannot pass, since a component begins with a letter or digit.
func validGUN(gun string) bool {
	named, err := reference.WithName(gun)
	return err == nil && named.Name() == gun
}

// serverHeld says whether the server may hold the key of role.
func serverHeld(role data.RoleName) bool {
	return role == data.CanonicalTimestampRole || role == data.CanonicalSnapshotRole
}

// methods says which methods a route has.
func (r trustRoute) methods() []string {
	switch r.kind {
	case trustCollection:
		return []string{http.MethodPost, http.MethodDelete}
	case trustKey:
		return []string{http.MethodGet, http.MethodPost}
	default:
		return []string{http.MethodGet}
	}
}
