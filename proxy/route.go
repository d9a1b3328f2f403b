package proxy

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Kind is what a request asks for.
type Kind uint8

// The routes that pass. Everything else is refused.
const (
	Base             Kind = iota + 1 // /v2/
	ManifestByTag                    // /v2/<name>/manifests/<tag>
	ManifestByDigest                 // /v2/<name>/manifests/<digest>
	Blob                             // /v2/<name>/blobs/<digest>
	Referrers                        // /v2/<name>/referrers/<digest>
	Tags                             // /v2/<name>/tags/list
	TrustMetadata                    // /v2/<gun>/_trust/tuf/<file>.json
	Uploads                          // /v2/<name>/blobs/uploads/
	Upload                           // /v2/<name>/blobs/uploads/<token>
	TrustCollection                  // /v2/<gun>/_trust/tuf/
	TrustKey                         // /v2/<gun>/_trust/tuf/<role>.key
	TokenEndpoint                    // where the registry's challenge says; never from Parse
	PassPath                         // below one of the registry's PassPaths; never from Parse
)

// String names the kind in logs.
func (k Kind) String() string {
	switch k {
	case Base:
		return "base"
	case ManifestByTag:
		return "manifest-by-tag"
	case ManifestByDigest:
		return "manifest-by-digest"
	case Blob:
		return "blob"
	case Referrers:
		return "referrers"
	case Tags:
		return "tags"
	case TrustMetadata:
		return "trust"
	case Uploads:
		return "uploads"
	case Upload:
		return "upload"
	case TrustCollection:
		return "trust-collection"
	case TrustKey:
		return "trust-key"
	case TokenEndpoint:
		return "token"
	case PassPath:
		return "pass-path"
	}
	return "refused"
}

// Route is a request target, parsed. It is the only thing that decisions are
// made from and that upstream targets are built from: the raw target is not
// carried along beside it.
type Route struct {
	Kind Kind
	// Repository is the name as the registry knows it; for the kinds of trust
	// the GUN, which begins with the registry's name.
	Repository string
	// Reference is the tag, the digest, the file of trust data, the token of an
	// upload, the token server's path, or the prefix that opened a path.
	Reference string
	// Limit and Last are the page asked for (Tags). Limit is -1 where the
	// client named none.
	Limit int
	Last  string
	// Query is the query to pass on (Referrers), without the leading "?".
	Query string
	// Digest is that of the blob (Uploads, Upload); Mount and From say which
	// blob of which repository is taken over instead of an upload (Uploads). Each
	// may be empty.
	Digest, Mount, From string
}

const (
	// maxPage is the largest page of a tag list, and the page where none is
	// asked for.
	maxPage = 1000
	// maxQuery bounds a query that is passed on, in bytes.
	maxQuery = 2048
	// maxGUN bounds a GUN, in bytes: a host name with a port has 259 at most, and a
	// name 255.
	maxGUN = 515

	uploadsSuffix = "/blobs/uploads/"
	trustSuffix   = "/_trust/tuf/"

	trustRole = `(?:root|timestamp|snapshot|targets(?:/[a-z0-9_-]+)*)`
)

// Names, tags and digests, which every pull has, are read in grammar.go.
var (
	gunGrammar = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?/(.+)$`)
	// trustFileGrammar: a role of Notary v1, by version, by hash, or the newest.
	trustFileGrammar = regexp.MustCompile(`^(?:(?:[1-9][0-9]{0,9}\.)?` + trustRole + `|` + trustRole + `\.[0-9a-f]{64})\.json$`)
	// referrersQuery is what may stand in a query that is passed on.
	referrersQuery = regexp.MustCompile(`^[A-Za-z0-9._~=&+%:/-]*$`)
)

// Parse reads a request target in origin form. It accepts what is already in
// canonical form and nothing else: no percent-escape but %3A in a digest, no
// empty, "." or ".." component, no trailing slash but that of /v2/. Names are
// matched greedily with the last components anchored, so that a repository may
// be called "foo/manifests/bar". The error is an *Error.
//
// Names of a Route are remembered for as long as they are of use, and what a
// client adds to them in a query must not be: they are no part of it.
func Parse(target string) (Route, error) {
	path, query, _ := strings.Cut(target, "?")
	if query != "" {
		path = strings.Clone(path)
	}
	if path == "/v2/" {
		return Route{Kind: Base, Limit: -1}, nil
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return Route{}, errNoRoute
	}
	if name, ok := strings.CutSuffix(rest, uploadsSuffix); ok && validName(name) {
		return Route{Kind: Uploads, Repository: name, Limit: -1}.parseUpload(query)
	}
	if gun, ok := strings.CutSuffix(rest, trustSuffix); ok && validGUN(gun) {
		return Route{Kind: TrustCollection, Repository: gun, Limit: -1}, nil
	}
	if !cleanPath(rest) {
		return Route{}, errNoRoute
	}
	if gun, file, ok := strings.Cut(rest, trustSuffix); ok {
		return parseTrust(gun, file)
	}
	head, last, ok := cutLast(rest)
	if !ok {
		return Route{}, errNoRoute
	}
	name, keyword, ok := cutLast(head)
	if !ok || !validName(name) {
		return Route{}, errNoRoute
	}
	r := Route{Repository: name, Limit: -1}
	switch keyword {
	case "manifests":
		return r.parseManifest(last)
	case "blobs":
		return r.parseDigest(Blob, last)
	case "referrers":
		if len(query) > maxQuery || !referrersQuery.MatchString(query) {
			return Route{}, errNoRoute
		}
		r.Query = withoutNamespace(query)
		return r.parseDigest(Referrers, last)
	case "tags":
		if last == "list" {
			return r.parsePage(query)
		}
	case "uploads":
		if of, ok := strings.CutSuffix(name, "/blobs"); ok && validToken(last) {
			r.Kind, r.Repository, r.Reference = Upload, of, last
			return r.parseUpload(query)
		}
	}
	return Route{}, errNoRoute
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// cleanPath says whether a path below /v2/ is in canonical form. Only the
// last component may hold ':' (in a digest) in a form other than a GUN's port;
// the grammars see to that.
func cleanPath(path string) bool {
	for component := range strings.SplitSeq(path, "/") {
		if component == "" || component == "." || component == ".." {
			return false
		}
	}
	last := strings.LastIndexByte(path, '/')
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("._-/:@+", c) >= 0:
		case c == '%' && i > last && strings.HasPrefix(path[i:], "%3A"):
		default:
			return false
		}
	}
	return true
}

// parseManifest tells a tag from a digest. What holds a ':' or an escaped one
// stands in a digest's place and is never read as a tag.
func (r Route) parseManifest(ref string) (Route, error) {
	if strings.ContainsAny(ref, ":%") {
		return r.parseDigest(ManifestByDigest, ref)
	}
	if !validTag(ref) {
		return Route{}, errNoRoute
	}
	r.Kind, r.Reference = ManifestByTag, ref
	return r, nil
}

func (r Route) parseDigest(kind Kind, text string) (Route, error) {
	digest := strings.Replace(text, "%3A", ":", 1)
	if !validDigest(digest) {
		return Route{}, errDigestInvalid(digest)
	}
	r.Kind, r.Reference = kind, digest
	return r, nil
}

// parsePage reads n and last (OCI distribution-spec v1.1, "Listing Tags");
// other keys are dropped. A huge n is cut to the largest page.
func (r Route) parsePage(query string) (Route, error) {
	r.Kind = Tags
	var haveN, haveLast bool
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "n":
			if haveN || value == "" || strings.Trim(value, "0123456789") != "" {
				return Route{}, errPage("n", value)
			}
			haveN = true
			n, err := strconv.Atoi(value)
			if err != nil || n > maxPage { // only digits, so the error is: too large
				n = maxPage
			}
			r.Limit = n
		case "last":
			if haveLast || value != "" && !validTag(value) {
				return Route{}, errPage("last", value)
			}
			haveLast, r.Last = true, value
		}
	}
	return r, nil
}

// parseUpload reads the query of a write of a blob (OCI distribution-spec v1.1,
// "Pushing blobs", "Mounting a blob from another repository"); other keys are
// dropped, and escapes are accepted in values, since clients write them.
func (r Route) parseUpload(query string) (Route, error) {
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		key, escaped, _ := strings.Cut(pair, "=")
		if key != "digest" && (r.Kind != Uploads || key != "mount" && key != "from") {
			continue
		}
		value, err := url.QueryUnescape(escaped)
		switch {
		case key == "from" && (err != nil || seen[key] || !validName(value)):
			return Route{}, errNameInvalid(value)
		case key != "from" && (err != nil || seen[key] || !validDigest(value)):
			return Route{}, errDigestInvalid(value)
		}
		seen[key] = true
		switch key {
		case "digest":
			r.Digest = value
		case "mount":
			r.Mount = value
		case "from":
			r.From = value
		}
	}
	return r, nil
}

func parseTrust(gun, file string) (Route, error) {
	if !validGUN(gun) || len(file) > 512 {
		return Route{}, errNoRoute
	}
	r := Route{Repository: gun, Reference: file, Limit: -1}
	switch {
	case file == "timestamp.key", file == "snapshot.key": // the keys that a Notary server may hold
		r.Kind = TrustKey
	case trustFileGrammar.MatchString(file):
		r.Kind = TrustMetadata
	default:
		return Route{}, errNoRoute
	}
	return r, nil
}

func validGUN(gun string) bool {
	if len(gun) > maxGUN {
		return false
	}
	m := gunGrammar.FindStringSubmatch(gun)
	return m != nil && validName(m[1])
}

// withoutNamespace drops containerd's ns from a query that is passed on, and
// keys that could be an escaped form of it.
func withoutNamespace(query string) string {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); pair != "" && key != "ns" && !strings.Contains(key, "%") {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

// Path is the canonical path of the route: what a client would send, and,
// after the path of an upstream's address, what an upstream is sent.
func (r Route) Path() string {
	switch r.Kind {
	case Base:
		return "/v2/"
	case ManifestByTag, ManifestByDigest:
		return "/v2/" + r.Repository + "/manifests/" + r.Reference
	case Blob:
		return "/v2/" + r.Repository + "/blobs/" + r.Reference
	case Referrers:
		return "/v2/" + r.Repository + "/referrers/" + r.Reference
	case Tags:
		return "/v2/" + r.Repository + "/tags/list"
	case TrustMetadata, TrustCollection, TrustKey:
		return "/v2/" + r.Repository + trustSuffix + r.Reference
	case Uploads, Upload:
		return "/v2/" + r.Repository + uploadsSuffix + r.Reference
	}
	return ""
}

// RawQuery is the canonical query of the route.
func (r Route) RawQuery() string {
	switch {
	case r.Kind == Referrers:
		return r.Query
	case r.Kind == Uploads, r.Kind == Upload:
		return r.uploadQuery()
	case r.Kind != Tags:
		return ""
	case r.Limit >= 0 && r.Last != "":
		return "last=" + r.Last + "&n=" + strconv.Itoa(r.Limit)
	case r.Limit >= 0:
		return "n=" + strconv.Itoa(r.Limit)
	case r.Last != "":
		return "last=" + r.Last
	}
	return ""
}

func (r Route) uploadQuery() string {
	var pairs []string
	for _, pair := range [][2]string{{"mount", r.Mount}, {"from", r.From}, {"digest", r.Digest}} {
		if pair[1] != "" {
			pairs = append(pairs, pair[0]+"="+pair[1])
		}
	}
	return strings.Join(pairs, "&")
}

// Target prints the route as a request target; Parse(r.Target()) is r.
func (r Route) Target() string {
	if query := r.RawQuery(); query != "" {
		return r.Path() + "?" + query
	}
	return r.Path()
}
