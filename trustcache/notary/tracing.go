package notary

import (
	"context"
	"errors"

	"github.com/sealgate/sealgate/trustcache"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// fileSpan starts the span of one metadata file, from the request for it until it
// is verified, below that of the update, where that is traced.
func (u *update) fileSpan(name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(u.ctx)
	if !parent.SpanContext().IsValid() {
		return u.ctx, parent
	}
	return parent.TracerProvider().Tracer("github.com/sealgate/sealgate/trustcache/notary").
		Start(u.ctx, "notary file", trace.WithAttributes(attribute.String("sealgate.file", printable(name))))
}

// endFileSpan ends it, with the class of an error. A file that is not there is
// none: whether it should be is for the update to say.
func endFileSpan(span trace.Span, err error) {
	if err != nil && !errors.Is(err, errNotFound) {
		span.SetStatus(codes.Error, trustcache.Class(err).Error())
	}
	span.End()
}
