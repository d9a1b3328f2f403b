package proxy_test

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/proxy"
)

const (
	hex64  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	sha256 = "sha256:" + hex64
	sha512 = "sha512:" + hex64 + hex64
)

func TestParseAccepts(t *testing.T) {
	longName := strings.Repeat("a", 255)
	longTag := strings.Repeat("t", 128)
	tests := map[string]struct {
		target string
		want   proxy.Route
	}{
		"the version check":                       {"/v2/", proxy.Route{Kind: proxy.Base, Limit: -1}},
		"the version check drops a query":         {"/v2/?ns=docker.io", proxy.Route{Kind: proxy.Base, Limit: -1}},
		"a tag":                                   {"/v2/acme/app/manifests/1.0", byTag("acme/app", "1.0")},
		"a repository of one component":           {"/v2/app/manifests/1.0", byTag("app", "1.0")},
		"a tag with a query: dropped":             {"/v2/app/manifests/1.0?ns=docker.io&x=%2F", byTag("app", "1.0")},
		"a tag in capitals":                       {"/v2/app/manifests/V1_x.Y-z", byTag("app", "V1_x.Y-z")},
		"a tag of 64 hex digits is a tag":         {"/v2/app/manifests/" + hex64, byTag("app", hex64)},
		"a signature tag is a tag":                {"/v2/app/manifests/sha256-" + hex64 + ".sig", byTag("app", "sha256-"+hex64+".sig")},
		"a tag named list":                        {"/v2/app/manifests/list", byTag("app", "list")},
		"a tag of two dots and more":              {"/v2/app/manifests/a..", byTag("app", "a..")},
		"the longest tag":                         {"/v2/app/manifests/" + longTag, byTag("app", longTag)},
		"the longest name":                        {"/v2/" + longName + "/manifests/t", byTag(longName, "t")},
		"separators in a name":                    {"/v2/a.b_c__d-e---f/g/manifests/t", byTag("a.b_c__d-e---f/g", "t")},
		"a repository called foo/manifests/bar":   {"/v2/foo/manifests/bar/manifests/baz", byTag("foo/manifests/bar", "baz")},
		"a repository called a/tags/list":         {"/v2/a/tags/list/manifests/t", byTag("a/tags/list", "t")},
		"a repository called a/blobs/uploads":     {"/v2/a/blobs/uploads/manifests/t", byTag("a/blobs/uploads", "t")},
		"a repository called v2/v2":               {"/v2/v2/v2/manifests/t", byTag("v2/v2", "t")},
		"a repository called manifests":           {"/v2/manifests/manifests/manifests", byTag("manifests", "manifests")},
		"a manifest by digest":                    {"/v2/app/manifests/" + sha256, at(proxy.ManifestByDigest, "app", sha256)},
		"a manifest by sha512":                    {"/v2/app/manifests/" + sha512, at(proxy.ManifestByDigest, "app", sha512)},
		"an escaped colon in a digest":            {"/v2/app/manifests/sha256%3A" + hex64, at(proxy.ManifestByDigest, "app", sha256)},
		"a manifest by digest drops a query":      {"/v2/app/manifests/" + sha256 + "?ns=docker.io", at(proxy.ManifestByDigest, "app", sha256)},
		"a blob":                                  {"/v2/app/blobs/" + sha256, at(proxy.Blob, "app", sha256)},
		"a blob drops a query":                    {"/v2/app/blobs/" + sha256 + "?ns=docker.io", at(proxy.Blob, "app", sha256)},
		"a blob with an escaped colon":            {"/v2/app/blobs/sha256%3A" + hex64, at(proxy.Blob, "app", sha256)},
		"referrers":                               {"/v2/app/referrers/" + sha256, at(proxy.Referrers, "app", sha256)},
		"referrers keep their filter":             {"/v2/app/referrers/" + sha256 + "?artifactType=application%2Fx", withQuery("artifactType=application%2Fx")},
		"referrers lose ns and keep the rest":     {"/v2/app/referrers/" + sha256 + "?ns=docker.io&artifactType=a&&n=2", withQuery("artifactType=a&n=2")},
		"a tag list":                              {"/v2/app/tags/list", page(-1, "")},
		"a page":                                  {"/v2/app/tags/list?n=2&last=1.0", page(2, "1.0")},
		"a page the other way round":              {"/v2/app/tags/list?last=1.0&n=2", page(2, "1.0")},
		"an empty page":                           {"/v2/app/tags/list?n=0", page(0, "")},
		"leading zeros":                           {"/v2/app/tags/list?n=0002", page(2, "")},
		"a huge n is cut to a thousand":           {"/v2/app/tags/list?n=99999999", page(1000, "")},
		"an n beyond all numbers is cut too":      {"/v2/app/tags/list?n=" + strings.Repeat("9", 400), page(1000, "")},
		"other keys of a page are dropped":        {"/v2/app/tags/list?ns=docker.io&n=2&N=7&x", page(2, "")},
		"an empty query":                          {"/v2/app/tags/list?", page(-1, "")},
		"a last that no tag has":                  {"/v2/app/tags/list?last=zzz", page(-1, "zzz")},
		"a tag list of a/tags/list":               {"/v2/a/tags/list/tags/list", proxy.Route{Kind: proxy.Tags, Repository: "a/tags/list", Limit: -1}},
		"trust metadata":                          {"/v2/registry.example.com/acme/app/_trust/tuf/root.json", trustFile("registry.example.com/acme/app", "root.json")},
		"trust metadata of a registry with port":  {"/v2/registry.example.com:5000/app/_trust/tuf/timestamp.json", trustFile("registry.example.com:5000/app", "timestamp.json")},
		"trust metadata by version":               {"/v2/r.io/app/_trust/tuf/3.root.json", trustFile("r.io/app", "3.root.json")},
		"trust metadata by hash":                  {"/v2/r.io/app/_trust/tuf/snapshot." + hex64 + ".json", trustFile("r.io/app", "snapshot."+hex64+".json")},
		"trust metadata of a delegation":          {"/v2/r.io/app/_trust/tuf/targets/releases." + hex64 + ".json", trustFile("r.io/app", "targets/releases."+hex64+".json")},
		"the start of an upload":                  {"/v2/app/blobs/uploads/", at(proxy.Uploads, "app", "")},
		"the start of an upload drops other keys": {"/v2/app/blobs/uploads/?ns=docker.io&_state=x&", at(proxy.Uploads, "app", "")},
		"an upload in one request":                {"/v2/app/blobs/uploads/?digest=sha256%3A" + hex64, written(proxy.Uploads, "", sha256, "", "")},
		"a mount":                                 {"/v2/app/blobs/uploads/?from=acme%2Fapp&mount=sha256%3A" + hex64, written(proxy.Uploads, "", "", sha256, "acme/app")},
		"a mount from wherever it is":             {"/v2/app/blobs/uploads/?mount=" + sha256, written(proxy.Uploads, "", "", sha256, "")},
		"a repository called blobs/uploads":       {"/v2/blobs/uploads/blobs/uploads/", at(proxy.Uploads, "blobs/uploads", "")},
		"an upload under way":                     {"/v2/app/blobs/uploads/A-b_0", at(proxy.Upload, "app", "A-b_0")},
		"an upload under way drops other keys":    {"/v2/app/blobs/uploads/A-b_0?_state=x&mount=y&from=Z", at(proxy.Upload, "app", "A-b_0")},
		"the end of an upload":                    {"/v2/app/blobs/uploads/A-b_0?digest=" + sha512, written(proxy.Upload, "A-b_0", sha512, "", "")},
		"an upload of a/blobs/uploads":            {"/v2/a/blobs/uploads/blobs/uploads/tags", at(proxy.Upload, "a/blobs/uploads", "tags")},
		"all trust data of a repository":          {"/v2/r.io:5000/app/_trust/tuf/", at(proxy.TrustCollection, "r.io:5000/app", "")},
		"the key of the timestamp":                {"/v2/r.io/app/_trust/tuf/timestamp.key", at(proxy.TrustKey, "r.io/app", "timestamp.key")},
		"the key of the snapshot":                 {"/v2/r.io/app/_trust/tuf/snapshot.key?x", at(proxy.TrustKey, "r.io/app", "snapshot.key")},
		"trust metadata drops a query":            {"/v2/r.io/app/_trust/tuf/root.json?x=y", trustFile("r.io/app", "root.json")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := proxy.Parse(tt.target)
			if err != nil || got != tt.want {
				t.Fatalf("Parse(%.200q) = %+v, %v; want %+v", tt.target, got, err, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		noRoute = "404 UNSUPPORTED no-route"
		digest  = "400 DIGEST_INVALID digest-invalid"
		number  = "400 PAGINATION_NUMBER_INVALID page-invalid"
		last    = "400 TAG_INVALID page-invalid"
		name    = "400 NAME_INVALID name-invalid"
	)
	tests := map[string]struct{ target, want string }{
		"nothing":                                   {"", noRoute},
		"the root":                                  {"/", noRoute},
		"the version check without its slash":       {"/v2", noRoute},
		"another version":                           {"/v1/", noRoute},
		"capitals in v2":                            {"/V2/app/manifests/t", noRoute},
		"escapes in v2":                             {"/%76%32/app/manifests/t", noRoute},
		"two slashes first":                         {"//v2/app/manifests/t", noRoute},
		"two slashes after v2":                      {"/v2//app/manifests/t", noRoute},
		"two slashes in the middle":                 {"/v2/app//manifests/t", noRoute},
		"a trailing slash":                          {"/v2/app/manifests/t/", noRoute},
		"a dot":                                     {"/v2/./app/manifests/t", noRoute},
		"two dots":                                  {"/v2/x/../app/manifests/t", noRoute},
		"a tag that is a dot":                       {"/v2/app/manifests/.", noRoute},
		"a tag that is two dots":                    {"/v2/app/manifests/..", noRoute},
		"escaped dots":                              {"/v2/x/%2e%2e/app/manifests/t", noRoute},
		"an escape in the tag":                      {"/v2/app/manifests/%6catest", noRoute},
		"an escape in the keyword":                  {"/v2/app/%6danifests/latest", noRoute},
		"an escaped slash in the name":              {"/v2/foo%2Fmanifests/latest", noRoute},
		"an escaped slash before the tag":           {"/v2/foo/manifests%2Flatest", noRoute},
		"an escape in the name":                     {"/v2/%61pp/manifests/latest", noRoute},
		"double escaping":                           {"/v2/app/manifests/%256catest", noRoute},
		"a lower-case escape of the colon":          {"/v2/app/manifests/sha256%3a" + hex64, noRoute},
		"an escaped colon outside a digest":         {"/v2/a%3Ab/manifests/t", noRoute},
		"two escaped colons":                        {"/v2/app/manifests/sha256%3A%3A" + hex64, digest},
		"a semicolon after the tag":                 {"/v2/app/manifests/t;x=y", noRoute},
		"a semicolon in the name":                   {"/v2/app;x/manifests/t", noRoute},
		"a backslash":                               {`/v2/app\manifests\t`, noRoute},
		"a zero byte, escaped":                      {"/v2/app/manifests/t%00", noRoute},
		"a space, escaped":                          {"/v2/app/manifests/t%20", noRoute},
		"a space":                                   {"/v2/app/manifests/t x", noRoute},
		"a tab":                                     {"/v2/app/manifests/t\tx", noRoute},
		"non-ASCII":                                 {"/v2/app/manifests/tä", noRoute},
		"bytes that are no UTF-8":                   {"/v2/app/manifests/t\xff", noRoute},
		"the long s that folds to s":                {"/v2/app/manifeſts/t", noRoute},
		"the keyword in capitals":                   {"/v2/app/MANIFESTS/t", noRoute},
		"capitals in the name":                      {"/v2/App/manifests/t", noRoute},
		"a name with v2 and capitals before":        {"/v2/UPPER/v2/foo/manifests/latest", noRoute},
		"a name that begins with an underscore":     {"/v2/_trust/manifests/t", noRoute},
		"a name with _trust in it":                  {"/v2/a/_trust/b/manifests/t", noRoute},
		"a name that ends with a separator":         {"/v2/app-/manifests/t", noRoute},
		"three underscores":                         {"/v2/a___b/manifests/t", noRoute},
		"no name":                                   {"/v2/manifests/t", noRoute},
		"a name too long":                           {"/v2/" + strings.Repeat("a", 256) + "/manifests/t", noRoute},
		"a tag too long":                            {"/v2/app/manifests/" + strings.Repeat("t", 129), noRoute},
		"a tag that begins with a dash":             {"/v2/app/manifests/-t", noRoute},
		"a fragment":                                {"/v2/app/manifests/t#x", noRoute},
		"an at sign and no digest":                  {"/v2/app/manifests/t@x", noRoute},
		"a tag and a digest":                        {"/v2/app/manifests/t@" + sha256, digest},
		"a digest in capitals":                      {"/v2/app/manifests/sha256:" + strings.ToUpper(hex64), digest},
		"the algorithm in capitals":                 {"/v2/app/manifests/SHA256:" + hex64, digest},
		"a short digest":                            {"/v2/app/manifests/sha256:" + hex64[:63], digest},
		"a long digest":                             {"/v2/app/manifests/" + sha256 + "0", digest},
		"md5":                                       {"/v2/app/manifests/md5:" + hex64[:32], digest},
		"another algorithm":                         {"/v2/app/manifests/blake3:" + hex64, digest},
		"a tag with a colon":                        {"/v2/app/manifests/latest:", digest},
		"a tag with an escaped colon":               {"/v2/app/manifests/t%3Ax", digest},
		"a tag in a blob's place":                   {"/v2/app/blobs/latest", digest},
		"hex digits alone in a blob's place":        {"/v2/app/blobs/" + hex64, digest},
		"referrers with odd bytes in the query":     {"/v2/app/referrers/" + sha256 + "?artifactType=a;b", noRoute},
		"referrers with an endless query":           {"/v2/app/referrers/" + sha256 + "?a=" + strings.Repeat("x", 4096), noRoute},
		"a tag in a subject's place":                {"/v2/app/referrers/latest", digest},
		"an upload without its slash":               {"/v2/app/blobs/uploads", digest},
		"an upload with an escape":                  {"/v2/app/blobs/uploads/a%2Fb", noRoute},
		"an upload with a dot":                      {"/v2/app/blobs/uploads/a.b", noRoute},
		"an upload with padding":                    {"/v2/app/blobs/uploads/YQ==", noRoute},
		"an upload and more":                        {"/v2/app/blobs/uploads/a/", noRoute},
		"an upload of nothing":                      {"/v2/blobs/uploads/", noRoute},
		"an upload of nothing, under way":           {"/v2/blobs/uploads/a", noRoute},
		"an endless upload":                         {"/v2/app/blobs/uploads/" + strings.Repeat("a", 8193), noRoute},
		"an upload of a name in capitals":           {"/v2/App/blobs/uploads/", noRoute},
		"an upload that climbs":                     {"/v2/app/../b/blobs/uploads/", noRoute},
		"uploads of no blobs":                       {"/v2/app/uploads/a", noRoute},
		"an upload of a short digest":               {"/v2/app/blobs/uploads/?digest=sha256:" + hex64[:63], digest},
		"an upload of two digests":                  {"/v2/app/blobs/uploads/?digest=" + sha256 + "&digest=" + sha256, digest},
		"an upload with an empty digest":            {"/v2/app/blobs/uploads/a?digest=", digest},
		"an upload with a broken escape":            {"/v2/app/blobs/uploads/a?digest=sha256%3", digest},
		"a mount of a tag":                          {"/v2/app/blobs/uploads/?mount=latest&from=b", digest},
		"a mount from nowhere":                      {"/v2/app/blobs/uploads/?mount=" + sha256 + "&from=", name},
		"a mount from a name in capitals":           {"/v2/app/blobs/uploads/?mount=" + sha256 + "&from=B", name},
		"a mount from above":                        {"/v2/app/blobs/uploads/?mount=" + sha256 + "&from=..%2Fb", name},
		"a mount from two repositories":             {"/v2/app/blobs/uploads/?mount=" + sha256 + "&from=b&from=c", name},
		"a keyword alone":                           {"/v2/app/manifests", noRoute},
		"a keyword alone with its slash":            {"/v2/app/manifests/", noRoute},
		"an unknown keyword":                        {"/v2/app/images/t", noRoute},
		"tags that are not the list":                {"/v2/app/tags/lists", noRoute},
		"the catalog":                               {"/v2/_catalog", noRoute},
		"the catalog with its page":                 {"/v2/_catalog?n=1", noRoute},
		"absolute form":                             {"https://registry.example.com/v2/app/manifests/t", noRoute},
		"a star":                                    {"*", noRoute},
		"metrics":                                   {"/metrics", noRoute},
		"pprof":                                     {"/debug/pprof/", noRoute},
		"health":                                    {"/healthz", noRoute},
		"a negative n":                              {"/v2/app/tags/list?n=-1", number},
		"n with a plus":                             {"/v2/app/tags/list?n=+1", number},
		"an n that is no number":                    {"/v2/app/tags/list?n=ten", number},
		"an empty n":                                {"/v2/app/tags/list?n=", number},
		"an n without a value":                      {"/v2/app/tags/list?n", number},
		"n twice":                                   {"/v2/app/tags/list?n=1&n=2", number},
		"n and last joined by a semicolon":          {"/v2/app/tags/list?n=1;last=z", number},
		"an escape in n":                            {"/v2/app/tags/list?n=%31", number},
		"last twice":                                {"/v2/app/tags/list?last=a&last=b", last},
		"a last that is no tag":                     {"/v2/app/tags/list?last=a/b", last},
		"an escape in last":                         {"/v2/app/tags/list?last=%61", last},
		"trust metadata of nothing":                 {"/v2/_trust/tuf/root.json", noRoute},
		"trust metadata without a registry":         {"/v2/app/_trust/tuf/root.json", noRoute},
		"trust metadata with dots":                  {"/v2/r.io/app/../b/_trust/tuf/root.json", noRoute},
		"a key of a role that a server never holds": {"/v2/r.io/app/_trust/tuf/targets.key", noRoute},
		"the root's key":                            {"/v2/r.io/app/_trust/tuf/root.key", noRoute},
		"all trust data of nothing":                 {"/v2/_trust/tuf/", noRoute},
		"all trust data without a registry":         {"/v2/app/_trust/tuf/", noRoute},
		"all trust data, and more":                  {"/v2/r.io/app/_trust/tuf//", noRoute},
		"trust metadata of an unknown role":         {"/v2/r.io/app/_trust/tuf/mirrors.json", noRoute},
		"trust metadata with capitals":              {"/v2/r.io/App/_trust/tuf/root.json", noRoute},
		"trust metadata with a short hash":          {"/v2/r.io/app/_trust/tuf/root." + hex64[:10] + ".json", noRoute},
		"the change feed of a trust server":         {"/v2/r.io/app/_trust/changefeed", noRoute},
		"the change feed of all":                    {"/v2/_trust/changefeed", noRoute},
		"trust metadata, then a manifest":           {"/v2/r.io/app/_trust/tuf/root.json/manifests/t", noRoute},
		"trust metadata twice":                      {"/v2/r.io/app/_trust/tuf/a/_trust/tuf/root.json", noRoute},
		"trust metadata of an endless role":         {"/v2/r.io/app/_trust/tuf/targets/" + strings.Repeat("a", 600) + ".json", noRoute},
		"a manifest of a GUN":                       {"/v2/r.io:5000/app/manifests/t", noRoute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			route, err := proxy.Parse(tt.target)
			var refusal *proxy.Error
			if !errors.As(err, &refusal) {
				t.Fatalf("Parse(%.200q) = %+v, %v; want a refusal", tt.target, route, err)
			}
			if got := refusalText(refusal); got != tt.want {
				t.Errorf("Parse(%.200q) is refused with %q, want %q", tt.target, got, tt.want)
			}
			if route != (proxy.Route{}) {
				t.Errorf("Parse(%.200q) returned %+v beside its refusal", tt.target, route)
			}
		})
	}
}

// TestPrintThenParse: every route that can be made prints to a target that
// parses to the same route.
func TestPrintThenParse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	for range 20_000 {
		repository := pick("a", "acme/app", "foo/manifests/bar", "a/tags/list", "a/blobs/uploads", "x__y.z-0/b/c", "v2", "0")
		r := proxy.Route{Kind: proxy.Kind(1 + rng.IntN(11)), Repository: repository, Limit: -1}
		switch r.Kind {
		case proxy.Base:
			r.Repository = ""
		case proxy.ManifestByTag:
			r.Reference = pick("latest", "1.0", hex64, "sha256-"+hex64, "_", "A.b-", "list")
		case proxy.ManifestByDigest, proxy.Blob, proxy.Referrers:
			r.Reference = pick(sha256, sha512)
			if r.Kind == proxy.Referrers {
				r.Query = pick("", "artifactType=a%2Fb", "n=1&last=x")
			}
		case proxy.Tags:
			r.Limit, r.Last = rng.IntN(1002)-1, pick("", "1.0", "last", hex64)
		case proxy.TrustMetadata:
			r.Repository = pick("r.io/", "registry.example.com:5000/", "localhost/") + repository
			r.Reference = pick("root.json", "12.root.json", "targets/a/b.json", "timestamp."+hex64+".json")
		case proxy.Uploads:
			r.Mount, r.From, r.Digest = pick("", sha256), pick("", "acme/app"), pick("", sha512)
		case proxy.Upload:
			r.Reference, r.Digest = pick("a", "-_", hex64, "tags", "uploads"), pick("", sha256)
		case proxy.TrustCollection, proxy.TrustKey:
			r.Repository = pick("r.io/", "registry.example.com:5000/", "localhost/") + repository
			if r.Kind == proxy.TrustKey {
				r.Reference = pick("timestamp.key", "snapshot.key")
			}
		}
		got, err := proxy.Parse(r.Target())
		if err != nil || got != r {
			t.Fatalf("%+v prints as %q, which parses as %+v, %v", r, r.Target(), got, err)
		}
	}
}

func TestAZeroRoutePrintsNothing(t *testing.T) {
	if got := (proxy.Route{}).Target(); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestKindsHaveNames(t *testing.T) {
	want := []string{"refused", "base", "manifest-by-tag", "manifest-by-digest", "blob", "referrers", "tags", "trust", "uploads", "upload", "trust-collection", "trust-key", "token", "pass-path", "refused"}
	for i, name := range want {
		if got := proxy.Kind(i).String(); got != name {
			t.Errorf("kind %d is %q, want %q", i, got, name)
		}
	}
}

func at(kind proxy.Kind, repository, reference string) proxy.Route {
	return proxy.Route{Kind: kind, Repository: repository, Reference: reference, Limit: -1}
}

func written(kind proxy.Kind, token, digest, mount, from string) proxy.Route {
	return proxy.Route{Kind: kind, Repository: "app", Reference: token, Limit: -1, Digest: digest, Mount: mount, From: from}
}

func byTag(repository, tag string) proxy.Route { return at(proxy.ManifestByTag, repository, tag) }

func trustFile(gun, file string) proxy.Route { return at(proxy.TrustMetadata, gun, file) }

func withQuery(query string) proxy.Route {
	r := at(proxy.Referrers, "app", sha256)
	r.Query = query
	return r
}

func page(limit int, last string) proxy.Route {
	return proxy.Route{Kind: proxy.Tags, Repository: "app", Limit: limit, Last: last}
}

func refusalText(e *proxy.Error) string {
	return strings.Join([]string{strconv.Itoa(e.Status), e.Code, e.Reason}, " ")
}
