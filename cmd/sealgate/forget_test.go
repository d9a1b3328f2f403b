package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache/state"
)

func TestForgetAsksTheServerForWhatIsAGUN(t *testing.T) {
	inst, _ := newStoryInstance(t)
	get(inst, signedTag)
	dir, err := os.MkdirTemp("", "sg") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "control.sock")
	with := strings.Replace(goodConfig, "registry.example.com", storyName, 1) + "admin: {control: " + socket + "}\n"
	path, without := file(t, "proxy.yaml", with), file(t, "proxy.yaml", strings.Replace(goodConfig, "registry.example.com", storyName, 1))
	forget := func(t *testing.T, code int, says string, args ...string) {
		t.Helper()
		got, stdout, stderr := call(t, append([]string{"forget"}, args...)...)
		if got != code || !strings.Contains(stdout+stderr, says) {
			t.Errorf("forget %s: exit %d, want %d and %q\n%s%s", args, got, code, says, stdout, stderr)
		}
	}
	app := storyName + "/demo/app"
	forget(t, exitFailed, "no sealgate is running", "--config", path, app)

	listener, err := admin.ListenControl(socket)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	handler := admin.ControlHandler(&control{inst: inst})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("gun"))
		handler.ServeHTTP(w, r)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Close()

	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, exitUsage, `one GUN is expected, the registry's name, "/" and the repository, such as registry.example.com/prod/app`},
		{"two", []string{app, app}, exitUsage, "one GUN is expected"},
		{"another registry", []string{"elsewhere/demo/app"}, exitUsage, "names no repository of a registry that is configured: a GUN is the registry's name"},
		{"a repository alone", []string{"app"}, exitUsage, "such as " + storyName + "/prod/app"},
		{"the registry alone", []string{storyName}, exitUsage, "names no repository"},
		{"no repository", []string{storyName + "/"}, exitUsage, `"" is no repository`},
		{"a tag", []string{app + ":1.0"}, exitUsage, `a GUN has no tag and no digest: ` + app + ` is forgotten as a whole`},
		{"a digest", []string{app + "@sha256:00"}, exitUsage, "a GUN has no tag and no digest"},
		{"upper case", []string{storyName + "/Demo/App"}, exitUsage, `"Demo/App" is no repository`},
		{"dots", []string{storyName + "/demo/../app"}, exitUsage, "is no repository"},
		{"a query", []string{app + "?x"}, exitUsage, "is no repository"},
		{"a path of the API", []string{app + "/manifests/1.0"}, exitFailed, "nothing was remembered"}, // a name like any other
		{"an unknown one", []string{storyName + "/demo/none"}, exitFailed, storyName + "/demo/none: nothing was remembered"},
		{"a known one", []string{app}, 0, app + ": forgotten"},
		{"the same again", []string{app}, exitFailed, "nothing was remembered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(asked)
			forget(t, c.code, c.says, append([]string{"--config", path}, c.args...)...)
			if reached := len(asked) > before; reached != (c.code != exitUsage) {
				t.Errorf("the server was asked: %t", reached)
			}
		})
	}
	if known := inst.Trust()[0].Stats.Known; known != 0 {
		t.Errorf("%d repositories are known", known)
	}
	forget(t, exitFailed, "no control socket", "--config", without, app)
}

// TestForgetWithoutAServerDropsWhatOnlyFilesAreLeftOf: without their state the
// server refuses them and names this command, which must then find them.
func TestForgetWithoutAServerDropsWhatOnlyFilesAreLeftOf(t *testing.T) {
	dir := t.TempDir()
	path := file(t, "proxy.yaml", goodConfig+"storage: {filesystem: {rootdirectory: "+dir+"}}\nadmin: {control: "+filepath.Join(dir, "c.sock")+"}\n")
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDriver(cfg.Storage)
	if err != nil {
		t.Fatal(err)
	}
	const gun = "registry.example.com/acme/app"
	if _, err := newTrustStore(state.New(state.Options{Driver: d})).PutFile(gun, "timestamp", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		code int
		says string
	}{{0, gun + ": forgotten"}, {exitFailed, "nothing was remembered"}} {
		if code, stdout, stderr := call(t, "forget", "--config", path, gun); code != want.code || !strings.Contains(stdout, want.says) {
			t.Errorf("exit %d, %s%s: want %d, %s", code, stdout, stderr, want.code, want.says)
		}
	}
}
