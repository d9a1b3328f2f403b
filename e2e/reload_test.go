package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// twoPolicies is a gate between two registries of different names with
// different tags, and a file for either. A mixture of them shows: each
// registry has its own image only, signed under its own name only.
func twoPolicies(t *testing.T) (one, two *world, files [2]string, answers [2]map[string]string) {
	t.Helper()
	one, two = ownWorld(t, registryOptions{}), ownWorld(t, registryOptions{})
	for i, w := range []*world{one, two} {
		w.mustBegin(t, "team/app")
		image := w.mustSay(t, "team/app", "signed", fmt.Sprint("words of ", i))
		w.mustSign(t, "team/app", "signed", image)
		w.mustSay(t, "team/app", "unsigned", fmt.Sprint("unsigned words of ", i))
		answers[i] = map[string]string{
			"/v2/team/app/manifests/signed":   "200 " + image.digest,
			"/v2/team/app/manifests/unsigned": "404 " + noTrustData(w, "team/app", "unsigned"),
			"/v2/team/app/tags/list":          `200 {"name":"team/app","tags":["signed"]}`,
		}
	}
	one.mustOpen(t, func(s *settings) { s.hosts = []string{`"*"`}; withAdmin(t, s) })
	files[0] = one.text(t, func(*settings) {})
	other := must(two.defaults())(t)
	files[1] = one.text(t, func(s *settings) {
		s.name, s.upstream, s.notary, s.rootKeys = other.name, other.upstream, other.notary, other.rootKeys
	})
	// Two authorities: each file trusts its own.
	files[1] = strings.ReplaceAll(files[1], "ca-file: "+one.ca.file, "ca-file: "+two.ca.file)
	return one, two, files, answers
}

// said sums an answer up as twoPolicies does.
func said(a answer) string {
	switch {
	case a.status == 200 && strings.Contains(a.header.Get("Content-Type"), "manifest"):
		return "200 " + sha256Of(a.body)
	case a.status == 200:
		return "200 " + strings.TrimSpace(a.body)
	}
	return fmt.Sprint(a.status, " ", a.message())
}

// TestReloadUnderLoad: 64 clients, 100 reloads of good and bad files in turn;
// every answer is wholly of one policy, and bad files change nothing.
func TestReloadUnderLoad(t *testing.T) {
	const clients, reloads = 64, 100
	g, _, files, answers := twoPolicies(t)
	bad := []struct{ text, says string }{
		{"listen: [", "proxy.yaml"},
		{strings.Replace(files[0], "mode: enforced", "mode: enforce", 1), "mode"},
		{strings.Replace(files[1], "listen: "+g.listen, "listen: 127.0.0.1:1", 1), "restart is needed to change listen"},
		{strings.Replace(files[1], "ca-file: ", "ca-file: /nowhere", 1), "/nowhere"},
		{"", "registries"},
	}

	stop := make(chan struct{})
	var served, wrong atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			client := &http.Client{Transport: g.ca.transport(i%2 == 0), Timeout: 30 * time.Second}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				for path, of0 := range answers[0] {
					a, err := clientGet(client, g.url+path)
					if got := said(a); err != nil || got != of0 && got != answers[1][path] {
						if wrong.Add(1) <= 5 {
							t.Errorf("%s: got %v, %v", path, got, err)
						}
						continue
					}
					served.Add(1)
				}
			}
		})
	}
	current := 0
	for n := range reloads {
		want, text := http.StatusOK, files[(current+1)%2]
		says := `"applied"`
		if n%2 == 1 {
			b := bad[n/2%len(bad)]
			want, text, says = http.StatusConflict, b.text, b.says
		} else {
			current = (current + 1) % 2
		}
		if err := g.write(text); err != nil {
			t.Fatal(err)
		}
		a := g.mustControl(t, "POST", "/reload", "")
		if a.status != want || !strings.Contains(a.body, says) {
			t.Fatalf("reload %d: got %v, want %d with %q", n, a, want, says)
		}
		for path, want := range answers[current] {
			if got := said(g.get(t, path)); got != want {
				t.Errorf("after reload %d, %s: got %s, want %s", n, path, got, want)
			}
		}
	}
	close(stop)
	all.Wait()
	if wrong.Load() != 0 || served.Load() < reloads*clients {
		t.Errorf("%d answers were right and %d wrong", served.Load(), wrong.Load())
	}
	for series, want := range map[string]string{
		`sealgate_config_reloads_total{result="applied"}`: "50",
		`sealgate_config_reloads_total{result="refused"}`: "50",
		`sealgate_config_last_reload_successful`:          "0",
	} {
		if got := g.metric(t, series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	measured(t, clients, reloads/2, reloads/2, served.Load())
}

func clientGet(client *http.Client, url string) (answer, error) {
	resp, err := client.Get(url)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Proto, resp.Header, string(body)}, err
}

// TestPinsChangedByAReloadApplyAtOnce: also while Notary is silent, so that
// nothing but the pins can have made the difference.
func TestPinsChangedByAReloadApplyAtOnce(t *testing.T) {
	w, image, _, notary := outageWorld(t, func(s *settings) { s.refresh, s.maxStale = time.Hour, time.Hour })
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	right := w.text(t, func(*settings) {})
	notary.cut()

	if err := w.write(w.text(t, func(s *settings) { s.rootKeys = map[string]string{s.name + "/*": strings.Repeat("ab", 32)} })); err != nil {
		t.Fatal(err)
	}
	w.hangup(t, "configuration reloaded")
	if a := w.manifest(t, "team/app", "signed"); a.status != 503 {
		t.Errorf("with another pin: got %v", a)
	}
	notary.restore(t)
	eventually(t, 10*time.Second, func() error {
		a, err := w.send(request{path: "/v2/team/app/manifests/signed"})
		if err == nil && (a.status != 503 || !strings.Contains(a.message(), "pin")) {
			err = fmt.Errorf("want 503 and a word about pins, got %v", a)
		}
		return err
	})

	if err := w.write(right); err != nil {
		t.Fatal(err)
	}
	w.hangup(t, "configuration reloaded")
	wantServed(t, w.manifest(t, "team/app", "signed"), image) // nothing of the refusal is left
}

// TestAReloadKeepsWhatIsKnown: an operator who changes something else during an
// outage loses nothing by it.
func TestAReloadKeepsWhatIsKnown(t *testing.T) {
	w, image, registry, notary := outageWorld(t, func(s *settings) { s.refresh, s.maxStale, s.authTTL = time.Hour, time.Hour, time.Hour })
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	notary.cut()
	registry.cut()
	if err := w.write(w.text(t, func(s *settings) { s.refresh, s.maxStale, s.authTTL = time.Hour, 2*time.Hour, time.Hour })); err != nil {
		t.Fatal(err)
	}
	w.hangup(t, "configuration reloaded")
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
}

func TestAReloadThatIsRefusedSaysWhy(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	if err := w.write(strings.Replace(w.text(t, func(*settings) {}), "drain-timeout: 20s", "drain-timeout: 20s\nadmin: {listen: '127.0.0.1:0'}", 1)); err != nil {
		t.Fatal(err)
	}
	w.hangup(t, "a restart is needed to change admin.listen")
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	if !strings.Contains(w.output(), "nothing has changed") {
		t.Error(w.tail())
	}
}

// TestSIGTERMUnderLoad: not ready at once, every answer that was begun is
// whole, and the exit code is 0.
func TestSIGTERMUnderLoad(t *testing.T) {
	const clients = 32
	w, image := oneSignedTag(t, registryOptions{})
	blob, big := w.mustBlob(t, "team/app", 2<<20), w.mustBlob(t, "team/app", 48<<20) // more than sockets hold
	w.mustOpen(t, func(s *settings) { withAdmin(t, s) })
	var whole, torn atomic.Int64
	var all sync.WaitGroup
	busy := make(chan struct{}, clients)
	for i := range clients {
		all.Go(func() {
			client := &http.Client{Transport: w.ca.transport(i%4 == 0), Timeout: 60 * time.Second}
			path, digest := "/v2/team/app/manifests/signed", image.digest
			if i%2 == 0 {
				path, digest = "/v2/team/app/blobs/"+blob, blob
			}
			for n := 0; ; n++ {
				resp, err := client.Get(w.url + path)
				if err != nil {
					return // the listener is closed: nothing was begun
				}
				if n == 0 {
					busy <- struct{}{}
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || sha256Of(string(body)) != digest {
					torn.Add(1)
					t.Errorf("%s: %d, %d bytes, %v", path, resp.StatusCode, len(body), err)
					return
				}
				whole.Add(1)
			}
		})
	}
	for range clients {
		<-busy // every client is in the middle of something
	}
	slow, err := w.slowDownload(big) // keeps the drain going for a moment
	if err != nil {
		t.Fatal(err)
	}
	code := make(chan int)
	go func() { code <- w.stop(30 * time.Second) }()
	eventually(t, 10*time.Second, func() error {
		a, err := w.watch("/readyz")
		if err == nil && a.status != 503 {
			err = errors.New("it says that it is ready")
		}
		return err
	})
	if a := w.mustWatch(t, "/healthz"); a.status != 200 {
		t.Errorf("while it drains: %v", a)
	}
	if err := slow(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d\n%s", c, w.tail())
	}
	if torn.Load() != 0 || whole.Load() < clients {
		t.Errorf("%d answers were whole, %d torn", whole.Load(), torn.Load())
	}
	measured(t, clients, whole.Load(), torn.Load())
}

// slowDownload begins a download of a blob and returns what reads the rest.
func (w *world) slowDownload(blob string) (rest func() error, err error) {
	resp, err := (&http.Client{Transport: w.ca.transport(false)}).Get(w.url + "/v2/team/app/blobs/" + blob)
	if err != nil {
		return nil, err
	}
	begin := make([]byte, 1<<10)
	if _, err := io.ReadFull(resp.Body, begin); err != nil {
		return nil, err
	}
	return func() error {
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && sha256Of(string(begin)+string(body)) != blob {
			err = fmt.Errorf("%d bytes that are not the blob", len(begin)+len(body))
		}
		return err
	}, nil
}
