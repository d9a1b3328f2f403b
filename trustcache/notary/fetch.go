package notary

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/sealgate/sealgate/trustcache"
)

// errNotFound is Notary's own word that a file does not exist (its JSON error
// METADATA_NOT_FOUND). Any other 404 comes from something in between and says
// nothing about trust.
var errNotFound = errors.New("metadata not found")

// file fetches one metadata file and hands it to use while its size counts
// against the bound on metadata in memory: from when its header has come, so
// that names without metadata, and slow servers, keep nobody waiting. noCache
// asks caches on the way to be passed by.
func (u *update) file(name string, limit int64, noCache bool, use func(raw []byte) error) (err error) {
	if u.kept != nil {
		return u.keptFile(name, limit, use)
	}
	ctx, span := u.fileSpan(name)
	defer func() { endFileSpan(span, err) }()
	resp, err := u.get(ctx, name, noCache)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.ContentLength > limit {
		return u.bad(name, fmt.Errorf("larger than %d bytes", limit))
	}
	weight := limit
	if resp.ContentLength >= 0 {
		weight = resp.ContentLength
	}
	if err := u.source.memory.Acquire(u.ctx, weight); err != nil {
		return u.noAnswer(err)
	}
	defer u.source.memory.Release(weight)
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return u.noAnswer(err)
	}
	if int64(len(raw)) > limit {
		return u.bad(name, fmt.Errorf("larger than %d bytes", limit))
	}
	return use(raw)
}

// get returns a 200; the caller closes its body.
func (u *update) get(ctx context.Context, name string, noCache bool) (*http.Response, error) {
	base := u.source.opts.URL
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path + "/v2/" + u.gun + "/_trust/tuf/" + name},
		Header: http.Header{"Accept": {"application/json"}},
	}).WithContext(ctx)
	if noCache {
		req.Header.Set("Cache-Control", "no-cache")
	}
	resp, err := u.source.opts.Transport.RoundTrip(req)
	if err != nil {
		return nil, u.noAnswer(err)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		err = u.judgeNotFound(resp.Body)
	case resp.StatusCode != http.StatusOK:
		class := trustcache.ErrUnreachable
		switch resp.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
			class = trustcache.ErrRefused
		}
		err = fmt.Errorf("%w: %s: status %d for %s", class, u.gun, resp.StatusCode, name)
	case resp.Header.Get("Content-Encoding") != "":
		err = u.unreachable("encoded answer for %s", name)
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// judgeNotFound tells Notary's own 404 from any other.
func (u *update) judgeNotFound(body io.Reader) error {
	var answer struct {
		Errors []struct{ Code string }
	}
	raw, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err == nil && json.Unmarshal(raw, &answer) == nil && len(answer.Errors) > 0 {
		metadata := func(e struct{ Code string }) bool { return e.Code == "METADATA_NOT_FOUND" }
		if slices.ContainsFunc(answer.Errors, metadata) {
			return errNotFound
		}
	}
	return u.unreachable("status 404 that is not Notary's own")
}

// unreachable says in our own words why no answer could be judged.
func (u *update) unreachable(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", trustcache.ErrUnreachable, u.gun, fmt.Sprintf(format, args...))
}

// noAnswer says why no answer came. Clients see the text, so nothing of err is
// in it: it may name the trust server's address. A transport that could not log
// in says itself what clients may know, and the operator gets the rest.
func (u *update) noAnswer(err error) error {
	var login interface{ Public() string }
	if errors.As(err, &login) {
		return trustcache.WithCause(fmt.Errorf("%w: %s: %s", trustcache.ErrRefused, u.gun, login.Public()), err)
	}
	return u.unreachable("%s", reason(err))
}

func reason(err error) string {
	var (
		dns     *net.DNSError
		timeout net.Error
		opErr   *net.OpError
		cert    *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "shutting down"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "answer cut short"
	case errors.As(err, &dns):
		return "host name does not resolve"
	case errors.As(err, &opErr):
		return opErr.Op + " failed"
	case errors.As(err, &cert):
		return "its certificate cannot be verified"
	}
	return "connection failed"
}

// bad says that metadata must not be believed; nil stays nil, and errors that
// already have a class keep it. What err says may quote the metadata, at any
// length, and clients and logs get to see it: a clean start of it is kept, and
// of err itself only what the workflow acts on.
func (u *update) bad(what string, err error) error {
	switch {
	case err == nil, errors.Is(err, errNotFound):
		return err
	case errors.Is(err, trustcache.ErrMalicious), errors.Is(err, trustcache.ErrExpired),
		errors.Is(err, trustcache.ErrUnreachable), errors.Is(err, trustcache.ErrVanished), errors.Is(err, trustcache.ErrStore):
		return err
	}
	m := &malicious{text: fmt.Sprintf("%v: %s of %s: %s", trustcache.ErrMalicious, what, u.gun, printable(err.Error()))}
	for _, act := range []error{errSignature, errBelowFloor} {
		if errors.Is(err, act) {
			m.act = act
		}
	}
	return m
}

// malicious is an error of class ErrMalicious.
type malicious struct {
	text string
	act  error // errSignature, errBelowFloor or nil
}

func (m *malicious) Error() string { return m.text }

func (m *malicious) Is(target error) bool {
	return target == trustcache.ErrMalicious || m.act != nil && target == m.act || m.act == errBelowFloor && target == trustcache.ErrRolledBack
}

// maxQuoted bounds what an error says of hostile bytes.
const maxQuoted = 200

// printable cuts text to maxQuoted bytes of printable ASCII.
func printable(text string) string {
	cut := text[:min(len(text), maxQuoted)]
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, cut)
	if len(text) > len(cut) {
		clean += "..."
	}
	return clean
}
