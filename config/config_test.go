package config

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const aKeyID = "5c0f0d6ab0d0a1f6f2c6a4a6cbd8e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192"

// minimal says only what has no default.
const minimal = `tls: {plain-http: {}}
registries:
  - name: registry.example.com:5000
    upstream: https://Origin.example.com/docker/
    notary: {url: https://notary.example.com/}
content-trust: {mode: enforced}
`

func mustParse(t testing.TB, data, dir string) *Config {
	t.Helper()
	c, err := Parse("proxy.yaml", []byte(data), dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestDefaults(t *testing.T) {
	want := &Config{
		Listen:       "127.0.0.1:8443",
		TLS:          TLS{PlainHTTP: &PlainHTTP{}},
		DrainTimeout: 30 * time.Second,
		Limits:       ClientLimits{RequestsPerClient: 1536, HeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MinRate: 512, MaxHeaderBytes: 64 << 10},
		Storage:      Storage{Driver: "inmemory", Parameters: map[string]any{}},
		Registries: []Registry{{
			Name:          "registry.example.com:5000",
			Hosts:         []string{"registry.example.com:5000"},
			Upstream:      mustURL(t, "https://origin.example.com/docker"),
			Credentials:   Credentials{Kind: Passthrough},
			Redirects:     "pass",
			Denial:        "not-found",
			SignatureTags: "hidden",
			Notary: Notary{
				URL: mustURL(t, "https://notary.example.com"), Credentials: Credentials{Kind: Anonymous}, Expose: "auto",
			},
		}},
		ContentTrust: ContentTrust{
			Mode: Enforced, Refresh: time.Minute, MaxStale: 24 * time.Hour, AuthorisationTTL: 30 * time.Second,
			Limits: Limits{
				Root: 1 << 20, Timestamp: 1 << 16, Snapshot: 4 << 20, Targets: 8 << 20, Memory: 32 << 20,
				Roles: 1000, Signatures: 64, Depth: 32,
			},
		},
	}
	if got := mustParse(t, minimal, "."); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The same with every key that has a default given as null, and as its default.
func TestNullAndTheDefaultMeanTheDefault(t *testing.T) {
	want := mustParse(t, minimal, "/d")
	for _, file := range []string{"good-nulls.yaml", "good-defaults.yaml"} {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			got := mustParse(t, string(data), "/d")
			for _, c := range []*Config{got, want} { // an empty list is as good as none
				r := &c.Registries[0]
				for _, list := range []*[]string{&r.MirrorHosts, &r.Realms, &r.RedirectHosts, &r.PassPaths} {
					*list = slices.Clip(append([]string{}, *list...))
				}
				c.TLS.PlainHTTP.TrustedProxies = nil
				c.Limits.Exempt = nil
				c.ContentTrust.TrustPinning = TrustPinning{}
				c.ContentTrust.Signers, c.ContentTrust.Policies = nil, nil
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestEveryKeyOfThisVersion(t *testing.T) {
	dir := fixtures(t)
	c, err := Load(copyInto(t, dir, "testdata/good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	want := &Config{
		Listen:       ":443",
		TLS:          TLS{Files: []KeyPair{{in("tls.crt"), in("tls.key")}, {in("tls.crt"), in("tls.key")}}},
		Clients:      &Clients{CAFile: in("authority.pem"), Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}},
		Admin:        Admin{Listen: "[::1]:8444", Control: in("c.sock")},
		Audit:        &Audit{File: &AuditFile{Path: in("audit.log"), MaxSize: 1 << 30, MaxFiles: 3, MaxAge: 720 * time.Hour, Compress: true}},
		DrainTimeout: time.Hour,
		Limits: ClientLimits{
			Connections: 5000, ConnectionsPerClient: 500, RequestsPerClient: 40, RequestsPerSecond: 20, Burst: 300, Exempt: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
			HeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MinRate: 2 << 10, MaxHeaderBytes: 32 << 10,
		},
		StateDir: in("state"),
		Storage:  Storage{Driver: "filesystem", Parameters: map[string]any{"rootdirectory": in("root")}},
		Registries: []Registry{
			{
				Name:           "docker.io",
				Hosts:          []string{"mirror.example.com", "10.1.2.3", "fd00::1", "[::1]:5000", "*"},
				MirrorHosts:    []string{"mirror.example.com", "::1"},
				Upstream:       mustURL(t, "https://registry-1.docker.io"),
				UpstreamCAFile: in("ca.pem"),
				Credentials:    Credentials{Kind: Password, Username: "sealgate", PasswordFile: in("password")},
				Realms:         []string{"auth.docker.io", "auth.example.com:8443"},
				Redirects:      "follow",
				RedirectHosts:  []string{"blobs.example.com:8443"},
				Cache:          &Cache{MaxSize: 50 << 30, TTL: 7 * 24 * time.Hour},
				Denial:         "strict-mirror",
				SignatureTags:  "hidden",
				Notary: Notary{
					URL: mustURL(t, "https://notary.example.com:4443/a"), CAFile: in("ca.pem"), CertFile: in("tls.crt"), KeyFile: in("tls.key"),
					Credentials: Credentials{Kind: DockerConfig}, Expose: "always",
				},
			},
			{
				Name: "registry.example.com", Hosts: []string{"registry.example.com"},
				MirrorHosts: []string{"mirror.example.com"},
				Upstream:    mustURL(t, "http://[::1]:5000"),
				PassPaths:   []string{"/harbor/", "/api/v2.0", "/-"},
				Credentials: Credentials{Kind: Passthrough}, Redirects: "pass", Denial: "denied", SignatureTags: "pass",
				Notary: Notary{URL: mustURL(t, "http://my_notary:4443"), Credentials: Credentials{Kind: Anonymous}, Expose: "never"},
			},
		},
		ContentTrust: ContentTrust{
			Mode: Enforced,
			TrustPinning: TrustPinning{RootKeys: map[string][]string{
				"docker.io/library/alpine":   {aKeyID, strings.Repeat("0", 64)},
				"registry.example.com/*":     {aKeyID},
				"registry.example.com/a_b/*": {aKeyID},
			}, CertIDs: map[string][]string{"registry.example.com/c": {aKeyID}}, CA: map[string]string{"docker.io/*": in("authority.pem")}},
			Signers: map[string]Signer{
				"qa": {Keys: []string{aKeyID}}, "security": {CertFile: in("ca.pem")}, "build": {Role: "targets/build"},
			},
			Policies: []Policy{
				{
					Match: "docker.io/library/alpine", Roles: []string{"targets/build", "targets"},
					RequiredSigners: []string{"qa", "security", "build"}, ExemptTags: []string{"dev-*", "*-rc*", "1.0"},
				},
				{Match: "registry.example.com/*", Mode: Permissive},
				{Match: "registry.example.com/lab/*", Mode: Disabled, RequiredSigners: []string{}},
			},
			TrustOnFirstUse: true,
			Refresh:         1500 * time.Millisecond, MaxStale: 0, AuthorisationTTL: 0,
			Limits: Limits{
				Root: 2 << 20, Timestamp: 65536, Snapshot: 1, Targets: 128 << 20, Memory: 512 << 20,
				Roles: 16000, Signatures: 1, Depth: 512,
			},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// copyInto copies a file of testdata into dir, and returns the copy's path.
func copyInto(t *testing.T, dir, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestStateDirDefaultsToTheRootOfTheFilesystemDriver(t *testing.T) {
	c := mustParse(t, minimal+"storage: {filesystem: {rootdirectory: data}}\n", "/srv")
	if c.StateDir != "/srv/data" {
		t.Errorf("got %q", c.StateDir)
	}
}

func TestControlSocketDefaultsToTheStateDir(t *testing.T) {
	longest := strings.Repeat("d", maxSocketPath-len("//control.sock"))
	for _, test := range []struct {
		name, keys, want string
		warned           bool
	}{
		{name: "in state-dir", keys: "state-dir: state\n", want: "/srv/state/control.sock"},
		{name: "in what state-dir defaults to", keys: "storage: {filesystem: {rootdirectory: /data}}\n", want: "/data/control.sock"},
		{name: "empty is the default", keys: "state-dir: /s\nadmin: {control: ''}\n", want: "/s/control.sock"},
		{name: "nowhere without state-dir", keys: ""},
		{name: "107 bytes", keys: "state-dir: /" + longest + "\n", want: "/" + longest + "/control.sock"},
		{name: "108 bytes", keys: "state-dir: /" + longest + "x\n", warned: true},
		{name: "108 bytes, but another one is named", keys: "state-dir: /" + longest + "x\nadmin: {control: c.sock}\n", want: "/srv/c.sock"},
		{name: "107 bytes, named", keys: "admin: {control: /" + longest + "/control.sock}\n", want: "/" + longest + "/control.sock"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustParse(t, minimal+test.keys, "/srv")
			if c.Admin.Control != test.want {
				t.Errorf("got %q, want %q", c.Admin.Control, test.want)
			}
			warning := `admin.control: no control socket: "/` + longest + `x/control.sock" is longer than 107 bytes; set admin.control`
			if got := slices.Contains(c.Warnings(), warning); got != test.warned {
				t.Errorf("warnings %q", c.Warnings())
			}
		})
	}
}

func TestControlMayBeASocketThatIsThere(t *testing.T) {
	dir, err := os.MkdirTemp("", "c") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listener, err := net.Listen("unix", filepath.Join(dir, "c.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if c := mustParse(t, minimal+"admin: {control: c.sock}\n", dir); c.Admin.Control != listener.Addr().String() {
		t.Errorf("got %q", c.Admin.Control)
	}
}

func TestTheRealmOfDockerHubIsAllowedByDefault(t *testing.T) {
	hub := strings.Replace(minimal, "name: registry.example.com:5000", "name: docker.io", 1)
	if got := mustParse(t, hub, ".").Registries[0].Realms; !slices.Equal(got, []string{"auth.docker.io"}) {
		t.Errorf("got %q", got)
	}
	other := strings.Replace(hub, "name: docker.io", "name: docker.io\n    realms: [auth.example.com]", 1)
	if got := mustParse(t, other, ".").Registries[0].Realms; !slices.Equal(got, []string{"auth.example.com"}) {
		t.Errorf("got %q", got)
	}
}

func TestSelfSignedHostsDefault(t *testing.T) {
	c := mustParse(t, strings.Replace(minimal, "plain-http: {}", "self-signed: {}", 1)+"state-dir: /s\n", ".")
	if got := c.TLS.SelfSigned.Hosts; !slices.Equal(got, []string{"localhost", "127.0.0.1"}) {
		t.Errorf("got %q", got)
	}
}

func TestJSONMeansTheSame(t *testing.T) {
	document := `{
	"tls": {"plain-http": {}},
	"registries": [
		{"name": "registry\u002eexample.com:5000", "upstream": "https:\/\/Origin.example.com\/docker\/",
		 "notary": {"url": "https://notary.example.com/"}, "offline": null}
	],
	"content-trust": {"mode": "enforced", "authorisation-ttl": "30s", "trust-on-first-use": false}
}`
	if !json.Valid([]byte(document)) {
		t.Fatal("not JSON")
	}
	for name, data := range map[string]string{
		"indented": document,
		"one line": strings.NewReplacer("\n", "", "\t", "").Replace(document),
	} {
		if got, want := mustParse(t, data, "."), mustParse(t, minimal, "."); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestTheWorkedExampleIsAccepted(t *testing.T) {
	c, err := Load("../proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.ContentTrust.Mode != Enforced || c.StateDir != "/var/lib/sealgate" || len(c.Registries) != 1 {
		t.Errorf("got %+v", c)
	}
	if c.ContentTrust.Limits != DefaultLimits() || c.ContentTrust.Refresh != DefaultRefresh || c.Listen != DefaultListen || c.DrainTimeout != DefaultDrainTimeout {
		t.Error("what it shows as defaults is not the default")
	}
}

// Every key of the decoder's table is in the example, set or commented out.
func TestTheWorkedExampleShowsEveryKey(t *testing.T) {
	data, err := os.ReadFile("../proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var missing func(t reflect.Type) []string
	seen := map[reflect.Type]bool{}
	missing = func(typ reflect.Type) (names []string) {
		if typ, _ = block(typ); typ == nil || seen[typ] {
			return nil
		}
		seen[typ] = true
		for i := range typ.NumField() {
			field := typ.Field(i)
			if key := kebab(field.Name); !strings.Contains(string(data), key+":") {
				names = append(names, fmt.Sprintf("%s (%s.%s)", key, typ.Name(), field.Name))
			}
			names = append(names, missing(field.Type)...)
		}
		return names
	}
	notKeys := []string{"kind (Credentials.Kind)", "driver (Storage.Driver)", "parameters (Storage.Parameters)"}
	for _, name := range missing(reflect.TypeFor[Config]()) {
		if !slices.Contains(notKeys, name) {
			t.Errorf("proxy.yaml does not show %s", name)
		}
	}
}

// What it says about a reload is what RestartOnly does.
func TestTheWorkedExampleNamesWhatNeedsARestart(t *testing.T) {
	data, err := os.ReadFile("../proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\n#", "")
	_, after, found := strings.Cut(text, "These keys need a restart: ")
	list, _, ended := strings.Cut(after, ". ")
	if !found || !ended {
		t.Fatal("the sentence is missing")
	}
	var want []string
	for _, changes := range changes(t) {
		for _, change := range changes {
			want = append(want, change.want...)
		}
	}
	slices.Sort(want)
	got := strings.Split(list, ", ")
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// kebab is the key of a field: UpstreamCAFile is upstream-ca-file.
func kebab(name string) string {
	name = strings.NewReplacer("SelfSigned", "Self-signed", "CertIDs", "Cert-ids", "TTL", "Ttl", "TLS", "Tls", "CA", "Ca", "URL", "Url", "ACME", "Acme", "HTTP", "Http").Replace(name)
	var b strings.Builder
	for i, c := range name {
		if i > 0 && 'A' <= c && c <= 'Z' && name[i-1] != '-' {
			b.WriteByte('-')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(b.String())
}

func TestWarnings(t *testing.T) {
	const noSocket = "admin.control: no control socket, since neither it nor state-dir is set"
	writable := t.TempDir()
	if err := os.Chmod(writable, 0o777); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(writable, "password")
	if err := os.WriteFile(open, []byte("hunter2"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, data string
		want       []string // how each begins
	}{
		{
			"nothing pinned, memory by default", minimal,
			[]string{noSocket, "storage: ", `registries[0].name: no pin in content-trust.trust-pinning covers a repository of "registry.example.com:5000", and trust-on-first-use is off: none of its tags is visible`},
		},
		{
			"filesystem, pinned",
			strings.Replace(minimal, "mode: enforced", `mode: enforced, trust-pinning: {root-keys: {"registry.example.com:5000/*": [`+aKeyID+`]}}`, 1) +
				"storage: {filesystem: {rootdirectory: /d}}\n",
			nil,
		},
		{
			"a store that others can write, and leave to use what has expired",
			strings.Replace(minimal, "mode: enforced", `mode: enforced, allow-expired-cached-trust-data: true, trust-pinning: {root-keys: {"registry.example.com:5000/*": [`+aKeyID+`]}}`, 1) +
				"storage: {filesystem: {rootdirectory: " + writable + "}}\n",
			[]string{"storage.filesystem.rootdirectory: ", "content-trust.allow-expired-cached-trust-data: "},
		},
		{
			"a control socket, named", minimal + "admin: {control: /run/c.sock}\n",
			[]string{"storage: ", "registries[0].name: no pin"},
		},
		{
			"networks of clients, and all clients on this machine", minimal + "clients: {allow: [127.0.0.0/8]}\n",
			[]string{"clients.allow: all clients have addresses of this machine", noSocket, "storage: ", "registries[0].name: no pin"},
		},
		{
			"first use",
			strings.Replace(minimal, "mode: enforced", "mode: enforced, trust-on-first-use: true", 1),
			[]string{noSocket, "storage: ", "content-trust.trust-on-first-use: "},
		},
		{
			"first use, and whoever writes",
			strings.NewReplacer("mode: enforced", "mode: enforced, trust-on-first-use: true", "https://notary.example.com/", "https://notary.example.com/, writes: true").Replace(minimal),
			[]string{noSocket, "storage: ", "registries[0].notary.writes: true beside trust-on-first-use", "content-trust.trust-on-first-use: "},
		},
		{
			"disabled, plain http, no dot",
			strings.NewReplacer("enforced", "disabled", "https:", "http:", "registry.example.com:5000", "registry").Replace(minimal),
			[]string{noSocket, "storage: ", "registries[0].name: \"registry\" has neither", "registries[0].upstream: http://origin.example.com/docker is not encrypted",
				"registries[0].notary.url: http://notary.example.com is not encrypted", "content-trust.mode: disabled"},
		},
		{
			"plain http to this machine, disabled",
			strings.NewReplacer("enforced", "disabled", "https://Origin.example.com", "http://127.0.0.1:5000", "https://notary.example.com/", "'http://[::1]:4443'").Replace(minimal),
			[]string{noSocket, "storage: ", "content-trust.mode: disabled"},
		},
		{
			"policies that enforce nothing, a signer whom nobody requires",
			strings.Replace(minimal, "mode: enforced", `mode: enforced, trust-on-first-use: true, signers: {qa: {role: targets/qa}}, policies: [`+
				`{match: "registry.example.com:5000/a/*", mode: permissive}, {match: "registry.example.com:5000/b", mode: disabled}]`, 1),
			[]string{noSocket, "storage: ", "content-trust.policies[0].mode: permissive enforces nothing for registry.example.com:5000/a/*",
				"content-trust.policies[1].mode: disabled for registry.example.com:5000/b", "content-trust.signers.qa: no policy requires this signer", "content-trust.trust-on-first-use: "},
		},
		{
			"permissive",
			strings.Replace(minimal, "enforced", "permissive", 1),
			[]string{noSocket, "storage: ", `registries[0].name: no pin in content-trust.trust-pinning covers a repository of "registry.example.com:5000", and trust-on-first-use is off: enforced would hide all of its tags`,
				"content-trust.mode: permissive enforces nothing: every tag is served"},
		},
		{
			"a password that everybody can read, redirects to nowhere",
			strings.Replace(minimal, "name: registry.example.com:5000", "name: registry.example.com:5000\n    redirects: follow\n    credentials: {username: me, password-file: "+open+"}", 1),
			[]string{noSocket, "storage: ", `registries[0].credentials.password-file: "` + open + `" can be read by every user`, "registries[0].redirect-hosts: is empty", "registries[0].name: no pin"},
		},
		{
			"a cache without a bound",
			strings.Replace(minimal, "name: registry.example.com:5000", "name: registry.example.com:5000\n    redirects: follow\n    cache: {}", 1) +
				"storage: {filesystem: {rootdirectory: /none}}\n",
			[]string{"registries[0].cache: neither max-size nor ttl is set", "registries[0].name: no pin"},
		},
		{
			"a cache in memory",
			strings.Replace(minimal, "name: registry.example.com:5000", "name: registry.example.com:5000\n    redirects: follow\n    redirect-hosts: [b.example.com]\n    cache: {ttl: 1h}", 1) +
				"state-dir: /s\n",
			[]string{"storage: ", "registries[0].cache: content is kept in memory", "registries[0].name: no pin"},
		},
		{
			"credentials of our own, and whoever comes",
			strings.NewReplacer("tls: {plain-http: {}}", "listen: ':8443'\nstate-dir: /s\ntls: {self-signed: {}}",
				"name: registry.example.com:5000", "name: registry.example.com:5000\n    credentials: docker-config").Replace(minimal),
			[]string{"tls.self-signed.hosts: no certificate for any of the hosts of registry.example.com:5000 (registry.example.com:5000)", "storage: ", `registries[0].credentials: whoever reaches ":8443" can read`, "registries[0].name: no pin"},
		},
		{
			"a certificate for one of the hosts",
			strings.NewReplacer("tls: {plain-http: {}}", "state-dir: /s\ntls: {self-signed: {hosts: [registry.example.com, localhost]}}").Replace(minimal),
			[]string{"storage: ", "registries[0].name: no pin"},
		},
		{
			"metrics on all interfaces", minimal + "admin: {listen: ':8444'}\n",
			[]string{`admin.listen: ":8444" is not a loopback address: metrics and status`, noSocket, "storage: ", "registries[0].name: no pin"},
		},
		{
			"metrics on one that others reach", minimal + "admin: {listen: '10.0.0.1:0'}\n",
			[]string{`admin.listen: "10.0.0.1:0" is not`, noSocket, "storage: ", "registries[0].name: no pin"},
		},
		{
			"metrics on loopback only", minimal + "admin: {listen: '[::1]:8444'}\n",
			[]string{noSocket, "storage: ", "registries[0].name: no pin"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := mustParse(t, test.data, ".").Warnings()
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestStorageParametersAreNotPrinted(t *testing.T) {
	c := Config{Storage: Storage{Driver: "s3", Parameters: map[string]any{"secretkey": "hunter2"}}}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%+v", &c), string(asJSON)} {
		if strings.Contains(printed, "hunter2") {
			t.Errorf("printed: %s", printed)
		}
	}
}

// TestSignatureTagsPassWherePushIs: who pushes signatures has to read them.
func TestSignatureTagsPassWherePushIs(t *testing.T) {
	for keys, want := range map[string]string{
		"":                                   SignatureTagsHidden,
		"push: false":                        SignatureTagsHidden,
		"push: true":                         SignatureTagsPass,
		"push: true, signature-tags: hidden": SignatureTagsHidden,
		"signature-tags: pass":               SignatureTagsPass,
	} {
		c := mustParse(t, strings.Replace(inRegistry, "$", keys, 1), "/d")
		if got := c.Registries[0].SignatureTags; got != want {
			t.Errorf("%q: got %s, want %s", keys, got, want)
		}
	}
}

func TestCertificatesThatClientsWillNotBelieveAreWarnedOf(t *testing.T) {
	data := strings.Replace(minimal, "tls: {plain-http: {}}", "tls: {files: {cert: tls.crt, key: tls.key}}", 1)
	const none = "tls.files: no certificate for any of the hosts of registry.example.com:5000 "
	valid, expired := time.Unix(1<<31, 0), time.Unix(1<<33, 0)
	for _, test := range []struct {
		name, hosts string
		now         time.Time
		want        []string
	}{
		{"one of the hosts", "registry.example.com, localhost", valid, nil},
		{"one of the hosts, with its port", `"localhost:8443"`, valid, nil},
		{"any host", `"*"`, valid, nil},
		{"none of the hosts", "registry.example.com, 127.0.0.1", valid, []string{none + "(registry.example.com, 127.0.0.1)"}},
		{"expired", "localhost", expired, []string{`tls.files: the certificate "`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustParse(t, strings.Replace(data, "name: registry.example.com:5000", "name: registry.example.com:5000\n    hosts: ["+test.hosts+"]", 1), fixtures(t))
			var got []string
			c.certificateWarnings(test.now, func(key, format string, args ...any) {
				got = append(got, key+": "+fmt.Sprintf(format, args...))
			})
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
