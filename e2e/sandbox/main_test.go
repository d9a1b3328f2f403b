package sandbox

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

const testGUN = "registry.example.com/acme/app"

func TestMain(m *testing.M) {
	// The Notary library and the storage driver log here and nowhere else.
	logrus.SetOutput(io.Discard)
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction(LeakedGoroutine))
}

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func startTrustServer(t *testing.T, opts TrustServerOptions) *TrustServer {
	t.Helper()
	server, err := StartTrustServer(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeQuietly(t, server) })
	return server
}

func startRegistry(t *testing.T, opts RegistryOptions) *Registry {
	t.Helper()
	registry, err := StartRegistry(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeQuietly(t, registry) })
	return registry
}

func closeQuietly(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func newPublisher(t *testing.T, ca *CA, server *TrustServer) *Publisher {
	t.Helper()
	publisher, err := NewPublisher(server.URL(), ca.Pool(), "")
	if err != nil {
		t.Fatal(err)
	}
	return publisher
}

func newClient(ca *CA) *http.Client { return &http.Client{Transport: newTransport(ca.Pool())} }

// get asks for a URL and returns the status and the body.
func get(t *testing.T, client *http.Client, method, target string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, client, request)
}

func do(t *testing.T, client *http.Client, request *http.Request) (int, string) {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// trustAt is a middleware that answers for a trust server on the registry's own
// address, where docker trust looks for one when it is told of none.
func trustAt(ca *CA, server *TrustServer) func(http.Handler) http.Handler {
	target, err := url.Parse(server.URL())
	if err != nil {
		panic(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: newTransport(ca.Pool()),
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/_trust/") {
				forward.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// needTool finds a real client. In CI a missing one is a failure, so that
// nobody mistakes a test that was not run for one that passed.
func needTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	cannotRun(t, name+" is not installed")
	return ""
}

// cannotRun skips a test that lacks something; in CI nothing may be lacking.
func cannotRun(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and CI has to run this test", why)
	}
	t.Skip(why)
}

// tool is a command line with its environment.
type tool struct {
	path string
	args []string // before those of each call
	env  []string
}

func (c tool) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.path, append(append([]string(nil), c.args...), args...)...)
	command.Stdin = strings.NewReader("yes\n") // notary asks before it rotates a root, and a no is no failure
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, c.env...)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (c tool) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(t, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(c.path), strings.Join(args, " "), err, out)
	}
	return out
}

func writeFile(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
