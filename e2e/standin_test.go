package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// standIn is an image that is like another, which cannot be had here, in what a
// Compose file sees of it: its name, its program on PATH, what it runs, as whom, and
// a directory that is this user's.
type standIn struct {
	name    string
	program string // on this machine; goes to /usr/bin
	files   map[string]string
	dir     string // its user's; "": none
	uid     int
	run     []string // the entrypoint
	args    []string
}

// file writes the image as `docker load` takes it, with what the program is linked to.
func (s standIn) file(dir string) (string, error) {
	program, err := exec.LookPath(s.program)
	if err != nil {
		return "", err
	}
	archive, err := s.archive(program)
	if err != nil {
		return "", err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil })
	if err != nil {
		return "", err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return "", err
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       v1.Config{Entrypoint: s.run, Cmd: s.args, User: strconv.Itoa(s.uid), Env: []string{"PATH=/usr/bin"}},
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: mustDiffIDs(image)},
	})
	if err != nil {
		return "", err
	}
	tag, err := name.NewTag(s.name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, path.Base(s.program)+".tar")
	return file, tarball.WriteToFile(file, tag, image)
}

// library is a line of ldd about a file.
var library = regexp.MustCompile(`(?m)(?:=> |^\s+)(/\S+) \(0x`)

func (s standIn) archive(program string) ([]byte, error) {
	files := map[string]string{"/usr/bin/" + path.Base(s.program): program}
	for target, source := range s.files {
		files[target] = source
	}
	linked, _ := run(nil, "ldd", program) // an error says that it is linked to nothing
	for _, m := range library.FindAllStringSubmatch(linked, -1) {
		files[m[1]] = m[1]
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for target, source := range files {
		content, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{Name: target[1:], Mode: 0o755, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if s.dir != "" {
		// A new volume is as the directory is on which it comes.
		header := &tar.Header{Typeflag: tar.TypeDir, Name: s.dir[1:] + "/", Mode: 0o700, Uid: s.uid}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	return archive.Bytes(), w.Close()
}
