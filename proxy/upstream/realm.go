package upstream

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ErrRealm: a server named a token server that nobody allowed.
var ErrRealm = fmt.Errorf("token realm refused")

// maxRealm bounds a realm, service or scope, in bytes.
const maxRealm = 1 << 10

// realm checks the address of the token server that a challenge names. It is
// hostile input: our password goes there. It has to be https, or http where
// the server itself is spoken to so, on the server's own host and port or on
// one of those listed.
func (l *Login) realm(text string) (*url.URL, error) {
	u, err := realmOf(l.opts.Server, text)
	if err != nil || l.isHome(u) {
		return u, err
	}
	if !Listed(l.opts.Realms, u) {
		return nil, fmt.Errorf("%w: %s sends us for tokens to %.100q: where that is right, add it to realms", ErrRealm, l.opts.Server.Host, strings.ToLower(u.Host))
	}
	return u, nil
}

// realmOf is what of that holds on whatever host the token server is.
func realmOf(server *url.URL, text string) (*url.URL, error) {
	if text == "" || len(text) > maxRealm {
		return nil, fmt.Errorf("%w: %d bytes are not the length of an address", ErrRealm, len(text))
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, fmt.Errorf("%w: it is not an absolute address", ErrRealm)
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || server.Scheme != "http"):
		return nil, fmt.Errorf("%w: the scheme %.20q of a token server at %.100q is not https", ErrRealm, u.Scheme, u.Host)
	case u.User != nil:
		return nil, fmt.Errorf("%w: it holds a user name", ErrRealm)
	case u.Fragment != "" || strings.Contains(text, "#"):
		return nil, fmt.Errorf("%w: it holds a fragment", ErrRealm)
	}
	return u, nil
}

// isHome says whether u is on the server whose login this is.
func (l *Login) isHome(u *url.URL) bool {
	return u.Scheme == l.opts.Server.Scheme && sameServer(u, l.opts.Server)
}

// Listed says whether the host of u is among hosts, which are in lower case and
// have a port or stand for every port.
func Listed(hosts []string, u *url.URL) bool {
	return slices.Contains(hosts, strings.ToLower(u.Host)) || slices.Contains(hosts, strings.ToLower(u.Hostname()))
}

// readActions are the actions of a scope that reading needs: pull, and what
// Azure's registry wants for a list of tags.
var readActions = []string{"pull", "metadata_read"}

// readScope is what of a challenge's scope is asked for: reads alone. A server
// that names more would be handed a token for more than we do with it.
//
//	scope = resource *( " " resource ), resource = type ":" name ":" action *( "," action )
func readScope(scope string) string {
	var kept []string
	for resource := range strings.FieldsSeq(scope) {
		at := strings.LastIndexByte(resource, ':')
		if at < 0 || len(scope) > maxRealm {
			continue
		}
		var actions []string
		for action := range strings.SplitSeq(resource[at+1:], ",") {
			if slices.Contains(readActions, action) {
				actions = append(actions, action)
			}
		}
		if actions != nil {
			kept = append(kept, resource[:at+1]+strings.Join(actions, ","))
		}
	}
	return strings.Join(kept, " ")
}

// Realms are the realms of the Bearer challenges in an answer's header, as they
// stand there: hostile input, which the caller has to check.
func Realms(h http.Header) []string {
	var realms []string
	for _, c := range parseChallenges(h["Www-Authenticate"]) {
		if realm := c.params["realm"]; c.scheme == "bearer" && realm != "" && len(realm) <= maxRealm {
			realms = append(realms, realm)
		}
	}
	return realms
}

// TokenURL is where an answer's header sends for a token whoever has no
// credentials: the URL of a GET, by the first Bearer challenge whose realm is an
// address in the form that Login takes, on whatever host; nil where there is none.
// It is hostile input: send no secret there. server is who answered.
func TokenURL(server *url.URL, h http.Header) *url.URL {
	for _, c := range parseChallenges(h["Www-Authenticate"]) {
		if c.scheme != "bearer" {
			continue
		}
		if realm, err := realmOf(server, c.params["realm"]); err == nil {
			return wanting(realm, c.params["service"], c.params["scope"])
		}
	}
	return nil
}
