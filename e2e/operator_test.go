package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withAdmin gives a gate an admin listener.
func withAdmin(t *testing.T, s *settings) {
	t.Helper()
	s.admin = must(freeAddress())(t)
}

// watch asks the admin listener.
func (g *gate) watch(path string) (answer, error) {
	return plain(http.DefaultTransport, http.MethodGet, "http://"+g.admin+path, "")
}

// mustWatch is watch for a test.
func (g *gate) mustWatch(t *testing.T, path string) answer {
	t.Helper()
	return must(g.watch(path))(t)
}

// metric is the value of a series as the exposition has it, "" where it is not
// there.
func (g *gate) metric(t *testing.T, series string) string {
	t.Helper()
	for line := range strings.Lines(g.mustWatch(t, "/metrics").body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// control asks the control socket, which is where it is by default.
func (g *gate) control(method, path, body string) (answer, error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(filepath.Dir(g.config), "state", "control.sock"))
	}}
	return plain(tr, method, "http://control"+path, body)
}

// mustControl is control for a test.
func (g *gate) mustControl(t *testing.T, method, path, body string) answer {
	t.Helper()
	return must(g.control(method, path, body))(t)
}

func plain(via http.RoundTripper, method, url, body string) (answer, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := (&http.Client{Transport: via, Timeout: 60 * time.Second}).Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Proto, resp.Header, string(text)}, err
}

// write replaces the gate's proxy.yaml.
func (g *gate) write(text string) error {
	return os.WriteFile(g.config, []byte(text), 0o600)
}

// text is a proxy.yaml for this gate with its settings as change leaves them.
func (g *gate) text(t *testing.T, change func(*settings)) string {
	t.Helper()
	s := g.settings
	change(&s)
	return must(s.yaml(filepath.Dir(g.config), g.ca))(t)
}

// hangup sends SIGHUP and waits for what the log says of it.
func (g *gate) hangup(t *testing.T, says string) {
	t.Helper()
	before := strings.Count(g.output(), says)
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		if strings.Count(g.output(), says) > before {
			return nil
		}
		return fmt.Errorf("%q is not in the log\n%s", says, g.tail())
	})
}

func TestTheAdminListenerShowsWhatHappens(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustSay(t, "team/app", "unsigned", "unsigned words")
	w.mustOpen(t, func(s *settings) { withAdmin(t, s) })
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready"} {
		if a := w.mustWatch(t, path); a.status != 200 || strings.TrimSpace(a.body) != want {
			t.Errorf("%s: got %v", path, a)
		}
	}
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", "no trust data")
	for series, want := range map[string]string{
		fmt.Sprintf(`sealgate_requests_total{code="2xx",decision="allow",registry=%q,route="manifest-by-tag"}`, w.settings.name): "2",
		fmt.Sprintf(`sealgate_decisions_total{decision="deny",reason="unsigned",registry=%q}`, w.settings.name):                  "1",
		fmt.Sprintf(`sealgate_trust_refreshes_total{registry=%q,result="ok"}`, w.settings.name):                                  "1",
		fmt.Sprintf(`sealgate_trust_snapshots{registry=%q,state="fresh"}`, w.settings.name):                                      "1",
		`sealgate_manifest_cache_entries`: "1",
	} {
		if got := w.metric(t, series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	for _, role := range []string{"timestamp", "targets"} {
		if got := w.metric(t, fmt.Sprintf(`sealgate_trust_expiry_timestamp_seconds{gun=%q,role=%q}`, w.gun("team/app"), role)); got == "" {
			t.Errorf("the expiry of the repository's %s is not shown:\n%s", role, w.mustWatch(t, "/metrics").body)
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/"} {
		if a := w.get(t, path); a.status != 404 {
			t.Errorf("%s on the public listener: got %v", path, a)
		}
	}
	if a := w.mustWatch(t, "/debug/pprof/"); a.status != 404 {
		t.Errorf("pprof on the admin listener: got %v", a)
	}
}

func TestTheControlSocketIsTheOperatorsAlone(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	socket := filepath.Join(filepath.Dir(w.config), "state", "control.sock")
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("the socket is %v, %v", info, err)
	}

	if a := w.mustControl(t, "GET", "/log-level", ""); a.status != 200 || !strings.Contains(a.body, "info") {
		t.Errorf("got %v", a)
	}
	if a := w.mustControl(t, "PUT", "/log-level", "debug"); a.status != 200 {
		t.Errorf("got %v", a)
	}
	eventually(t, 10*time.Second, func() error { // when the refresh is due
		wantServed(t, w.manifest(t, "team/app", "signed"), image)
		if strings.Contains(w.output(), `"trust data is fresh"`) {
			return nil
		}
		return fmt.Errorf("the log has no line at level debug\n%s", w.tail())
	})
	if a := w.mustControl(t, "GET", "/debug/pprof/goroutine?debug=1", ""); a.status != 200 || !strings.Contains(a.body, "goroutine profile") {
		t.Errorf("got %v", a)
	}

	if code := w.stop(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestABentManifestIsCountedAsAnAlarm: under the words that the manual's alert
// has, from 0 on.
func TestABentManifestIsCountedAsAnAlarm(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	other := w.mustSay(t, "team/app", "other", "other words")
	data := func(p pushed) string {
		sum := strings.TrimPrefix(p.digest, "sha256:")
		return filepath.Join(w.dir, "registry/docker/registry/v2/blobs/sha256", sum[:2], sum, "data")
	}
	bent := must(os.ReadFile(data(other)))(t)
	if err := os.WriteFile(data(image), bent, 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustOpen(t, func(s *settings) { withAdmin(t, s) })
	alarms := fmt.Sprintf(`sealgate_decisions_total{decision="error",reason="upstream-mismatch",registry=%q}`, w.settings.name)
	if got := w.metric(t, alarms); got != "0" {
		t.Errorf("before: %q", got)
	}
	wantRefused(t, w.manifest(t, "team/app", "signed"), 502, "UNKNOWN", "do not match the signed digest "+image.digest)
	if got := w.metric(t, alarms); got != "1" || !strings.Contains(w.output(), `"alarm":true`) {
		t.Errorf("after: %q\n%s", got, w.tail())
	}
}

// TestForgetAfterAKeyReset: a publisher who lost all keys begins anew; that is
// an alarm until an operator says that it is right, with the new pin and then
// with forget.
func TestForgetAfterAKeyReset(t *testing.T) {
	t.Parallel()
	w, before := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), before)

	gun, after := w.gun("team/app"), w.mustSay(t, "team/app", "after", "words after the reset")
	if _, err := w.cli("delete", "--remote", gun); err != nil {
		t.Fatal(err)
	}
	anew := &publisher{dir: filepath.Join(w.dir, "keys-anew"), server: w.notary.url, ca: w.ca.file}
	if err := errors.Join(anew.begin(gun), anew.sign(gun, "signed", after)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		a := w.manifest(t, "team/app", "signed")
		wantServed(t, a, before) // what was verified stands meanwhile
		if !strings.Contains(a.header.Get("Warning"), "potential malicious behavior") || !strings.Contains(w.output(), `"alarm":true`) {
			return fmt.Errorf("other keys are no alarm: %v", a)
		}
		return nil
	})

	key := must(anew.rootKey())(t)
	if err := w.write(w.text(t, func(s *settings) { s.rootKeys = map[string]string{s.name + "/*": key} })); err != nil {
		t.Fatal(err)
	}
	w.hangup(t, "configuration reloaded")
	wantRefused(t, w.manifest(t, "team/app", "signed"), 503, "UNAVAILABLE", `"sealgate forget"`)
	if out, code := sealgate("forget", "--config", w.config, gun); code != 0 || strings.TrimSpace(out) != gun+": forgotten" {
		t.Fatalf("exit code %d: %s", code, out)
	}
	wantServed(t, w.manifest(t, "team/app", "signed"), after)
}

func TestForgetSaysWhatBecameOfIt(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	for _, c := range []struct {
		gun  string
		code int
		says string
	}{
		{"elsewhere.example.com/team/app", 2, "names no repository of a registry"},
		{w.tag("team/app", "signed"), 2, "a GUN has no tag and no digest: " + w.gun("team/app")},
		{w.gun("team/none"), 1, "nothing was remembered"},
		{w.gun("team/app"), 0, "forgotten"},
		{w.gun("team/app"), 1, "nothing was remembered"},
	} {
		if out, code := sealgate("forget", "--config", w.config, c.gun); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("forget %s: exit code %d: %s", c.gun, code, out)
		}
	}
	wantServed(t, w.manifest(t, "team/app", "signed"), image) // seen anew
	w.stop(20 * time.Second)
	for code, says := range []string{"forgotten", "nothing was remembered"} { // what is stored, and then no more
		if out, got := sealgate("forget", "--config", w.config, w.gun("team/app")); got != code || !strings.Contains(out, says) {
			t.Errorf("with no server running: exit code %d: %s", got, out)
		}
	}
}

// TestAStopThatCutsRequestsOffSaysSo: with exit code 1, so that whoever restarts
// it knows that drain-timeout is too short.
func TestAStopThatCutsRequestsOffSaysSo(t *testing.T) {
	w, _ := oneSignedTag(t, registryOptions{})
	big := w.mustBlob(t, "team/app", 48<<20) // more than sockets hold
	w.mustOpen(t, nil)
	if err := w.write(strings.Replace(w.text(t, func(*settings) {}), "drain-timeout: 20s", "drain-timeout: 1s", 1)); err != nil {
		t.Fatal(err)
	}
	w.hangup(t, "configuration reloaded")
	rest, err := w.slowDownload(big)
	if err != nil {
		t.Fatal(err)
	}
	if code := w.stop(20 * time.Second); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(w.output(), "requests were still under way after drain-timeout (1s) and were cut off") || strings.Contains(w.output(), `"stopped"`) {
		t.Error(w.tail())
	}
	if err := rest(); err == nil {
		t.Error("the download was whole, so nothing was cut off")
	}
}
