package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// containerdDirect is ctr with images named as the registry is.
func containerdDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "ctr", pull: ctrFetch, instead: "not found"}
	return matrixClient{"containerd, ctr", with(reads(s, c, s.listen), map[string]cell{
		list:    without("ctr has no command that lists a registry's tags"),
		runs:    does("yes, refused", func(t *testing.T) { ctrRuns(t, s) }),
		builds:  without("containerd builds nothing: see BuildKit"),
		pushes:  does("yes", func(t *testing.T) { ctrPushes(t, s, mustPushWorld(t)) }),
		signs:   without(signsNone),
		resumes: resuming(c, false),
	})}
}

// ctrRuns has ctr unpack a signed tag and run it.
func ctrRuns(t *testing.T, s *scene) {
	reference := s.tag("team/app", "signed")
	ctr := ctrCommand(t)
	defer func() { _, _ = ctr("images", "rm", "--sync", reference) }()
	hosts := must(ctrHosts(t, s.world))(t)
	for _, step := range [][]string{
		{"images", "pull", "--hosts-dir", hosts, "--snapshotter", "native", reference},
		{"run", "--rm", "--snapshotter", "native", reference, "matrix"},
	} {
		if out, err := ctr(step...); err != nil || step[0] == "run" && !strings.Contains(out, "signed words\n") {
			t.Fatalf("want the image's words, got %v:\n%s", err, out)
		}
	}
	if _, err := ctr("images", "pull", "--hosts-dir", hosts, "--snapshotter", "native", s.tag("team/app", "unsigned")); err == nil {
		t.Error("pulled an unsigned tag")
	}
}

// podmanDirect is podman with images named as the registry is.
func podmanDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "podman", pull: podmanPull}
	return matrixClient{"podman", with(reads(s, c, s.listen), map[string]cell{
		list: does("signed only", func(t *testing.T) {
			p := newPodman(t, s.world)
			var got []string
			for line := range strings.Lines(must(p.podman("search", "--list-tags", s.gun("team/list")))(t)) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == s.gun("team/list") { // under a heading
					got = append(got, f[1])
				}
			}
			wantTags(t, got, "v1", "v2")
		}),
		runs:    does("yes, refused", func(t *testing.T) { podmanRuns(t, newPodman(t, s.world).podman, s.world, c) }),
		builds:  does("yes, refused", func(t *testing.T) { podmanBuilds(t, newPodman(t, s.world).podman, s.world, c) }),
		pushes:  does("yes", func(t *testing.T) { podmanPushes(t, s, mustPushWorld(t)) }),
		signs:   without(signsNone),
		resumes: tryingAgain(c),
	})}
}

func podmanRuns(t *testing.T, podman func(...string) (string, error), w *world, c client) {
	run := func(tag string) (string, error) {
		// Limits of podman's own are more than a container of the suite's may set.
		return podman("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
			"--quiet", w.tag("team/app", tag))
	}
	if out, err := run("signed"); err != nil || !strings.Contains(out, "signed words\n") {
		t.Errorf("want the image's words, got %v:\n%s", err, out)
	}
	if _, err := run("unsigned"); !c.shows(err, noTrustData(w, "team/app", "unsigned")) {
		t.Errorf("want a denial, got %v", err)
	}
}

func podmanBuilds(t *testing.T, podman func(...string) (string, error), w *world, c client) {
	build := func(tag string) (string, error) {
		dir := t.TempDir()
		dockerfile := "FROM " + w.tag("team/app", tag) + "\nRUN [\"/say\", \"built on it\"]\n"
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
			return "", err
		}
		return podman("build", "--isolation", "chroot", dir)
	}
	if out, err := build("signed"); err != nil || !strings.Contains(out, "built on it") {
		t.Errorf("want the build's words, got %v:\n%s", err, out)
	}
	if _, err := build("unsigned"); !c.shows(err, noTrustData(w, "team/app", "unsigned")) {
		t.Errorf("want a denial, got %v", err)
	}
}

// skopeoDirect is skopeo with images named as the registry is.
func skopeoDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "skopeo", pull: skopeoCopy}
	return matrixClient{"skopeo", with(reads(s, c, s.listen), map[string]cell{
		list: does("signed only", func(t *testing.T) {
			out := mustRun(t, nil, "skopeo", "list-tags", "--cert-dir", s.ca.dir, "docker://"+s.gun("team/list"))
			var list struct{ Tags []string }
			if err := json.Unmarshal([]byte(out), &list); err != nil {
				t.Fatal(err)
			}
			wantTags(t, list.Tags, "v1", "v2")
		}),
		runs:   without(copiesOnly),
		builds: without(copiesOnly),
		pushes: does("yes", func(t *testing.T) {
			p := mustPushWorld(t)
			mustRun(t, nil, "skopeo", "copy", "--src-cert-dir", s.ca.dir, "--dest-cert-dir", p.ca.dir,
				"docker://"+s.tag("team/app", "signed"), "docker://"+p.tag("team/pushed", "by-skopeo"))
			p.wantHiddenUntilSigned(t, "by-skopeo")
		}),
		signs:   without("its own signatures (GPG) are not in the registry"),
		resumes: tryingAgain(c),
	})}
}

func ctrPushes(t *testing.T, s *scene, p *pushWorld) {
	ctr := ctrCommand(t)
	from, to := s.tag("team/app", "signed"), p.tag("team/pushed", "by-ctr")
	defer func() { _, _ = ctr("images", "rm", "--sync", from, to) }()
	for _, step := range [][]string{
		{"content", "fetch", "--hosts-dir", must(ctrHosts(t, s.world))(t), from},
		{"images", "tag", from, to},
		{"images", "push", "--hosts-dir", must(ctrHosts(t, p.world))(t), to},
	} {
		if _, err := ctr(step...); err != nil {
			t.Fatal(err)
		}
	}
	p.wantHiddenUntilSigned(t, "by-ctr")
}

func podmanPushes(t *testing.T, s *scene, p *pushWorld) {
	home := newPodman(t, s.world)
	from, to := s.tag("team/app", "signed"), p.tag("team/pushed", "by-podman")
	for _, step := range [][]string{
		{"pull", "--quiet", "--cert-dir", s.ca.dir, from},
		{"tag", from, to},
		{"push", "--quiet", "--cert-dir", p.ca.dir, to},
	} {
		if _, err := home.podman(step...); err != nil {
			t.Fatal(err)
		}
	}
	p.wantHiddenUntilSigned(t, "by-podman")
}
