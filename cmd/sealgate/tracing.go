package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy/admin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// flushTimeout bounds what a stop waits for the last spans.
	flushTimeout = 5 * time.Second
	// lossInterval is how often it is said that spans are lost.
	lossInterval = 10 * time.Minute
)

// tracing makes spans and sends them to where the environment says. It is nil
// where nothing is traced; the methods of a nil one do nothing.
type tracing struct {
	provider *sdk.TracerProvider
	patience time.Duration // of close, for the last spans
	giveUp   context.CancelFunc
}

// openTracing is nil unless the environment asks for traces.
func openTracing(log zerolog.Logger, metrics *admin.Metrics) (*tracing, error) {
	wanted, err := tracingWanted()
	if err != nil || !wanted {
		return nil, err
	}
	ctx := context.Background()
	// What the environment says comes last, and wins.
	of, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "sealgate"), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// The queue is bounded, and what does not fit into it is dropped: no request
	// ever waits. The sampler is the environment's, too.
	lasting, giveUp := context.WithCancel(ctx)
	provider := sdk.NewTracerProvider(sdk.WithResource(of), sdk.WithBatcher(&countedExporter{SpanExporter: exporter, lasting: lasting, log: log, metrics: metrics}))
	log.Info().Str("endpoint", cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://localhost:4318")).Msg("requests are traced")
	return &tracing{provider, flushTimeout, giveUp}, nil
}

// tracer is nil where nothing is traced.
func (t *tracing) tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("github.com/sealgate/sealgate/proxy", trace.WithInstrumentationVersion(version))
}

// close sends what is left, as far as there is time. Losses have been logged.
func (t *tracing) close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.patience)
	defer cancel()
	_ = t.provider.Shutdown(ctx)
	t.giveUp()
}

// countedExporter counts what it exports, and says now and then that it cannot:
// nobody else has to know. The provider calls it from one goroutine at a time.
type countedExporter struct {
	sdk.SpanExporter
	lasting context.Context // until nobody waits for an export any more
	log     zerolog.Logger
	metrics *admin.Metrics

	said time.Time // when a loss was logged
}

// ExportSpans implements trace.SpanExporter of the SDK. The error is always nil,
// since the SDK would print it.
func (e *countedExporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.lasting, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.metrics.SpansExported(len(spans), err)
	if err != nil && time.Since(e.said) > lossInterval {
		e.said = time.Now()
		text := err.Error() // with whatever the collector has answered
		e.log.Warn().Str("error", text[:min(len(text), 200)]).Int("spans", len(spans)).Msg("traces cannot be exported: these spans are lost")
	}
	return nil
}
