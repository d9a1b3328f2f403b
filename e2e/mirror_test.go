package e2e

import (
	"strings"
	"testing"
)

// Behind a mirror stands Docker Hub, to which dockerd falls back; in the suite
// nothing answers there. Only what the mirror serves can be pulled.
func TestDockerPullsDockerHubNamesThroughAMirror(t *testing.T) {
	t.Parallel()
	d := mustDockerd(t)
	w := ownWorld(t, registryOptions{})
	const gun = "docker.io/team/app"
	if err := w.begin(gun); err != nil {
		t.Fatal(err)
	}
	image := w.mustSay(t, "team/app", "signed", "words by the mirror")
	drift := w.mustSay(t, "team/app", "drifted", "drift")
	w.mustSay(t, "team/app", "unsigned", "unsigned words")
	for _, tag := range []string{"signed", "drifted"} {
		if err := w.sign(gun, tag, image); err != nil {
			t.Fatal(err)
		}
	}
	key := must(w.rootKey())(t)
	w.mustOpen(t, func(s *settings) {
		s.name, s.hosts = "docker.io", []string{w.listen}
		s.rootKeys = map[string]string{"docker.io/*": key}
	})
	d.mirror(t, w.url)
	defer d.mirror(t, "")

	docker := client{name: "docker", pull: dockerPull}
	wantPulled(t, docker, w, "team/app:signed", image)
	wantPulled(t, docker, w, "team/app:drifted", image, drift)
	wantPulled(t, docker, w, "team/app@"+drift.digest, drift)
	if _, err := docker.pull(t, w, "team/app:unsigned"); err == nil {
		t.Error("pulled an unsigned tag")
	} else if !strings.Contains(err.Error(), "registry-1.docker.io") {
		t.Errorf("want a failure of the fallback, got %v", err)
	}
}
