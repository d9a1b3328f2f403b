package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func s3File(storage string) string {
	return fmt.Sprintf(`tls: {plain-http: {}}
state-dir: /var/lib/sealgate
storage: {%s}
registries: [{name: registry.example.com, upstream: "https://o.example.com", notary: {url: "https://n.example.com"}}]
content-trust: {mode: enforced, trust-pinning: {ca: {}}, trust-on-first-use: true}
`, storage)
}

// The driver gets what was written, no more and no less.
func TestS3ParametersAreTheDriversOwn(t *testing.T) {
	want := map[string]any{
		"bucket": "b", "region": "us-east-1", "regionendpoint": "https://s3.example.com:9000", "forcepathstyle": true, "secure": false,
		"accesskey": "ak", "secretkey": "0815", "rootdirectory": "/a/b/", "chunksize": 5242880, "storageclass": "STANDARD_IA",
		"objectacl": "private", "encrypt": true, "keyid": "k",
	}
	for _, name := range []string{"s3", "s3aws"} {
		c := mustParse(t, s3File(name+`: {bucket: b, region: us-east-1, regionendpoint: "https://s3.example.com:9000", forcepathstyle: true, secure: false,
  accesskey: ak, secretkey: "0815", rootdirectory: /a/b/, chunksize: 5242880, storageclass: STANDARD_IA, objectacl: private, encrypt: true, keyid: k, useragent: null}`), ".")
		if c.Storage.Driver != S3 || !reflect.DeepEqual(c.Storage.Parameters, want) {
			t.Errorf("%s: %s %#v", name, c.Storage.Driver, c.Storage.Parameters)
		}
	}
}

func TestS3PrintsNoSecret(t *testing.T) {
	c := mustParse(t, s3File("s3: {bucket: b, region: r, accesskey: hunter2, secretkey: zzter2}"), ".")
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Storage), strings.Join(c.Warnings(), "\n")} {
		if strings.Contains(printed, "hunter2") || strings.Contains(printed, "zzter2") {
			t.Errorf("a secret is printed: %s", printed)
		}
	}
}

// rootdirectory of S3 is no directory of this machine.
func TestS3HasNoDirectory(t *testing.T) {
	c := mustParse(t, s3File("s3: {bucket: b, region: r, rootdirectory: a}"), ".")
	if c.Storage.RootDirectory() != "" || c.StateDir != "/var/lib/sealgate" {
		t.Errorf("directory %q, state-dir %q", c.Storage.RootDirectory(), c.StateDir)
	}
}

func TestS3NeedsARestart(t *testing.T) {
	parse := func(storage string) *Config { return mustParse(t, s3File(storage), ".") }
	running := parse("s3: {bucket: b, region: r, secretkey: x, accesskey: y}")
	for storage, want := range map[string][]string{
		"s3: {region: r, bucket: b, accesskey: y, secretkey: x}":    nil,
		"s3aws: {region: r, bucket: b, accesskey: y, secretkey: x}": nil,
		"s3: {bucket: b, region: r}":                                {"storage"},
		"s3: {bucket: c, region: r, accesskey: y, secretkey: x}":    {"storage"},
	} {
		if got := RestartOnly(running, parse(storage)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, expected %v", storage, got, want)
		}
	}
}

func TestS3Warnings(t *testing.T) {
	for storage, want := range map[string]string{
		"bucket: b, region: r": "",
		`bucket: b, region: r, regionendpoint: "https://s3.example.com"`:        "",
		`bucket: b, region: r, regionendpoint: "http://127.0.0.1:7070"`:         "",
		`bucket: b, region: r, regionendpoint: "http://s3.example.com"`:         "storage.s3: the way to the bucket is not encrypted",
		`bucket: b, region: r, regionendpoint: "s3.example.com", secure: false`: "storage.s3: the way to the bucket is not encrypted",
		"bucket: b, region: r, secure: false":                                   "storage.s3: the way to the bucket is not encrypted",
		"bucket: b, region: r, skipverify: true":                                "storage.s3.skipverify: true: anybody on the way",
	} {
		got := strings.Join(mustParse(t, s3File("s3: {"+storage+"}"), ".").Warnings(), "\n")
		if want == "" && strings.Contains(got, "storage.s3") || !strings.Contains(got, want) {
			t.Errorf("%s: warned of %q, expected %q", storage, got, want)
		}
	}
	acme := strings.Replace(s3File("s3: {bucket: b, region: r}"), "plain-http: {}", "acme: {domains: [registry.example.com]}", 1)
	if got := strings.Join(mustParse(t, acme, ".").Warnings(), "\n"); !strings.Contains(got, "tls.acme: every replica orders certificates for itself") {
		t.Errorf("warned of %q", got)
	}
}
