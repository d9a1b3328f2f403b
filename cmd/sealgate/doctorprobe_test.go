package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/proxy"
)

// shop is a registry with one repository, which refuses everything but these tags
// (tag → digest) in Sealgate's words or, under another name, its own.
func shop(t *testing.T, refusal string, tags map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch digest := tags[tag]; {
		case r.URL.Path == "/v2/_catalog" && refusal == "no trust data": // it plays Sealgate
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, proxy.NoRouteMessage)
		case strings.HasSuffix(r.URL.Path, "/tags/list"):
			var list []string
			for tag := range tags {
				list = append(list, tag)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"tags": list})
		case digest != "":
			w.Header().Set("Docker-Content-Digest", digest)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, refusal)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// doctorOf runs the command against a shop that is Sealgate and another that has
// the registry's name.
func doctorOf(t *testing.T, gate, origin *httptest.Server, more ...string) (int, diagnosis, string) {
	t.Helper()
	ca := file(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gate.Certificate().Raw})))
	root := t.TempDir()
	args := append([]string{"doctor", "--proxy", gate.URL, "--registry", strings.TrimPrefix(origin.URL, "https://"), "--canary", "team/app:unsigned", "--ca-file", ca, "--root", root, "--json"}, more...)
	code, stdout, stderr := call(t, args...)
	var report diagnosis
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return code, report, stderr
}

func TestDoctorProvesAHoleWithTheCanary(t *testing.T) {
	gate := shop(t, "no trust data", nil)
	t.Run("the registry's name leads to Sealgate", func(t *testing.T) {
		code, report, _ := doctorOf(t, gate, gate)
		wantFindings(t, &report, "ok|network||refuses the canary", "ok|network||leads to Sealgate")
		if code != 0 {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("the registry serves it", func(t *testing.T) {
		code, report, _ := doctorOf(t, gate, shop(t, "", map[string]string{"unsigned": "sha256:aa"}))
		wantFindings(t, &report, "ok|network||refuses the canary", "hole|network||serves the canary")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("the registry answers", func(t *testing.T) {
		code, report, _ := doctorOf(t, gate, shop(t, "manifest unknown", nil))
		wantFindings(t, &report, "ok|network||refuses the canary", "hole|network||answers this host", "note|network||the canary is not there")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("what is behind Sealgate serves it", func(t *testing.T) {
		behind := shop(t, "", map[string]string{"unsigned": "sha256:aa"})
		code, report, _ := doctorOf(t, gate, gate, "--origin", behind.URL)
		wantFindings(t, &report, "ok|network|", "ok|network||leads to Sealgate", "hole|network||serves the canary")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("what is taken for Sealgate is another server", func(t *testing.T) {
		other := shop(t, "manifest unknown", nil)
		code, report, _ := doctorOf(t, other, other)
		wantFindings(t, &report, "unknown|network||is no Sealgate, and refuses it with status 404", "hole|network||answers this host", "note|network||the canary is not there")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("Sealgate serves it", func(t *testing.T) {
		open := shop(t, "", map[string]string{"unsigned": "sha256:aa"})
		code, report, _ := doctorOf(t, open, open)
		wantFindings(t, &report, "hole|network||Sealgate itself serves the canary")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("Sealgate is not to be reached", func(t *testing.T) {
		gone := shop(t, "", nil)
		gone.Close()
		code, report, _ := doctorOf(t, gone, gone)
		wantFindings(t, &report, "unknown|network||whether Sealgate", "ok|network||cannot be reached")
		if code != exitUnknown {
			t.Errorf("exit %d", code)
		}
	})
}

// An address at which Sealgate has no registry refuses everything, which says
// nothing of the canary.
func TestDoctorTakesNoMisdirectedRequestForARefusal(t *testing.T) {
	mirror := func(of string, status int) *httptest.Server {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch ns := r.URL.Query().Get("ns"); {
			case of == "" || ns != of && ns != r.Host:
				w.WriteHeader(http.StatusMisdirectedRequest)
			case r.URL.Path == "/v2/_catalog":
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, proxy.NoRouteMessage)
			default:
				w.Header().Set("Docker-Content-Digest", "sha256:aa")
				w.WriteHeader(status)
			}
		}))
		t.Cleanup(s.Close)
		return s
	}
	own := shop(t, "manifest unknown", nil)
	name := strings.TrimPrefix(own.URL, "https://")
	for _, c := range []struct {
		name string
		gate *httptest.Server
		want string
	}{
		{"no registry at all", mirror("", 0), "unknown|network||is no address at which it has " + name},
		{"the mirror of another", mirror("other.example.com", 404), "unknown|network||is no address at which it has " + name},
		{"chosen by containerd's ns", mirror(name, 404), "ok|network||with status 404, to containerd"},
		{"chosen by containerd's ns, and open", mirror(name, 200), "hole|network||Sealgate itself serves the canary"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, report, _ := doctorOf(t, c.gate, own)
			wantFindings(t, &report, c.want, "hole|network||answers this host", "note|network||the canary is not there")
		})
	}
}

func TestDoctorFetchesATokenThatAnybodyCanHave(t *testing.T) {
	var realm string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && r.URL.Query().Get("scope") == "repository:team/app:pull" && r.URL.Query().Get("service") == "s":
			_, _ = io.WriteString(w, `{"access_token": "t"}`)
		case r.Header.Get("Authorization") == "Bearer t":
			w.Header().Set("Docker-Content-Digest", "sha256:aa")
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="s",scope="repository:team/app:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer s.Close()
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	realm = s.URL + "/token"
	ask := prober{s.Client().Transport}
	if o := ask.tag(context.Background(), base, "team/app", "1"); o.digest != "sha256:aa" {
		t.Errorf("got %s", o)
	}
	for _, hostile := range []string{"http://127.0.0.1:1/token", "https://a:b@127.0.0.1:1/", "", "file:///etc/passwd"} {
		realm = hostile
		if o := ask.tag(context.Background(), base, "team/app", "1"); !o.undecided() || o.status != http.StatusUnauthorized {
			t.Errorf("%q: got %s", hostile, o)
		}
	}
}

func TestARefusalThatLeansOnAccidentsOfClientsIsARefusal(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			return
		}
		w.Header()["Location"] = []string{"https://TAG IS NOT SIGNED (x; no such process)/"}
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if o := (prober{s.Client().Transport}).tag(context.Background(), base, "team/app", "1"); o.served() || o.undecided() || o.status != http.StatusFound {
		t.Errorf("got %s", o)
	}
}

func TestDoctorsTransportVerifies(t *testing.T) {
	transport, err := believing("")
	if err != nil || transport.TLSClientConfig.InsecureSkipVerify || transport.TLSClientConfig.MinVersion < tls.VersionTLS12 {
		t.Errorf("%v, %+v", err, transport)
	}
}
