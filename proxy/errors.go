package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
)

// Error is a refusal as the client sees it: the only way from an error to an
// answer. Message is for humans and safe to show; Cause is for the log.
type Error struct {
	Status  int
	Code    string // one of the codes below
	Message string
	// Reason is a fixed word for logs and metrics.
	Reason string
	// Header holds Retry-After, Allow or a relayed WWW-Authenticate.
	Header http.Header
	Cause  error
	// away says that the server asked gave no answer of its own.
	away bool
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Error codes of the OCI distribution-spec v1.1, of Docker's registry API v2
// (UNKNOWN, UNAVAILABLE, PAGINATION_NUMBER_INVALID, TAG_INVALID) and of Notary
// (METADATA_NOT_FOUND).
const (
	codeUnknown          = "UNKNOWN"
	codeUnsupported      = "UNSUPPORTED"
	codeUnauthorized     = "UNAUTHORIZED"
	codeDenied           = "DENIED"
	codeUnavailable      = "UNAVAILABLE"
	codeTooManyRequests  = "TOOMANYREQUESTS"
	codeDigestInvalid    = "DIGEST_INVALID"
	codePageInvalid      = "PAGINATION_NUMBER_INVALID"
	codeTagInvalid       = "TAG_INVALID"
	codeManifestUnknown  = "MANIFEST_UNKNOWN"
	codeBlobUnknown      = "BLOB_UNKNOWN"
	codeMetadataNotFound = "METADATA_NOT_FOUND"
	codeNameInvalid      = "NAME_INVALID"
	codeSizeInvalid      = "SIZE_INVALID"
	codeUploadInvalid    = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown    = "BLOB_UPLOAD_UNKNOWN"
)

// retryAfter is what a 503 of our own asks for, in seconds.
const retryAfter = 5

// NoRouteMessage is what Sealgate says to a path that it does not serve, and no
// other server: "sealgate doctor" knows it by that.
const NoRouteMessage = "sealgate serves only the canonical paths of the registry API: manifests, blobs, referrers and tags/list of a repository"

// The table of refusals. What is not built here is not said to a client.
var (
	errNoRoute = &Error{Status: http.StatusNotFound, Code: codeUnsupported, Reason: "no-route",
		Message: NoRouteMessage}
	errMethod = &Error{Status: http.StatusMethodNotAllowed, Code: codeUnsupported, Reason: "method",
		Message: "this registry is read only: GET and HEAD are served", Header: http.Header{"Allow": {"GET, HEAD"}}}
	errHost = &Error{Status: http.StatusMisdirectedRequest, Code: codeUnsupported, Reason: "unknown-host",
		Message: "no registry is configured for this host name"}
	errNoNamespace = &Error{Status: http.StatusMisdirectedRequest, Code: codeUnsupported, Reason: "unknown-namespace",
		Message: "no registry is configured for this host name alone: as a mirror it needs ns, by which containerd says which registry it means"}
	errBadHost = &Error{Status: http.StatusBadRequest, Code: codeUnsupported, Reason: "bad-host",
		Message: "exactly one host name is needed, and a target in absolute form must name a registry of this server"}
	// The client gets no second request on this connection: a new one is judged
	// before it is accepted.
	errClient = &Error{Status: http.StatusForbidden, Code: codeDenied, Reason: "client",
		Message: "this client is not one of those that sealgate serves", Header: http.Header{"Connection": {"close"}}}
	errNoTrustFile = &Error{Status: http.StatusNotFound, Reason: "no-trust-metadata", Code: codeMetadataNotFound,
		Message: "no trust metadata is served for this repository"}
	errNoUpload = &Error{Status: http.StatusNotFound, Code: codeUploadUnknown, Reason: "no-upload",
		Message: "no upload of this repository is known by this location: begin a new one"}
	errNoForm = &Error{Status: http.StatusBadRequest, Code: codeUnsupported, Reason: "no-form",
		Message: "trust data is published as multipart/form-data with a boundary"}
	errStalled = &Error{Status: http.StatusRequestTimeout, Code: codeUploadInvalid, Reason: "client-stalled",
		Message: "the request's body stood still for too long, or came too slowly"}
	errTokenQuery = &Error{Status: http.StatusBadRequest, Code: codeUnsupported, Reason: "token-request",
		Message: fmt.Sprintf("the query of a request for a token has at most %d bytes, of the characters that a query may have", maxTokenQuery)}
	errTokenForm = &Error{Status: http.StatusUnsupportedMediaType, Code: codeUnsupported, Reason: "token-request",
		Message: "a request for a token by POST is a form: the Content-Type " + urlencoded + " is expected"}
	errTokenSize = &Error{Status: http.StatusRequestEntityTooLarge, Code: codeUnsupported, Reason: "token-request",
		Message: fmt.Sprintf("a request for a token has at most %d bytes", maxTokenBody)}
	// 499 is nobody's standard and nobody's answer: it marks the access line.
	errClientGone = &Error{Status: 499, Code: codeUnknown, Reason: "client-gone", Message: "the client went away"}
	errInternal   = &Error{Status: http.StatusInternalServerError, Code: codeUnknown, Reason: "internal",
		Message: "internal error: see the log of sealgate"}
)

// errUploadKeys: without them no upload can be begun or continued.
var errUploadKeys = errors.New("the keys of uploads cannot be read")

func errDigestInvalid(digest string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: codeDigestInvalid, Reason: "digest-invalid",
		Message: fmt.Sprintf("%.200q is not a digest: sha256: and 64 (or sha512: and 128) lower-case hexadecimal digits are expected", digest)}
}

// errNamespace: containerd's ns asks this host for a registry that it is no
// mirror of.
func errNamespace(ns string) *Error {
	return &Error{Status: http.StatusMisdirectedRequest, Code: codeUnsupported, Reason: "unknown-namespace",
		Message: fmt.Sprintf("ns=%.130q names no registry that is configured for this host: its name or one of its hosts is expected, once", ns)}
}

func errNameInvalid(name string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: codeNameInvalid, Reason: "name-invalid",
		Message: fmt.Sprintf("%.300q is not the name of a repository", name)}
}

// errMethodNot: the path is served, and not with this method.
func errMethodNot(served []string) *Error {
	allow := strings.Join(served, ", ")
	return &Error{Status: http.StatusMethodNotAllowed, Code: codeUnsupported, Reason: "method",
		Message: "this path is served with " + allow, Header: http.Header{"Allow": {allow}}}
}

func errTooLarge(most int64) *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: codeSizeInvalid, Reason: "too-large",
		Message: fmt.Sprintf("the request's body has more than %d bytes", most)}
}

func errPage(key, value string) *Error {
	code := codePageInvalid
	if key == "last" {
		code = codeTagInvalid
	}
	return &Error{Status: http.StatusBadRequest, Code: code, Reason: "page-invalid",
		Message: fmt.Sprintf("%s=%.130q in the query: one number n and one tag last are expected", key, value)}
}

func notFound(reason, message string) *Error {
	return &Error{Status: http.StatusNotFound, Code: codeManifestUnknown, Reason: reason, Message: message}
}

func errNoBlob(digest string) *Error {
	return &Error{Status: http.StatusNotFound, Code: codeBlobUnknown, Reason: "not-in-registry", Message: "blob " + digest + " is not in the registry"}
}

// errNoRange: nothing is where a Range begins (RFC 9110 section 15.5.17).
func errNoRange(size int64) *Error {
	return &Error{Status: http.StatusRequestedRangeNotSatisfiable, Code: codeSizeInvalid, Reason: "no-range",
		Message: fmt.Sprintf("the blob has %d bytes, and none where the range begins", size),
		Header:  http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}}}
}

func unavailable(reason string, err error) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Reason: reason, Message: err.Error(),
		Header: http.Header{"Retry-After": {strconv.Itoa(retryAfter)}}}
}

// errTrust turns what the trust cache could not answer into a refusal:
// knowledge that nothing is signed is a 404, not knowing is a 503, and the two
// never mix.
func errTrust(gun string, err error) *Error {
	switch {
	case errors.Is(err, trustcache.ErrNotLoaded):
		return notFound("no-trust-data", "remote trust data does not exist for "+gun+": no bundle with it has been loaded")
	case errors.Is(err, trustcache.ErrNoTrustData):
		return notFound("no-trust-data", "remote trust data does not exist for "+gun)
	case errors.Is(err, trustcache.ErrUnpinned):
		return notFound("unpinned", "no pin covers "+gun+": ask its publisher for the root key ID and add it to trust-pinning.root-keys")
	case errors.Is(err, trustcache.ErrRolledBack):
		return unavailable("rolled-back", err)
	case errors.Is(err, trustcache.ErrMalicious):
		return unavailable("malicious", err)
	case errors.Is(err, trustcache.ErrExpired):
		return unavailable("expired", err)
	case errors.Is(err, trustcache.ErrVanished):
		return unavailable("vanished", err)
	case errors.Is(err, trustcache.ErrRefused):
		return unavailable("notary-refused", err).because(trustcache.Cause(err))
	case errors.Is(err, trustcache.ErrUnreachable):
		return unavailable("unreachable", err)
	case errors.Is(err, trustcache.ErrStore):
		return unavailable("store", err).because(trustcache.Cause(err))
	}
	return unavailable("trust-error", fmt.Errorf("trust data of %s cannot be judged", gun)).because(err)
}

// because keeps the cause for the log.
func (e *Error) because(err error) *Error {
	with := *e
	with.Cause = err
	return &with
}

// badGateway: the registry gave no answer that can be passed on.
func badGateway(reason, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadGateway, Code: codeUnknown, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// errUpstream: no answer came from the registry. The addresses in err stay in
// the log.
func errUpstream(err error) *Error {
	var network net.Error
	var login *upstream.LoginError
	switch {
	case errors.Is(err, context.Canceled):
		return errClientGone.because(err)
	case errors.As(err, &login) && login.Status == http.StatusTooManyRequests:
		e := &Error{Status: login.Status, Code: codeTooManyRequests, Reason: "upstream-login",
			Message: "sealgate cannot log in to the registry behind it: " + login.Public()}
		if login.RetryAfter != "" {
			e.Header = http.Header{"Retry-After": {login.RetryAfter}}
		}
		return e.because(err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return (&Error{Status: http.StatusGatewayTimeout, Code: codeUnknown, Reason: "upstream-timeout", away: true,
			Message: "the registry behind sealgate did not answer in time"}).because(err)
	case login != nil:
		e := badGateway("upstream-login", "sealgate cannot log in to the registry behind it: %s", login.Public())
		e.away = away(login.Status) || login.Status == 0 && errors.As(err, &network) // the token server, that is
		return e.because(err)
	case errors.Is(err, upstream.ErrRedirect):
		return badGateway("upstream-redirect", "the registry behind sealgate redirected to a host that is not allowed").because(err)
	case errors.Is(err, upstream.ErrSwitching):
		return badGateway("upstream-protocol", "the registry behind sealgate broke the protocol").because(err)
	}
	e := badGateway("upstream-unreachable", "the registry behind sealgate cannot be reached")
	e.away = true
	return e.because(err)
}

// refused turns the registry's refusal into ours. Never with a challenge in
// front of our own credentials: a Docker daemon would hand a mirror its user's
// password for Docker Hub.
func (g *gate) refused(resp *http.Response) *Error {
	if !g.Passthrough && resp.StatusCode == http.StatusUnauthorized {
		return badGateway("upstream-refused", "the registry behind sealgate refuses the credentials that sealgate has for it, or wants some where it has none")
	}
	e := errRelayed(resp)
	if !g.Passthrough {
		e.Header.Del("Www-Authenticate")
	}
	return e
}

// away says whether a status is what something in front of a registry answers
// when that does not.
func away(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// errRelayed passes on that the registry did not let the client read: status,
// challenge and Retry-After are its own, the body is ours. What is no answer
// to "may I read" becomes 502.
func errRelayed(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, Reason: "upstream-refused", Header: http.Header{}, away: away(resp.StatusCode)}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.Code, e.Message = codeUnauthorized, "the registry asks for authentication"
	case http.StatusForbidden:
		e.Code, e.Message = codeDenied, "the registry denies access to this repository"
	case http.StatusTooManyRequests:
		e.Code, e.Message = codeTooManyRequests, "the registry limits the rate of requests"
	case http.StatusServiceUnavailable:
		e.Code, e.Message = codeUnavailable, "the registry behind sealgate is unavailable"
	default:
		e.Code, e.Reason = codeUnknown, "upstream-status"
		e.Message = fmt.Sprintf("the registry behind sealgate answered with status %d", resp.StatusCode)
		if resp.StatusCode != http.StatusGatewayTimeout {
			e.Status = http.StatusBadGateway
		}
	}
	for _, name := range []string{"Www-Authenticate", "Retry-After"} {
		if values := resp.Header[name]; values != nil {
			e.Header[name] = values
		}
	}
	return e
}

// asError finds the refusal in err; what is none is an internal error.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return errClientGone.because(err)
	}
	return errInternal.because(err)
}

// body is the refusal in the form of the OCI distribution-spec v1.1.
func (e *Error) body() []byte {
	type one struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(map[string][]one{"errors": {{e.Code, e.Message}}})
	if err != nil {
		panic(err) // strings always marshal
	}
	return body
}

// write sends the refusal. It is the one place where an error becomes a status.
func (e *Error) write(w http.ResponseWriter) {
	body, h := e.body(), w.Header()
	for name, values := range e.Header {
		h[name] = values
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(e.Status)
	w.Write(body) // a HEAD's body is left out by net/http
}
