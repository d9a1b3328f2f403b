package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/upstream"
)

// tries are those of one registry and its Notary server, with the connections
// that a gate would have.
func (w *wiring) tries(at string) []try {
	if w.reg.Offline != nil {
		return []try{{at + ".offline", func(context.Context) (string, error) { return "nobody is asked: loaded bundles are served", nil }}}
	}
	all := []try{{at + ".upstream", w.registryTry(at)}}
	if w.reg.Notary.URL != nil {
		all = append(all, try{at + ".notary", w.notaryTry(at + ".notary")})
	}
	return all
}

// registryTry asks for /v2/, with the credentials that are Sealgate's own.
func (w *wiring) registryTry(at string) func(context.Context) (string, error) {
	// The connections are made now: whoever closes them looks before anybody asks.
	c := w.reg.Credentials
	transport, err := w.transport(upstream.Options{}, w.reg.UpstreamCAFile, false)
	var asking http.RoundTripper = transport
	if err == nil && c.Kind != config.Passthrough {
		var login *upstream.Login
		if login, err = w.login(w.reg.Upstream, c, transport, w.reg.UpstreamCAFile); err == nil {
			asking = login.Over(transport)
		}
	}
	return func(ctx context.Context) (string, error) {
		if err != nil {
			return "", err
		}
		credentials, err := ownCredentials(ctx, c, at+".credentials", w.reg.Upstream.Host, w.reg.Name)
		if err != nil {
			return "", err
		}
		status, header, _, err := look(ctx, asking, w.reg.Upstream, "/v2/")
		if err != nil {
			return "", named(err, at, "upstream", "upstream-ca-file")
		}
		where := w.reg.Upstream.String() + "/v2/"
		switch {
		case status == http.StatusOK:
			return fmt.Sprintf("%s answers 200 to %s", where, credentials), nil
		case status == http.StatusUnauthorized && c.Kind == config.Passthrough && header.Get("WWW-Authenticate") != "":
			return where + " asks clients who they are: 401", nil
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return "", fmt.Errorf("%s answers %d to %s: change %s.credentials", where, status, credentials, at)
		}
		return "", fmt.Errorf("%s answers %d where a registry answers 200 or 401: is %s.upstream one, and is it well?", where, status, at)
	}
}

// notaryTry asks for the timestamp of a repository that nobody has: Notary's own
// word that there is none is a good answer.
func (w *wiring) notaryTry(at string) func(context.Context) (string, error) {
	n := w.reg.Notary
	asking, _, err := w.notary()
	return func(ctx context.Context) (string, error) {
		if err != nil {
			return "", err
		}
		credentials, err := ownCredentials(ctx, n.Credentials, at+".credentials", n.URL.Host)
		if err != nil {
			return "", err
		}
		status, _, body, err := look(ctx, asking, n.URL, "/v2/"+w.reg.Name+"/sealgate-check/"+strings.ToLower(rand.Text())+"/_trust/tuf/timestamp.json")
		if err != nil {
			return "", named(err, at, "url", "ca-file")
		}
		var answer struct{ Errors []struct{ Code string } }
		switch {
		case status == http.StatusNotFound && json.Unmarshal(body, &answer) == nil && len(answer.Errors) > 0 && answer.Errors[0].Code == "METADATA_NOT_FOUND":
			return fmt.Sprintf("%s has no trust data for a name that nobody has, and says so to %s", n.URL, credentials), nil
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return "", fmt.Errorf("%s answers %d to %s: change %s.credentials", n.URL, status, credentials, at)
		}
		return "", fmt.Errorf("%s answers %d to a question that a Notary server answers with 404 and METADATA_NOT_FOUND: is %s.url one, and is it well?", n.URL, status, at)
	}
}

// ownCredentials says whose credentials a server sees; the error names the key.
func ownCredentials(ctx context.Context, c config.Credentials, key string, names ...string) (string, error) {
	find := secrets(c, names...)
	if find == nil {
		return "nobody's credentials", nil
	}
	secret, err := find(ctx, true)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", key, err)
	case secret == (upstream.Secret{}):
		return fmt.Sprintf("nobody's credentials, since docker's configuration has none for %s,", strings.Join(names, " and ")), nil
	}
	if secret.Username == "" {
		return fmt.Sprintf("a token (%s)", c.Kind), nil
	}
	return fmt.Sprintf("%q (%s)", secret.Username, c.Kind), nil
}

// maxLooked bounds what is read of an answer, in bytes.
const maxLooked = 64 << 10

// look is one GET, and the beginning of what came.
func look(ctx context.Context, transport http.RoundTripper, server *url.URL, path string) (int, http.Header, []byte, error) {
	target := *server
	target.Path += path
	resp, err := transport.RoundTrip((&http.Request{Method: http.MethodGet, URL: &target, Header: http.Header{}}).WithContext(ctx))
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err = io.Copy(&body, io.LimitReader(resp.Body, maxLooked))
	return resp.StatusCode, resp.Header, body.Bytes(), err
}

// named says with which key to mend what kept a server from answering.
func named(err error, at, urlKey, caKey string) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		plain     tls.RecordHeaderError
		alert     tls.AlertError
		login     *upstream.LoginError
	)
	switch {
	case errors.As(err, &login):
		return fmt.Errorf("%w: change %s.credentials or %s.realms", err, at, strings.TrimSuffix(at, ".notary"))
	case errors.As(err, &authority):
		return fmt.Errorf("%w: name the CA of its certificate in %s.%s", err, at, caKey)
	case errors.As(err, &host):
		return fmt.Errorf("%w: use one of the certificate's names in %s.%s", err, at, urlKey)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: its certificate has to be renewed, or this machine's clock be set right", err)
	case errors.As(err, &plain):
		return fmt.Errorf("%w: it speaks no TLS: write http:// in %s.%s, if that is meant", err, at, urlKey)
	case errors.As(err, &alert) && urlKey == "url":
		return fmt.Errorf("%w: it may want a client certificate: %s.cert-file and %s.key-file", err, at, at)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s: does %s.%s lead there, past every firewall?", tryTimeout, at, urlKey)
	}
	return fmt.Errorf("%w: look at %s.%s", err, at, urlKey)
}

// hinted adds what to do where a certificate is not believed, of which the error
// has only the text left.
func hinted(err error, applies bool, hint string) error {
	if applies && strings.Contains(err.Error(), "x509: ") {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return err
}
