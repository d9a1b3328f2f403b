package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// bob is known to the token service, and may read team/other.
var bob = registryUser{name: "bob", password: "builder"}

// teamTokens lets alice do all, bob read team/other, and everybody read what is
// below public.
func teamTokens() *sandbox.TokenOptions {
	return &sandbox.TokenOptions{
		Public: sandbox.Rights{"public/*": {"pull"}},
		Users: map[string]sandbox.TokenUser{
			alice.name: {Password: alice.password, Rights: sandbox.Rights{"*": {"pull", "push", "delete"}}},
			bob.name:   {Password: bob.password, Rights: sandbox.Rights{"team/other": {"pull"}}},
		},
	}
}

// tokenWorld has a registry before which tokens are needed, and a signed and an
// unsigned tag in each of team/app and public/app.
func tokenWorld(t *testing.T, o registryOptions) (*world, pushed) {
	t.Helper()
	return tokenWorldWith(t, o, teamTokens())
}

// tokenWorldWith is tokenWorld with a token service of one's own.
func tokenWorldWith(t *testing.T, o registryOptions, tokens *sandbox.TokenOptions) (*world, pushed) {
	t.Helper()
	o.user, o.tokens = &alice, tokens
	w := ownWorld(t, o)
	image := w.mustSay(t, "team/app", "signed", "signed words")
	w.mustSay(t, "public/app", "signed", "signed words")
	for _, repository := range []string{"team/app", "public/app"} {
		w.mustSay(t, repository, "unsigned", "unsigned words")
		w.mustBegin(t, repository)
		w.mustSign(t, repository, "signed", image)
	}
	return w, image
}

// bearer is the header with a token for user ("" for nobody) of this lifetime.
func (w *world) bearer(t *testing.T, user string, lifetime time.Duration, scopes ...string) http.Header {
	t.Helper()
	return http.Header{"Authorization": {"Bearer " + must(w.tokens.Token(user, lifetime, scopes...))(t)}}
}

const (
	pullTeam   = "repository:team/app:pull"
	pullPublic = "repository:public/app:pull"
)

func TestTokensOpenTheirRepositoryAndNoOther(t *testing.T) {
	w, image := tokenWorld(t, registryOptions{})
	w.mustOpen(t, nil)
	for _, test := range []struct {
		name, repository string
		header           http.Header
		status           int
	}{
		{"a private repository, without a token", "team/app", nil, 401},
		{"a private repository, with its token", "team/app", w.bearer(t, "alice", time.Hour, pullTeam), 200},
		{"a private repository, with another's token", "team/app", w.bearer(t, "bob", time.Hour, pullTeam, "repository:team/other:pull"), 401},
		{"a private repository, with everybody's token", "team/app", w.bearer(t, "", time.Hour, pullTeam, pullPublic), 401},
		{"a private repository, with a token for another", "team/app", w.bearer(t, "alice", time.Hour, "repository:team/other:pull"), 401},
		{"a private repository, with a token that expired", "team/app", w.bearer(t, "alice", -time.Hour, pullTeam), 401},
		{"a private repository, with no token at all as one", "team/app", http.Header{"Authorization": {"Bearer guessed"}}, 401},
		{"a public repository, without a token", "public/app", nil, 401},
		{"a public repository, with everybody's token", "public/app", w.bearer(t, "", time.Hour, pullPublic), 200},
		{"a public repository, with a token that expired", "public/app", w.bearer(t, "", -time.Hour, pullPublic), 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second time what alice's request left behind is there
				path := "/v2/" + test.repository
				a := w.do(t, request{path: path + "/manifests/signed", header: test.header})
				if test.status == 200 {
					wantServed(t, a, image)
					wantRefused(t, w.do(t, request{path: path + "/manifests/unsigned", header: test.header}), 404, "MANIFEST_UNKNOWN", noTrustData(w, test.repository, "unsigned"))
					wantTags(t, tagsIn(t, w.do(t, request{path: path + "/tags/list", header: test.header})), "signed")
					return
				}
				if a.status != test.status || a.header.Get("WWW-Authenticate") == "" {
					t.Fatalf("want %d with a challenge, got %v", test.status, a)
				}
			}
		})
	}
}

// sameAnswer fails unless the two answers are the same but for a request's own
// name and the time.
func sameAnswer(t *testing.T, a, b answer) {
	t.Helper()
	for _, own := range []string{"X-Request-Id", "Date"} {
		a.header.Del(own)
		b.header.Del(own)
	}
	for _, name := range slices.Concat(keys(a.header), keys(b.header)) {
		if !slices.Equal(a.header[name], b.header[name]) {
			t.Errorf("%s: got %q and %q", name, a.header[name], b.header[name])
		}
	}
	if a.status != b.status || a.body != b.body {
		t.Errorf("got %v\nand %v", a, b)
	}
}

func keys(h http.Header) []string {
	var all []string
	for name := range h {
		all = append(all, name)
	}
	return all
}

// To somebody without rights a signed, an unsigned and an absent tag, and a
// repository that there is not, look alike.
func TestSignedAndUnsignedLookAlikeToWhoMayNotRead(t *testing.T) {
	w, image := tokenWorld(t, registryOptions{})
	w.mustOpen(t, nil)
	alices := w.bearer(t, "alice", time.Hour, pullTeam)
	wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/signed", header: alices}), image) // is in memory now
	for _, test := range []struct {
		name   string
		header http.Header
	}{
		{"nobody", nil},
		{"another", w.bearer(t, "bob", time.Hour, pullTeam, "repository:team/other:pull")},
		{"everybody's token", w.bearer(t, "", time.Hour, pullTeam)},
		{"an expired token", w.bearer(t, "alice", -time.Hour, pullTeam)},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(test.name+" "+method, func(t *testing.T) {
				ask := func(reference string) answer {
					return w.do(t, request{method: method, path: "/v2/team/app/manifests/" + reference, header: test.header})
				}
				signed := ask("signed")
				if signed.status != http.StatusUnauthorized {
					t.Fatalf("want 401, got %v", signed)
				}
				sameAnswer(t, signed, ask("unsigned"))
				sameAnswer(t, signed, ask("absent"))
			})
		}
	}
}
