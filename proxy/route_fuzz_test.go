package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	v2 "github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/gorilla/mux"
	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy"
)

// reading is how the distribution registry reads a request target.
type reading struct {
	route     string // a name of distribution's; "" where it serves nothing
	name, ref string
}

// tag says whether the registry would look up a tag. It treats whatever is no
// digest as one, except what holds a ':' since v3.1.
func (r reading) tag() bool {
	_, err := digest.Parse(r.ref)
	return r.route == v2.RouteNameManifest && err != nil
}

// tagsOrCatalog says whether the registry would name tags or repositories.
func (r reading) tagsOrCatalog() bool {
	return r.route == v2.RouteNameTags || r.route == v2.RouteNameCatalog
}

// distributionRouter is the router that registry/handlers serves with: a
// match on the decoded path (handlers.NewApp sets no UseEncodedPath).
func distributionRouter() *mux.Router {
	router := v2.RouterWithPrefix("")
	for _, name := range []string{
		v2.RouteNameBase, v2.RouteNameManifest, v2.RouteNameTags, v2.RouteNameBlob,
		v2.RouteNameBlobUpload, v2.RouteNameBlobUploadChunk, v2.RouteNameCatalog,
	} {
		router.GetRoute(name).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Reading"] = []string{name, mux.Vars(r)["name"], mux.Vars(r)["reference"]}
		})
	}
	return router
}

// readings returns how the registry reads the target, and how it reads the
// targets to which its router redirects for it.
func readings(router http.Handler, target string) (all []reading) {
	for range 4 {
		u, err := url.ParseRequestURI(target) // as net/http does
		if err != nil {
			return all
		}
		answer := httptest.NewRecorder()
		router.ServeHTTP(answer, &http.Request{Method: http.MethodGet, URL: u, RequestURI: target, Host: "registry", Header: http.Header{}})
		if got := answer.Header()["Reading"]; got != nil {
			return append(all, reading{got[0], got[1], got[2]})
		}
		if target = answer.Header().Get("Location"); target == "" {
			return all
		}
	}
	return all
}

// TestTheOracleReadsTags makes sure that the comparison below compares.
func TestTheOracleReadsTags(t *testing.T) {
	router := distributionRouter()
	for _, target := range []string{
		"/v2/foo/manifests/latest", "/v2/foo/manifests/%6catest", "/v2/foo/%6danifests/latest", "/v2/foo%2Fmanifests/latest", "/%76%32/foo/manifests/latest",
		"/v2//foo/manifests/latest", "/v2/x/../foo/manifests/latest", "/v2/foo/manifests/latest/", "/v2/foo/manifests/latest?x",
	} {
		all := readings(router, target)
		if len(all) != 1 || !all[0].tag() || all[0].name != "foo" || all[0].ref != "latest" {
			t.Errorf("%s is read as %+v, want the tag latest of foo", target, all)
		}
	}
	if all := readings(router, "/v2/foo/manifests/"+sha256); len(all) != 1 || all[0].tag() {
		t.Errorf("a digest is read as %+v", all)
	}
}

// FuzzParse compares with the distribution registry's own router. What that
// reads as a manifest by tag, Parse refuses or reads as the same tag of the
// same repository; what Parse makes the upstream read is never a tag, unless
// it said so; and parse, print, parse is parse.
func FuzzParse(f *testing.F) {
	for _, target := range attackTargets() {
		f.Add(target)
	}
	for _, target := range []string{
		"/v2/", "/v2/app/manifests/latest", "/v2/app/manifests/" + sha256, "/v2/app/manifests/sha256%3A" + hex64, "/v2/app/blobs/" + sha512,
		"/v2/app/blobs/uploads/?mount=" + sha256 + "&from=a%2Fb", "/v2/app/blobs/uploads/A-b_0?digest=" + sha256, "/v2/r.io/app/_trust/tuf/", "/v2/r.io/app/_trust/tuf/snapshot.key",
		"/v2/app/tags/list?n=2&last=a", "/v2/app/referrers/" + sha256 + "?artifactType=a%2Fb", "/v2/r.io:5000/app/_trust/tuf/targets/releases." + hex64 + ".json",
	} {
		f.Add(target)
	}
	router := distributionRouter()
	f.Fuzz(func(t *testing.T, target string) {
		r, err := proxy.Parse(target)
		for _, theirs := range readings(router, target) {
			if theirs.tag() && err == nil && (r.Kind != proxy.ManifestByTag || r.Repository != theirs.name || r.Reference != theirs.ref) {
				t.Fatalf("%q is %+v here and the tag %q of %q in the registry", target, r, theirs.ref, theirs.name)
			}
		}
		if err != nil {
			if r != (proxy.Route{}) {
				t.Fatalf("%q is refused and %+v", target, r)
			}
			return
		}
		if again, err := proxy.Parse(r.Target()); err != nil || again != r {
			t.Fatalf("%q is %+v, prints as %q and that is %+v, %v", target, r, r.Target(), again, err)
		}
		for _, theirs := range append(readings(router, r.Target()), readings(router, r.Path())...) {
			switch {
			case theirs.tag() && r.Kind != proxy.ManifestByTag:
				t.Fatalf("%q is %+v here, but %q reads as the tag %q of %q", target, r, r.Target(), theirs.ref, theirs.name)
			case theirs.tagsOrCatalog() && r.Kind != proxy.Tags:
				t.Fatalf("%q is %+v here, but %q reads as %s", target, r, r.Target(), theirs.route)
			case (theirs.route == v2.RouteNameBlobUpload || theirs.route == v2.RouteNameBlobUploadChunk) && r.Kind != proxy.Uploads && r.Kind != proxy.Upload:
				t.Fatalf("%q is %+v here, but %q reads as %s", target, r, r.Target(), theirs.route)
			case r.Kind == proxy.Uploads && theirs.name != r.Repository:
				t.Fatalf("%q is %+v here and %+v in the registry", target, r, theirs)
			case r.Kind == proxy.ManifestByTag && (theirs.name != r.Repository || theirs.ref != r.Reference):
				t.Fatalf("%q is %+v here and %+v in the registry", target, r, theirs)
			}
		}
	})
}
