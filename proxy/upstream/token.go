package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealgate/sealgate/trustcache/guard"
	"golang.org/x/sync/singleflight"
)

// grantKey is what a token is for: one challenge of the server.
type grantKey struct{ realm, service, scope string }

// grant is what became of asking for a token. It is not modified.
type grant struct {
	token string
	fresh time.Time // when it is time for a new one
	until time.Time // how long it is used
	err   error     // instead of a token
	// refusedUntil is until when the server's refusal of this token is final.
	refusedUntil time.Time
}

const (
	// tokenTimeout bounds fetching one token.
	tokenTimeout = 10 * time.Second
	// failurePause is how long a token server that gave none is left alone.
	failurePause = 5 * time.Second
	// defaultLife is a token's where its server does not say (distribution's
	// token specification), maxLife what is believed.
	defaultLife = time.Minute
	maxLife     = 24 * time.Hour
	// maxAnswer bounds a token server's answer, maxToken the token, in bytes.
	maxAnswer = 64 << 10
	maxToken  = 16 << 10
)

// key is what a Bearer challenge asks for.
func (l *Login) key(c challenge) (grantKey, error) {
	realm, err := l.realm(c.params["realm"])
	if err != nil {
		return grantKey{}, err
	}
	service := c.params["service"]
	if len(service) > maxRealm {
		return grantKey{}, fmt.Errorf("%w: a service of %d bytes", ErrRealm, len(service))
	}
	return grantKey{realm: realm.String(), service: service, scope: readScope(c.params["scope"])}, nil
}

// bearer is the authorization by a token: the one that is kept, or a new one.
// One is fetched at a time for each key, with a deadline of its own, so that a
// caller who hangs up does not fail the others.
func (l *Login) bearer(ctx context.Context, key grantKey) (authorization, error) {
	l.mu.Lock()
	kept, _ := l.grants.Get(key)
	l.mu.Unlock()
	now := time.Now()
	if kept == nil || !now.Before(kept.until) {
		select {
		case landed := <-l.fetching(key):
			if landed.Err != nil {
				return authorization{}, landed.Err
			}
			kept = landed.Val.(*grant)
		case <-ctx.Done():
			return authorization{}, ctx.Err()
		}
	} else if !now.Before(kept.fresh) {
		l.fetching(key) // for those to come
	}
	if kept.err != nil {
		return authorization{}, kept.err
	}
	return authorization{header: "Bearer " + kept.token, key: key, grant: kept}, nil
}

// fetching starts fetching a token, unless that is under way.
func (l *Login) fetching(key grantKey) <-chan singleflight.Result {
	return l.fetch.DoChan(fmt.Sprintf("%q", key), func() (_ any, err error) {
		defer guard.Catch(&err)
		ctx, cancel := context.WithTimeout(l.ctx, tokenTimeout)
		defer cancel()
		var g *grant
		if err := guard.Run(func() error { g = l.grant(ctx, key); return nil }); err != nil {
			g = failure(&LoginError{Why: "internal error", Err: err})
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if kept, _ := l.grants.Peek(key); kept != nil && kept.err == nil && g.err != nil && time.Now().Before(kept.until) {
			// It goes on being used, and the token server is left alone for a while.
			again := *kept
			again.fresh = g.until
			g = &again
		}
		l.grants.Add(key, g)
		return g, nil
	})
}

// grant asks for a token, with a newer secret where the first one is refused.
func (l *Login) grant(ctx context.Context, key grantKey) *grant {
	secret, err := l.opts.Secrets(ctx, false)
	if err != nil {
		return failure(&LoginError{Why: "the credentials of sealgate's own cannot be read", Err: err})
	}
	g := l.grantFor(ctx, key, secret)
	if refusal := (*LoginError)(nil); !errors.As(g.err, &refusal) || refusal.Status != http.StatusUnauthorized {
		return g
	}
	if newer, err := l.opts.Secrets(ctx, true); err == nil && newer != secret {
		return l.grantFor(ctx, key, newer)
	}
	return g
}

func (l *Login) grantFor(ctx context.Context, key grantKey, secret Secret) *grant {
	start := time.Now()
	if secret.RegistryToken != "" {
		return granted(secret.RegistryToken, start, defaultLife)
	}
	req, err := tokenRequest(ctx, key, secret)
	if err != nil {
		return failure(&LoginError{Why: "the token server's address cannot be used", Err: err})
	}
	via := l.opts.Elsewhere
	if l.isHome(req.URL) {
		via = l.opts.Home
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return failure(&LoginError{Why: "its token server cannot be reached", Err: err})
	}
	defer Discard(resp)
	if resp.StatusCode != http.StatusOK {
		return failure(refusal(resp, req.URL.Host))
	}
	token, life, err := ReadToken(resp.Body)
	if err != nil {
		return failure(&LoginError{Why: "its token server gave no token", Err: fmt.Errorf("token server %s: %w", req.URL.Host, err)})
	}
	return granted(token, start, life)
}

// clientID is what a token server is told that we are.
const clientID = "sealgate"

// tokenRequest is GET with Basic (or with nothing, for what everybody gets),
// or for an identity token POST with grant_type=refresh_token: distribution's
// token specification, and its OAuth2 part.
func tokenRequest(ctx context.Context, key grantKey, secret Secret) (*http.Request, error) {
	realm, err := url.Parse(key.realm)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Accept": {"application/json"}, "User-Agent": {clientID}}
	if secret.IdentityToken != "" {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {secret.IdentityToken}, "client_id": {clientID}, "service": {key.service}}
		if key.scope != "" {
			form.Set("scope", key.scope)
		}
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		body := form.Encode()
		req := &http.Request{Method: http.MethodPost, URL: realm, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		return req.WithContext(ctx), nil
	}
	if basic := secret.basic(); basic != "" {
		header.Set("Authorization", basic)
	}
	return (&http.Request{Method: http.MethodGet, URL: wanting(realm, key.service, key.scope), Header: header}).WithContext(ctx), nil
}

// wanting is realm with what a token is wanted for.
func wanting(realm *url.URL, service, scope string) *url.URL {
	query := realm.Query()
	if service != "" {
		query.Set("service", service)
	}
	for resource := range strings.FieldsSeq(scope) {
		query.Add("scope", resource)
	}
	u := *realm
	u.RawQuery = query.Encode()
	return &u
}

// refusal says what a token server answered instead of a token. Nothing of its
// body is repeated: it may echo what it was sent.
func refusal(resp *http.Response, host string) *LoginError {
	e := &LoginError{Status: resp.StatusCode, Err: fmt.Errorf("token server %s: status %d", host, resp.StatusCode)}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
		e.Why = "its token server refused the credentials that sealgate has"
	case http.StatusTooManyRequests:
		e.Why = "its token server limits the rate of requests"
		if after := resp.Header.Get("Retry-After"); len(after) <= len(time.RFC1123)+1 {
			e.RetryAfter = after
		}
	default:
		e.Why = "its token server gave no token"
	}
	return e
}

// ReadToken reads a token server's answer: a token that can be sent in a header,
// and how long it lives. The error does not repeat any of it.
func ReadToken(body io.Reader) (token string, life time.Duration, err error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return "", 0, err
	}
	if len(raw) > maxAnswer {
		return "", 0, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
	}
	if json.Unmarshal(raw, &answer) != nil { // whose error may quote the token
		return "", 0, errors.New("an answer that is not the JSON of a token")
	}
	if token = answer.Token; token == "" {
		token = answer.AccessToken
	}
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", 0, errors.New("no token that can be sent in a header")
	}
	life = defaultLife
	if answer.ExpiresIn > 0 {
		life = time.Duration(min(answer.ExpiresIn, maxLife.Seconds()) * float64(time.Second))
	}
	return token, life, nil
}

// granted is a token that was asked for at start, by our own clock. It is used
// until shortly before its end, and a new one is fetched in good time before.
func granted(token string, start time.Time, life time.Duration) *grant {
	return &grant{token: token, fresh: start.Add(life * 3 / 4), until: start.Add(life - min(life/10, 10*time.Second))}
}

// failure stands for a while, so that nobody storms a token server that is
// down or does not want us.
func failure(e *LoginError) *grant {
	pause := failurePause
	if seconds, err := time.ParseDuration(e.RetryAfter + "s"); err == nil {
		pause = min(max(pause, seconds), time.Minute)
	}
	end := time.Now().Add(pause)
	return &grant{err: e, fresh: end, until: end}
}
