package proxy

import (
	"time"

	"github.com/rs/zerolog"
)

// Entry is what is recorded of one finished request: the fields of the audit
// log, which docs/log.md describes and promises to keep. A string is "" and a
// list nil where the field does not apply. No header, query or credential is in
// it; what a client chose comes as a part of a parsed route, or cut short where
// it was none. It is not for metric labels: see Outcome.
//
// It shares Signers with the trust data in use: whoever gets one does not change
// it.
type Entry struct {
	Time        time.Time // when the answer had ended
	Alarm       bool      // somebody should look at this now
	RequestID   string    // also in the answer's X-Request-Id
	TraceID     string    // where requests are traced: 32 hexadecimal digits
	Client      string    // the client's address, without a port
	Certificate string    // the common name of the client's certificate, printable, at most 64 runes
	Method      string
	Registry    string // as configured; "" where the request named none that is
	Route       Kind   // zero for what is no route
	Repository  string // of trust data with the registry's name before it

	// What was asked for: a route has at most one of them.
	Tag, Digest, File, Prefix string
	// Host and Path are those of a request that was refused before it was a route;
	// Path is also that of a request for a token.
	Host, Path string

	Decision string // allow, deny, pass, refuse or error
	Reason   string
	// Message is what the client was told of a refusal, or would have been in mode
	// enforced. It is not in the line: words for people may change.
	Message        string
	From           string // memory, store, flight or upstream
	Would          string // in mode permissive: allow, deny or change
	UpstreamDigest string // what the registry has for a tag that trust did not decide about, or that was pushed
	SignedDigest   string
	Signers        []string // the deciding role first; with SignedDigest alone
	// LengthDiffers says that SignedLength, in bytes, is not the length of the
	// signed bytes; SignedLength means nothing without it.
	LengthDiffers bool
	SignedLength  int64
	Stale         string // why an older verified snapshot decided
	Cause         string // what went wrong underneath: for the operator, not for clients

	Status   int   // of the answer; zero where none was sent
	Bytes    int64 // of the body; of a HEAD those that a GET would have had, where they are known
	Duration time.Duration
}

// Level is that of the entry's line: error for an alarm, warn where the request
// could not be answered, else info.
func (e *Entry) Level() zerolog.Level {
	switch {
	case e.Alarm:
		return zerolog.ErrorLevel
	case e.Status >= 500 || e.Decision == "error":
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}

// MarshalZerologObject implements zerolog.LogObjectMarshaler with every field of
// the entry's line but time and level, and "request" as its message, which are of
// the log that it is written to.
func (e *Entry) MarshalZerologObject(line *zerolog.Event) {
	optional := func(name, value string) {
		if value != "" {
			line.Str(name, value)
		}
	}
	if e.Alarm {
		line.Bool("alarm", true)
	}
	line.Str("request_id", e.RequestID).Str("client", e.Client).Str("method", e.Method).
		Str("registry", e.Registry).Str("route", e.Route.String())
	optional("trace_id", e.TraceID)
	optional("client_certificate", e.Certificate)
	if e.Route == 0 {
		line.Str("host", e.Host).Str("path", e.Path)
	} else {
		optional("path", e.Path)
	}
	optional("repository", e.Repository)
	optional("tag", e.Tag)
	optional("digest", e.Digest)
	optional("file", e.File)
	optional("prefix", e.Prefix)
	line.Str("decision", e.Decision)
	optional("reason", e.Reason)
	optional("from", e.From)
	optional("would", e.Would)
	optional("upstream_digest", e.UpstreamDigest)
	if e.SignedDigest != "" {
		line.Str("signed_digest", e.SignedDigest).Strs("signers", e.Signers)
	}
	if e.LengthDiffers {
		line.Int64("signed_length_differs", e.SignedLength)
	}
	optional("stale", e.Stale)
	optional("cause", e.Cause)
	line.Int("status", e.Status).Int64("bytes", e.Bytes).Dur("duration_ms", e.Duration)
}
