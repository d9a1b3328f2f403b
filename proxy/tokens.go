package proxy

import (
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sealgate/sealgate/proxy/upstream"
)

const (
	// maxTokenQuery bounds the query of a request for a token, in bytes: a scope
	// names each repository that a build needs.
	maxTokenQuery = 8 << 10
	// maxTokenBody bounds the body of such a request, and of its answer.
	maxTokenBody = 64 << 10
	// tokenTimeout bounds the whole of it.
	tokenTimeout = 30 * time.Second
)

// tokenQuery is what may stand in a query (RFC 3986 section 3.4). It is passed
// on as it came: what it means is between the client and the token server.
var tokenQuery = regexp.MustCompile(`^(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*$`)

// tokenHeaders are the headers of a client's request for a token that reach the
// registry, tokenAnswerHeaders those of the answer that reach the client.
var (
	tokenHeaders       = []string{"Accept", "Authorization", "User-Agent"}
	tokenAnswerHeaders = []string{"Content-Encoding", "Content-Type", "Date", "Retry-After", "Www-Authenticate"}
)

// serveToken puts a request for a token to the registry's host, where the
// registry's own challenge says that its token server is (realms.go). Both
// bodies and the query hold secrets: they are bounded, and nothing of them is
// ever logged.
func (g *gate) serveToken(w http.ResponseWriter, r *http.Request, target string, rec *record) error {
	path, query, _ := strings.Cut(target, "?")
	rec.routed(Route{Kind: TokenEndpoint, Reference: path})
	if len(query) > maxTokenQuery || !tokenQuery.MatchString(query) {
		return errTokenQuery
	}
	// Not below the path of the registry's address: a realm is a whole address.
	req := &http.Request{Method: r.Method, URL: &url.URL{Scheme: g.URL.Scheme, Host: g.URL.Host, Path: path, RawQuery: query}, Header: http.Header{}}
	for _, name := range tokenHeaders {
		if values := r.Header[name]; values != nil {
			req.Header[name] = values
		}
	}
	if r.Method == http.MethodPost {
		form, err := readForm(w, r)
		if err != nil {
			return err
		}
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
		req.Header.Set("Content-Type", urlencoded)
	}
	ctx, cancel := context.WithTimeout(r.Context(), tokenTimeout)
	defer cancel()
	resp, err := g.Upstream.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return errUpstream(err)
	}
	defer resp.Body.Close()
	return passToken(w, resp)
}

const urlencoded = "application/x-www-form-urlencoded"

// readForm reads the body of OAuth2's way to ask (RFC 6749 section 4.3.2).
func readForm(w http.ResponseWriter, r *http.Request) (string, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != urlencoded || r.Header["Content-Encoding"] != nil {
		return "", errTokenForm
	}
	conn := http.NewResponseController(w)
	conn.SetReadDeadline(time.Now().Add(tokenTimeout))
	form, err := io.ReadAll(io.LimitReader(r.Body, maxTokenBody+1))
	conn.SetReadDeadline(time.Time{}) // net/http sets its own for the next request
	switch {
	case len(form) > maxTokenBody:
		return "", errTokenSize
	case err != nil:
		return "", errClientGone.because(err)
	}
	return string(form), nil
}

// passToken passes the answer on. A redirect is refused: the client would take
// its password where nobody who configured this looked.
func passToken(w http.ResponseWriter, resp *http.Response) error {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return badGateway("upstream-redirect", "the token server behind sealgate redirected, which is not followed")
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return errRelayed(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenBody+1))
	switch {
	case err != nil:
		return errUpstream(err)
	case len(body) > maxTokenBody:
		return badGateway("upstream-oversize", "the token server behind sealgate answered with more than %d bytes", maxTokenBody)
	}
	h := w.Header()
	for _, name := range tokenAnswerHeaders {
		if values := resp.Header[name]; values != nil {
			h[name] = values
		}
	}
	h.Set("Cache-Control", "no-store") // RFC 6749 section 5.1
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(resp.StatusCode)
	w.Write(body) // a client that is gone is told nothing
	return nil
}

// tokenPaths are the paths of realms that a challenge puts on this registry's
// own hosts: where clients will ask us for tokens.
func (g *gate) tokenPaths(challenge http.Header) (paths []string) {
	for _, realm := range upstream.Realms(challenge) {
		u, err := url.Parse(realm)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Fragment != "" || u.RawPath != "" {
			continue
		}
		if g.ownHost(u) && validTokenPath(u.Path) {
			paths = append(paths, u.Path)
		}
	}
	return paths
}

// ownHost says whether an address is on one of the hosts of this registry, by
// name: "*" makes no host ours of which the registry could say so.
func (g *gate) ownHost(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	name := bracketed(strings.ToLower(u.Hostname()))
	for _, host := range g.Hosts {
		if host = canonicalHost(host); host != anyHost && (host == name || host == name+":"+port) {
			return true
		}
	}
	return false
}

var tokenPathGrammar = regexp.MustCompile(`^(?:/[A-Za-z0-9._~@:+-]+)+/?$`)

// validTokenPath says whether a token server may be at a path: one in canonical
// form, and none that the registry API has or may ever have. Registries do put
// it below /v2/.
func validTokenPath(path string) bool {
	if len(path) > maxTokenPath || !tokenPathGrammar.MatchString(path) || strings.TrimSuffix(path, "/") == "/v2" {
		return false
	}
	for component := range strings.SplitSeq(strings.ToLower(path), "/") {
		switch component {
		case ".", "..", "manifests", "blobs", "uploads", "referrers", "tags", "_catalog", "_trust", "_oci":
			return false
		}
	}
	return true
}

const maxTokenPath = 256
