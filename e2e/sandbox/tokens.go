package sandbox

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// DefaultTokenLifetime is that of a token where the options name none. It is
// also the least that Docker's clients assume.
const DefaultTokenLifetime = time.Minute

// maxTokenForm bounds the body of a token request, in bytes.
const maxTokenForm = 64 << 10

// TokenOptions say what kind of token service to make.
type TokenOptions struct {
	// Service and Issuer are what the registry that believes the tokens has
	// under these names. Required.
	Service, Issuer string
	// Users may identify themselves, by name.
	Users map[string]TokenUser
	// Public is what everybody may do, those without a name too.
	Public Rights
	// Lifetime is that of a token; zero means DefaultTokenLifetime, and a
	// negative one makes tokens that have expired already.
	Lifetime time.Duration
}

// TokenUser is somebody whom a token service knows.
type TokenUser struct {
	Password string
	Rights   Rights
}

// Tokens is a token service as Docker's registries use one (Distribution's
// token authentication specification): an http.Handler for the path of a realm,
// GET and OAuth2's POST. Its tokens are JSON Web Tokens signed with RS256. It
// is safe for concurrent use.
type Tokens struct {
	opts TokenOptions
	key  *rsa.PrivateKey
	cert []byte // DER, of key

	mu      sync.Mutex
	refresh map[string]string // refresh token → user
	asked   []TokenRequest
}

// TokenRequest is what somebody asked a token service for. No credential is in it.
type TokenRequest struct {
	Method  string
	User    string // who it was; empty for everybody, and for those who were refused
	Service string
	Scopes  []string // as they were asked for
	Granted []string // those of them, as far as they were granted
	Status  int
}

// NewTokens returns a token service with a key of its own.
func NewTokens(opts TokenOptions) (*Tokens, error) {
	if opts.Service == "" || opts.Issuer == "" {
		return nil, errors.New("make a token service: a service and an issuer are needed")
	}
	if opts.Lifetime == 0 {
		opts.Lifetime = DefaultTokenLifetime
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a key for tokens: %w", err)
	}
	template, err := certificate(opts.Issuer, certLifetime)
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for tokens: %w", err)
	}
	return &Tokens{opts: opts, key: key, cert: cert, refresh: map[string]string{}}, nil
}

// CertificatePEM is what a registry has as its rootcertbundle.
func (t *Tokens) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: t.cert})
}

// Asked returns what was asked so far, oldest first. The slice is the caller's.
func (t *Tokens) Asked() []TokenRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]TokenRequest(nil), t.asked...)
}

// ServeHTTP answers a request for a token.
func (t *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := TokenRequest{Method: r.Method, Status: http.StatusOK}
	defer func() { t.note(entry) }()
	refuse := func(status int, code, message string) {
		entry.Status = status
		writeError(w, status, errorBody{Code: code, Message: message})
	}
	var ok, offline bool
	switch r.Method {
	case http.MethodGet:
		query := r.URL.Query()
		entry.Service, entry.Scopes, offline = query.Get("service"), query["scope"], query.Get("offline_token") == "true"
		entry.User, ok = t.basic(r)
	case http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, maxTokenForm)
		if err := r.ParseForm(); err != nil {
			refuse(http.StatusBadRequest, "UNSUPPORTED", "malformed form")
			return
		}
		entry.Service, entry.Scopes, offline = r.PostForm.Get("service"), strings.Fields(r.PostForm.Get("scope")), r.PostForm.Get("access_type") == "offline"
		entry.User, ok = t.granted(r)
	default:
		refuse(http.StatusMethodNotAllowed, "UNSUPPORTED", "GET and POST are served")
		return
	}
	if !ok {
		entry.User = ""
		refuse(http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	access := t.allowed(entry.User, entry.Scopes)
	for _, a := range access {
		entry.Granted = append(entry.Granted, a.String())
	}
	token, err := t.sign(entry.User, entry.Service, access, t.opts.Lifetime)
	if err != nil {
		refuse(http.StatusInternalServerError, "UNKNOWN", "no token could be signed")
		return
	}
	t.answer(w, token, entry.User, offline)
}

// answer writes the token under both names that clients look for.
func (t *Tokens) answer(w http.ResponseWriter, token, user string, offline bool) {
	body := map[string]any{
		"token":        token,
		"access_token": token,
		"expires_in":   max(1, int(t.opts.Lifetime/time.Second)),
		"issued_at":    time.Now().UTC().Format(time.RFC3339),
	}
	if offline && user != "" {
		body["refresh_token"] = t.remember(user)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a client that hung up is the only way for this to fail
}

// basic says who sent a GET: nobody in particular is fine, a wrong password is not.
func (t *Tokens) basic(r *http.Request) (user string, ok bool) {
	if r.Header.Get("Authorization") == "" {
		return "", true
	}
	name, password, ok := r.BasicAuth()
	return name, ok && t.knows(name, password)
}

// granted says who sent a POST (RFC 6749 sections 4.3 and 6).
func (t *Tokens) granted(r *http.Request) (user string, ok bool) {
	switch r.PostForm.Get("grant_type") {
	case "password":
		name := r.PostForm.Get("username")
		return name, t.knows(name, r.PostForm.Get("password"))
	case "refresh_token":
		t.mu.Lock()
		defer t.mu.Unlock()
		user, ok = t.refresh[r.PostForm.Get("refresh_token")]
	}
	return user, ok
}

func (t *Tokens) knows(name, password string) bool {
	user, ok := t.opts.Users[name]
	return ok && subtle.ConstantTimeCompare([]byte(password), []byte(user.Password)) == 1
}

// remember makes a refresh token.
func (t *Tokens) remember(user string) string {
	token := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh[token] = user
	return token
}

func (t *Tokens) note(entry TokenRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.asked) == maxRequests {
		t.asked = append(t.asked[:0], t.asked[1:]...)
	}
	t.asked = append(t.asked, entry)
}
