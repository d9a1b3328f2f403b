package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRealmsThatAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, realm, says string }{
		{"another host", "https://evil.example/token", `"evil.example": where that is right, add it to realms`},
		{"a host that ends alike", "https://xauth.example.com/token", "realms"},
		{"a host that begins alike", "https://auth.example.com.evil.example/token", "realms"},
		{"a listed host with a dot at its end", "https://auth.example.com./token", "realms"},
		{"a listed host as user name", "https://auth.example.com@evil.example/token", "user name"},
		{"a user name", "https://u:p@auth.example.com/token", "user name"},
		{"another port than the one listed", "https://ported.example.com/token", "realms"},
		{"the server's own host on another port", "https://registry.example.com:8443/token", "realms"},
		{"http", "http://auth.example.com/token", "not https"},
		{"http on the server's own host", "http://registry.example.com/token", "not https"},
		{"another scheme", "ftp://auth.example.com/token", "not https"},
		{"a file", "file:///etc/passwd", "absolute"},
		{"a fragment", "https://auth.example.com/token#x", "fragment"},
		{"an empty fragment", "https://auth.example.com/token#", "fragment"},
		{"a path", "/token", "absolute"},
		{"a host without a scheme", "auth.example.com/token", "absolute"},
		{"no scheme", "//auth.example.com/token", "not https"},
		{"opaque", "https:auth.example.com", "absolute"},
		{"no address", "https://auth example com/", "absolute"},
		{"none", "", "0 bytes"},
		{"the inside of the network", "https://169.254.169.254/latest/", "realms"},
		{"one that is too long", "https://auth.example.com/" + strings.Repeat("x", maxRealm), "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTokens()
			s.realm = tt.realm
			secrets := 0
			via := login(t, s, func(o *LoginOptions) {
				o.Realms = []string{tokenHost, "ported.example.com:8443"}
				o.Secrets = func(context.Context, bool) (Secret, error) { secrets++; return alice, nil }
			})
			_, err := read(t, via, manifest)
			var failed *LoginError
			if !errors.Is(err, ErrRealm) || !errors.As(err, &failed) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(failed.Public(), "evil") {
				t.Errorf("clients are told of %q", failed.Public())
			}
			wantAsked(t, s.asked(""), askedFirst)
			if secrets != 0 {
				t.Error("the secret was looked up")
			}
		})
	}
}

func TestRealmsOfAPlainRegistry(t *testing.T) {
	l := NewLogin(LoginOptions{Server: &url.URL{Scheme: "http", Host: "127.0.0.1:5000"}, Realms: []string{tokenHost}, Home: http.DefaultTransport})
	defer l.Close()
	for realm, ok := range map[string]bool{
		"http://127.0.0.1:5000/token":   true,
		"https://127.0.0.1:5000/token":  false, // another server, as far as anybody can tell
		"http://auth.example.com/token": true,
		"https://auth.example.com/t":    true,
		"http://127.0.0.1:5001/token":   false,
	} {
		if _, err := l.realm(realm); (err == nil) != ok {
			t.Errorf("%s: %v", realm, err)
		}
	}
}

func TestOnlyReadingIsAskedFor(t *testing.T) {
	for scope, want := range map[string]string{
		"":                                  "",
		"repository:a/b:pull":               "repository:a/b:pull",
		"repository:a/b:pull,push,delete,*": "repository:a/b:pull",
		"repository:a/b:push":               "",
		"repository(plugin):a:pull":         "repository(plugin):a:pull",
		"repository:host:5000/a:push,pull":  "repository:host:5000/a:pull",
		"repository:a:pull repository:b:pull,push registry:catalog:*": "repository:a:pull repository:b:pull",
		"repository:a:metadata_read":                                  "repository:a:metadata_read",
		"garbage":                                                     "",
		"repository:" + strings.Repeat("a", maxRealm) + ":pull":       "",
	} {
		if got := readScope(scope); got != want {
			t.Errorf("%q became %q, want %q", scope, got, want)
		}
	}
}

func TestWhereAnybodyAsksForAToken(t *testing.T) {
	const scoped = `service="s",scope="repository:a/b:pull"`
	long := strings.Repeat("x", maxRealm)
	for _, tt := range []struct {
		name, server string
		challenges   []string
		want         string
	}{
		{"any host", "https", []string{`Bearer realm="https://auth.example.com/token",` + scoped}, "https://auth.example.com/token?scope=repository%3Aa%2Fb%3Apull&service=s"},
		{"a realm with a query", "https", []string{`Bearer realm="https://auth.example.com/token?a=1",service="s"`}, "https://auth.example.com/token?a=1&service=s"},
		{"a realm alone", "https", []string{`bearer realm="https://auth.example.com/token"`}, "https://auth.example.com/token"},
		{"after Basic", "https", []string{`Basic realm="r"`, `Bearer realm="https://auth.example.com/token"`}, "https://auth.example.com/token"},
		{"after a realm that is refused", "https", []string{`Bearer realm="ftp://auth.example.com/", Bearer realm="https://auth.example.com/token"`}, "https://auth.example.com/token"},
		{"http where the server is asked so", "http", []string{`Bearer realm="http://auth.example.com/token"`}, "http://auth.example.com/token"},
		{"http elsewhere", "https", []string{`Bearer realm="http://auth.example.com/token"`}, ""},
		{"a user name", "https", []string{`Bearer realm="https://u:p@auth.example.com/token"`}, ""},
		{"a file", "http", []string{`Bearer realm="file:///etc/passwd"`}, ""},
		{"a realm that is too long", "https", []string{`Bearer realm="https://auth.example.com/` + long + `"`}, ""},
		{"a realm in the value of another parameter", "https", []string{`Bearer error="realm=\"https://auth.example.com/\""`}, ""},
		{"a challenge in bad form", "https", []string{`Bearer realm="https://auth.example.com/token`}, ""},
		{"Basic alone", "https", []string{`Basic realm="https://auth.example.com/token"`}, ""},
		{"none", "https", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if u := TokenURL(&url.URL{Scheme: tt.server, Host: "registry.example.com"}, http.Header{"Www-Authenticate": tt.challenges}); u != nil {
				got = u.String()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
