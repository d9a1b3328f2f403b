// Command release makes what is published of a version, for each platform and
// the same to the last bit wherever it is made from the same commit with the same
// Go and the same dpkg-deb:
//
//	go run ./deploy/release [-version v1.2.3] [-out dist]
//
//	sealgate_V_linux_ARCH           the static binary
//	sealgate_V_linux_ARCH.cdx.json  what is in it: a CycloneDX bill of materials
//	sealgate_V_linux_ARCH.tar.gz    both, with manual, completions, unit, licences
//	sealgate_V_ARCH.deb             the same, installed
//	sealgate_V_image.tar            an OCI image layout with an image for each
//	SHA256SUMS                      of all of these
//
// It runs on Linux, on one of the platforms, in a clone with its history, and
// needs git and dpkg-deb. Every time in what it makes is that of the commit.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// architectures are what is released, by the names of Go, Debian and OCI alike.
var architectures = []string{"amd64", "arm64"}

// release is a version being made.
type release struct {
	version  string    // v1.2.3, or what git describes
	revision string    // the commit
	time     time.Time // of the commit
	out      string    // directory
}

func main() {
	version := flag.String("version", "", "the version (default: git describe)")
	out := flag.String("out", "dist", "the directory to write to; what is in it is removed")
	flag.Parse()
	if err := run(*version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(version, out string) error {
	if runtime.GOOS != "linux" || !slices.Contains(architectures, runtime.GOARCH) {
		return fmt.Errorf("a release is made on linux/%s, not on %s/%s", strings.Join(architectures, " or "), runtime.GOOS, runtime.GOARCH)
	}
	r, err := newRelease(version, out)
	if err != nil {
		return err
	}
	if err := r.make(); err != nil {
		return err
	}
	fmt.Printf("%s in %s, made with %s:\n", r.version, r.out, runtime.Version())
	sums, err := os.ReadFile(r.path("SHA256SUMS"))
	os.Stdout.Write(sums)
	return err
}

// newRelease learns of git what it is about.
func newRelease(version, out string) (release, error) {
	r := release{version: version, out: out}
	var err error
	if r.version == "" {
		if r.version, err = output(nil, "git", "describe", "--tags", "--always", "--dirty"); err != nil {
			return r, err
		}
	}
	if !validVersion(r.version) {
		return r, fmt.Errorf("version %q: expected one like v1.2.3, of letters, digits, '.' and '-'", r.version)
	}
	head, err := output(nil, "git", "log", "-1", "--format=%H %ct")
	if err != nil {
		return r, err
	}
	revision, seconds, _ := strings.Cut(head, " ")
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	r.revision, r.time = revision, time.Unix(epoch, 0).UTC()
	return r, err
}

func (r release) make() error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	err := forEach(architectures, func(_ int, arch string) error { return r.build(arch) })
	if err != nil {
		return err
	}
	made, err := r.pages()
	if err != nil {
		return err
	}
	licences, err := thirdPartyLicences()
	if err != nil {
		return err
	}
	images := make([]v1.Image, len(architectures))
	err = forEach(architectures, func(i int, arch string) error {
		p, err := r.platform(arch, made, licences)
		if err != nil {
			return err
		}
		if images[i], err = r.image(p); err != nil {
			return err
		}
		return errors.Join(r.tarball(p), r.debian(p))
	})
	if err != nil {
		return err
	}
	if err := r.index(images); err != nil {
		return err
	}
	return r.sums()
}

// forEach does something for all at the same time. It waits for all of them and
// returns the first error.
func forEach(all []string, do func(int, string) error) error {
	var group errgroup.Group
	for i, one := range all {
		group.Go(func() error { return do(i, one) })
	}
	return group.Wait()
}

// name is a file's name with the version as packages write it.
func (r release) name(rest string) string {
	return "sealgate_" + strings.TrimPrefix(r.version, "v") + rest
}

func (r release) path(name string) string { return filepath.Join(r.out, name) }

// output runs a command and returns what it printed, without the space around it.
func output(env []string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}
