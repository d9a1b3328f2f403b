package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The values that parameters of S3 may have.
var (
	s3StorageClasses = []string{
		"NONE", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA",
		"INTELLIGENT_TIERING", "OUTPOSTS", "GLACIER_IR", "EXPRESS_ONEZONE",
	}
	// The others of S3 let strangers read, and so the keys of uploads and what
	// is cached of private repositories.
	s3ACLs = []string{"private", "bucket-owner-read", "bucket-owner-full-control"}
)

// minPart is the smallest part of an upload that S3 takes, in bytes.
const minPart = 5 << 20

// s3 decodes the parameters of distribution's driver of this name. The driver
// itself takes whatever it does not know for nothing, and some of what it knows.
func (d *decoder) s3(s *Storage) setter {
	return func(path string, n *yaml.Node) {
		p := map[string]any{}
		d.mapping(path, n, keys{
			"bucket":                      parameter(p, "bucket", d.text),
			"region":                      parameter(p, "region", d.text),
			"regionendpoint":              parameter(p, "regionendpoint", d.endpoint),
			"accesskey":                   parameter(p, "accesskey", d.text),
			"secretkey":                   parameter(p, "secretkey", d.text),
			"rootdirectory":               parameter(p, "rootdirectory", d.keyPrefix),
			"forcepathstyle":              parameter(p, "forcepathstyle", d.flag),
			"secure":                      parameter(p, "secure", d.flag),
			"skipverify":                  parameter(p, "skipverify", d.flag),
			"encrypt":                     parameter(p, "encrypt", d.flag),
			"keyid":                       parameter(p, "keyid", d.text),
			"storageclass":                parameter(p, "storageclass", d.oneOf(s3StorageClasses)),
			"objectacl":                   parameter(p, "objectacl", d.oneOf(s3ACLs)),
			"useragent":                   parameter(p, "useragent", d.text),
			"usedualstack":                parameter(p, "usedualstack", d.flag),
			"accelerate":                  parameter(p, "accelerate", d.flag),
			"usefipsendpoint":             parameter(p, "usefipsendpoint", d.flag),
			"chunksize":                   parameter(p, "chunksize", d.count),
			"multipartcopychunksize":      parameter(p, "multipartcopychunksize", d.count),
			"multipartcopymaxconcurrency": parameter(p, "multipartcopymaxconcurrency", d.count),
			"multipartcopythresholdsize":  parameter(p, "multipartcopythresholdsize", d.count),
			"sessiontoken":                d.refused("the driver does not pass it on: leave accesskey, secretkey and this out, and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or give the machine a role"),
			"loglevel":                    d.refused("the requests that it prints hold credentials: leave it out"),
			"redirectendpoint":            d.refused("no client is ever sent to the bucket: leave it out"),
			"v4auth":                      d.refused("requests are always signed by version 4: leave it out"),
		})
		s.Driver, s.Parameters = S3, p
	}
}

// parameter is the setter of one parameter of a driver.
func parameter[T any](all map[string]any, name string, each func(*T) setter) setter {
	return func(path string, n *yaml.Node) {
		var v T
		each(&v)(path, n)
		all[name] = v
	}
}

// refused is the setter of a key that there is but that would do harm here.
func (d *decoder) refused(why string) setter {
	return func(path string, _ *yaml.Node) { d.add(path, "is not accepted: %s", why) }
}

func (d *decoder) oneOf(words []string) func(*string) setter {
	return func(dst *string) setter { return word(d, dst, words...) }
}

// endpoint is the setter of an S3 server's address: a URL, or host:port alone.
func (d *decoder) endpoint(dst *string) setter {
	return parsed(d, dst, "a URL such as https://s3.example.com:9000", func(s string) (string, error) {
		given := s
		if !strings.Contains(s, "://") {
			s = "https://" + s
		}
		u, err := parseURL(s)
		if err == nil && u.Path != "" {
			err = errors.New("an S3 server's URL has no path here: the bucket has a key of its own")
		}
		return given, err
	})
}

// keyPrefix is the setter of what all names in a bucket begin with.
func (d *decoder) keyPrefix(dst *string) setter {
	return parsed(d, dst, "the start of the names in the bucket", func(s string) (string, error) {
		for _, part := range strings.Split(strings.Trim(s, "/"), "/") {
			if s != "" && s != "/" && (part == "" || part == "." || part == "..") || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r > '~' }) {
				return "", fmt.Errorf("%s is not the start of a name in a bucket: expected components of printable ASCII, without //, . and .., such as sealgate/prod", quote(s))
			}
		}
		return s, nil
	})
}

// s3 checks what the driver demands, and what would otherwise only be seen when
// it is used.
func (v *validator) s3(path string) {
	at := func(name string) string { return child(path, name) }
	p := v.c.Storage.Parameters
	text := func(name string) string { s, _ := p[name].(string); return s }
	v.require(at("bucket"), text("bucket") != "", "is missing: expected the name of the bucket")
	v.require(at("region"), text("region") != "", "is missing: expected the region of the bucket, such as eu-central-1; of a server of your own, the one that it is configured with (often us-east-1)")
	switch {
	case text("accesskey") != "" && text("secretkey") == "":
		v.require(at("secretkey"), false, "is missing: it goes with accesskey")
	case text("secretkey") != "" && text("accesskey") == "":
		v.require(at("accesskey"), false, "is missing: it goes with secretkey")
	}
	v.require(at("keyid"), text("keyid") == "" || p["encrypt"] == true, "has no meaning without encrypt: true")
	for _, name := range []string{"chunksize", "multipartcopychunksize"} {
		if size, given := p[name].(int); given && size < minPart {
			v.add(at(name), "must be at least %d (5 MiB), in bytes, got %d", minPart, size)
		}
	}
	if n, given := p["multipartcopymaxconcurrency"].(int); given && n < 1 {
		v.add(at("multipartcopymaxconcurrency"), "must be at least 1, got %d", n)
	}
	v.require("state-dir", v.c.StateDir != "", "is missing: storage.s3 is shared by all replicas, and each needs a directory of its own")
}

// S3Endpoint is the server of S3 as the configuration names it, and whether the
// way there is encrypted; empty where it is that of the region.
func (s Storage) S3Endpoint() (endpoint string, encrypted bool) {
	endpoint, _ = s.Parameters["regionendpoint"].(string)
	if scheme, _, found := strings.Cut(endpoint, "://"); found {
		return endpoint, scheme == "https"
	}
	return endpoint, s.Parameters["secure"] != false
}

// s3Warnings are about the way to the bucket: answers are not signed, so that
// whoever is on it may give back what was stored long ago.
func (c *Config) s3Warnings(warn func(key, format string, args ...any)) {
	endpoint, encrypted := c.Storage.S3Endpoint()
	host := endpoint
	if _, rest, found := strings.Cut(endpoint, "://"); found {
		host = rest
	}
	name := (&url.URL{Host: host}).Hostname()
	switch {
	case !encrypted && (endpoint == "" || !isLoopback(name)):
		warn("storage.s3", "the way to the bucket is not encrypted: anybody on it can read what is kept there, and play older trust state back")
	case c.Storage.Parameters["skipverify"] == true:
		warn("storage.s3.skipverify", "true: anybody on the way to the bucket can read what is kept there, and play older trust state back; let the system trust its CA, or name that in AWS_CA_BUNDLE")
	}
	if c.TLS.ACME != nil {
		warn("tls.acme", "every replica orders certificates for itself, and an order that reaches another replica fails: use files where there is more than one")
	}
}

// s3Key is where the file has the parameters of S3, which has two names.
func (v *validator) s3Key() string {
	if v.given["storage.s3aws"] {
		return "storage.s3aws"
	}
	return "storage.s3"
}
