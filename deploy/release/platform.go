package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// platform is what there is to pack for one architecture.
type platform struct {
	arch     string
	binary   []byte
	sbom     []byte
	licences []byte // of everybody else's code in the binary
	pages    pages
}

// platform reads the binary of arch and writes its bill of materials.
func (r release) platform(arch string, made pages, licences []byte) (platform, error) {
	p := platform{arch: arch, pages: made, licences: licences}
	var err error
	if p.binary, err = os.ReadFile(r.path(r.binary(arch))); err != nil {
		return p, err
	}
	if p.sbom, err = billOfMaterials(r, p.binary); err != nil {
		return p, fmt.Errorf("bill of materials: %w", err)
	}
	return p, os.WriteFile(r.path(r.binary(arch)+".cdx.json"), p.sbom, 0o644)
}

// tarball packs what is needed on a Linux that has no packages of ours.
func (r release) tarball(p platform) error {
	top := r.name("/") // no file beside it has this name
	files := []file{
		{name: top + "sealgate", mode: 0o755, data: p.binary},
		{name: top + "sbom.cdx.json", data: p.sbom},
		{name: top + "THIRD-PARTY-LICENCES", data: p.licences},
		{name: top + "completions/sealgate.bash", data: p.pages.completions["bash"]},
		{name: top + "completions/_sealgate", data: p.pages.completions["zsh"]},
		{name: top + "completions/sealgate.fish", data: p.pages.completions["fish"]},
	}
	for _, page := range p.pages.manual {
		files = append(files, file{name: top + "man/" + page.name, data: page.data})
	}
	files, err := withSources(files, top, map[string]string{
		"README.md": "README.md", "CHANGELOG.md": "CHANGELOG.md", "LICENSE": "LICENSE", "proxy.yaml": "proxy.yaml",
		"systemd/sealgate.service": unitFile, "systemd/sysusers.conf": sysusersFile,
	})
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := writeTar(&packed, files, r.time); err != nil {
		return err
	}
	data, err := gzipped(packed.Bytes(), gzip.DefaultCompression)
	if err != nil {
		return err
	}
	return os.WriteFile(r.path(r.binary(p.arch)+".tar.gz"), data, 0o644)
}

const (
	unitFile     = "deploy/systemd/sealgate.service"
	sysusersFile = "deploy/systemd/sysusers.conf"
)

// epoch is the release's time as other programs take it
// (https://reproducible-builds.org/specs/source-date-epoch/).
func (r release) epoch() string {
	return "SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.time.Unix(), 10)
}

// withSources adds files of the tree, by where they go below top.
func withSources(files []file, top string, from map[string]string) ([]file, error) {
	files = slices.Clone(files)
	for name, path := range from {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: top + name, data: data})
	}
	return files, nil
}
