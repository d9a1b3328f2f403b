package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy/admin"
)

// otelEnvironment is the environment with these settings of OpenTelemetry, and no
// others.
func otelEnvironment(t *testing.T, settings ...string) {
	t.Helper()
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
}

func TestWhenTheEnvironmentAsksForTraces(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const on, endpoint = "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.example:4318"
	for _, tt := range []struct {
		name   string
		env    []string
		wanted bool
		fails  string // a part of the error
	}{
		{"nothing said", nil, false, ""},
		{"otlp", []string{on}, true, ""},
		{"an endpoint", []string{endpoint}, true, ""},
		{"an endpoint for traces", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:4318/v1/traces"}, true, ""},
		{"none, with an endpoint", []string{"OTEL_TRACES_EXPORTER=none", endpoint}, false, ""},
		{"disabled", []string{"OTEL_SDK_DISABLED=true", on, endpoint}, false, ""},
		{"not disabled", []string{"OTEL_SDK_DISABLED=false", on}, true, ""},
		{"a name alone", []string{"OTEL_SERVICE_NAME=gate"}, false, ""},
		{"everything", []string{on, endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_EXPORTER_OTLP_TIMEOUT=500",
			"OTEL_EXPORTER_OTLP_HEADERS=api-key=secret,x=a%20b", "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1"}, true, ""},

		{"disabled, perhaps", []string{"OTEL_SDK_DISABLED=yes"}, false, `OTEL_SDK_DISABLED: "yes": false or true is expected`},
		{"another exporter", []string{"OTEL_TRACES_EXPORTER=zipkin"}, false, `OTEL_TRACES_EXPORTER: "zipkin": otlp or none is expected`},
		{"another protocol", []string{on, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, true, `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc": http/protobuf is expected`},
		{"no URL", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, true, "OTEL_EXPORTER_OTLP_ENDPOINT: an http:// or https:// URL is expected"},
		{"credentials in the URL", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://me:hidden@collector"}, true, "OTEL_EXPORTER_OTLP_ENDPOINT: no credentials"},
		{"a query", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://collector/?key=hidden"}, true, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: no credentials"},
		{"headers that are none", []string{on, "OTEL_EXPORTER_OTLP_HEADERS=hidden"}, true, "OTEL_EXPORTER_OTLP_HEADERS: name=value"},
		{"no compression that there is", []string{on, "OTEL_EXPORTER_OTLP_COMPRESSION=zip"}, true, `"zip": gzip or none is expected`},
		{"no time", []string{on, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=10s"}, true, `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "10s": milliseconds are expected`},
		{"no authorities", []string{on, "OTEL_EXPORTER_OTLP_CERTIFICATE=" + empty}, true, "no certificate in it"},
		{"no sampler", []string{on, "OTEL_TRACES_SAMPLER=sometimes"}, true, "OTEL_TRACES_SAMPLER: "},
		{"no ratio", []string{on, "OTEL_TRACES_SAMPLER=traceidratio"}, true, "OTEL_TRACES_SAMPLER_ARG: "},
		{"more than all", []string{on, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=1.5"}, true, "OTEL_TRACES_SAMPLER_ARG: "},
		{"not a number", []string{on, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=NaN"}, true, "OTEL_TRACES_SAMPLER_ARG: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			otelEnvironment(t, tt.env...)
			wanted, err := tracingWanted()
			if wanted != tt.wanted {
				t.Errorf("wanted: %t", wanted)
			}
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got %v, want %q", err, tt.fails)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

// lines are what a log says, as it comes.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l:
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("the log says nothing more")
		return ""
	}
}

// TestACollectorThatFailsHoldsNothingUp: it is counted, and said once.
func TestACollectorThatFailsHoldsNothingUp(t *testing.T) {
	release := make(chan struct{})
	for name, answer := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("no ", 1000), http.StatusForbidden)
		},
		"hangs": func(http.ResponseWriter, *http.Request) { <-release },
	} {
		t.Run(name, func(t *testing.T) {
			collector := httptest.NewServer(answer)
			otelEnvironment(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=1", "OTEL_BSP_SCHEDULE_DELAY=1")
			log, series := make(lines, 100), prometheus.NewRegistry()
			metrics, err := admin.NewMetrics(series, "1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			traced, err := openTracing(zerolog.New(log), metrics)
			if err != nil {
				t.Fatal(err)
			}
			if line := log.next(t); !strings.Contains(line, "requests are traced") || !strings.Contains(line, collector.URL) {
				t.Error(line)
			}
			traced.patience = 200 * time.Millisecond
			begin := time.Now()
			for range 5000 { // more than fit into the queue
				_, span := traced.tracer().Start(context.Background(), "request")
				span.End()
			}
			traced.close()
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("spans and a stop took %s", took)
			}
			if line := log.next(t); !strings.Contains(line, "traces cannot be exported") || len(line) > 500 {
				t.Errorf("got %s", line)
			}
			if failedSpans(t, series) == 0 {
				t.Error("nothing is counted")
			}
			if len(log) > 0 {
				t.Errorf("it is said once more: %s", <-log)
			}
			if name == "hangs" {
				close(release)
			}
			collector.Close()
		})
	}
}

func failedSpans(t *testing.T, series prometheus.Gatherer) float64 {
	t.Helper()
	families, err := series.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "sealgate_trace_spans_total" {
			for _, m := range family.GetMetric() {
				if m.GetLabel()[0].GetValue() == "failed" {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}
