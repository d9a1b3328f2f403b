package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestContainerdChoosesTheRegistryByNs: of a mirror, containerd asks for
// Docker Hub's and everybody else's repositories at one address, and says in ns
// whose they are. An ns that is not configured gets nothing of what is.
func TestContainerdChoosesTheRegistryByNs(t *testing.T) {
	d := mustDockerd(t)
	w := ownWorld(t, registryOptions{})
	const name = "one.example"
	if err := w.begin(name + "/team/app"); err != nil {
		t.Fatal(err)
	}
	image := w.mustSay(t, "team/app", "signed", "signed words")
	w.mustSay(t, "team/app", "unsigned", "unsigned words")
	if err := w.sign(name+"/team/app", "signed", image); err != nil {
		t.Fatal(err)
	}
	key := must(w.rootKey())(t)
	w.mustOpen(t, func(s *settings) {
		s.name, s.hosts, s.more = name, []string{name}, "mirror-hosts: ["+w.listen+"]"
		s.rootKeys = map[string]string{name + "/*": key}
	})
	dir := t.TempDir()
	for _, registry := range []string{name, "two.example"} {
		if err := os.MkdirAll(filepath.Join(dir, registry), 0o700); err != nil {
			t.Fatal(err)
		}
		toml := fmt.Sprintf("server = \"https://%s\"\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n", registry, w.url, w.ca.file)
		if err := os.WriteFile(filepath.Join(dir, registry, "hosts.toml"), []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctr := []string{"ctr", "--address", d.containerd, "--namespace", "e2e"}
	nowhere := must(hostsFile(dir, nil))(t) // the registries themselves cannot be asked
	fetch := func(reference string) (string, error) {
		defer func() { _, _ = run(nil, append(ctr, "images", "rm", "--sync", reference)...) }()
		if _, err := run(nil, resolving(nowhere, append(ctr, "content", "fetch", "--hosts-dir", dir, reference)...)...); err != nil {
			return "", err
		}
		return run(nil, append(ctr, "images", "ls", "name=="+reference)...)
	}
	if list, err := fetch(name + "/team/app:signed"); err != nil || !strings.Contains(list, image.digest) {
		t.Errorf("want %s, got %v:\n%s", image.digest, err, list)
	}
	for _, reference := range []string{name + "/team/app:unsigned", "two.example/team/app:signed"} {
		if list, err := fetch(reference); err == nil {
			t.Errorf("fetched %s:\n%s", reference, list)
		}
	}
	log := w.gate.output()
	for _, want := range []string{`"reason":"unknown-namespace"`, `"reason":"unsigned"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	if out := w.registry.output(); strings.Contains(out, "ns=") {
		t.Errorf("the registry heard of ns:\n%s", out)
	}
}
