package sandbox

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func tokenService(t *testing.T, lifetime time.Duration) *Tokens {
	t.Helper()
	tokens, err := NewTokens(TokenOptions{
		Service: "registry", Issuer: "sandbox", Lifetime: lifetime,
		Public: Rights{"public/*": {"pull"}},
		Users: map[string]TokenUser{
			"alice": {Password: "wonderland", Rights: Rights{"team/app": {"pull", "push"}}},
			"root":  {Password: "toor", Rights: Rights{"*": {"pull", "push", "delete"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// claims checks a token's signature with the service's certificate and reads it.
func claims(t *testing.T, tokens *Tokens, token string) (c struct {
	Iss, Sub, Aud string
	Exp           int64
	Access        []tokenAccess
}) {
	t.Helper()
	block, _ := pem.Decode(tokens.CertificatePEM())
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], signature); err != nil {
		t.Fatal(err)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// asToken sends a request to the service and returns the token and the refresh
// token in its answer.
func asToken(t *testing.T, tokens *Tokens, r *http.Request) (status int, token, refresh string) {
	t.Helper()
	w := httptest.NewRecorder()
	tokens.ServeHTTP(w, r)
	var body struct {
		Token        string
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int    `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if body.Token != body.AccessToken || w.Code == http.StatusOK && body.ExpiresIn < 1 {
		t.Errorf("got %s", w.Body)
	}
	return w.Code, body.Token, body.RefreshToken
}

func form(values url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestTokensGrantWhatTheUserMay(t *testing.T) {
	for _, test := range []struct {
		name, user, password string
		scopes, granted      []string
		status               int
	}{
		{"a public repository, for everybody", "", "", []string{"repository:public/app:pull,push"}, []string{"repository:public/app:pull"}, 200},
		{"a private repository, for nobody", "", "", []string{"repository:team/app:pull"}, nil, 200},
		{"a private repository", "alice", "wonderland", []string{"repository:team/app:pull,push,delete"}, []string{"repository:team/app:pull,push"}, 200},
		{"a neighbour of it", "alice", "wonderland", []string{"repository:team/app2:pull"}, nil, 200},
		{"two at once", "alice", "wonderland", []string{"repository:team/app:pull", "repository:public/a/b:pull"}, []string{"repository:team/app:pull", "repository:public/a/b:pull"}, 200},
		{"the name that Notary has for it", "alice", "wonderland", []string{"repository:127.0.0.1:5000/team/app:pull"}, []string{"repository:127.0.0.1:5000/team/app:pull"}, 200},
		{"removing trust data", "root", "toor", []string{"repository:a.example/team/app:*"}, []string{"repository:a.example/team/app:*"}, 200},
		{"removing it without the right", "alice", "wonderland", []string{"repository:a.example/team/app:*"}, nil, 200},
		{"something else", "root", "toor", []string{"registry:catalog:*", "repository", "repository:a"}, nil, 200},
		{"no scope, at a login", "alice", "wonderland", nil, nil, 200},
		{"a wrong password", "alice", "guessed", []string{"repository:public/app:pull"}, nil, 401},
		{"a stranger", "mallory", "", nil, nil, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			tokens := tokenService(t, 0)
			query := url.Values{"service": {"registry"}, "scope": test.scopes}
			r := httptest.NewRequest(http.MethodGet, "/token?"+query.Encode(), nil)
			if test.user != "" {
				r.SetBasicAuth(test.user, test.password)
			}
			status, token, _ := asToken(t, tokens, r)
			asked := tokens.Asked()
			if status != test.status || len(asked) != 1 || asked[0].Status != status || !reflect.DeepEqual(asked[0].Granted, test.granted) {
				t.Fatalf("got %d and %+v", status, asked)
			}
			if status != http.StatusOK {
				return
			}
			var granted []string
			c := claims(t, tokens, token)
			for _, access := range c.Access {
				granted = append(granted, access.String())
			}
			if c.Iss != "sandbox" || c.Aud != "registry" || c.Sub != test.user || !reflect.DeepEqual(granted, test.granted) || c.Access == nil {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestTokensByOAuth2(t *testing.T) {
	tokens := tokenService(t, 0)
	password := url.Values{"grant_type": {"password"}, "service": {"registry"}, "username": {"alice"}, "password": {"wonderland"},
		"scope": {"repository:team/app:pull repository:public/app:pull"}, "access_type": {"offline"}}
	status, token, refresh := asToken(t, tokens, form(password))
	if status != http.StatusOK || len(claims(t, tokens, token).Access) != 2 || refresh == "" {
		t.Fatalf("got %d and %q", status, refresh)
	}
	again := url.Values{"grant_type": {"refresh_token"}, "service": {"registry"}, "refresh_token": {refresh}, "scope": {"repository:team/app:pull"}}
	if status, token, _ := asToken(t, tokens, form(again)); status != http.StatusOK || claims(t, tokens, token).Sub != "alice" {
		t.Errorf("the refresh token got %d", status)
	}
	for name, wrong := range map[string]url.Values{
		"a wrong password":      {"grant_type": {"password"}, "username": {"alice"}, "password": {"guessed"}},
		"a refresh token of no": {"grant_type": {"refresh_token"}, "refresh_token": {"guessed"}},
		"no grant":              {"username": {"alice"}, "password": {"wonderland"}},
	} {
		if status, token, _ := asToken(t, tokens, form(wrong)); status != http.StatusUnauthorized || token != "" {
			t.Errorf("%s: got %d", name, status)
		}
	}
	if status, _, _ := asToken(t, tokens, httptest.NewRequest(http.MethodPut, "/token", nil)); status != http.StatusMethodNotAllowed {
		t.Errorf("PUT got %d", status)
	}
	huge := form(url.Values{"grant_type": {strings.Repeat("x", maxTokenForm)}})
	if status, _, _ := asToken(t, tokens, huge); status != http.StatusBadRequest {
		t.Errorf("a huge form got %d", status)
	}
}

func TestTokensExpireAsTheyAreTold(t *testing.T) {
	for _, lifetime := range []time.Duration{time.Hour, -time.Hour} {
		tokens := tokenService(t, lifetime)
		_, token, _ := asToken(t, tokens, httptest.NewRequest(http.MethodGet, "/token", nil))
		if left := time.Until(time.Unix(claims(t, tokens, token).Exp, 0)) - lifetime; left.Abs() > time.Minute {
			t.Errorf("a token of %v is off by %v", lifetime, left)
		}
	}
	if _, err := NewTokens(TokenOptions{}); err == nil {
		t.Error("a service without a name was made")
	}
}
