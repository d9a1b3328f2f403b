package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// curator decides which images of Docker Hub are served, with keys in a home of
// their own, and follows docs/docker-hub.md.
type curator struct {
	*world
	hub  *hub
	home string
}

// newCurator has a root key, which a Sealgate in front of the hub is told of.
func newCurator(t *testing.T) *curator {
	t.Helper()
	c := &curator{world: ownWorld(t, registryOptions{})}
	c.hub = mustHub(t, c.ca)
	c.home = must(os.MkdirTemp(c.world.dir, "home-"))(t)
	c.publisher.dir = filepath.Join(c.home, ".docker")
	must(c.cli("key", "generate", "ecdsa"))(t)
	key := must(c.rootKey())(t)
	c.mustOpen(t, func(s *settings) {
		s.name, s.hosts, s.credentials = "docker.io", []string{c.listen}, "anonymous"
		s.upstream, s.resolves = "https://registry-1.docker.io", c.hub.names()
		s.rootKeys = map[string]string{"docker.io/*": key}
	})
	return c
}

// publishes has somebody push an image to the hub, as anybody does there.
func (c *curator) publishes(t *testing.T, repository, tag string, image remote.Taggable) pushed {
	t.Helper()
	digest, size, err := c.hub.push(repository, tag, image)
	if err != nil {
		t.Fatal(err)
	}
	return pushed{digest.String(), size}
}

// approve runs the command and returns the script that it prints.
func (c *curator) approve(t *testing.T, image string) (string, error) {
	t.Helper()
	hosts := must(hostsFile(c.home, c.hub.names()))(t)
	return run([]string{"HOME=" + c.home}, resolving(hosts, suite.sealgate, "approve", "--config", c.gate.config, image)...)
}

// signs runs the very script, and returns its commands.
func (c *curator) signs(t *testing.T, script string) (commands []string) {
	t.Helper()
	env := []string{"HOME=" + c.home}
	for _, role := range []string{"ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"} {
		env = append(env, "NOTARY_"+role+"_PASSPHRASE="+passphrase)
	}
	file := filepath.Join(c.home, "approve.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, env, "sh", "-e", file)
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, "#") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	return commands
}

// shows waits until the gate serves the image for the tag.
func (c *curator) shows(t *testing.T, repository, tag string, image pushed) {
	t.Helper()
	eventually(t, 15*time.Second, func() error {
		a, err := c.send(request{path: "/v2/" + repository + "/manifests/" + tag})
		if err == nil && (a.status != http.StatusOK || sha256Of(a.body) != image.digest) {
			err = errors.New(a.String())
		}
		return err
	})
}

// TestACuratedDockerHub is the recipe of docs/docker-hub.md: what the curator
// approved can be pulled by its short name, at the digest that was approved, and
// nothing else of Docker Hub can.
func TestACuratedDockerHub(t *testing.T) {
	t.Parallel()
	d := mustDockerd(t)
	c := newCurator(t)
	approved := c.publishes(t, "library/words", "1", must(saying("approved words"))(t))
	c.publishes(t, "library/words", "2", must(saying("words that nobody approved"))(t))
	c.publishes(t, "library/other", "1", must(saying("another repository"))(t))
	index := c.publishes(t, "team/app", "multi", must(indexSaying("words of an index"))(t))
	d.mirror(t, c.url)
	defer d.mirror(t, "")
	docker := client{name: "docker", pull: dockerPull}
	if _, err := docker.pull(t, c.world, "words:1"); err == nil {
		t.Fatal("pulled before it was approved")
	}

	script := must(c.approve(t, "words:1"))(t)
	if commands := c.signs(t, script); len(commands) != 2 || !strings.Contains(commands[0], " init -p docker.io/library/words") || !strings.Contains(script, approved.digest) {
		t.Fatalf("the script is\n%s", script)
	}
	c.shows(t, "library/words", "1", approved)
	wantPulled(t, docker, c.world, "words:1", approved)
	wantPulled(t, docker, c.world, "docker.io/library/words:1", approved)
	for _, image := range []string{"words:2", "words", "other:1", "team/app:multi"} {
		if _, err := docker.pull(t, c.world, image); err == nil {
			t.Errorf("pulled %s, which nobody approved", image)
		}
	}
	wantTags(t, tagsIn(t, c.get(t, "/v2/library/words/tags/list")), "1")

	script = must(c.approve(t, "docker.io/team/app:multi"))(t)
	if !strings.Contains(script, "linux/") {
		t.Errorf("no platform in\n%s", script)
	}
	c.signs(t, script)
	c.shows(t, "team/app", "multi", index)
	if reads := c.hub.asked(0); !slices.ContainsFunc(reads, func(s string) bool { return strings.Contains(s, "auth.docker.io/token") }) {
		t.Errorf("the hub was asked without a token: %q", reads)
	}
}

// TestWhatDockerHubMovesIsApprovedAnew: a tag that is pushed again stays as it was
// approved until somebody looks at it again.
func TestWhatDockerHubMovesIsApprovedAnew(t *testing.T) {
	t.Parallel()
	c := newCurator(t)
	first := c.publishes(t, "library/words", "1", must(saying("first words"))(t))
	c.signs(t, must(c.approve(t, "words:1"))(t))
	c.shows(t, "library/words", "1", first)
	if script := must(c.approve(t, "words:1"))(t); len(c.signs(t, script)) != 0 || !strings.Contains(script, "nothing is left to do") {
		t.Errorf("there is something to do about what is approved:\n%s", script)
	}
	second := c.publishes(t, "library/words", "1", must(saying("second words"))(t))
	wantServed(t, c.manifest(t, "library/words", "1"), first)
	script := must(c.approve(t, "words:1"))(t)
	if commands := c.signs(t, script); len(commands) != 1 || !strings.Contains(script, "another: "+first.digest) {
		t.Errorf("the script is\n%s", script)
	}
	c.shows(t, "library/words", "1", second)
}

func TestApproveOfWhatIsNotThereFails(t *testing.T) {
	c := newCurator(t)
	for image, code := range map[string]int{"words:1": 1, "words": 2} {
		if out, err := c.approve(t, image); exitCode(errors.Unwrap(err)) != code && exitCode(err) != code {
			t.Errorf("%s: want exit code %d, got %v:\n%s", image, code, err, out)
		}
	}
}

// TestApproveAsksAsWhoHasLoggedIn: where clients' credentials pass through, the
// operator is a client like any other, with what docker login has stored.
func TestApproveAsksAsWhoHasLoggedIn(t *testing.T) {
	w, _ := tokenWorld(t, registryOptions{unfiltered: true}) // approve reads tags
	w.mustOpen(t, func(s *settings) { s.more += "    realms: [localhost]\n" })
	unsigned, signed := w.tag("team/app", "unsigned"), w.tag("team/app", "signed")
	approve := func(config, image string) (string, error) {
		return run([]string{"DOCKER_CONFIG=" + config}, suite.sealgate, "approve", "--config", w.gate.config, image)
	}
	alices := w.somebodysFile(t, alice)
	if out, err := approve(alices, unsigned); err != nil || !strings.Contains(out, " addhash -p "+w.gun("team/app")+" unsigned ") {
		t.Errorf("alice's unsigned tag: %v\n%s", err, out)
	} else if strings.Contains(out, alice.password) {
		t.Error("a password is in what it prints")
	}
	if out, err := approve(alices, signed); err != nil || !strings.Contains(out, "nothing is left to do") {
		t.Errorf("alice's signed tag: %v\n%s", err, out)
	}
	for name, config := range map[string]string{"bob": w.somebodysFile(t, bob), "nobody": t.TempDir()} {
		if out, err := approve(config, unsigned); err == nil || strings.Contains(out, "sha256") {
			t.Errorf("%s may not read it: %v\n%s", name, err, out)
		}
	}
}
