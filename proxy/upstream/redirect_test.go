package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// script answers each request with the next line: a status and a Location.
type script struct {
	answers []string
	got     []*http.Request
	closed  int
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.got = append(s.got, req)
	if len(s.got) > len(s.answers) {
		return nil, errors.New("one request too many")
	}
	var status int
	text, location, found := strings.Cut(s.answers[len(s.got)-1], " ")
	fmt.Sscan(text, &status)
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: s, Request: req}
	if found {
		resp.Header.Set("Location", location)
	}
	return resp, nil
}

func (s *script) Read([]byte) (int, error) { return 0, io.EOF }

func (s *script) Close() error { s.closed++; return nil }

func request(t *testing.T, method, target string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Accept": "a/b", "User-Agent": "sealgate", "Authorization": "Bearer secret", "Cookie": "a=b", "Range": "bytes=0-1", "If-Range": "y", "If-None-Match": "x"} {
		req.Header.Set(name, value)
	}
	return req
}

func TestRedirectsThatAreFollowed(t *testing.T) {
	hosts := []string{"cdn.example.com", "other.example.com:8443"}
	for _, tt := range []struct {
		name    string
		answers []string
		want    []string
	}{
		{"none", []string{"200"}, nil},
		{"a refusal", []string{"404"}, nil},
		{"301", []string{"301 https://cdn.example.com/a", "200"}, []string{"https://cdn.example.com/a"}},
		{"302", []string{"302 https://cdn.example.com/a", "200"}, []string{"https://cdn.example.com/a"}},
		{"303", []string{"303 https://cdn.example.com/a", "200"}, []string{"https://cdn.example.com/a"}},
		{"307", []string{"307 https://cdn.example.com/a?sig=%2F", "200"}, []string{"https://cdn.example.com/a?sig=%2F"}},
		{"308", []string{"308 https://cdn.example.com/a", "404"}, []string{"https://cdn.example.com/a"}},
		{"a listed host on any port", []string{"307 https://cdn.example.com:444/a", "200"}, []string{"https://cdn.example.com:444/a"}},
		{"a listed host with its port", []string{"307 https://other.example.com:8443/a", "200"}, []string{"https://other.example.com:8443/a"}},
		{"a host in capitals", []string{"307 https://CDN.example.com/a", "200"}, []string{"https://CDN.example.com/a"}},
		{"no scheme", []string{"307 //cdn.example.com/a", "200"}, []string{"https://cdn.example.com/a"}},
		{"a fragment is dropped", []string{"307 https://cdn.example.com/a#b", "200"}, []string{"https://cdn.example.com/a"}},
		{"a path on the host that redirected", []string{"307 https://cdn.example.com/a/b", "307 ../c", "200"}, []string{"https://cdn.example.com/a/b", "https://cdn.example.com/c"}},
		{"three in a row", []string{"307 https://cdn.example.com/1", "307 https://cdn.example.com/2", "307 https://cdn.example.com/3", "200"}, []string{"https://cdn.example.com/1", "https://cdn.example.com/2", "https://cdn.example.com/3"}},
		{"300 is none", []string{"300 https://cdn.example.com/a"}, nil},
		{"304 is none", []string{"304 https://cdn.example.com/a"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				s := &script{answers: tt.answers}
				resp, err := (&Follower{Transport: s, Hosts: hosts}).RoundTrip(request(t, method, "https://registry.example.com/v2/"))
				if err != nil {
					t.Fatal(err)
				}
				if want := s.answers[len(s.answers)-1][:3]; fmt.Sprint(resp.StatusCode) != want || len(s.got) != 1+len(tt.want) {
					t.Fatalf("got %d after %d requests", resp.StatusCode, len(s.got))
				}
				if s.closed != len(tt.want) {
					t.Errorf("%d bodies were closed, want those of the %d redirects", s.closed, len(tt.want))
				}
				if s.got[0].Header.Get("Authorization") == "" {
					t.Error("the first request lost its credentials")
				}
				for i, req := range s.got[1:] {
					if req.URL.String() != tt.want[i] || req.Method != method {
						t.Errorf("followed with %s to %s, want %s", req.Method, req.URL, tt.want[i])
					}
					want := http.Header{"Accept": {"a/b"}, "User-Agent": {"sealgate"}, "Range": {"bytes=0-1"}, "If-Range": {"y"}}
					if !reflect.DeepEqual(req.Header, want) || req.Host != "" {
						t.Errorf("followed with the headers %v", req.Header)
					}
					if req.Context() != s.got[0].Context() {
						t.Error("followed without the request's deadline")
					}
				}
			}
		})
	}
}

func TestRedirectsThatAreRefused(t *testing.T) {
	loop := "307 https://cdn.example.com/a"
	for _, tt := range []struct {
		name, from string
		answers    []string
	}{
		{"another host", "https://registry.example.com/", []string{"307 https://evil.example/"}},
		{"a host that ends alike", "https://registry.example.com/", []string{"307 https://xcdn.example.com/"}},
		{"a host that begins alike", "https://registry.example.com/", []string{"307 https://cdn.example.com.evil.example/"}},
		{"a listed host as user name", "https://registry.example.com/", []string{"307 https://cdn.example.com@evil.example/"}},
		{"a user name", "https://registry.example.com/", []string{"307 https://u:p@cdn.example.com/"}},
		{"the listed host on another port", "https://registry.example.com/", []string{"307 https://other.example.com/"}},
		{"the inside of the network", "https://registry.example.com/", []string{"307 http://169.254.169.254/latest/meta-data/"}},
		{"loopback", "https://registry.example.com/", []string{"307 https://127.0.0.1:8444/metrics"}},
		{"from https to http", "https://registry.example.com/", []string{"307 http://cdn.example.com/"}},
		{"from https to http, later", "https://registry.example.com/", []string{loop, "307 http://cdn.example.com/"}},
		{"another scheme", "https://registry.example.com/", []string{"307 ftp://cdn.example.com/"}},
		{"a file", "https://registry.example.com/", []string{"307 file:///etc/passwd"}},
		{"the same odd scheme", "ftp://registry.example.com/", []string{"307 ftp://cdn.example.com/"}},
		{"no location", "https://registry.example.com/", []string{"307"}},
		{"an empty location", "https://registry.example.com/", []string{"307 "}},
		{"no address", "https://registry.example.com/", []string{"307 https://TAG IS NOT SIGNED/"}},
		{"an opaque address", "https://registry.example.com/", []string{"307 https:cdn.example.com"}},
		{"back to the registry", "https://cdn.example.com/", []string{"307 https://cdn.example.com/a"}},
		{"back to the registry, its port said aloud", "https://cdn.example.com/", []string{"307 https://CDN.example.com:443/a"}},
		{"back to the registry by way of another", "https://other.example.com:8443/", []string{loop, "307 https://other.example.com:8443/a"}},
		{"to a path on the registry", "https://cdn.example.com/", []string{"307 /a"}},
		{"to a server that wants credentials", "https://registry.example.com/", []string{loop, "401"}},
		{"four in a row", "https://registry.example.com/", []string{loop, loop, loop, loop}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{answers: tt.answers}
			resp, err := (&Follower{Transport: s, Hosts: []string{"cdn.example.com", "other.example.com:8443"}}).RoundTrip(request(t, http.MethodGet, tt.from))
			if resp != nil || !errors.Is(err, ErrRedirect) {
				t.Fatalf("got %v, %v", resp, err)
			}
			if len(s.got) != len(tt.answers) || s.closed != len(tt.answers) {
				t.Errorf("%d requests and %d closed bodies, want %d", len(s.got), s.closed, len(tt.answers))
			}
		})
	}
}

func TestAFailureOnTheWayIsTheTransports(t *testing.T) {
	s := &script{answers: []string{"307 https://cdn.example.com/a"}}
	resp, err := (&Follower{Transport: s, Hosts: []string{"cdn.example.com"}}).RoundTrip(request(t, http.MethodGet, "https://registry.example.com/"))
	if resp != nil || err == nil || errors.Is(err, ErrRedirect) {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestWhatFollowsARedirectGoesElsewhere(t *testing.T) {
	first, rest := &script{answers: []string{"307 https://cdn.example.com/1"}}, &script{answers: []string{"307 https://cdn.example.com/2", "200"}}
	resp, err := (&Follower{Transport: first, Elsewhere: rest, Hosts: []string{"cdn.example.com"}}).RoundTrip(request(t, http.MethodGet, "https://registry.example.com/"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	if len(first.got) != 1 || len(rest.got) != 2 {
		t.Errorf("%d requests on the first transport and %d on the other", len(first.got), len(rest.got))
	}
}
