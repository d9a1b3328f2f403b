package e2e

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hubHosts are the names under which clients look for Docker Hub.
var hubHosts = []string{"registry-1.docker.io", "index.docker.io", "auth.docker.io", "docker.io", "production.cloudflare.docker.com"}

// hub plays Docker Hub: Debian's docker-registry, and in front of it a server
// on port 443 of an address of its own, of loopback mostly, that has a certificate for
// Docker Hub's names, notes every request, and like the real one wants a token
// from auth.docker.io, which anybody can have.
//
// Only a process that was started with resolving, or with a hosts file of
// hostsFile, finds it under those names.
type hub struct {
	*registry // what it holds: push to it, or name its url as an upstream that wants no token
	ip        string
	// stopServer stops what answers on port 443, and not the registry behind it.
	stopServer func()

	mu   sync.Mutex
	seen []string
}

// hubToken is the token that everybody gets.
const hubToken = "hub-token-for-anybody"

// startHub starts one with nothing in it, at a listener of listen. The registry
// behind it counts as unfiltered: clients that fall back are meant to be seen.
func startHub(dir string, ca *authority, listen func() (net.Listener, error)) (*hub, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r, err := startRegistry(dir, ca, registryOptions{plainHTTP: true, unfiltered: true})
	if err != nil {
		return nil, err
	}
	h := &hub{registry: r}
	if err := h.listen(ca, listen); err != nil {
		r.stop(5 * time.Second)
		return nil, err
	}
	return h, nil
}

func (h *hub) listen(ca *authority, listen func() (net.Listener, error)) error {
	l, err := listen()
	if err != nil {
		return err
	}
	h.ip, _, _ = net.SplitHostPort(l.Addr().String())
	behind, err := url.Parse(h.registry.url)
	if err != nil {
		l.Close()
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	h.stopServer, err = serveTLSOn(l, h.handler(proxy), ca, "hub", append(slices.Clone(hubHosts), h.ip)...)
	return err
}

// handler notes the request, gives tokens, and asks for them.
func (h *hub) handler(registry http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.seen = append(h.seen, r.Method+" "+r.Host+r.URL.RequestURI())
		h.mu.Unlock()
		switch {
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"token":%q,"access_token":%q,"expires_in":300}`, hubToken, hubToken)
		case r.Header.Get("Authorization") != "Bearer "+hubToken:
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`+scope(r.URL.Path))
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
		default:
			r.Header.Del("Authorization")
			registry.ServeHTTP(w, r)
		}
	})
}

// scope is the challenge's scope for a request target.
func scope(path string) string {
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/"} {
		if repository, _, ok := strings.Cut(strings.TrimPrefix(path, "/v2/"), part); ok {
			return fmt.Sprintf(`,scope="repository:%s:pull"`, repository)
		}
	}
	return ""
}

// asked lists the requests after the first skip, each as method, host and target.
func (h *hub) asked(skip int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen[min(skip, len(h.seen)):])
}

func (h *hub) close() {
	h.stopServer()
	h.registry.stop(5 * time.Second)
}

// names has every name of Docker Hub lead here.
func (h *hub) names() map[string]string { return leadTo(h.ip, hubHosts...) }

// mustHub starts one for a test alone.
func mustHub(t *testing.T, ca *authority) *hub {
	t.Helper()
	dir, err := os.MkdirTemp(suite.dir, "hub-")
	if err != nil {
		t.Fatal(err)
	}
	h := must(startHub(dir, ca, listenOn443))(t)
	t.Cleanup(h.close)
	return h
}

// leadTo maps names to an address, for hostsFile.
func leadTo(ip string, names ...string) map[string]string {
	m := map[string]string{}
	for _, name := range names {
		m[name] = ip
	}
	return m
}

// listenOn443 listens on port 443 of a loopback address that nobody else has:
// clients give no port to Docker Hub.
func listenOn443() (net.Listener, error) {
	var err error
	for range 20 {
		ip := net.IPv4(127, byte(10+rand.IntN(240)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(ip.String(), "443")); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// freed is the address of a listener, free again for somebody else to listen on.
func freed(l net.Listener, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// hostsFile writes an /etc/hosts in which names, each with its address, are all
// that resolves beside localhost.
func hostsFile(dir string, names map[string]string) (string, error) {
	file, err := os.CreateTemp(dir, "hosts-")
	if err != nil {
		return "", err
	}
	defer file.Close()
	text := "127.0.0.1 localhost\n"
	for name, ip := range names {
		text += ip + " " + name + "\n"
	}
	if _, err := file.WriteString(text); err != nil {
		return "", err
	}
	return file.Name(), file.Chmod(0o644)
}

// resolving is argv in a mount namespace of its own, with that file as
// /etc/hosts, no name server, and an empty /etc/docker.
func resolving(hosts string, argv ...string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", resolvingMounts, "sh", hosts}, argv...)
}

const resolvingMounts = `mount --bind "$1" /etc/hosts && shift &&
if [ -e /etc/resolv.conf ]; then mount --bind /dev/null "$(readlink -f /etc/resolv.conf)"; fi &&
if [ -d /etc/docker ]; then mount -t tmpfs none /etc/docker; fi && exec "$@"`

// TestOnlyWhoIsLedThereFindsTheHub is about the harness: a hub that real clients
// take for Docker Hub, and no way from here to the real one.
func TestOnlyWhoIsLedThereFindsTheHub(t *testing.T) {
	ca := must(newAuthority(t.TempDir()))(t)
	h := mustHub(t, ca)
	image := must(saying("words of the hub"))(t)
	digest, _, err := h.push("library/words", "1", image)
	if err != nil {
		t.Fatal(err)
	}
	hosts := must(hostsFile(t.TempDir(), h.names()))(t)
	env := []string{"SSL_CERT_FILE=" + ca.file}
	out, err := run(env, resolving(hosts, "skopeo", "inspect", "--format", "{{.Digest}}", "docker://docker.io/words:1")...)
	if err != nil || !strings.Contains(out, digest.String()) {
		t.Fatalf("want %s, got %v:\n%s", digest, err, out)
	}
	if asked := h.asked(0); !slices.ContainsFunc(asked, func(s string) bool { return strings.Contains(s, "auth.docker.io/token") }) {
		t.Errorf("nobody asked for a token: %q", asked)
	}
	nowhere := must(hostsFile(filepath.Dir(hosts), nil))(t)
	before := len(h.asked(0))
	if out, err := run(env, resolving(nowhere, "skopeo", "inspect", "docker://docker.io/words:1")...); err == nil {
		t.Errorf("found something:\n%s", out)
	}
	if asked := h.asked(before); len(asked) > 0 {
		t.Errorf("the hub was asked %q", asked)
	}
}
