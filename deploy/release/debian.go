package main

import (
	"compress/gzip"
	"crypto/md5" // what dpkg --verify compares with
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// debian makes the package. dpkg-deb writes it: it is on every Debian, and what
// it does not understand no dpkg would.
func (r release) debian(p platform) error {
	files, err := r.installed(p)
	if err != nil {
		return err
	}
	control, err := r.control(p.arch, files)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sealgate-deb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := r.stage(dir, slices.Concat(files, control)); err != nil {
		return err
	}
	// Not xz, which takes a minute for 40 MB.
	_, err = output([]string{r.epoch()}, "dpkg-deb", "--root-owner-group", "-Zgzip", "--build", dir,
		r.path(r.name("_"+p.arch+".deb")))
	return err
}

// installed is where everything goes on a Debian system.
func (r release) installed(p platform) ([]file, error) {
	const doc, completions = "usr/share/doc/sealgate/", "usr/share/"
	files := []file{
		{name: "usr/bin/sealgate", mode: 0o755, data: p.binary},
		{name: doc + "sbom.cdx.json", data: p.sbom},
		{name: completions + "bash-completion/completions/sealgate", data: p.pages.completions["bash"]},
		{name: completions + "zsh/vendor-completions/_sealgate", data: p.pages.completions["zsh"]},
		{name: completions + "fish/vendor_completions.d/sealgate.fish", data: p.pages.completions["fish"]},
	}
	changes, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return nil, err
	}
	compressed := []file{
		{name: doc + "changelog", data: r.changelog()},
		{name: doc + "CHANGELOG.md", data: changes},
		{name: doc + "THIRD-PARTY-LICENCES", data: p.licences},
	}
	for _, page := range p.pages.manual {
		compressed = append(compressed, file{name: "usr/share/man/man1/" + page.name, data: page.data})
	}
	for _, f := range compressed {
		data, err := gzipped(f.data, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: f.name + ".gz", data: data})
	}
	return withSources(files, "", map[string]string{
		"etc/sealgate/proxy.yaml":              "proxy.yaml",
		"lib/systemd/system/sealgate.service":  unitFile,
		"usr/lib/sysusers.d/sealgate.conf":     sysusersFile,
		doc + "copyright":                      "deploy/debian/copyright",
		"usr/share/lintian/overrides/sealgate": "deploy/debian/lintian-overrides",
		doc + "README.md":                      "README.md",
	})
}

// control is what dpkg reads of the package.
func (r release) control(arch string, files []file) ([]file, error) {
	var size int
	var sums strings.Builder
	files = slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.name, b.name) })
	for _, f := range files {
		size += len(f.data)
		if !strings.HasPrefix(f.name, "etc/") { // dpkg keeps those of configuration files itself
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(f.data), f.name)
		}
	}
	text, err := os.ReadFile("deploy/debian/control")
	if err != nil {
		return nil, err
	}
	fields := strings.NewReplacer("@VERSION@", debianVersion(r.version), "@ARCH@", arch, "@SIZE@", fmt.Sprint((size+1023)/1024))
	control := []file{
		{name: "DEBIAN/control", data: []byte(fields.Replace(string(text)))},
		{name: "DEBIAN/conffiles", data: []byte("/etc/sealgate/proxy.yaml\n")},
		{name: "DEBIAN/md5sums", data: []byte(sums.String())},
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		data, err := os.ReadFile("deploy/debian/" + script)
		if err != nil {
			return nil, err
		}
		control = append(control, file{name: "DEBIAN/" + script, mode: 0o755, data: data})
	}
	return control, nil
}

// changelog is the one that Debian's policy wants; what a user feels is in
// CHANGELOG.md beside it.
func (r release) changelog() []byte {
	return fmt.Appendf(nil, "sealgate (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n",
		debianVersion(r.version), maintainer, r.time.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

const maintainer = "Sealgate maintainers <maintainers@sealgate.invalid>"

// stage writes files below dir with the modes and the time that they shall have.
func (r release) stage(dir string, files []file) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	dirs := map[string]bool{dir: true}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		for d := filepath.Dir(path); !dirs[d]; d = filepath.Dir(d) {
			dirs[d] = true
		}
		mode := os.FileMode(f.mode)
		if mode == 0 {
			mode = 0o644
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil { // whatever umask is
			return err
		}
		if err := os.Chtimes(path, r.time, r.time); err != nil {
			return err
		}
	}
	for d := range dirs {
		if err := os.Chmod(d, 0o755); err != nil {
			return err
		}
		if err := os.Chtimes(d, r.time, r.time); err != nil {
			return err
		}
	}
	return nil
}
