package proxy

import (
	"net/http"
	"strings"
)

// Denial is how a client is told that a tag is not served, where that is
// enforced. Log and metrics have the same reasons whatever the form.
type Denial uint8

const (
	// NotFound: status 404 where it is known that the tag is not signed; not
	// knowing is 503, 502 or 504.
	NotFound Denial = iota
	// Denied: 403 in place of 404, with the same message, which more clients
	// show. Those that look at a tag before they push stop at it.
	Denied
	// StrictMirror keeps a client from asking Docker Hub for the tag that its
	// mirror refuses, whatever the reason: known to be unsigned, or not known.
	// It leans on accidents of today's clients and not on any specification
	// (Docker Engine 20.10 to 29, containerd 1.6 to 2.4, BuildKit): HEAD says
	// that there is a manifest, but not which one; the GET that follows is
	// redirected to what is no address, and that failure ends the pull instead
	// of going on to the next server. Docker does so where the error says "no
	// such process", which it takes for its own. Podman and skopeo go on.
	//
	// So HEAD is no longer GET minus its body, and a status says nothing. A
	// challenge is relayed as it is, or nobody could log in.
	StrictMirror
)

// write sends the refusal of a tag.
func (d Denial) write(w http.ResponseWriter, method string, e *Error) {
	switch {
	case d == Denied && e.Status == http.StatusNotFound:
		denied := *e
		denied.Status, denied.Code = http.StatusForbidden, codeDenied
		denied.write(w)
	case d == StrictMirror && e.Status != http.StatusUnauthorized:
		e.writeStrict(w, method)
	default:
		e.write(w)
	}
}

// writeStrict sends StrictMirror's form of a refusal.
func (e *Error) writeStrict(w http.ResponseWriter, method string) {
	w.Header().Set("Cache-Control", "no-store")
	if method == http.MethodHead {
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
		w.Header()["Docker-Distribution-Api-Version"] = apiVersion
		w.WriteHeader(http.StatusOK)
		return
	}
	redirect := *e
	redirect.Status, redirect.Header = http.StatusFound, http.Header{"Location": {noAddress(e)}}
	redirect.write(w)
}

// maxShown bounds the message in a Location, in bytes: clients print all of it.
const maxShown = 500

// noAddress is a Location that shows why a tag is refused and that cannot be
// followed: there are spaces in the place of a host (RFC 3986 section 3.2.2).
// What could end the header's line or the client's quotes is replaced.
func noAddress(e *Error) string {
	verdict := "TAG CANNOT BE JUDGED"
	if e.Status == http.StatusNotFound {
		verdict = "TAG IS NOT SIGNED"
	}
	message := strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, e.Message)
	return "https://" + verdict + " (" + message[:min(len(message), maxShown)] + "; no such process)/"
}
