package proxy

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/trustcache"
)

// record collects what the access line of one request says.
type record struct {
	start    time.Time
	id       [1]string // as the value of a header
	method   string
	client   Client
	registry string
	route    Route
	// host and path are what a request asked for that was refused before it
	// was a route.
	host, path string

	denial   Denial // how a refusal is written
	decision string // allow, deny, pass, refuse or error
	reason   string
	target   trustcache.Target
	served   string // the digest of target, once its manifest is there
	stale    error
	length   int64 // of what was served
	cause    error
	panicked bool
	cut      bool // a panic ended the answer in the middle

	from  string // memory, store, flight or upstream: where what was served came from
	would string // in mode permissive: what enforcing would have made of it
	// upstreamDigest is what the registry has for a tag that trust did not decide
	// about, or that was pushed.
	upstreamDigest string
}

// Outcome sums up a request for whoever counts. It holds fixed words, numbers
// and the configured name of a registry; nothing that a client chose.
type Outcome struct {
	Registry string // "" where the request named none that is configured
	Route    Kind   // zero for what is no route
	Decision string // allow, deny, pass, refuse or error
	Reason   string // "" where the decision has none
	Status   int    // of the answer; zero where none was sent
	Bytes    int64  // of the body, as sent: none for HEAD
	Duration time.Duration
	// WouldDeny and WouldChange are what enforcing would have done, in mode
	// permissive.
	WouldDeny, WouldChange bool
	// From is where a manifest or blob of a registry with a cache came from: memory, store (the cache), flight
	// (the registry, for all who asked at that time) or upstream; "" where that is
	// no question.
	From string
	// LengthDiffers: the signed length is not that of the signed bytes.
	LengthDiffers bool
	// Panicked: a panic was caught.
	Panicked bool
}

func (rec *record) outcome(out *countingWriter, now time.Time) Outcome {
	sent := out.bytes
	if rec.method == http.MethodHead {
		sent = 0 // net/http left them out
	}
	return Outcome{
		Registry: rec.registry, Route: rec.route.Kind, Decision: rec.decision, Reason: rec.reason,
		Status: out.status, Bytes: sent, Duration: now.Sub(rec.start),
		From: rec.from, WouldDeny: rec.would == wouldDeny, WouldChange: rec.would == wouldChange,
		LengthDiffers: rec.lengthDiffers(), Panicked: rec.panicked,
	}
}

func newRecord(r *http.Request, client Client, now time.Time) *record {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		_, path, _ = splitAbsolute(path) // a password may stand before the host
	}
	return &record{start: now, id: [1]string{newID()}, method: cut(r.Method), client: client, host: r.Host, path: path, decision: "refuse"}
}

// lengthDiffers says whether the signed length is not that of the signed bytes.
func (rec *record) lengthDiffers() bool { return rec.served != "" && rec.length != rec.target.Length }

// newID names a request: 96 bits that nobody else has, and no secret.
func newID() string {
	var id [12]byte
	binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	binary.LittleEndian.PutUint32(id[8:], rand.Uint32())
	return hex.EncodeToString(id[:])
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

// watched notes what the decision on a tag would have been.
func (rec *record) watched(d Decision, view trustcache.View) {
	rec.decided(d, view)
	rec.decision = "pass"
	if d.Denial != nil {
		rec.cause = d.Denial.Cause
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
	rec.reason, rec.cause, rec.from = e.Reason, e.Cause, ""
}

// log writes the access line. No header, query or credential is in it; what a
// client chose comes as a parsed route, or cut short where it was none.
func (rec *record) log(log zerolog.Logger, out *countingWriter, now time.Time) {
	e := log.Info()
	switch {
	case rec.reason == "upstream-mismatch" || rec.reason == "upstream-two-readings":
		e = log.Error().Bool("alarm", true) // the registry does not have what was signed under its digest
	case out.status >= 500 || rec.decision == "error":
		e = log.Warn()
	}
	e.Str("request_id", rec.id[0]).Str("client", rec.client.Address).Str("method", rec.method).
		Str("registry", rec.registry).Str("route", rec.route.Kind.String())
	if rec.client.Certificate != "" {
		e.Str("client_certificate", rec.client.Certificate)
	}
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
	case TrustMetadata, TrustKey:
		e.Str("file", rec.route.Reference)
	case TokenEndpoint:
		e.Str("path", rec.route.Reference)
	case PassPath: // what is below it may be a secret, such as an invitation
		e.Str("prefix", rec.route.Reference)
	case Uploads, Upload: // a token says nothing
		if digest := cmp.Or(rec.route.Mount, rec.route.Digest); digest != "" {
			e.Str("digest", digest)
		}
	}
	e.Str("decision", rec.decision)
	if rec.reason != "" {
		e.Str("reason", rec.reason)
	}
	if rec.from != "" {
		e.Str("from", rec.from)
	}
	if rec.would != "" {
		e.Str("would", rec.would)
	}
	if validDigest(rec.upstreamDigest) {
		e.Str("upstream_digest", rec.upstreamDigest)
	}
	if rec.target.Role != "" {
		signed := rec.served
		if signed == "" {
			signed = rec.target.Digest.String()
		}
		e.Str("signed_digest", signed).Strs("signers", rec.target.Signers)
	}
	if rec.lengthDiffers() {
		e.Int64("signed_length_differs", rec.target.Length)
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
	id     []string // of the request
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
	w.Header()["X-Request-Id"] = w.id // ReverseProxy has dropped it after an informational answer
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
