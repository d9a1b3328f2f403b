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
	"unicode"

	"github.com/sealgate/sealgate/trustcache"
	"go.opentelemetry.io/otel/trace"
)

// record collects what the Entry of one request says.
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
	message  string // of a refusal, for the client
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

	span trace.Span // nil where requests are not traced
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
	return &record{start: now, id: [1]string{newID()}, method: methodOf(r), client: client, host: r.Host, path: path, decision: "refuse"}
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
		rec.message, rec.cause = d.Denial.Message, d.Denial.Cause
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
	rec.reason, rec.message, rec.cause, rec.from = e.Reason, e.Message, e.Cause, ""
}

// entry is what is recorded of the request, now that its answer has ended.
func (rec *record) entry(out *countingWriter, now time.Time) Entry {
	e := Entry{
		Time: now, RequestID: rec.id[0], Client: rec.client.Address, Certificate: rec.client.Certificate, Method: rec.method,
		Registry: rec.registry, Route: rec.route.Kind, Repository: rec.route.Repository,
		Decision: rec.decision, Reason: rec.reason, Message: rec.message, From: rec.from, Would: rec.would,
		LengthDiffers: rec.lengthDiffers(), SignedLength: rec.target.Length,
		Status: out.status, Bytes: out.bytes, Duration: now.Sub(rec.start),
		// The registry does not have what was signed under its digest.
		Alarm: rec.reason == "upstream-mismatch" || rec.reason == "upstream-two-readings",
	}
	if rec.span != nil {
		e.TraceID = rec.span.SpanContext().TraceID().String()
	}
	rec.askedFor(&e)
	if validDigest(rec.upstreamDigest) {
		e.UpstreamDigest = rec.upstreamDigest
	}
	if rec.target.Role != "" {
		e.SignedDigest, e.Signers = rec.served, rec.target.Signers
		if e.SignedDigest == "" {
			e.SignedDigest = rec.target.Digest.String()
		}
	}
	if rec.stale != nil {
		e.Stale = rec.stale.Error()
	}
	if rec.cause != nil {
		e.Cause = rec.cause.Error()
	}
	return e
}

// askedFor fills in what the request named, by kind of route.
func (rec *record) askedFor(e *Entry) {
	switch rec.route.Kind {
	case 0:
		e.Host, e.Path = cut(rec.host), cut(rec.path)
	case ManifestByTag:
		e.Tag = rec.route.Reference
	case ManifestByDigest, Blob, Referrers:
		e.Digest = rec.route.Reference
	case TrustMetadata, TrustKey:
		e.File = rec.route.Reference
	case TokenEndpoint:
		e.Path = strings.Clone(rec.route.Reference)
	case PassPath: // what is below it may be a secret, such as an invitation
		e.Prefix = rec.route.Reference
	case Uploads, Upload: // a token says nothing
		e.Digest = strings.Clone(cmp.Or(rec.route.Mount, rec.route.Digest))
	}
}

// cut keeps what a stranger sent from filling the log, and from commanding the
// terminal of who reads it: JSON escapes neither the controls from U+0080 on
// (ECMA-48 section 5.3) nor what turns the direction of a line. It is no part of s,
// which may be that of a request's whole header.
func cut(s string) string {
	return strings.Clone(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s[:min(len(s), 200)]))
}

// methodOf is the method of a request, and no part of its first line.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodHead:
		return http.MethodHead
	}
	return cut(r.Method)
}

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
