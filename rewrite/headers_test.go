package rewrite_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/sealgate/sealgate/rewrite"
)

func TestHeadersThatReachAClient(t *testing.T) {
	for _, name := range []string{
		"Accept-Ranges", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Date",
		"Docker-Content-Digest", "Docker-Distribution-Api-Version", "Docker-Upload-Uuid", "Etag", "Expires", "Last-Modified", "Link", "Location",
		"Oci-Chunk-Min-Length", "Oci-Filters-Applied", "Oci-Subject", "Range", "Ratelimit-Limit", "Ratelimit-Remaining", "Retry-After", "Vary", "Www-Authenticate",
	} {
		in := http.Header{name: {"one", "two"}}
		if out := rewrite.Headers(in); !slices.Equal(out[name], []string{"one", "two"}) || len(out) != 1 {
			t.Errorf("%s: got %v, want it kept with both values", name, out)
		}
	}
}

func TestHeadersThatStayBehind(t *testing.T) {
	in := http.Header{}
	for _, name := range []string{
		"Alt-Svc", "Authorization", "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Refresh", "Server",
		"Set-Cookie", "Strict-Transport-Security", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "Warning",
		"X-Forwarded-Host", "X-Request-Id", "X-Powered-By", "Clear-Site-Data", "content-type",
	} {
		in[name] = []string{"x"}
	}
	if out := rewrite.Headers(in); len(out) != 0 {
		t.Errorf("got %v, want nothing", slices.Sorted(maps.Keys(out)))
	}
}

func TestHeadersLeavesItsInputAlone(t *testing.T) {
	in := http.Header{"Server": {"x"}, "Etag": {"y"}}
	rewrite.Headers(in).Del("Etag")
	if len(in) != 2 {
		t.Errorf("the input became %v", in)
	}
}
