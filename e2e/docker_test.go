package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDockerPullsAtTheRegistrysOwnNameWithTLSVerified(t *testing.T) {
	s := shared(t)
	docker := client{name: "docker", pull: dockerPull}
	wantPulled(t, docker, s.world, s.named("team/app")+":signed", s.signed)
	wantDenied(t, docker, s.world, s.named("team/app")+":unsigned", noTrustData(s.world, "team/app", "unsigned"))
}

// builders are docker's two ways to build.
var builders = []struct {
	name    string
	command func(*dockerDaemon) (argv, env []string, err error)
}{
	{"classic builder", func(d *dockerDaemon) ([]string, []string, error) {
		return []string{"docker", "build"}, append(d.env(), "DOCKER_BUILDKIT=0"), nil
	}},
	{"BuildKit", (*dockerDaemon).buildKit},
}

// build builds FROM the image, with one more step that runs in it.
func build(t *testing.T, d *dockerDaemon, command func(*dockerDaemon) (argv, env []string, err error), from string) (string, error) {
	t.Helper()
	argv, env, err := command(d)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	dockerfile := "FROM " + from + "\nRUN [\"/say\", \"built on it\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	argv = append(slices.Clone(argv), "--pull", "--no-cache", "--network", "none", "--tag", "built:e2e", dir)
	defer d.forget("built:e2e")
	defer d.forget(from)
	return run(env, argv...)
}

func TestDockerBuildFromSignedTagBuilds(t *testing.T) {
	s, d := shared(t), mustDockerd(t)
	for _, b := range builders {
		t.Run(b.name, func(t *testing.T) {
			out, err := build(t, d, b.command, s.named("team/app")+":signed")
			if err != nil || !strings.Contains(out, "built on it") {
				t.Fatalf("want the build's words, got %v:\n%s", err, out)
			}
		})
	}
}

func TestDockerBuildFromUnsignedTagFails(t *testing.T) {
	s, d := shared(t), mustDockerd(t)
	for _, b := range builders {
		t.Run(b.name, func(t *testing.T) {
			out, err := build(t, d, b.command, s.named("team/app")+":unsigned")
			if err == nil || !strings.Contains(out, "not found") {
				t.Fatalf("want a failure that says not found, got %v:\n%s", err, out)
			}
		})
	}
}

func TestDockerBuildFromDigestBuilds(t *testing.T) {
	s, d := shared(t), mustDockerd(t)
	for _, b := range builders {
		t.Run(b.name, func(t *testing.T) {
			if out, err := build(t, d, b.command, s.named("team/app")+"@"+s.unsigned.digest); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
