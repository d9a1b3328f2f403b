package config

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	dir := fixtures(f)
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../proxy.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"tls": {"plain-http": {}}, "registries": [{"name": "a", "upstream": "http://a"}], "content-trust": {"mode": "disabled"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("proxy.yaml", data, dir)
		if err != nil {
			if c != nil {
				t.Error("a value besides the error")
			}
			checkProblems(t, err)
			return
		}
		checkConfig(t, c)
		for _, warning := range c.Warnings() {
			if strings.ContainsAny(warning, "\n\r") {
				t.Errorf("not one line: %q", warning)
			}
		}
	})
}

// checkConfig checks what users of a Config rely on.
func checkConfig(t *testing.T, c *Config) {
	t.Helper()
	is := func(ok bool, what string) {
		t.Helper()
		if !ok {
			t.Errorf("%s: %+v", what, c)
		}
	}
	paths := []string{c.StateDir, c.Admin.Control}
	kinds := 0
	if s := c.TLS.SelfSigned; s != nil {
		kinds++
		is(c.StateDir != "" && len(s.Hosts) > 0, "self-signed needs a state-dir and hosts")
	}
	if c.TLS.Files != nil {
		kinds++
		is(len(c.TLS.Files) > 0, "files has a pair")
		for _, pair := range c.TLS.Files {
			is(pair.Cert != "" && pair.Key != "", "a pair is whole")
			paths = append(paths, pair.Cert, pair.Key)
		}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	is(err == nil, "listen is host:port")
	if c.TLS.PlainHTTP != nil {
		kinds++
		is(isLoopback(host), "plain-http is loopback only")
	}
	is(kinds == 1, "exactly one kind of tls")
	is(0 < c.DrainTimeout && c.DrainTimeout <= time.Hour, "drain-timeout")
	if c.Admin.Listen != "" {
		_, _, err := net.SplitHostPort(c.Admin.Listen)
		is(err == nil && !collide(c.Admin.Listen, c.Listen), "admin.listen is host:port, and not that of listen")
	}
	is(len(c.Admin.Control) <= maxSocketPath, "admin.control")
	is(RestartOnly(c, c) == nil, "no restart to stay the same")
	is(c.Storage.Driver == InMemory || c.Storage.Driver == Filesystem && c.Storage.Parameters["rootdirectory"] != "", "storage")
	is(len(c.Registries) > 0, "a registry")
	names, hosts := map[string]bool{}, map[string]bool{}
	for i := range c.Registries {
		r := &c.Registries[i]
		is(r.Name != "" && r.Name == strings.ToLower(r.Name) && !strings.ContainsAny(r.Name, "/ *") && !names[r.Name], "a name of its own")
		names[r.Name] = true
		is(len(r.Hosts) > 0, "a host")
		for _, host := range r.Hosts {
			is(host != "" && !hosts[host], "hosts are distinct")
			hosts[host] = true
		}
		is(r.Upstream != nil && r.Upstream.Host != "" && !strings.HasSuffix(r.Upstream.Path, "/"), "upstream")
		is(r.Notary.URL != nil || c.ContentTrust.Mode == Disabled, "enforced and permissive need a Notary")
		is((r.Notary.CertFile == "") == (r.Notary.KeyFile == ""), "cert-file and key-file come together")
		is(!slices.Contains(r.RedirectHosts, AnyHost), "redirect-hosts are named")
		is(r.Denial != DenialStrictMirror || r.Name == "docker.io", "strict-mirror is Docker Hub's")
		is(r.Denial == DenialNotFound || !r.Push, "pushing needs not-found")
		is(!slices.Contains(r.MirrorHosts, AnyHost), "mirror-hosts are named")
		is(r.Redirects == RedirectsPass || r.Redirects == RedirectsFollow, "redirects")
		is(r.Cache == nil || r.Redirects == RedirectsFollow && c.StateDir != "", "a cache sees all that is read, and has a spool")
		is(r.Denial != "" && r.SignatureTags != "" && !r.Push, "words are filled in")
		is(r.Credentials.Kind != "" && r.Notary.Credentials.Kind != "" && r.Notary.Credentials.Kind != Passthrough, "credentials")
		for _, own := range []Credentials{r.Credentials, r.Notary.Credentials} {
			whole := own.Username != "" && own.PasswordFile != ""
			is(whole == (own.Kind == Password), "a user name with its password, and nothing else with one")
		}
		is(!slices.Contains(r.Realms, AnyHost), "realms are named")
		is(r.Notary.Expose != "", "notary")
		paths = append(paths, r.Credentials.PasswordFile, r.Notary.Credentials.PasswordFile, r.UpstreamCAFile, r.Notary.CAFile, r.Notary.CertFile, r.Notary.KeyFile)
	}
	for _, path := range paths {
		is(path == "" || filepath.IsAbs(path), "paths are absolute")
	}
	checkContentTrust(t, c, slices.Collect(maps.Keys(names)))
}

func checkContentTrust(t *testing.T, c *Config, registries []string) {
	t.Helper()
	trust, limits := c.ContentTrust, c.ContentTrust.Limits
	if trust.Mode != Enforced && trust.Mode != Permissive && trust.Mode != Disabled {
		t.Errorf("mode %q", trust.Mode)
	}
	if trust.Refresh <= 0 || trust.MaxStale < 0 || trust.AuthorisationTTL < 0 {
		t.Errorf("durations of %+v", trust)
	}
	if min(limits.Root, limits.Timestamp, limits.Snapshot, limits.Targets, int64(limits.Roles), int64(limits.Signatures), int64(limits.Depth)) <= 0 ||
		limits.Memory < max(limits.Root, limits.Timestamp, limits.Snapshot, limits.Targets) {
		t.Errorf("limits %+v", limits)
	}
	for pattern, ids := range trust.TrustPinning.RootKeys {
		name, _, _ := strings.Cut(pattern, "/")
		if Specificity(pattern) < 0 || !slices.Contains(registries, name) || len(ids) == 0 {
			t.Errorf("pin %q: %q", pattern, ids)
		}
		for _, id := range ids {
			if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
				t.Errorf("key ID %q", id)
			}
		}
	}
}
