package trustcache

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// refreshSpan starts the span of a refresh below that of the caller on whose
// behalf it is, so that one trace has both and one sampler decides about it. It
// may end after its parent: a refresh has a deadline of its own, and callers go
// away. Where the caller is not traced, nothing is.
func refreshSpan(ctx context.Context, caller trace.Span, gun string) (context.Context, trace.Span) {
	if !caller.SpanContext().IsValid() {
		return ctx, caller
	}
	return caller.TracerProvider().Tracer("github.com/sealgate/sealgate/trustcache").
		Start(trace.ContextWithSpan(ctx, caller), "trust refresh", trace.WithAttributes(attribute.String("sealgate.gun", gun)))
}

// refreshed says what came of a refresh, in the words of this package's sentinels.
func refreshed(span trace.Span, err error) {
	if err == nil {
		return
	}
	class := Class(err).Error()
	span.SetAttributes(attribute.String("sealgate.trust", class))
	if !Absent(err) {
		span.SetStatus(codes.Error, class)
	}
}

// waitedFor links who has waited for a refresh to it: it may be in the trace of
// another.
func waitedFor(ctx context.Context, f *flight) {
	if f.span.IsValid() {
		trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: f.span})
	}
}
