package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tracingWanted says whether the environment asks for traces, in the words of
// OpenTelemetry's specification: OTEL_TRACES_EXPORTER=otlp, or an endpoint and
// nothing that speaks against it. What the exporter would pass over, since it
// cannot be read, is an error: else somebody waits for traces that never come.
func tracingWanted() (bool, error) {
	disabled, err := oneOf("OTEL_SDK_DISABLED", "false", "true")
	if err != nil || disabled == "true" {
		return false, err
	}
	exporter, err := oneOf("OTEL_TRACES_EXPORTER", "", "otlp", "none")
	if err != nil {
		return false, err
	}
	endpoint := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") + os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	if exporter == "none" || exporter == "" && endpoint == "" {
		return false, nil
	}
	var failed error
	for _, setting := range []struct {
		name  string
		check func(value string) error
	}{
		{"ENDPOINT", checkEndpoint},
		{"PROTOCOL", checkWord("http/protobuf")},
		{"COMPRESSION", checkWord("gzip", "none")},
		{"TIMEOUT", checkMilliseconds},
		{"HEADERS", checkHeaders},
		{"CERTIFICATE", checkAuthorities},
	} {
		for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"} {
			if value := os.Getenv(prefix + setting.name); value != "" {
				if err := setting.check(value); err != nil {
					failed = errors.Join(failed, fmt.Errorf("%s: %w", prefix+setting.name, err))
				}
			}
		}
	}
	return true, errors.Join(failed, checkSampler())
}

// oneOf is the value of a setting, in small letters: the first of words where it
// is not set.
func oneOf(name string, words ...string) (string, error) {
	value := strings.ToLower(os.Getenv(name))
	if value == "" {
		return words[0], nil
	}
	if err := checkWord(words...)(value); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return value, nil
}

func checkWord(words ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(words, value) {
			return fmt.Errorf("%q: %s is expected", value, strings.TrimPrefix(strings.Join(words, " or "), " or "))
		}
		return nil
	}
}

// checkEndpoint says nothing of the value: it may hold a password.
func checkEndpoint(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("an http:// or https:// URL is expected")
	case u.User != nil || u.RawQuery != "":
		return errors.New("no credentials and no query are expected: OTEL_EXPORTER_OTLP_HEADERS is for those")
	}
	return nil
}

func checkMilliseconds(value string) error {
	if n, err := strconv.Atoi(value); err != nil || n <= 0 {
		return fmt.Errorf("%q: milliseconds are expected", value)
	}
	return nil
}

// checkHeaders is as checkEndpoint.
func checkHeaders(value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		name, text, found := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(text); !found || strings.TrimSpace(name) == "" || err != nil {
			return errors.New("name=value, separated by commas, is expected, each value percent-encoded")
		}
	}
	return nil
}

func checkAuthorities(path string) error {
	pem, err := os.ReadFile(path)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s: no certificate in it", path)
	}
	return err
}

// checkSampler checks what the library reads when it makes a sampler.
func checkSampler() error {
	const name = "OTEL_TRACES_SAMPLER"
	sampler, err := oneOf(name, "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio", "always_on", "always_off", "traceidratio")
	if err != nil || !strings.HasSuffix(sampler, "traceidratio") {
		return err
	}
	ratio, err := strconv.ParseFloat(os.Getenv(name+"_ARG"), 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) {
		return fmt.Errorf("%s_ARG: %q: the share of requests, from 0 to 1, is expected", name, os.Getenv(name+"_ARG"))
	}
	return nil
}
