package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// buildSay builds the test images' only program, statically, and packs it as a layer.
func buildSay(dir string) (v1.Layer, error) {
	file := filepath.Join(dir, "say")
	env := append(goEnvironment(), "CGO_ENABLED=0")
	if _, err := run(env, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./testdata/say"); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "say", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
}

// saying is a runnable image that prints words. Other words, other digest.
func saying(words string) (v1.Image, error) { return sayingOn(runtime.GOARCH, words) }

func sayingOn(architecture, words string) (v1.Image, error) {
	image, err := mutate.AppendLayers(empty.Image, suite.say)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: architecture,
		OS:           "linux",
		Config:       v1.Config{Entrypoint: []string{"/say"}, Cmd: []string{words}},
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: mustDiffIDs(image)},
	})
}

func mustDiffIDs(image v1.Image) []v1.Hash {
	config, err := image.ConfigFile()
	if err != nil {
		panic(err) // the image was made in memory a line ago
	}
	return config.RootFS.DiffIDs
}

// ociSaying is saying as an OCI image; the others have Docker's media types.
func ociSaying(words string) (v1.Image, error) {
	image, err := saying(words)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(suite.say.Compressed, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	bare := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(bare, layer); err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, config)
}

// indexSaying is a multi-architecture index whose entry for this machine prints words.
func indexSaying(words string) (v1.ImageIndex, error) {
	image, err := saying(words)
	if err != nil {
		return nil, err
	}
	other, err := sayingOn("s390x", words)
	if err != nil {
		return nil, err
	}
	entry := func(image v1.Image, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
	}
	index := mutate.AppendManifests(empty.Index, entry(image, runtime.GOARCH), entry(other, "s390x"))
	return mutate.IndexMediaType(index, types.DockerManifestList), nil
}
