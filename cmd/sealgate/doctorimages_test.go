package main

import (
	"context"
	"errors"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// says answers a command by what stands for it in the map, with "!" before what is
// an error.
func says(answers map[string]string) command {
	return func(_ context.Context, argv ...string) (string, error) {
		out, ok := answers[strings.Join(argv, " ")]
		if failure, is := strings.CutPrefix(out, "!"); is {
			return "", errors.New(failure)
		}
		if !ok {
			return "", &exec.Error{Name: argv[0], Err: exec.ErrNotFound}
		}
		return out, nil
	}
}

func TestDoctorListsLocalImagesThatAreNotSigned(t *testing.T) {
	gate := shop(t, "no trust data", map[string]string{"1": "sha256:aa", "2": "sha256:bb"})
	base, err := url.Parse(gate.URL)
	if err != nil {
		t.Fatal(err)
	}
	const docker = "docker image ls --digests --no-trunc --format {{.Repository}}\t{{.Tag}}\t{{.Digest}}"
	for _, tc := range []struct {
		name    string
		answers map[string]string
		want    []string
	}{
		{"no client is installed", nil, nil},
		{"docker, all signed", map[string]string{docker: "app\t1\tsha256:aa\nquay.io/x\t1\tsha256:cc\n<none>\t<none>\t<none>\nbuilt\t1\t<none>\n"},
			[]string{"ok|docker"}},
		{"docker, drifted, unsigned and without a tag", map[string]string{docker: "team/app\t1\tsha256:cc\nteam/app\t3\tsha256:dd\nteam/app\t<none>\tsha256:ee\nteam/app\t<none>\tsha256:bb\n"},
			[]string{"hole|docker||docker.io/team/app:1 here is sha256:cc: not signed (any more), signed is sha256:aa", "hole|docker||docker.io/team/app:3 is here", "hole|docker||docker.io/team/app@sha256:ee is here without a tag"}},
		{"podman, one of several digests", map[string]string{"podman images --format json": `[{"Names": ["docker.io/team/app:1"], "RepoDigests": ["docker.io/team/app@sha256:aa", "docker.io/team/app@sha256:ff"]}, {"Names": null, "RepoDigests": ["docker.io/team/app@sha256:ee"]}]`},
			[]string{"hole|podman||docker.io/team/app@sha256:ee"}},
		{"containerd, in each namespace", map[string]string{"ctr namespaces ls --quiet": "default\nk8s.io\n", "ctr --namespace default images ls": "REF TYPE DIGEST\ndocker.io/team/app:1 application/x sha256:aa 1 MiB\n", "ctr --namespace k8s.io images ls": "docker.io/team/app:2 application/x sha256:aa 1 MiB\nsha256:aa application/x sha256:aa\n"},
			[]string{"hole|containerd||docker.io/team/app:2 here is sha256:aa"}},
		{"a client that does not answer", map[string]string{docker: "!no daemon"}, []string{"note|docker||no daemon"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			report := &diagnosis{}
			imageCheck{prober{gate.Client().Transport}, base, "docker.io", report, map[string][]string{}}.all(t.Context(), says(tc.answers))
			wantFindings(t, report, tc.want...)
		})
	}
}

func TestDoctorRemovesTheCanaryThatAClientPulled(t *testing.T) {
	const image = "docker.io/team/app:unsigned"
	for _, tc := range []struct {
		name, client string
		answers      map[string]string
		want         []string
		removed      bool
	}{
		{"it is refused", "docker", map[string]string{"docker image inspect " + image: "!none", "docker pull --quiet " + image: "!not found"}, []string{"ok|docker||not found"}, false},
		{"it is pulled", "podman", map[string]string{"podman image exists " + image: "!none", "podman pull --quiet " + image: "", "podman rmi " + image: ""}, []string{"hole|podman||pulled the canary"}, true},
		{"it cannot be removed", "podman", map[string]string{"podman image exists " + image: "!none", "podman pull --quiet " + image: "", "podman rmi " + image: "!in use"}, []string{"hole|podman", "note|podman||in use"}, true},
		{"it was there before", "docker", map[string]string{"docker image inspect " + image: "[]"}, []string{"unknown|docker||is here already"}, false},
		{"it leaves nothing", "skopeo", map[string]string{"skopeo inspect --raw docker://" + image: "{}"}, []string{"hole|skopeo"}, false},
		{"the client is not installed", "docker", nil, []string{"unknown|docker||is not installed"}, false},
		{"no such client", "rkt", nil, []string{"unknown|rkt"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			report := &diagnosis{}
			var ran []string
			run := func(ctx context.Context, argv ...string) (string, error) {
				ran = append(ran, strings.Join(argv, " "))
				return says(tc.answers)(ctx, argv...)
			}
			pullCanary(t.Context(), run, report, tc.client, image)
			wantFindings(t, report, tc.want...)
			if got := slices.ContainsFunc(ran, func(s string) bool { return strings.Contains(s, " rmi ") }); got != tc.removed {
				t.Errorf("it ran %q", ran)
			}
		})
	}
}
