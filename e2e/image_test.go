package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReleasedImageServesWithNothingButItsVolume(t *testing.T) {
	t.Parallel()
	r, d := mustRelease(t), mustDockerd(t)
	const name = "sealgate:released"
	mustRun(t, nil, "skopeo", "copy", "--override-arch", runtime.GOARCH, "--dest-daemon-host", "unix://"+d.socket,
		"oci-archive:"+r.path("image.tar")+":"+releaseVersion, "docker-daemon:"+name)
	t.Cleanup(func() { d.forget(name) })
	wantImageServes(t, d, name)
}

// TestDockerfileBuildsAnImageThatServes has BuildKit perform all of the Dockerfile
// but the compiler: nothing can be pulled here, so that a local image stands in
// for Go's, in which "go" hands out the released binary, and that only for the
// command that releases use. `make image-check` compiles.
func TestDockerfileBuildsAnImageThatServes(t *testing.T) {
	t.Parallel()
	r, d := mustRelease(t), mustDockerd(t)
	root := t.TempDir()
	if os.Getenv("SEALGATE_IMAGE_LONG") == "" {
		mustRun(t, nil, "sh", "-c", goStandIn, "sh", root, r.path("linux_"+runtime.GOARCH), releaseVersion)
	} else if _, err := runWithin(10*time.Minute, "", goEnvironment(), "sh", "-c", realGo, "sh", root, ".."); err != nil {
		t.Fatal(err)
	}
	wantDockerfileServes(t, d, root)
}

// TestBuildContextHasWhatIsCompiled, since a package that is missing shows in no
// build with a stand-in.
func TestBuildContextHasWhatIsCompiled(t *testing.T) {
	t.Parallel()
	const dirs = `cd "$1" && go list -deps -f '{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}' ./cmd/sealgate | sed "s|^$PWD/||"`
	ignored := strings.Fields(readText(t, "../.dockerignore"))
	list, err := run(goEnvironment(), "sh", "-c", dirs, "sh", "..")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range strings.Fields(list) {
		let := slices.ContainsFunc(ignored, func(rule string) bool { return strings.HasPrefix(dir+"/", strings.TrimPrefix(rule, "!")+"/") })
		if !let {
			t.Errorf("%s is compiled, and .dockerignore keeps it out of the build", dir)
		}
	}
}

// goStandIn makes the root of an image with a shell and such a go.
const goStandIn = `set -eu
mkdir -p "$1/bin" "$1/etc/ssl/certs" "$1/tmp"
cp "$(command -v busybox)" "$1/bin/busybox"
cp "$2" "$1/sealgate"
for applet in sh mkdir cp echo test; do ln -s busybox "$1/bin/$applet"; done
cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
cat >"$1/bin/go" <<EOF
#!/bin/sh
set -eux
[ "\$1" != mod ] || exit 0
test "\$*" = "build -trimpath -buildvcs=false -ldflags -s -w -X main.version=$3 -o /out/usr/bin/sealgate ./cmd/sealgate"
test "\$CGO_ENABLED\$GOFLAGS" = 0
test -e cmd/sealgate/main.go -a -e go.sum -a ! -e cmd/sealgate/man_test.go
mkdir -p /out/usr/bin
cp /sealgate /out/usr/bin/sealgate
EOF
chmod 755 "$1/bin/go"`

// realGo makes the root of an image with a shell, this machine's Go, and the
// modules of the tree $2 for who cannot fetch them.
const realGo = `set -eu
mkdir -p "$1/bin" "$1/etc/ssl/certs" "$1/tmp" "$1/usr/local"
cp "$(command -v busybox)" "$1/bin/busybox"
for applet in sh mkdir cp echo; do ln -s busybox "$1/bin/$applet"; done
cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
cp -a "$(go env GOROOT)" "$1/usr/local/go"
from=$(go env GOMODCACHE)
cd "$2" && GOFLAGS=-modcacherw GOMODCACHE="$1/modules" GOPROXY="file://$from/cache/download" GOSUMDB=off go mod download
mv "$1/modules/cache/download" "$1/goproxy" && rm -rf "$1/modules"`

// wantDockerfileServes builds the Dockerfile of the tree under test, on an image
// with this root instead of Go's, and runs what comes of it.
func wantDockerfileServes(t *testing.T, d *dockerDaemon, root string) {
	t.Helper()
	const compiler, name = "golang:local", "sealgate:built"
	tar := filepath.Join(t.TempDir(), "root.tar")
	mustRun(t, nil, "tar", "-C", root, "-cf", tar, ".")
	if out, err := d.docker("import", "--change", "ENV PATH=/bin:/usr/local/go/bin",
		"--change", "ENV GOPROXY=file:///goproxy GOSUMDB=off GOTOOLCHAIN=local", tar, compiler); err != nil {
		t.Fatal(out, err)
	}
	t.Cleanup(func() { d.forget(compiler) })
	argv, env, err := d.buildKit()
	if err != nil {
		t.Fatal(err)
	}
	argv = append(argv, "--network", "none", "--tag", name,
		"--build-arg", "GO_IMAGE="+compiler, "--build-arg", "VERSION="+releaseVersion, "--build-arg", "REVISION=abc", "..")
	if _, err := runWithin(15*time.Minute, "", env, argv...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.forget(name) })
	wantImageServes(t, d, name)
}

// wantImageServes runs the image as docs/install.md has it, read only and without
// any right, with a volume that Docker makes, and reads through it.
func wantImageServes(t *testing.T, d *dockerDaemon, name string) {
	t.Helper()
	told, err := d.docker("image", "inspect", "--format", `{{.Config.User}} {{index .Config.Labels "org.opencontainers.image.version"}}`, name)
	if err != nil || strings.TrimSpace(told) != "65532:65532 "+releaseVersion {
		t.Fatalf("want a user by number and the version, got %q, %v", told, err)
	}
	w, image := oneSignedTag(t, registryOptions{})
	s := must(w.defaults())(t)
	s.plainHTTP = true
	s.storage = "{filesystem: {rootdirectory: /var/lib/sealgate/store}}"
	text := strings.ReplaceAll(must(s.yaml("/var/lib/sealgate", w.ca))(t), w.ca.file, "/etc/sealgate/ca.pem")
	config := t.TempDir()
	for file, data := range map[string]string{"proxy.yaml": text, "ca.pem": readText(t, w.ca.file)} {
		if err := os.WriteFile(filepath.Join(config, file), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	container := strings.ReplaceAll(name, ":", "-")
	t.Cleanup(func() { _, _ = d.docker("rm", "--force", "--volumes", container) })
	if out, err := d.docker("run", "--detach", "--name", container, "--network", "host", "--read-only", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges", "--volume", config+":/etc/sealgate:ro", name); err != nil {
		t.Fatal(out, err)
	}
	w.gate = &gate{settings: s, url: "http://" + s.listen, ca: w.ca}
	eventually(t, 20*time.Second, func() error {
		err := w.ca.answers(w.url + "/v2/")()
		if err == nil {
			return nil
		}
		logs, _ := d.docker("logs", container)
		return fmt.Errorf("%w\n%s", err, logs)
	})
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	if out, err := d.docker("stop", container); err != nil { // SIGTERM
		t.Fatal(out, err)
	}
	code, err := d.docker("container", "inspect", "--format", "{{.State.ExitCode}}", container)
	if err != nil || strings.TrimSpace(code) != "0" {
		t.Errorf("want a clean stop, got exit code %s, %v", code, err)
	}
}
