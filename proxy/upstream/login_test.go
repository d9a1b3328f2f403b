package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// web answers by host, without a socket, and writes down what it was asked.
type web struct {
	mu    sync.Mutex
	hosts map[string]http.HandlerFunc
	got   []string // METHOD URL Authorization
}

func (w *web) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	handler := w.hosts[req.URL.Host]
	w.got = append(w.got, strings.TrimSpace(req.Method+" "+req.URL.String()+" "+req.Header.Get("Authorization")))
	w.mu.Unlock()
	if handler == nil {
		return nil, errors.New("no such host")
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	handler(rec, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

// asked are the requests so far that begin so, and forgets all.
func (w *web) asked(prefix string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []string
	for _, line := range w.got {
		if strings.HasPrefix(line, prefix) {
			found = append(found, line)
		}
	}
	w.got = nil
	return found
}

const (
	home      = "registry.example.com"
	tokenHost = "auth.example.com"
	// aliceBasic is alice with the password wonderland.
	aliceBasic = "Basic YWxpY2U6d29uZGVybGFuZA=="
)

var alice = Secret{Username: "alice", Password: "wonderland"}

// tokens is a token server and the registry that believes it: a registry wants
// a token of the newest generation for the repository.
type tokens struct {
	web
	mu         sync.Mutex
	realm      string
	generation int
	answer     func(w http.ResponseWriter, r *http.Request, token string) // nil: token and expires_in
	life       int                                                        // seconds; 0: not said
	wants      string                                                     // Authorization that the token server wants; "": none
	refuse     bool                                                       // every token
}

func newTokens() *tokens {
	s := &tokens{realm: "https://" + tokenHost + "/token?account=x", life: 300, wants: aliceBasic}
	s.hosts = map[string]http.HandlerFunc{home: s.registry, tokenHost: s.give}
	return s
}

func (s *tokens) give(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != s.wants {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "not "+r.Header.Get("Authorization"))
		return
	}
	token := fmt.Sprintf("%s#%d", strings.Join(r.URL.Query()["scope"], ","), s.generation)
	switch {
	case s.answer != nil:
		s.answer(w, r, token)
	case s.life == 0:
		fmt.Fprintf(w, `{"access_token": %q}`, token)
	default:
		fmt.Fprintf(w, `{"token": %q, "expires_in": %d}`, token, s.life)
	}
}

func (s *tokens) registry(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(r.URL.Path, "/")
	scope := "repository:" + strings.Join(parts[2:len(parts)-2], "/") + ":pull"
	if r.Header.Get("Authorization") == fmt.Sprintf("Bearer %s#%d", scope, s.generation) && !s.refuse {
		return
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="registry",scope="%s,push"`, s.realm, scope))
	w.WriteHeader(http.StatusUnauthorized)
}

// revoke makes all tokens so far worthless.
func (s *tokens) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
}

// login is alice's at the registry, with auth.example.com among its realms.
func login(t *testing.T, w http.RoundTripper, change ...func(*LoginOptions)) http.RoundTripper {
	t.Helper()
	opts := LoginOptions{
		Server:  &url.URL{Scheme: "https", Host: home},
		Secrets: func(context.Context, bool) (Secret, error) { return alice, nil },
		Realms:  []string{tokenHost},
		Home:    w,
	}
	for _, f := range change {
		f(&opts)
	}
	l := NewLogin(opts)
	t.Cleanup(l.Close)
	return l.Over(w)
}

func anonymous(o *LoginOptions) { o.Secrets = nil }

// read asks for a path of the registry and returns the status, 0 with an error.
func read(t *testing.T, via http.RoundTripper, path string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+home+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := via.RoundTrip(req)
	if len(req.Header) != 0 {
		t.Errorf("the caller's request became %v", req.Header)
	}
	if err != nil {
		for _, secret := range []string{"wonderland", "YWxpY2U", "repository:"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells a secret: %v", err)
			}
		}
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

func wantStatus(t *testing.T, via http.RoundTripper, path string, want int) {
	t.Helper()
	if got, err := read(t, via, path); got != want || err != nil {
		t.Fatalf("%s: got %d, %v, want %d", path, got, err, want)
	}
}

func wantAsked(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("asked\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

const (
	manifest    = "/v2/team/app/manifests/1.0"
	registryURL = "GET https://" + home
	tokenURL    = "GET https://" + tokenHost
	teamToken   = "GET https://" + tokenHost + "/token?account=x&scope=repository%3Ateam%2Fapp%3Apull&service=registry " + aliceBasic
	teamBearer  = "Bearer repository:team/app:pull#0"
	askedFirst  = registryURL + manifest
)

func TestATokenIsFetchedForTheChallengeAndKept(t *testing.T) {
	s := newTokens()
	via := login(t, s)
	wantStatus(t, via, manifest, 200)
	wantAsked(t, s.asked(""), askedFirst, teamToken, askedFirst+" "+teamBearer)
	wantStatus(t, via, manifest, 200)
	wantStatus(t, via, "/v2/team/app/blobs/sha256:a", 200)
	wantAsked(t, s.asked(""), askedFirst+" "+teamBearer, registryURL+"/v2/team/app/blobs/sha256:a "+teamBearer)
	wantStatus(t, via, "/v2/other/manifests/1", 200)
	if got := s.asked(tokenURL); len(got) != 1 || !strings.Contains(got[0], "scope=repository%3Aother%3Apull&") {
		t.Errorf("for another repository asked %q", got)
	}
}

func TestATokenServerOnTheRegistrysOwnHostNeedsNoPermission(t *testing.T) {
	s := newTokens()
	s.hosts[home] = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			s.give(w, r)
			return
		}
		s.registry(w, r)
	}
	for _, realm := range []string{"https://" + home + "/token", "https://REGISTRY.example.com:443/token"} {
		s.hosts["REGISTRY.example.com:443"] = s.hosts[home]
		s.realm = realm
		wantStatus(t, login(t, s, func(o *LoginOptions) { o.Realms = nil }), manifest, 200)
	}
}

func TestNobodysTokensAreFetchedWithoutCredentials(t *testing.T) {
	s := newTokens()
	s.wants = ""
	wantStatus(t, login(t, s, anonymous), manifest, 200)
	wantAsked(t, s.asked(tokenURL), strings.TrimSuffix(teamToken, " "+aliceBasic))
}

func TestBasicIsLearnedFromTheChallenge(t *testing.T) {
	w := &web{}
	w.hosts = map[string]http.HandlerFunc{home: func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != aliceBasic {
			rw.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}}
	via := login(t, w)
	wantStatus(t, via, manifest, 200)
	wantStatus(t, via, "/v2/other/tags/list", 200)
	wantAsked(t, w.asked(""), askedFirst, askedFirst+" "+aliceBasic, registryURL+"/v2/other/tags/list "+aliceBasic)
	wantStatus(t, login(t, w, anonymous), manifest, 401)
	wantAsked(t, w.asked(""), askedFirst)
}

func TestAPasswordThatChangesIsUsedAtOnce(t *testing.T) {
	password := "old"
	w := &web{}
	w.hosts = map[string]http.HandlerFunc{home: func(rw http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != "new" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}}
	again := 0
	via := login(t, w, func(o *LoginOptions) {
		o.Secrets = func(_ context.Context, refused bool) (Secret, error) {
			if refused {
				again++
			}
			return Secret{Username: "alice", Password: password}, nil
		}
	})
	wantStatus(t, via, manifest, 401)
	if got := len(w.asked("")); got != 2 {
		t.Errorf("%d requests with a wrong password, want the one without and one with", got)
	}
	wantStatus(t, via, manifest, 401)
	if got := len(w.asked("")); got != 1 || again != 1 {
		t.Errorf("%d requests with a password that was refused, %d questions for another", got, again)
	}
	password = "new"
	wantStatus(t, via, manifest, 200)
}

func TestTheBetterOfSeveralChallengesIsAnswered(t *testing.T) {
	for _, tt := range []struct {
		name, realm string
		want        string // Authorization
	}{
		{"Bearer before Basic", "https://" + tokenHost + "/token", "Bearer repository:a:pull#0"},
		{"Basic where the realm is refused", "https://evil.example/token", aliceBasic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTokens()
			s.hosts[home] = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != tt.want {
					w.Header().Add("WWW-Authenticate", `Basic realm="r", Digest nonce="x"`)
					w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service=s,scope="repository:a:pull"`, tt.realm))
					w.WriteHeader(http.StatusUnauthorized)
				}
			}
			wantStatus(t, login(t, s), "/v2/a/manifests/1", 200)
		})
	}
}

func TestA401ThatCannotBeAnsweredIsTheServers(t *testing.T) {
	for _, header := range []string{"", "Negotiate", "garbage=", `Bearer realm="`} {
		w := &web{}
		w.hosts = map[string]http.HandlerFunc{home: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", header)
			rw.WriteHeader(http.StatusUnauthorized)
		}}
		wantStatus(t, login(t, w), manifest, 401)
		wantAsked(t, w.asked(""), askedFirst)
	}
}

func TestOtherServersGetNoCredentials(t *testing.T) {
	w := &web{}
	hosts := []string{"other.example.com", home + ":444", "x" + home}
	w.hosts = map[string]http.HandlerFunc{home: func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}}
	for _, host := range hosts {
		w.hosts[host] = func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}
	via := login(t, w)
	wantStatus(t, via, manifest, 200)
	w.asked("")
	for _, target := range []string{"https://" + hosts[0], "https://" + hosts[1], "https://" + hosts[2], "http://" + home} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, target+"/", nil)
		if resp, err := via.RoundTrip(req); err != nil || resp.StatusCode != 401 {
			// http://home is answered by the same handler, and gets nothing either.
			t.Errorf("%s: got %v, %v", target, resp, err)
		}
		wantAsked(t, w.asked(""), "GET "+target+"/")
	}
}

func TestNothingIsWrittenInOurName(t *testing.T) {
	s := newTokens()
	via := login(t, s)
	wantStatus(t, via, manifest, 200) // there is a token
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		s.asked("")
		req, _ := http.NewRequestWithContext(t.Context(), method, "https://"+home+manifest, strings.NewReader("{}"))
		if resp, err := via.RoundTrip(req); err != nil || resp.StatusCode != 401 {
			t.Errorf("got %v, %v", resp, err)
		}
		wantAsked(t, s.asked(""), method+" https://"+home+manifest)
	}
}

func TestATokenIsUsedWhileItLives(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		life                 int
		kept, renewed, ended time.Duration // it is used alone; used, and a new one fetched; waited for
	}{
		{"five minutes", 300, 224 * time.Second, 230 * time.Second, 295 * time.Second},
		{"a minute, where nothing is said", 0, 44 * time.Second, 46 * time.Second, 55 * time.Second},
		{"a second", 1, 700 * time.Millisecond, 800 * time.Millisecond, 950 * time.Millisecond},
		{"a year is a day", 365 * 24 * 3600, 17 * time.Hour, 19 * time.Hour, 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for age, want := range map[time.Duration]string{tt.kept: "#0", tt.renewed: "#0", tt.ended: "#1"} {
				synctest.Test(t, func(t *testing.T) {
					s := newTokens()
					s.life = tt.life
					via := login(t, s)
					wantStatus(t, via, manifest, 200)
					s.asked("")
					time.Sleep(age)
					var with string
					s.hosts[home] = func(_ http.ResponseWriter, r *http.Request) { with = r.Header.Get("Authorization") }
					s.revoke()
					wantStatus(t, via, manifest, 200)
					synctest.Wait()
					fetched := len(s.asked(tokenURL))
					if !strings.HasSuffix(with, want) || (fetched == 1) != (age != tt.kept) {
						t.Errorf("after %s sent %q and fetched %d tokens", age, with, fetched)
					}
				})
			}
		})
	}
}

func TestATokenThatIsRefusedIsFetchedOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		via := login(t, s)
		wantStatus(t, via, manifest, 200)
		s.revoke()
		s.asked("")
		wantStatus(t, via, manifest, 200)
		wantAsked(t, s.asked(""), askedFirst+" "+teamBearer, teamToken, askedFirst+" Bearer repository:team/app:pull#1")

		s.refuse = true
		wantStatus(t, via, manifest, 401)
		if got := s.asked(tokenURL); len(got) != 1 {
			t.Errorf("fetched %d tokens", len(got))
		}
		for range 5 { // no storm: the registry's no is final for a while
			wantStatus(t, via, manifest, 401)
		}
		if got := s.asked(""); len(got) != 5 {
			t.Errorf("asked %q", got)
		}
		time.Sleep(failurePause)
		s.refuse = false
		wantStatus(t, via, manifest, 200)
	})
}

func TestAFirstTokenThatIsRefusedIsTheEnd(t *testing.T) {
	s := newTokens()
	s.refuse = true
	via := login(t, s)
	wantStatus(t, via, manifest, 401)
	if got := s.asked(""); len(got) != 3 {
		t.Errorf("asked %q", got)
	}
	wantStatus(t, via, manifest, 401)
	if got := s.asked(""); len(got) != 1 {
		t.Errorf("then asked %q", got)
	}
}

func TestOneTokenIsFetchedAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		give := s.hosts[tokenHost]
		s.hosts[tokenHost] = func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			give(w, r)
		}
		via := login(t, s)
		var done sync.WaitGroup
		for range 20 {
			done.Go(func() {
				if got, err := read(t, via, manifest); got != 200 || err != nil {
					t.Errorf("got %d, %v", got, err)
				}
			})
		}
		hungUp, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		req, _ := http.NewRequestWithContext(hungUp, http.MethodGet, "https://"+home+manifest, nil)
		if _, err := via.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one who hangs up got %v", err)
		}
		done.Wait()
		if got := s.asked(tokenURL); len(got) != 1 {
			t.Errorf("fetched %d tokens", len(got))
		}
	})
}

func TestATokenServerThatNeverAnswersIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		s.hosts[tokenHost] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		via := login(t, s)
		start := time.Now()
		_, err := read(t, via, manifest)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != tokenTimeout {
			t.Errorf("got %v after %s", err, took)
		}
	})
}

func TestClosingEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		s.hosts[tokenHost] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		l := NewLogin(LoginOptions{Server: &url.URL{Scheme: "https", Host: home}, Realms: []string{tokenHost}, Home: s})
		time.AfterFunc(time.Second, l.Close)
		start := time.Now()
		if _, err := read(t, l.Over(s), manifest); err == nil || time.Since(start) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}

func TestAnIdentityTokenIsPosted(t *testing.T) {
	s := newTokens()
	var form url.Values
	var got *http.Request
	s.hosts[tokenHost] = func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		_ = r.ParseForm()
		form = r.PostForm
		_, _ = io.WriteString(w, `{"access_token": "repository:team/app:pull#0", "expires_in": 60, "scope": "x", "refresh_token": "other"}`)
	}
	via := login(t, s, func(o *LoginOptions) {
		o.Secrets = func(context.Context, bool) (Secret, error) {
			return Secret{Username: "<token>", IdentityToken: "identity"}, nil
		}
	})
	wantStatus(t, via, manifest, 200)
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"identity"}, "client_id": {"sealgate"}, "service": {"registry"}, "scope": {"repository:team/app:pull"}}
	if got.Method != http.MethodPost || got.Header.Get("Authorization") != "" || form.Encode() != want.Encode() {
		t.Errorf("got %s %v", got.Method, form)
	}
	if strings.Contains(got.URL.String(), "identity") {
		t.Error("the identity token is in the address")
	}
}

func TestARegistryTokenNeedsNoTokenServer(t *testing.T) {
	s := newTokens()
	via := login(t, s, func(o *LoginOptions) {
		o.Secrets = func(context.Context, bool) (Secret, error) {
			return Secret{RegistryToken: "repository:team/app:pull#0"}, nil
		}
	})
	wantStatus(t, via, manifest, 200)
	wantAsked(t, s.asked(""), askedFirst, askedFirst+" "+teamBearer)
}

func TestASecretThatTheTokenServerRefusesIsLookedUpAnew(t *testing.T) {
	s := newTokens()
	via := login(t, s, func(o *LoginOptions) {
		o.Secrets = func(_ context.Context, again bool) (Secret, error) {
			if again {
				return alice, nil
			}
			return Secret{Username: "alice", Password: "old"}, nil
		}
	})
	wantStatus(t, via, manifest, 200)
	if got := s.asked(tokenURL); len(got) != 2 {
		t.Errorf("asked %q", got)
	}
}

func TestTokenServersThatGiveNoToken(t *testing.T) {
	says := func(status int, body string, header ...string) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, _ *http.Request, _ string) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, string)
		public string
		pause  time.Duration
	}{
		{"403", says(403, "wonderland"), "its token server refused the credentials that sealgate has", failurePause},
		{"500", says(500, "wonderland"), "its token server gave no token", failurePause},
		{"a redirect", says(307, "", "Location", "https://evil.example/token"), "its token server gave no token", failurePause},
		{"too many requests", says(429, "", "Retry-After", "20"), "its token server limits the rate of requests", 20 * time.Second},
		{"too many requests, for a year", says(429, "", "Retry-After", "31536000"), "its token server limits the rate of requests", time.Minute},
		{"too many requests, until a date", says(429, "", "Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), "its token server limits the rate of requests", failurePause},
		{"no JSON", says(200, "<html>wonderland"), "its token server gave no token", failurePause},
		{"no token", says(200, `{"expires_in": 60}`), "its token server gave no token", failurePause},
		{"another kind of value", says(200, `{"token": ["wonderland"]}`), "its token server gave no token", failurePause},
		{"a token with a newline", says(200, `{"token": "a\nAuthorization: wonderland"}`), "its token server gave no token", failurePause},
		{"a token with a blank", says(200, `{"token": "a wonderland"}`), "its token server gave no token", failurePause},
		{"a token that is too long", says(200, `{"token": "`+strings.Repeat("x", maxToken+1)+`"}`), "its token server gave no token", failurePause},
		{"an answer that is too long", says(200, `{"token": "a", "x": "`+strings.Repeat("x", maxAnswer)+`"}`), "its token server gave no token", failurePause},
		{"deep nesting", says(200, strings.Repeat("[", maxAnswer)), "its token server gave no token", failurePause},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTokens()
				s.answer = tt.answer
				via := login(t, s)
				_, err := read(t, via, manifest)
				var failed *LoginError
				if !errors.As(err, &failed) || failed.Public() != tt.public || strings.Contains(failed.Error(), "<html") || !strings.Contains(failed.Error(), tokenHost) {
					t.Fatalf("got %v", err)
				}
				for range 3 { // it is left alone for a while
					if _, err := read(t, via, manifest); !errors.As(err, &failed) {
						t.Errorf("then got %v", err)
					}
				}
				if got := s.asked(tokenURL); len(got) != 1 {
					t.Errorf("fetched %d times", len(got))
				}
				time.Sleep(tt.pause - time.Millisecond)
				_, _ = read(t, via, manifest)
				if got := s.asked(tokenURL); len(got) != 0 {
					t.Errorf("fetched %q before its time", got)
				}
				time.Sleep(time.Millisecond)
				s.answer = nil
				wantStatus(t, via, manifest, 200)
			})
		})
	}
}

func TestATokenThatIsKeptOutlivesATokenServerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		via := login(t, s)
		wantStatus(t, via, manifest, 200)
		s.asked("")
		s.hosts[tokenHost] = nil
		time.Sleep(230 * time.Second)
		for range 4 {
			wantStatus(t, via, manifest, 200)
			synctest.Wait()
		}
		if got := s.asked(tokenURL); len(got) != 1 {
			t.Errorf("fetched %d times", len(got))
		}
		time.Sleep(2 * failurePause)
		wantStatus(t, via, manifest, 200)
		synctest.Wait()
		if got := s.asked(tokenURL); len(got) != 1 {
			t.Errorf("then fetched %d times", len(got))
		}
	})
}

func TestCredentialsThatCannotBeReadAreAnError(t *testing.T) {
	for _, challenge := range []string{`Basic realm="r"`, `Bearer realm="https://` + tokenHost + `/token"`} {
		w := &web{}
		w.hosts = map[string]http.HandlerFunc{home: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", challenge)
			rw.WriteHeader(http.StatusUnauthorized)
		}}
		via := login(t, w, func(o *LoginOptions) {
			o.Secrets = func(context.Context, bool) (Secret, error) { return Secret{}, errors.New("/run/password is gone") }
		})
		_, err := read(t, via, manifest)
		var failed *LoginError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "/run/password is gone") || strings.Contains(failed.Public(), "/run") {
			t.Errorf("got %v", err)
		}
	}
}

func TestAPanicOfAFetchIsAnError(t *testing.T) {
	s := newTokens()
	via := login(t, s, func(o *LoginOptions) {
		o.Secrets = func(context.Context, bool) (Secret, error) { panic("oops") }
	})
	if _, err := read(t, via, manifest); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("got %v", err)
	}
}

func TestTheNumberOfTokensIsBounded(t *testing.T) {
	s := newTokens()
	l := NewLogin(LoginOptions{Server: &url.URL{Scheme: "https", Host: home}, Realms: []string{tokenHost}, Home: s,
		Secrets: func(context.Context, bool) (Secret, error) { return alice, nil }})
	defer l.Close()
	via := l.Over(s)
	for i := range maxGrants + 10 {
		wantStatus(t, via, fmt.Sprintf("/v2/r%d/manifests/1", i), 200)
	}
	if l.grants.Len() != maxGrants {
		t.Errorf("%d tokens are kept", l.grants.Len())
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	s := Secret{Username: "alice", Password: "wonderland", IdentityToken: "identity", RegistryToken: "token"}
	text, _ := s.MarshalText()
	for _, printed := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%v", &s), string(text), fmt.Sprint([]Secret{s})} {
		if strings.Contains(printed, "alice") || strings.Contains(printed, "wonderland") || strings.Contains(printed, "token") && !strings.Contains(printed, "credentials") {
			t.Errorf("printed %q", printed)
		}
	}
}
