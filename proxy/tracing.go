package proxy

import (
	"context"
	"io"
	"net/http"

	"github.com/sealgate/sealgate/trustcache"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracerName is who made a span, as OpenTelemetry wants to know.
const tracerName = "github.com/sealgate/sealgate/proxy"

// begin begins the span of a request, which is always the root of a trace of its
// own: whether it is recorded is for the operator's sampler, and not for a client
// to say. The trace that a client says it is part of (W3C Trace Context, section
// 3.2) is a link. Without a tracer r stays as it is.
func (h *Handler) begin(r *http.Request, rec *record) *http.Request {
	if h.opts.Tracer == nil {
		return r
	}
	opts := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer)}
	theirs := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
	if theirs.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: theirs.WithTraceState(trace.TraceState{})}))
	}
	var ctx context.Context
	ctx, rec.span = h.opts.Tracer.Start(r.Context(), "request", opts...)
	return r.WithContext(ctx)
}

// end ends the span of a request with what its access line says of it, as far as
// that is a fixed word, a number, or a name out of a parsed route. Causes stay in
// the log, and so does what was refused before it was a route.
func (e *Entry) end(span trace.Span) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetName(e.Route.String())
	span.SetAttributes(
		attribute.String("http.request.method", e.Method),
		attribute.Int("http.response.status_code", e.Status),
		attribute.Int64("http.response.body.size", e.Bytes),
		attribute.String("client.address", e.Client),
		attribute.String("sealgate.request_id", e.RequestID),
		attribute.String("sealgate.route", e.Route.String()),
		attribute.String("sealgate.decision", e.Decision),
	)
	for _, optional := range []struct{ key, value string }{
		{"sealgate.registry", e.Registry},
		{"sealgate.repository", e.Repository},
		{"sealgate.tag", e.Tag},
		{"sealgate.digest", e.Digest},
		{"sealgate.file", e.File},
		{"sealgate.reason", e.Reason},
		{"sealgate.from", e.From},
		{"sealgate.would", e.Would},
		{"sealgate.signed_digest", e.SignedDigest},
	} {
		if optional.value != "" {
			span.SetAttributes(attribute.String(optional.key, optional.value))
		}
	}
	if e.Stale != "" {
		span.SetAttributes(attribute.Bool("sealgate.stale", true))
	}
	if e.Alarm || e.Status >= http.StatusInternalServerError || e.Decision == "error" {
		span.SetStatus(codes.Error, e.Reason)
	}
}

// startSpan starts a span below that of ctx; where there is none, it costs
// nothing.
func startSpan(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return ctx, parent
	}
	return parent.TracerProvider().Tracer(tracerName).Start(ctx, name)
}

// within is ctx, which is not that of a request, as part of the trace of one.
func within(ctx context.Context, request trace.Span) context.Context {
	if !request.SpanContext().IsValid() {
		return ctx
	}
	return trace.ContextWithSpan(ctx, request)
}

// tracedTrust is a Trust whose answers are spans.
type tracedTrust struct{ Trust }

// Repository implements Trust.
func (t tracedTrust) Repository(ctx context.Context, gun string) (trustcache.View, error) {
	ctx, span := startSpan(ctx, "trust lookup")
	view, err := t.Trust.Repository(ctx, gun)
	lookedUp(span, gun, view, err)
	return view, err
}

// Tag implements Trust.
func (t tracedTrust) Tag(ctx context.Context, gun, tag string) (trustcache.View, error) {
	ctx, span := startSpan(ctx, "trust lookup")
	view, err := t.Trust.Tag(ctx, gun, tag)
	lookedUp(span, gun, view, err)
	return view, err
}

func lookedUp(span trace.Span, gun string, view trustcache.View, err error) {
	span.SetAttributes(attribute.String("sealgate.gun", gun), attribute.Bool("sealgate.stale", err == nil && view.Stale != nil))
	if err != nil {
		span.SetAttributes(attribute.String("sealgate.trust", trustcache.Class(err).Error()))
		if !trustcache.Absent(err) {
			span.SetStatus(codes.Error, trustcache.Class(err).Error())
		}
	}
	span.End()
}

// fetchSpan is open with a span, below that of the request, until what it returns
// is closed.
func fetchSpan(request trace.Span, open func(context.Context, int64) (io.ReadCloser, int64, error)) func(context.Context, int64) (io.ReadCloser, int64, error) {
	if !request.SpanContext().IsValid() {
		return open
	}
	return func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		ctx, span := startSpan(within(ctx, request), "blob fetch")
		body, size, err := open(ctx, offset)
		if err != nil {
			span.SetStatus(codes.Error, asError(err).Reason)
			span.End()
			return nil, 0, err
		}
		return &spanBody{body, span}, size, nil
	}
}

// spanBody ends a span when it is closed.
type spanBody struct {
	io.ReadCloser
	span trace.Span
}

// Close implements io.Closer.
func (b *spanBody) Close() error {
	b.span.End()
	return b.ReadCloser.Close()
}
