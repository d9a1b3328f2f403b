package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/trustcache"
)

// record collects what the access line of one request says.
type record struct {
	start    time.Time
	id       string
	method   string
	client   string
	registry string
	route    Route
	// host and path are what a request asked for that was refused before it
	// was a route.
	host, path string

	decision     string // allow, deny, pass, refuse or error
	reason       string
	target       trustcache.Target
	stale        error
	signedLength int64
	cause        error
	cut          bool // a panic ended the answer in the middle
}

func newRecord(r *http.Request, now time.Time) *record {
	var id [12]byte
	rand.Read(id[:])
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return &record{start: now, id: hex.EncodeToString(id[:]), method: cut(r.Method), client: client, host: r.Host, path: path, decision: "refuse"}
}

func (rec *record) routed(route Route) {
	rec.route = route
	rec.decision = "pass"
}

// decided notes the decision on a tag; a later failure overrides it.
func (rec *record) decided(d Decision, view trustcache.View) {
	rec.decision, rec.reason, rec.target = "allow", d.reason(), d.Target
	if d.Denial != nil {
		rec.decision = "deny"
	}
	if view.Snapshot != nil {
		rec.stale = view.Stale
	}
}

// listed notes an answer to a tag list.
func (rec *record) listed(view trustcache.View, trustErr error) {
	if view.Snapshot != nil {
		rec.stale = view.Stale
	}
	rec.decision, rec.reason = "allow", "signed"
	switch {
	case errors.Is(trustErr, trustcache.ErrNoTrustData):
		rec.reason = "no-trust-data"
	case errors.Is(trustErr, trustcache.ErrUnpinned):
		rec.reason = "unpinned"
	}
}

// failed notes the refusal that the client gets.
func (rec *record) failed(e *Error) {
	switch {
	case e.Status >= http.StatusInternalServerError:
		rec.decision = "error"
	case rec.decision != "refuse":
		rec.decision = "deny"
	}
	rec.reason, rec.cause = e.Reason, e.Cause
}

// log writes the access line. No header, query or credential is in it; what a
// client chose comes as a parsed route, or cut short where it was none.
func (rec *record) log(log zerolog.Logger, out *countingWriter, now time.Time) {
	e := log.Info()
	switch {
	case rec.reason == "upstream-mismatch" || rec.reason == "upstream-two-readings":
		e = log.Error().Bool("alarm", true) // the registry does not have what was signed under its digest
	case out.status >= 500:
		e = log.Warn()
	}
	e.Str("request_id", rec.id).Str("client", rec.client).Str("method", rec.method).
		Str("registry", rec.registry).Str("route", rec.route.Kind.String())
	if rec.route.Kind == 0 {
		e.Str("host", cut(rec.host)).Str("path", cut(rec.path))
	}
	if rec.route.Repository != "" {
		e.Str("repository", rec.route.Repository)
	}
	switch rec.route.Kind {
	case ManifestByTag:
		e.Str("tag", rec.route.Reference)
	case ManifestByDigest, Blob, Referrers:
		e.Str("digest", rec.route.Reference)
	case TrustMetadata:
		e.Str("file", rec.route.Reference)
	}
	e.Str("decision", rec.decision)
	if rec.reason != "" {
		e.Str("reason", rec.reason)
	}
	if rec.target.Role != "" {
		e.Stringer("signed_digest", rec.target.Digest).Strs("signers", rec.target.Signers)
	}
	if rec.signedLength != 0 {
		e.Int64("signed_length_differs", rec.signedLength)
	}
	if rec.stale != nil {
		e.AnErr("stale", rec.stale)
	}
	if rec.cause != nil {
		e.AnErr("cause", rec.cause)
	}
	e.Int("status", out.status).Int64("bytes", out.bytes).Dur("duration_ms", now.Sub(rec.start)).Msg("request")
}

// cut keeps what a stranger sent from filling the log.
func cut(s string) string { return s[:min(len(s), 200)] }

// countingWriter notes status and bytes for the access line.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader leaves out informational answers: an upstream's must not reach
// the client around the list of headers.
func (w *countingWriter) WriteHeader(status int) {
	if status < http.StatusOK {
		return
	}
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
