package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dockerRow is docker, set up in one way.
type dockerRow struct {
	*scene   // whose names are those that docker is given
	daemon   *dockerDaemon
	env      []string // the CLI's
	client   client
	registry string // how image names begin
}

// dockerDirect is docker with images named as the registry is.
func dockerDirect(t *testing.T) matrixClient {
	s, d := shared(t), mustDockerd(t)
	row := dockerRow{scene: s, daemon: d, env: d.env(), client: client{name: "docker"}, registry: s.listen}
	row.client.pull = row.pull
	return matrixClient{"docker", with(row.cells(), map[string]cell{
		pushes:  does("yes", func(t *testing.T) { row.pushes(t, mustPushWorld(t)) }),
		signs:   does("`docker trust sign`", func(t *testing.T) { row.signs(t, mustPushWorld(t)) }),
		resumes: resuming(row.client, false),
	})}
}

// dockerWithContentTrust is docker with DOCKER_CONTENT_TRUST=1 and no trust server
// set: it asks the registry's own host, which is Sealgate, before it pulls.
func dockerWithContentTrust(t *testing.T) matrixClient {
	s, d := shared(t), mustDockerd(t)
	config := filepath.Join(d.dir, "trusting-cli")
	if err := trustByCLI(config, s.world); err != nil {
		t.Fatal(err)
	}
	row := dockerRow{scene: s, daemon: d, registry: s.listen,
		env:    []string{"DOCKER_HOST=unix://" + d.socket, "DOCKER_CONFIG=" + config, "DOCKER_CONTENT_TRUST=1"},
		client: client{name: "docker", instead: "No valid trust data for unsigned"}}
	row.client.pull = row.pull
	return matrixClient{"docker, `DOCKER_CONTENT_TRUST=1`", with(row.cells(), map[string]cell{
		pushes:  does("signs as well", func(t *testing.T) { row.pushesSigning(t, mustPushWorld(t)) }),
		signs:   without("it signs as it pushes"),
		resumes: without(seeDocker),
	})}
}

// trustByCLI has the docker CLI of that configuration directory trust the world's
// CA, where it asks for trust data itself.
func trustByCLI(config string, w *world) error {
	dir := filepath.Join(config, "tls", w.listen)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := os.ReadFile(w.ca.file)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o600)
}

// cells is what docker does.
func (d dockerRow) cells() map[string]cell {
	return with(reads(d.scene, d.client, d.registry), map[string]cell{
		list:   does("signed only", d.pullsAllTags),
		runs:   does("yes, refused", func(t *testing.T) { d.runsSigned(t); d.runsNoUnsigned(t) }),
		builds: does("yes, refused", func(t *testing.T) { d.buildsOnSigned(t); d.buildsOnNoUnsigned(t) }),
	})
}

// image is what docker is given for a tag of team/app.
func (d dockerRow) image(tag string) string { return d.registry + "/team/app:" + tag }

// pull leaves nothing behind, so that the next pull is a pull.
func (d dockerRow) pull(_ *testing.T, _ *world, reference string) ([]string, error) {
	defer d.daemon.forget(reference)
	if _, err := run(d.env, "docker", "pull", reference); err != nil {
		return nil, err
	}
	known, err := run(d.env, "docker", "image", "inspect", "--format", "{{join .RepoDigests \" \"}}", reference)
	return anyDigest.FindAllString(known, -1), err
}

// pullsAllTags: docker has no command that lists, but one that pulls a list.
func (d dockerRow) pullsAllTags(t *testing.T) {
	repository := d.registry + "/team/list"
	for _, tag := range []string{"v1", "v2", "v3"} {
		defer d.daemon.forget(repository + ":" + tag)
	}
	mustRun(t, d.env, "docker", "pull", "--all-tags", repository)
	got := strings.Fields(mustRun(t, d.env, "docker", "images", "--format", "{{.Tag}}", strings.TrimPrefix(repository, "docker.io/")))
	slices.Sort(got)
	wantTags(t, slices.Compact(got), "v1", "v2")
}

func (d dockerRow) run(tag string) (string, error) {
	defer d.daemon.forget(d.image(tag))
	return run(d.env, "docker", "run", "--rm", "--network", "none", d.image(tag))
}

func (d dockerRow) runsSigned(t *testing.T) {
	for tag, words := range map[string]string{"signed": "signed words\n", "index": "words of an index\n", "drifted": "as it was signed\n"} {
		if out, err := d.run(tag); err != nil || !strings.Contains(out, words) {
			t.Errorf("%s: want %q, got %v:\n%s", tag, words, err, out)
		}
	}
}

func (d dockerRow) runsNoUnsigned(t *testing.T) {
	if _, err := d.run("unsigned"); !d.client.shows(err, noTrustData(d.world, "team/app", "unsigned")) {
		t.Errorf("want a denial, got %v", err)
	}
}

// build uses the classic builder: BuildKit has a row of its own.
func (d dockerRow) build(t *testing.T, tag string) (string, error) {
	return build(t, d.daemon, func(*dockerDaemon) ([]string, []string, error) {
		return []string{"docker", "build"}, append(slices.Clone(d.env), "DOCKER_BUILDKIT=0"), nil
	}, d.image(tag))
}

func (d dockerRow) buildsOnSigned(t *testing.T) {
	if out, err := d.build(t, "signed"); err != nil || !strings.Contains(out, "built on it") {
		t.Errorf("want the build's words, got %v:\n%s", err, out)
	}
}

func (d dockerRow) buildsOnNoUnsigned(t *testing.T) {
	if _, err := d.build(t, "unsigned"); !d.client.shows(err, noTrustData(d.world, "team/app", "unsigned")) {
		t.Errorf("want a denial, got %v", err)
	}
}

// buildKit is the BuildKit inside dockerd, which pulls for itself, by names in FROM.
func buildKit(t *testing.T) matrixClient {
	s, d := shared(t), mustDockerd(t)
	c := client{name: "BuildKit", instead: "not found", pull: func(t *testing.T, _ *world, reference string) ([]string, error) {
		out, err := build(t, d, (*dockerDaemon).buildKit, reference)
		return anyDigest.FindAllString(out, -1), err
	}}
	registry := strings.TrimSuffix(s.named(""), "/") // by name, for it speaks no TLS to a loopback address
	return matrixClient{"BuildKit", with(reads(s, c, registry), map[string]cell{
		list:   without("a build names its images"),
		runs:   without("docker runs what was built"),
		pushes: without("docker pushes what was built"),
		signs:  without(signsNone),
		builds: does("yes, refused", func(t *testing.T) {
			out, err := build(t, d, (*dockerDaemon).buildKit, registry+"/team/app:signed")
			if err != nil || !strings.Contains(out, "built on it") {
				t.Errorf("want the build's words, got %v:\n%s", err, out)
			}
			if out, err := build(t, d, (*dockerDaemon).buildKit, registry+"/team/app:unsigned"); err == nil {
				t.Errorf("built:\n%s", out)
			}
		}),
		resumes: resuming(c, true),
	})}
}
