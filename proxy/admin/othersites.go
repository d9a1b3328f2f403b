package admin

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// securityHeaders are those of every page: it loads nothing from elsewhere, is in
// nobody's frame, and tells no other site where its reader came from. That it tells
// its own is for guard: with no-referrer a browser that does not say which site has
// caused a POST would send the origin "null" as well (Fetch, "append a request
// Origin header").
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
}

// refuseOtherSites refuses what a page of another site could make a reader's browser ask.
//
// A name that the operator did not choose may be the other site's own, which it
// has pointed at this address (DNS rebinding): then the browser would let it read
// the answer. An address, and localhost, cannot be.
//
// Browsers say of a request to a trustworthy origin which site has caused it
// (Fetch Metadata Request Headers, Sec-Fetch-Site), and to any other the origin
// of a POST: what another site has caused is refused, but for following a link.
func refuseOtherSites(r *http.Request, hosts []string) error {
	if !knownHost(r.Host, hosts) {
		return refusal{http.StatusMisdirectedRequest, errors.New("the status page answers at IP addresses, localhost and the names in admin.hosts")}
	}
	if r.Method == http.MethodPost {
		if err := new(http.CrossOriginProtection).Check(r); err != nil {
			return refusal{http.StatusForbidden, err}
		}
		return nil
	}
	site := r.Header.Get("Sec-Fetch-Site")
	link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if (site == "cross-site" || site == "same-site") && !link {
		return refusal{http.StatusForbidden, errors.New("another site has asked for this")}
	}
	return nil
}

func knownHost(host string, hosts []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(append([]string{"localhost"}, hosts...), func(name string) bool { return strings.EqualFold(name, host) })
}
