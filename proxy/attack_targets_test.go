package proxy_test

// attackTargets are request targets that some registry reads as the tag
// "unsigned" of acme/app, or of a repository with a misleading name, and that
// are not in canonical form: 404 (400 where they stand in a digest's place).
func attackTargets() []string {
	var targets []string
	for _, it := range malformedTargets {
		targets = append(targets, it.target)
	}
	return targets
}

// malformedTargets are refused before anything is forwarded. DESIGN: a
// malformed digest in a digest's place is 400, everything else 404.
var malformedTargets = []struct {
	name, target string
	status       int
	code         string
}{
	{"an escape in the tag", "/v2/acme/app/manifests/%75nsigned", 404, ""},
	{"every letter of the tag escaped", "/v2/acme/app/manifests/%75%6e%73%69%67%6e%65%64", 404, ""},
	{"double escaping of the tag", "/v2/acme/app/manifests/%2575nsigned", 404, ""},
	{"an escape in the keyword", "/v2/acme/app/%6danifests/unsigned", 404, ""},
	{"an escape in the name", "/v2/%61cme/app/manifests/unsigned", 404, ""},
	{"an escaped slash in the name", "/v2/acme%2Fapp/manifests/unsigned", 404, ""},
	{"an escaped slash before the keyword", "/v2/acme/app%2Fmanifests/unsigned", 404, ""},
	{"an escaped slash before the tag", "/v2/acme/app/manifests%2Funsigned", 404, ""},
	{"an escaped slash in lower case", "/v2/acme/app/manifests%2funsigned", 404, ""},
	{"everything escaped", "/%76%32/acme/app/manifests/unsigned", 404, ""},
	{"an escaped v2 and slash", "/v2%2Facme/app/manifests/unsigned", 404, ""},
	{"two slashes first", "//v2/acme/app/manifests/unsigned", 404, ""},
	{"two slashes after v2", "/v2//acme/app/manifests/unsigned", 404, ""},
	{"two slashes in the name", "/v2/acme//app/manifests/unsigned", 404, ""},
	{"two slashes before the tag", "/v2/acme/app/manifests//unsigned", 404, ""},
	{"a dot component", "/v2/acme/./app/manifests/unsigned", 404, ""},
	{"two dots", "/v2/acme/x/../app/manifests/unsigned", 404, ""},
	{"two dots from a blob", "/v2/acme/app/blobs/../manifests/unsigned", 404, ""},
	{"two dots from a list", "/v2/acme/app/tags/list/../../manifests/unsigned", 404, ""},
	{"escaped dots", "/v2/acme/x/%2e%2e/app/manifests/unsigned", 404, ""},
	{"half escaped dots", "/v2/acme/x/.%2E/app/manifests/unsigned", 404, ""},
	{"a trailing slash", "/v2/acme/app/manifests/unsigned/", 404, ""},
	{"a trailing dot component", "/v2/acme/app/manifests/unsigned/.", 404, ""},
	{"a semicolon", "/v2/acme/app/manifests/unsigned;v=1", 404, ""},
	{"an escaped semicolon", "/v2/acme/app/manifests/unsigned%3Bv=1", 404, ""},
	{"a backslash", `/v2/acme/app\manifests\unsigned`, 404, ""},
	{"an escaped backslash", "/v2/acme/app/manifests%5Cunsigned", 404, ""},
	{"a zero byte", "/v2/acme/app/manifests/unsigned%00", 404, ""},
	{"an escaped space", "/v2/acme/app/manifests/unsigned%20", 404, ""},
	{"an escaped line break", "/v2/acme/app/manifests/unsigned%0d%0a", 404, ""},
	{"an escaped question mark", "/v2/acme/app/manifests/unsigned%3Fx", 404, ""},
	{"an escaped number sign", "/v2/acme/app/manifests/unsigned%23", 404, ""},
	{"non-ASCII, escaped", "/v2/acme/app/manifests/%C3%BCnsigned", 404, ""},
	{"an overlong encoding of a slash", "/v2/acme/app/manifests%C0%AFunsigned", 404, ""},
	{"V2", "/V2/acme/app/manifests/unsigned", 404, ""},
	{"MANIFESTS", "/v2/acme/app/MANIFESTS/unsigned", 404, ""},
	{"capitals in the name", "/v2/ACME/app/manifests/unsigned", 404, ""},
	{"a path before v2", "/x/v2/acme/app/manifests/unsigned", 404, ""},
	{"a second v2 after an impossible name", "/v2/UPPER/v2/acme/app/manifests/unsigned", 404, ""},
	{"no version", "/acme/app/manifests/unsigned", 404, ""},
	{"the catalog", "/v2/_catalog", 404, ""},
	{"the catalog with a trailing slash", "/v2/_catalog/", 404, ""},
	{"a repository called _trust", "/v2/_trust/manifests/unsigned", 404, ""},
	{"a repository under _trust/tuf", "/v2/registry.example.com/acme/app/_trust/tuf/manifests/unsigned", 404, ""},
	{"an upload that ends in a tag", "/v2/acme/app/blobs/uploads/unsigned", 404, ""},
	{"a tag at a digest", "/v2/acme/app/manifests/unsigned@" + sha256, 400, "DIGEST_INVALID"},
	{"a digest in capitals", "/v2/acme/app/manifests/sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", 400, "DIGEST_INVALID"},
	{"the algorithm in capitals", "/v2/acme/app/manifests/SHA256:" + hex64, 400, "DIGEST_INVALID"},
	{"a short digest", "/v2/acme/app/manifests/sha256:0123", 400, "DIGEST_INVALID"},
	{"md5", "/v2/acme/app/manifests/md5:0123456789abcdef0123456789abcdef", 400, "DIGEST_INVALID"},
	{"a tag in a blob's place", "/v2/acme/app/blobs/unsigned", 400, "DIGEST_INVALID"},
	{"a tag in a subject's place", "/v2/acme/app/referrers/unsigned", 400, "DIGEST_INVALID"},
	{"a colon after the tag", "/v2/acme/app/manifests/unsigned:", 400, "DIGEST_INVALID"},
}
