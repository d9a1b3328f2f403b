package e2e

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	releaseVersion = "v1.2.3"
	releasePrefix  = "sealgate_1.2.3_"
)

// released is what `make release` makes of the tree under test, once for the
// suite: the directory, and the commit that it was made from.
var released = sync.OnceValues(func() (release, error) {
	return makeRelease(filepath.Join(suite.dir, "release"), "0022", "UTC")
})

type release struct{ dist, commit string }

func mustRelease(t *testing.T) release {
	t.Helper()
	return must(released())(t)
}

func (r release) path(name string) string { return filepath.Join(r.dist, releasePrefix+name) }

// makeRelease copies the tree to dir, commits it there as everybody would, and
// has the copy make a release. Compiled packages come from the caller's build
// cache, where settings (of the environment) do not name another.
func makeRelease(dir, umask, zone string, settings ...string) (release, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return release{}, err
	}
	const commit = `set -eu
umask "$2"
git -C "$3" ls-files -z --cached --others --exclude-standard | (cd "$3" && tar --null --ignore-failed-read -T - -cf -) 2>/dev/null | tar -xf - -C "$1"
cd "$1"
git init -q && git add -A
git -c user.name=e2e -c user.email=e2e@localhost commit -q -m release
git rev-parse HEAD`
	tree, err := filepath.Abs("..")
	if err != nil {
		return release{}, err
	}
	env := append(goEnvironment(),
		"TZ="+zone, "GOFLAGS=",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_DATE=2024-05-06T07:08:09Z", "GIT_COMMITTER_DATE=2024-05-06T07:08:09Z")
	env = append(env, settings...)
	head, err := run(env, "sh", "-c", commit, "sh", dir, umask, tree)
	if err != nil {
		return release{}, err
	}
	r := release{dist: filepath.Join(dir, "dist"), commit: strings.TrimSpace(head)}
	// Where no build cache has the other architecture, all of it is compiled.
	_, err = runWithin(20*time.Minute, "", env, "sh", "-c", `umask "$2" && cd "$1" && exec go run ./deploy/release -version "$3"`, "sh", dir, umask, releaseVersion)
	return r, err
}

func TestReleaseIsTheSameFromAnotherDirectory(t *testing.T) {
	t.Parallel()
	first := mustRelease(t)
	var settings []string
	if os.Getenv("SEALGATE_RELEASE_LONG") != "" {
		// -trimpath makes compiled packages the same wherever they were compiled:
		// `make release-check` does not believe it, and compiles them anew.
		settings = append(settings, "GOCACHE="+t.TempDir())
	}
	second, err := makeRelease(filepath.Join(t.TempDir(), "some", "where else"), "0077", "Pacific/Chatham", settings...)
	if err != nil {
		t.Fatal(err)
	}
	if first.commit != second.commit {
		t.Fatalf("the test compares releases of two commits, %s and %s", first.commit, second.commit)
	}
	want, got := readText(t, filepath.Join(first.dist, "SHA256SUMS")), readText(t, filepath.Join(second.dist, "SHA256SUMS"))
	if want != got {
		t.Errorf("the first time:\n%s\nthe second time:\n%s", want, got)
	}
	mustRun(t, nil, "sh", "-c", `cd "$1" && sha256sum --check --strict --quiet SHA256SUMS`, "sh", second.dist)
	for _, name := range []string{
		"linux_amd64", "linux_amd64.cdx.json", "linux_amd64.tar.gz", "amd64.deb",
		"linux_arm64", "linux_arm64.cdx.json", "linux_arm64.tar.gz", "arm64.deb", "image.tar",
	} {
		if !strings.Contains(want, "  "+releasePrefix+name+"\n") {
			t.Errorf("no %s in SHA256SUMS:\n%s", name, want)
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	return string(must(os.ReadFile(path))(t))
}

func TestReleasedBinariesAreStaticAndSayTheirVersion(t *testing.T) {
	t.Parallel()
	r := mustRelease(t)
	for arch, emulator := range map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"} {
		t.Run(arch, func(t *testing.T) {
			binary := r.path("linux_" + arch)
			wantStatic(t, binary)
			argv := []string{binary, "version"}
			if arch != runtime.GOARCH {
				argv = append([]string{emulator}, argv...)
			}
			want := fmt.Sprintf("sealgate %s (%s, linux/%s, %s)\n", releaseVersion, runtime.Version(), arch, r.commit[:12])
			if got := mustRun(t, nil, argv...); got != want {
				t.Errorf("want %q, got %q", want, got)
			}
		})
	}
}

func wantStatic(t *testing.T, binary string) {
	t.Helper()
	file := must(elf.Open(binary))(t)
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			t.Errorf("%s has a %v segment: it is not static", binary, segment.Type)
		}
	}
}

func TestReleasedTarballHasWhatIsNeeded(t *testing.T) {
	t.Parallel()
	r := mustRelease(t)
	listing := mustRun(t, []string{"TZ=UTC"}, "tar", "--numeric-owner", "-tvzf", r.path("linux_arm64.tar.gz"))
	for line := range strings.Lines(listing) {
		if !strings.Contains(line, " 0/0 ") || !strings.Contains(line, " 2024-05-06 07:08 sealgate_1.2.3/") {
			t.Errorf("want an entry of root's, of the commit's time, below one directory: %s", line)
		}
	}
	for _, name := range []string{
		"sealgate", "README.md", "CHANGELOG.md", "LICENSE", "THIRD-PARTY-LICENCES", "proxy.yaml", "sbom.cdx.json",
		"systemd/sealgate.service", "systemd/sysusers.conf",
		"completions/sealgate.bash", "completions/_sealgate", "completions/sealgate.fish", "man/sealgate-serve.1",
	} {
		if !strings.Contains(listing, "/"+name+"\n") {
			t.Errorf("no %s in the tarball:\n%s", name, listing)
		}
	}
}
