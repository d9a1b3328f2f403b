package rewrite

import "net/http"

// responseHeaders are the headers of an upstream's answer that reach a
// client. What is not listed stays behind: cookies, hop-by-hop headers and
// what proxies on the way added.
var responseHeaders = []string{
	"Accept-Ranges",
	"Cache-Control",
	"Content-Encoding",
	"Content-Length",
	"Content-Range",
	"Content-Type",
	"Date",
	"Docker-Content-Digest",
	"Docker-Distribution-Api-Version",
	"Docker-Upload-Uuid",
	"Etag",
	"Expires",
	"Last-Modified",
	"Link",
	"Location",
	"Oci-Chunk-Min-Length",
	"Oci-Filters-Applied",
	"Oci-Subject",
	"Range", // of an upload: how far it has come
	"Ratelimit-Limit",
	"Ratelimit-Remaining",
	"Retry-After",
	"Vary",
	"Www-Authenticate",
}

// Headers returns the headers of h that may reach a client. The values are
// shared with h.
func Headers(h http.Header) http.Header {
	kept := make(http.Header, len(responseHeaders))
	for _, name := range responseHeaders {
		if values, ok := h[name]; ok {
			kept[name] = values
		}
	}
	return kept
}
