package upstream

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Traced is a transport whose requests are spans, until the header of the answer,
// below the span that a request's context has; without one there is none. Nothing
// of a trace goes out: who answers learns nothing of who asks, or how often.
type Traced struct {
	Next     http.RoundTripper
	Registry string // by its configured name
	Server   string // what is asked, in a fixed word
}

// RoundTrip implements http.RoundTripper.
func (t *Traced) RoundTrip(req *http.Request) (*http.Response, error) {
	parent := trace.SpanFromContext(req.Context())
	if !parent.SpanContext().IsValid() {
		return t.Next.RoundTrip(req)
	}
	// No address: a path may be a secret, such as that of an upload.
	ctx, span := parent.TracerProvider().Tracer("github.com/sealgate/sealgate/proxy/upstream").Start(req.Context(), t.Server+" request",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("http.request.method", req.Method),
			attribute.String("server.address", req.URL.Host),
			attribute.String("sealgate.registry", t.Registry)))
	defer span.End()
	resp, err := t.Next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		span.SetStatus(codes.Error, "no answer")
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
	if resp.StatusCode >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	return resp, nil
}
