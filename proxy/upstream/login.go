package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"
)

// LoginOptions configure a Login. Server and Home are required.
type LoginOptions struct {
	// Server is the one server whose challenges are answered.
	Server *url.URL
	// Secrets finds what the server knows us by; nil means nobody: then only
	// tokens are fetched that are given to everybody.
	Secrets Secrets
	// Realms are the hosts (host or host:port, lower case) of token servers
	// that are allowed besides Server itself.
	Realms []string
	// Home fetches tokens from Server's own host, Elsewhere from the hosts in
	// Realms; nil means Home. They follow no redirect.
	Home, Elsewhere http.RoundTripper
}

// Login is how one server knows us: by Basic credentials (RFC 7617) or by
// Bearer tokens that a token server gives us for them (distribution's token
// specification). Credentials and tokens go to that server and to the token
// servers that are allowed, and nowhere else. It is safe for concurrent use;
// close it when done.
type Login struct {
	opts  LoginOptions
	ctx   context.Context // of the fetches
	close context.CancelFunc
	fetch singleflight.Group // by grantKey

	mu     sync.Mutex
	basic  bool                             // the server asked for Basic last
	grants *simplelru.LRU[grantKey, *grant] // by what they are for
	asked  *simplelru.LRU[string, grantKey] // what the server wanted, by place
}

const (
	// maxGrants bounds the tokens that are kept, maxAsked the places of which
	// it is known what token they need.
	maxGrants = 512
	maxAsked  = 4096
)

// NewLogin returns a login that has not asked anybody yet.
func NewLogin(opts LoginOptions) *Login {
	if opts.Secrets == nil {
		opts.Secrets = func(context.Context, bool) (Secret, error) { return Secret{}, nil }
	}
	if opts.Elsewhere == nil {
		opts.Elsewhere = opts.Home
	}
	l := &Login{opts: opts}
	l.ctx, l.close = context.WithCancel(context.Background())
	l.grants, _ = simplelru.NewLRU[grantKey, *grant](maxGrants, nil)
	l.asked, _ = simplelru.NewLRU[string, grantKey](maxAsked, nil)
	return l
}

// Close cuts short the fetches under way. No request is under way any more.
func (l *Login) Close() { l.close() }

// Over returns next with this login: requests to the server carry what it
// wants, and its challenge is answered once. What cannot be answered comes
// back as the server sent it, status 401 and all; the error is a *LoginError
// where an answer was wanted and could not be had. Requests to any other
// server pass unchanged, and so does what is no read: nothing is ever written in
// our name.
func (l *Login) Over(next http.RoundTripper) http.RoundTripper { return &loggedIn{l, next} }

type loggedIn struct {
	login *Login
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *loggedIn) RoundTrip(req *http.Request) (*http.Response, error) {
	l := t.login
	if !l.isHome(req.URL) || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return t.next.RoundTrip(req)
	}
	first, err := l.presume(req)
	if err != nil {
		return nil, err
	}
	resp, err := t.next.RoundTrip(authorized(req, first))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	second, err := l.answer(req, resp.Header["Www-Authenticate"], first)
	if second.header == "" && err == nil {
		return resp, nil
	}
	Discard(resp)
	if err != nil {
		return nil, err
	}
	resp, err = t.next.RoundTrip(authorized(req, second))
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		l.refused(second)
	}
	return resp, err
}

// authorization is a value for the header, and the grant that it comes from;
// the zero value is none.
type authorization struct {
	header string
	key    grantKey
	grant  *grant // nil where it is Basic
}

// authorized is req with an authorization.
func authorized(req *http.Request, a authorization) *http.Request {
	if a.header == "" {
		return req
	}
	with := req.WithContext(req.Context())
	with.Header = req.Header.Clone()
	with.Header.Set("Authorization", a.header)
	return with
}

// place is what requests have in common that need the same token: it ends
// before the kind and the reference, as in /v2/team/app/manifests/latest. It
// saves questions; what the server asks for decides.
func place(u *url.URL) string { return path.Dir(path.Dir(u.Path)) }

// presume is what the server is going to ask for, as far as is known.
func (l *Login) presume(req *http.Request) (authorization, error) {
	l.mu.Lock()
	key, known := l.asked.Get(place(req.URL))
	basic := l.basic
	l.mu.Unlock()
	switch {
	case known:
		a, err := l.bearer(req.Context(), key)
		if err != nil {
			l.mu.Lock()
			l.asked.Remove(place(req.URL)) // the server may have come to want something else
			l.mu.Unlock()
		}
		return a, err
	case basic:
		return l.password(req.Context(), false)
	}
	return authorization{}, nil
}

// answer is the authorization that the server's challenges ask for, the zero
// value where there is none or where it was refused just now.
func (l *Login) answer(req *http.Request, challenges []string, had authorization) (authorization, error) {
	var realmErr error
	basic := false
	for _, c := range parseChallenges(challenges) {
		switch c.scheme {
		case "bearer":
			key, err := l.key(c)
			if err != nil {
				realmErr = errors.Join(realmErr, err)
				continue
			}
			return l.answerBearer(req, key, had)
		case "basic":
			basic = true
		}
	}
	if basic {
		return l.answerBasic(req.Context(), had)
	}
	return authorization{}, loginError("its token server is not among those that realms allows", realmErr)
}

func (l *Login) answerBearer(req *http.Request, key grantKey, had authorization) (authorization, error) {
	l.mu.Lock()
	l.asked.Add(place(req.URL), key)
	current, _ := l.grants.Peek(key)
	if current != nil && time.Now().Before(current.refusedUntil) {
		l.mu.Unlock()
		return authorization{}, nil // a new one would not help either
	}
	if current != nil && current == had.grant {
		l.grants.Remove(key)
	}
	l.mu.Unlock()
	return l.bearer(req.Context(), key)
}

func (l *Login) answerBasic(ctx context.Context, had authorization) (authorization, error) {
	l.mu.Lock()
	l.basic = true
	l.asked.Purge() // it may have asked for tokens before
	l.mu.Unlock()
	a, err := l.password(ctx, had.header != "")
	if a.header == had.header {
		a.header = "" // refused already
	}
	return a, err
}

// password is the authorization by Basic.
func (l *Login) password(ctx context.Context, again bool) (authorization, error) {
	s, err := l.opts.Secrets(ctx, again)
	if err != nil {
		return authorization{}, loginError("the credentials of sealgate's own cannot be read", err)
	}
	return authorization{header: s.basic()}, nil
}

// refused remembers that a grant that was just fetched was refused.
func (l *Login) refused(a authorization) {
	if a.grant == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if current, _ := l.grants.Peek(a.key); current == a.grant {
		// Another value, since grants are read without the lock.
		marked := *current
		marked.refusedUntil = time.Now().Add(failurePause)
		l.grants.Add(a.key, &marked)
	}
}

// LoginError says why a server that wanted credentials got none. Its text
// names servers and files, and never a secret.
type LoginError struct {
	// Why is short, in our own words and without names, for everybody to see.
	Why string
	// Status is the token server's where it refused, else 0; RetryAfter what
	// it said beside it.
	Status     int
	RetryAfter string
	Err        error
}

// loginError is nil where err is.
func loginError(why string, err error) error {
	if err == nil {
		return nil
	}
	return &LoginError{Why: why, Err: err}
}

func (e *LoginError) Error() string { return e.Why + ": " + e.Err.Error() }

func (e *LoginError) Unwrap() error { return e.Err }

// Public is what clients may be told.
func (e *LoginError) Public() string { return e.Why }
