package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who runs in the image: by number, so that Kubernetes can see that it is
// not root. The Dockerfile has the same.
const user = 65532

// index packs the images of all architectures as one OCI image layout (image-spec
// v1.1) in a tar file.
func (r release) index(images []v1.Image) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, image := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architectures[i]}},
		})
	}
	index = mutate.Annotations(index, r.labels()).(v1.ImageIndex)
	dir, err := os.MkdirTemp("", "sealgate-image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})
	if err := path.AppendIndex(index, named); err != nil {
		return err
	}
	files, err := tree(dir)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := writeTar(&packed, files, r.time); err != nil {
		return err
	}
	return os.WriteFile(r.path(r.name("_image.tar")), packed.Bytes(), 0o644)
}

// image is the binary on nothing but what it asks a system for: CAs, a
// name for its user, a directory to write.
func (r release) image(p platform) (v1.Image, error) {
	const doc = "usr/share/doc/sealgate/"
	system := []file{
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", data: []byte("root:x:0:0:root:/:/\nsealgate:x:65532:65532:Sealgate:/var/lib/sealgate:/\n")},
		{name: "etc/group", data: []byte("root:x:0:\nsealgate:x:65532:\n")},
		{name: "etc/sealgate/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", data: authorities()},
		{name: doc + "sbom.cdx.json", data: p.sbom},
		{name: doc + "THIRD-PARTY-LICENCES", data: p.licences},
		{name: "var/lib/sealgate/", mode: 0o700, owner: user},
	}
	system, err := withSources(system, doc, map[string]string{"LICENSE": "LICENSE"})
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: r.time}
	for _, files := range [][]file{system, {{name: "usr/bin/sealgate", mode: 0o755, data: p.binary}}} {
		layer, err := r.layer(files)
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{
			Layer:   layer,
			History: v1.History{Created: created, CreatedBy: "deploy/release"},
		})
		if err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", p.arch, created
	config.Config = v1.Config{
		User:         "65532:65532",
		Entrypoint:   []string{"/usr/bin/sealgate"},
		Cmd:          []string{"serve", "--config", "/etc/sealgate/proxy.yaml"},
		Env:          []string{"PATH=/usr/bin"},
		ExposedPorts: map[string]struct{}{"8443/tcp": {}, "8444/tcp": {}},
		Volumes:      map[string]struct{}{"/var/lib/sealgate": {}},
		Labels:       r.labels(),
	}
	return mutate.ConfigFile(image, config)
}

func (r release) layer(files []file) (v1.Layer, error) {
	var packed bytes.Buffer
	if err := writeTar(&packed, files, r.time); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// labels are the pre-defined annotations of image-spec v1.1.
func (r release) labels() map[string]string {
	const name = "org.opencontainers.image."
	return map[string]string{
		name + "title":       "Sealgate",
		name + "description": "A registry proxy that makes unsigned tags invisible",
		name + "source":      "https://github.com/sealgate/sealgate",
		name + "licenses":    "Apache-2.0",
		name + "version":     r.version,
		name + "revision":    r.revision,
		name + "created":     r.time.Format("2006-01-02T15:04:05Z"),
	}
}

// authorities are Mozilla's CAs, as the version of golang.org/x/crypto in go.mod
// has them: those of the machine that makes the release would be other ones on
// each. CAs that are believed in part only cannot be told so in PEM, and are left
// out.
func authorities() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return all.Bytes()
}

// tree is all files below dir, as they are.
func tree(dir string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, file{name: filepath.ToSlash(name), data: data})
		return err
	})
	return files, err
}
