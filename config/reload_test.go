package config

import (
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// changes has for every field of Config, and for those of the blocks that are
// part runtime and part restart, a change and the keys that then need a restart.
// A field that is not here fails the test: decide, and change RestartOnly too
// where a running program cannot follow.
func changes(t *testing.T) map[string][]change {
	return map[string][]change{
		"Listen":         {{func(c *Config) { c.Listen = ":8443" }, []string{"listen"}}},
		"TLS.SelfSigned": {{func(c *Config) { c.TLS.SelfSigned.Hosts = []string{"gate.example.com"} }, nil}},
		"TLS.Files":      {{func(c *Config) { c.TLS.Files = []KeyPair{{Cert: "/tls.crt", Key: "/tls.key"}} }, nil}},
		"TLS.ACME": {
			{func(c *Config) { c.TLS.ACME = &ACME{} }, nil},
			{func(c *Config) { c.TLS.ACME = &ACME{HTTPListen: ":80"} }, []string{"tls.acme.http-listen"}},
		},
		"TLS.PlainHTTP":               {{func(c *Config) { c.TLS.PlainHTTP = &PlainHTTP{} }, []string{"tls.plain-http"}}},
		"Clients":                     {{func(c *Config) { c.Clients = &Clients{CAFile: "/clients.pem"} }, nil}},
		"Limits.Connections":          {{func(c *Config) { c.Limits.Connections = 7 }, nil}},
		"Limits.ConnectionsPerClient": {{func(c *Config) { c.Limits.ConnectionsPerClient = 7 }, nil}},
		"Limits.RequestsPerClient":    {{func(c *Config) { c.Limits.RequestsPerClient = 7 }, nil}},
		"Limits.RequestsPerSecond":    {{func(c *Config) { c.Limits.RequestsPerSecond = 7 }, nil}},
		"Limits.Burst":                {{func(c *Config) { c.Limits.Burst = 7 }, nil}},
		"Limits.Exempt":               {{func(c *Config) { c.Limits.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, nil}},
		"Limits.HeaderTimeout":        {{func(c *Config) { c.Limits.HeaderTimeout = time.Second }, []string{"limits.header-timeout"}}},
		"Limits.IdleTimeout":          {{func(c *Config) { c.Limits.IdleTimeout = time.Second }, []string{"limits.idle-timeout"}}},
		"Limits.MinRate":              {{func(c *Config) { c.Limits.MinRate = 7 }, nil}},
		"Limits.MaxHeaderBytes":       {{func(c *Config) { c.Limits.MaxHeaderBytes = 1 << 14 }, []string{"limits.max-header-bytes"}}},

		"Admin.Listen":  {{func(c *Config) { c.Admin.Listen = "127.0.0.1:8445" }, []string{"admin.listen"}}, {func(c *Config) { c.Admin.Listen = "" }, []string{"admin.listen"}}},
		"Admin.Hosts":   {{func(c *Config) { c.Admin.Hosts = []string{"status.example.com"} }, nil}},
		"Admin.Control": {{func(c *Config) { c.Admin.Control = "/run/sealgate.sock" }, []string{"admin.control"}}},
		"Audit":         {{func(c *Config) { c.Audit = &Audit{Stdout: &AuditStdout{}} }, nil}},
		"DrainTimeout":  {{func(c *Config) { c.DrainTimeout = time.Minute }, nil}},
		"StateDir":      {{func(c *Config) { c.StateDir = "/other" }, []string{"state-dir"}}},
		"Storage": {
			{func(c *Config) { c.Storage = Storage{Driver: InMemory, Parameters: map[string]any{}} }, []string{"storage"}},
			{func(c *Config) { c.Storage.Driver = "s3" }, []string{"storage"}},
			{func(c *Config) { c.Storage.Parameters["rootdirectory"] = "/other" }, []string{"storage"}},
			{func(c *Config) { c.Storage.Parameters["maxthreads"] = 1 }, []string{"storage"}},
			{func(c *Config) { delete(c.Storage.Parameters, "rootdirectory") }, []string{"storage"}},
		},
		"Registries": {
			{func(c *Config) { c.Registries = append(c.Registries, Registry{Name: "b.example.com"}) }, nil},
			{func(c *Config) { c.Registries[0].Upstream = mustURL(t, "https://other.example.com") }, nil},
		},
		"ContentTrust": {{func(c *Config) { c.ContentTrust.Mode = Disabled }, nil}},
	}
}

type change struct {
	make func(*Config)
	want []string
}

const running = `tls: {self-signed: {}}
admin: {listen: 127.0.0.1:8444}
storage: {filesystem: {rootdirectory: /data}}
registries:
  - name: registry.example.com
    upstream: https://origin.example.com
    notary: {url: https://notary.example.com}
content-trust: {mode: enforced}
`

func TestRestartOnly(t *testing.T) {
	changes := changes(t)
	for _, field := range fields(reflect.TypeFor[Config](), "TLS", "Admin", "Limits") {
		if len(changes[field]) == 0 {
			t.Errorf("Config.%s: can it change at run time?", field)
		}
	}
	for field, list := range changes {
		for _, change := range list {
			before, after := mustParse(t, running, "."), mustParse(t, running, ".")
			change.make(after)
			if reflect.DeepEqual(valueOf(before, field), valueOf(after, field)) {
				t.Errorf("%s: nothing has changed", field)
			}
			if got := RestartOnly(before, after); !slices.Equal(got, change.want) {
				t.Errorf("%s: %q, want %q", field, got, change.want)
			}
			if got := RestartOnly(after, before); !slices.Equal(got, change.want) {
				t.Errorf("%s, back again: %q, want %q", field, got, change.want)
			}
		}
	}
}

// fields are the names of a struct's fields and, of the blocks in it that are
// named, of the fields of those instead.
func fields(of reflect.Type, blocks ...string) []string {
	var names []string
	for i := range of.NumField() {
		field := of.Field(i)
		if !slices.Contains(blocks, field.Name) {
			names = append(names, field.Name)
			continue
		}
		for _, name := range fields(field.Type) {
			names = append(names, field.Name+"."+name)
		}
	}
	return names
}

func valueOf(c *Config, field string) any {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(field, ".") {
		v = v.FieldByName(name)
	}
	return v.Interface()
}

func TestRestartOnlyOfWholeFiles(t *testing.T) {
	dir := fixtures(t)
	everything, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) string {
		t.Helper()
		if !strings.Contains(running, old) {
			t.Fatalf("no %q to replace", old)
		}
		return strings.Replace(running, old, new, 1)
	}
	for _, test := range []struct {
		name, from, to string
		want           []string
	}{
		{name: "a file and itself", from: string(everything), to: string(everything)},
		{name: "the same in other words", from: running, to: replaced("listen: 127.0.0.1:8444", "control: /data/control.sock, listen: '127.0.0.1:8444'") +
			"drain-timeout: 30s\nstate-dir: /data\nlisten: 127.0.0.1:8443\n"},
		{name: "empty and none", from: minimal, to: strings.Replace(minimal, "plain-http: {}", "plain-http: {trusted-proxies: []}", 1) + "storage: {inmemory: {}}\n"},
		{name: "from a CA of its own to files", from: running, to: replaced("self-signed: {}", "files: {cert: tls.crt, key: tls.key}")},
		{name: "another pair of files", from: replaced("self-signed: {}", "files: {cert: tls.crt, key: tls.key}"), to: replaced("self-signed: {}", "files: [{cert: ./tls.crt, key: tls.key}, {cert: tls.crt, key: tls.key}]")},
		{name: "from a CA of its own to plain HTTP", from: running, to: replaced("self-signed: {}", "plain-http: {}"), want: []string{"tls.plain-http"}},
		{name: "the root directory, and what follows from it", from: running, to: replaced("/data", "/other"), want: []string{"admin.control", "state-dir", "storage"}},
		{name: "policy, registries and the time to drain", from: running, to: replaced("mode: enforced", "mode: permissive, refresh: 5s") + "drain-timeout: 1m\n"},
		{name: "all that needs a restart", from: running, to: "listen: ':443'\nstate-dir: s\n" + replaced("listen: 127.0.0.1:8444", "control: c.sock"),
			want: []string{"listen", "admin.listen", "admin.control", "state-dir"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			from, to := mustParse(t, test.from, dir), mustParse(t, test.to, dir)
			if got := RestartOnly(from, to); !slices.Equal(got, test.want) || (got == nil) != (test.want == nil) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
