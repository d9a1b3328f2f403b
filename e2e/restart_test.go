package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// restart ends Sealgate, at once where it is to crash, and starts it again with
// the directories that it had, after meanwhile.
func (w *world) restart(t *testing.T, crash bool, meanwhile func(stored string)) {
	t.Helper()
	if crash {
		if err := w.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		<-w.done
	} else if code := w.stop(20 * time.Second); code != 0 {
		t.Fatalf("exit code %d\n%s", code, w.tail())
	}
	dir := filepath.Dir(w.config)
	if meanwhile != nil {
		meanwhile(filepath.Join(dir, "store", "sealgate", "trust"))
	}
	again, err := start("sealgate", filepath.Join(dir, fmt.Sprintf("sealgate-%d.log", time.Now().UnixNano())), w.env, w.binary(), "serve", "--config", w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.gate.process = again
	w.atEnd(func() { again.stop(20 * time.Second) })
	if err := w.ready(20*time.Second, w.ca.answers(w.url+"/v2/")); err != nil {
		t.Fatal(err)
	}
}

// TestWhatWasVerifiedStandsAfterARestart, though Notary is away: a gate that
// crashed in an outage goes on.
func TestWhatWasVerifiedStandsAfterARestart(t *testing.T) {
	for name, crash := range map[string]bool{"a stop": false, "a crash": true} {
		t.Run(name, func(t *testing.T) {
			w, image, _, notary := outageWorld(t, nil)
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
			notary.cut()
			w.restart(t, crash, nil)
			eventually(t, w.refresh+slack, func() error {
				a := w.manifest(t, "team/app", "signed")
				wantServed(t, a, image)
				if !strings.Contains(a.header.Get("Warning"), "stale") {
					return fmt.Errorf("no warning that it is stale: %v", a.header)
				}
				return nil
			})
			wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))
			out, code := sealgate("inspect", "--config", w.config, w.gun("team/app"))
			for _, says := range []string{"STALE, as it was kept", "last good answer from Notary: ", ", targets ", image.digest} {
				if code != 0 || !strings.Contains(out, says) {
					t.Errorf("inspect, exit code %d, says nothing of %q:\n%s", code, says, out)
				}
			}
			wantTags(t, tagsIn(t, w.get(t, "/v2/team/app/tags/list")), "signed")
			notary.restore(t)
			eventually(t, 15*time.Second, func() error {
				if a := w.manifest(t, "team/app", "signed"); a.status != 200 || a.header.Get("Warning") != "" {
					return fmt.Errorf("still %v", a)
				}
				return nil
			})
			w.restart(t, crash, nil) // with nothing lost on the way
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
		})
	}
}

// TestTrustDataThatDisappearedStaysAnAlarmAfterARestart.
func TestTrustDataThatDisappearedStaysAnAlarmAfterARestart(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	w.notary.stop(5 * time.Second)
	w.notary = must(startNotary(w.dir, w.notary.addr, w.ca))(t) // with an empty memory
	w.restart(t, true, nil)
	eventually(t, w.refresh+slack, func() error {
		a := w.manifest(t, "team/app", "signed")
		if a.status == 200 {
			return fmt.Errorf("still served")
		}
		wantRefused(t, a, 503, "UNAVAILABLE", "disappeared")
		return nil
	})
}

// TestThereIsNoSecondFirstUseAfterARestart, whatever was lost under the state
// directory: a server that begins anew with other keys is not believed.
func TestThereIsNoSecondFirstUseAfterARestart(t *testing.T) {
	remove := func(names ...string) func(t *testing.T, stored string) {
		return func(t *testing.T, stored string) {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(stored, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		lose func(t *testing.T, stored string)
		says string
	}{
		"nothing":           {remove(), "potential malicious behavior"},
		"the index":         {remove("index", "files"), "potential malicious behavior"},
		"the sets":          {remove("sets", "files"), "trust state cannot be used"},
		"what is in a set":  {func(t *testing.T, stored string) { truncateAll(t, filepath.Join(stored, "sets")) }, "trust state cannot be used"},
		"what is in a file": {func(t *testing.T, stored string) { truncateAll(t, filepath.Join(stored, "files")) }, "potential malicious behavior"},
	} {
		t.Run(name, func(t *testing.T) {
			w, image := oneSignedTag(t, registryOptions{})
			w.mustOpen(t, func(s *settings) { s.rootKeys, s.firstUse = nil, true })
			wantServed(t, w.manifest(t, "team/app", "signed"), image)

			gun, other := w.gun("team/app"), w.mustSay(t, "team/app", "other", "words of an impostor")
			if _, err := w.cli("delete", "--remote", gun); err != nil {
				t.Fatal(err)
			}
			impostor := &publisher{dir: filepath.Join(w.dir, "keys-of-an-impostor"), server: w.notary.url, ca: w.ca.file}
			if err := impostor.begin(gun); err != nil {
				t.Fatal(err)
			}
			if err := impostor.sign(gun, "signed", other); err != nil {
				t.Fatal(err)
			}
			w.restart(t, true, func(stored string) { c.lose(t, stored) })
			eventually(t, w.refresh+slack, func() error {
				a := w.manifest(t, "team/app", "signed")
				if a.status == 200 && sha256Of(a.body) == image.digest {
					if strings.Contains(a.header.Get("Warning"), "potential malicious behavior") && name == "nothing" {
						return nil // what was verified stands, with an alarm
					}
					return fmt.Errorf("served as it was verified, not asked yet: %v", a.header)
				}
				wantRefused(t, a, 503, "UNAVAILABLE", c.says)
				return nil
			})
			if !strings.Contains(w.output(), `"alarm":true`) {
				t.Errorf("no alarm\n%s", w.tail())
			}
		})
	}
}

// truncateAll cuts every file below dir in half.
func truncateAll(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	})
	if err != nil {
		t.Fatal(err)
	}
}
