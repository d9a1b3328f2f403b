package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
)

// validator checks what decoder made of a file, defaults filled in. Its methods
// are in the order of proxy.yaml.
type validator struct {
	*report
	c *Config
}

func (v *validator) config() {
	if err := checkListen(v.c.Listen, `"127.0.0.1:8443", or ":8443" for all interfaces`); err != nil {
		v.add("listen", "%s", err)
	}
	v.tls()
	v.clients()
	v.clientLimits()
	v.admin()
	v.audit()
	v.require("drain-timeout", 0 < v.c.DrainTimeout && v.c.DrainTimeout <= time.Hour,
		"must be more than 0 and at most 1h, got %s", v.c.DrainTimeout)
	v.stateDir()
	v.storage()
	v.registries()
	v.contentTrust()
}

// later refuses a key whose feature is not built yet, where its value differs
// from the default.
func (v *validator) later(key string, differs bool, accepted string) {
	if differs {
		v.add(key, "not supported yet: %s", accepted)
	}
}

// exactlyOne checks that a block has one of its keys.
func (v *validator) exactlyOne(path string, expected string, names ...string) {
	var found []string
	var empty string
	for _, name := range names {
		key := child(path, name)
		if v.given[key] {
			found = append(found, name)
		} else if v.lines[key] > 0 {
			empty = name
		}
	}
	switch {
	case len(found) == 0 && empty != "":
		v.add(child(path, empty), "has no value, and so counts as absent: expected exactly one of %s (an empty one is written {})", expected)
	case len(found) == 0:
		v.require(path, false, "expected exactly one of %s", expected)
	case len(found) > 1:
		v.add(path, "expected exactly one of %s, got %s", expected, strings.Join(found, " and "))
	}
}

func (v *validator) tls() {
	t := v.c.TLS
	v.exactlyOne("tls", "self-signed, files, acme and plain-http", "self-signed", "files", "acme", "plain-http")
	if t.ACME != nil {
		v.acme(t.ACME)
	}
	if t.SelfSigned != nil {
		for i, host := range t.SelfSigned.Hosts {
			v.certificateHost(element("tls.self-signed.hosts", i), host)
		}
		v.require("state-dir", v.c.StateDir != "" || v.suspect("storage"),
			"is missing: tls.self-signed keeps its CA there (the default is the rootdirectory of storage.filesystem)")
	}
	v.require("tls.files", !v.given["tls.files"] || len(t.Files) > 0, "an empty list: expected at least one pair {cert: …, key: …}")
	for i, pair := range t.Files {
		path := "tls.files"
		if v.lines[element(path, i)] > 0 {
			path = element(path, i)
		}
		v.require(child(path, "cert"), pair.Cert != "", "is missing: expected the path of a PEM certificate chain")
		v.require(child(path, "key"), pair.Key != "", "is missing: expected the path of the certificate's private key")
		if pair.Cert != "" && pair.Key != "" {
			v.pair(child(path, "cert"), pair.Cert, child(path, "key"), pair.Key)
		}
	}
	if t.PlainHTTP != nil {
		v.plainHTTP(t.PlainHTTP)
	}
}

func (v *validator) acme(a *ACME) {
	at := func(name string) string { return child("tls.acme", name) }
	v.require(at("domains"), len(a.Domains) > 0, "is missing: expected the host names to obtain certificates for")
	seen := map[string]string{}
	for i, domain := range a.Domains {
		key := element(at("domains"), i)
		ip, err := netip.ParseAddr(domain)
		switch {
		case strings.Contains(domain, "*"):
			v.add(key, "%s: wildcards need a challenge over DNS, which is not supported: name the hosts", quote(domain))
		case err == nil:
			v.add(key, "%s is an address: certificates are obtained for host names only", ip)
		default:
			v.require(key, isHostName(domain), "%s is not a host name: expected one in lower case, without port", quote(domain))
		}
		v.distinct(seen, domain, key, "a name has one certificate")
	}
	mailbox, err := mail.ParseAddress(a.Email)
	v.require(at("email"), a.Email == "" || err == nil && mailbox.Address == a.Email, "%s is not an address such as ops@example.com", quote(a.Email))
	directory, err := url.Parse(a.Directory)
	v.require(at("directory"), err == nil && directory.Scheme == "https" && directory.Host != "" && directory.User == nil && directory.Fragment == "",
		"expected the https:// URL of an ACME directory, without user and fragment, such as %s", DefaultDirectory)
	v.certificates(at("ca-file"), a.CAFile)
	v.challengeListen(at("http-listen"), a.HTTPListen)
	_, port, _ := net.SplitHostPort(v.c.Listen)
	v.require("listen", port != "0", "%s has no port of its own: tls.acme needs one that the ACME server can be led to", quote(v.c.Listen))
	v.require("state-dir", v.c.StateDir != "" || v.suspect("storage"),
		"is missing: tls.acme keeps its certificates there (the default is the rootdirectory of storage.filesystem)")
}

func (v *validator) challengeListen(key, listen string) {
	if listen == "" {
		return
	}
	if err := checkListen(listen, `":80"`); err != nil {
		v.add(key, "%s", err)
		return
	}
	_, port, _ := net.SplitHostPort(listen)
	v.require(key, port != "0", "%s has no port of its own: the ACME server asks on port 80, name that or where it is led to", quote(listen))
	v.require(key, v.suspect("listen") || !collide(listen, v.c.Listen), "%s takes the port of listen, %s: give it one of its own", quote(listen), quote(v.c.Listen))
	v.require(key, v.c.Admin.Listen == "" || v.suspect("admin.listen") || !collide(listen, v.c.Admin.Listen),
		"%s takes the port of admin.listen, %s: give it one of its own", quote(listen), quote(v.c.Admin.Listen))
}

func (v *validator) plainHTTP(p *PlainHTTP) {
	const behind, proxies = "tls.plain-http.behind-tls-proxy", "tls.plain-http.trusted-proxies"
	host, _, _ := net.SplitHostPort(v.c.Listen)
	v.require("listen", isLoopback(host) || p.BehindTLSProxy || v.suspect(behind),
		"%s is not a loopback address, and tls.plain-http serves without TLS: listen on 127.0.0.1, choose another kind of tls, or say behind-tls-proxy where one is", quote(v.c.Listen))
	v.require(proxies, !p.BehindTLSProxy || len(p.TrustedProxies) > 0,
		"is missing: name the networks that the TLS proxy connects from, such as 10.1.2.3/32; all other connections are refused")
	v.require(proxies, p.BehindTLSProxy || len(p.TrustedProxies) == 0 || v.suspect(behind),
		"has no meaning without behind-tls-proxy: true: add that, or leave it out")
	for i, network := range p.TrustedProxies {
		v.require(element(proxies, i), network.Bits() > 0,
			"%s is everybody, and whoever is trusted says which address a client has: name the proxies", network)
	}
}

func (v *validator) clients() {
	c := v.c.Clients
	if c == nil {
		return
	}
	v.require("clients", c.CAFile != "" || v.given["clients.allow"] || v.suspect("clients.ca-file"),
		"names nobody: expected ca-file, allow or both; leave clients out to serve everybody")
	v.require("clients.allow", !v.given["clients.allow"] || len(c.Allow) > 0,
		"an empty list would let nobody in: name the networks that clients come from, or leave it out to let all in")
	if c.CAFile == "" {
		return
	}
	if v.c.TLS.PlainHTTP != nil {
		v.add("clients.ca-file", "client certificates need TLS, and tls.plain-http has none: demand them at the proxy in front, or choose another kind of tls")
		return
	}
	if _, err := LoadCAs(c.CAFile); err != nil {
		if errors.Is(err, errNoAuthority) {
			err = fmt.Errorf("%w: expected the CA that issued the clients' certificates, not one of those", err)
		}
		v.add("clients.ca-file", "%s", err)
	}
}

func (v *validator) certificateHost(key, host string) {
	ip, err := netip.ParseAddr(host)
	v.require(key, err == nil && ip.Zone() == "" || isHostName(host),
		"%s is not a name for a certificate: expected a host name in lower case or an IP address, without port", quote(host))
}

func (v *validator) admin() {
	listen, control := v.c.Admin.Listen, v.c.Admin.Control
	if listen != "" {
		if err := checkListen(listen, `"127.0.0.1:8444"`); err != nil {
			v.add("admin.listen", "%s", err)
		}
		v.require("admin.listen", v.suspect("listen") || !collide(listen, v.c.Listen),
			"%s takes the port of listen, %s: metrics and status are never on the public listener, give them a port of their own", quote(listen), quote(v.c.Listen))
	}
	for i, host := range v.c.Admin.Hosts {
		v.require(fmt.Sprintf("admin.hosts[%d]", i), isHostName(host),
			"%s is not a host name: expected one in lower case, without scheme, port and wildcard", quote(host))
	}
	v.require("admin.control", len(control) <= maxSocketPath,
		"%s has %d bytes, and the path of a unix socket has at most %d: name a shorter one", quote(control), len(control), maxSocketPath)
	if info, err := os.Stat(control); control != "" && err == nil && info.Mode().Type() != os.ModeSocket {
		v.require("admin.control", false, "%s is there and is not a socket: name a path that is free", quote(control))
	}
}

func (v *validator) stateDir() {
	if info, err := os.Stat(v.c.StateDir); v.c.StateDir != "" && err == nil && !info.IsDir() {
		key := "state-dir"
		if !v.given[key] {
			key = "storage.filesystem.rootdirectory" // its default
		}
		v.require(key, false, "%s is not a directory", quote(v.c.StateDir))
	}
}

func (v *validator) storage() {
	if !v.given["storage"] {
		return
	}
	v.exactlyOne("storage", "filesystem, inmemory and s3", "azure", Filesystem, "gcs", InMemory, S3, "s3aws")
	for _, name := range []string{"azure", "gcs"} {
		v.later(child("storage", name), v.given[child("storage", name)], "the drivers of this version are filesystem, inmemory and s3")
	}
	if v.c.Storage.Driver == S3 && !v.suspect("storage") {
		v.s3(v.s3Key())
	}
	v.require("storage.filesystem.rootdirectory", v.c.Storage.Driver != Filesystem || v.c.Storage.RootDirectory() != "",
		"is missing: expected the path of a directory")
}

func (v *validator) registries() {
	v.require("registries", len(v.c.Registries) > 0, "is missing: expected a list of at least one registry")
	names, hosts := map[string]string{}, map[string]string{}
	for i := range v.c.Registries {
		path, r := element("registries", i), &v.c.Registries[i]
		v.name(path, r.Name)
		v.distinct(names, r.Name, child(path, "name"), "every registry has a name of its own")
		for j, host := range r.Hosts {
			key := element(child(path, "hosts"), j)
			if v.lines[key] == 0 {
				key = child(path, "name") // the default of hosts
			}
			v.distinct(hosts, host, key, "a host means one registry")
		}
		v.registry(path, r)
	}
}

func (v *validator) name(path, name string) {
	key := child(path, "name")
	if name == "" {
		v.require(key, false, "is missing: expected what publishers typed when they signed, such as registry.example.com or docker.io")
		return
	}
	switch _, _, err := splitHost(name); {
	case err != nil:
		v.add(key, "%s", err)
	case name == "index.docker.io":
		v.add(key, "clients sign and ask for Docker Hub as docker.io: write that")
	}
}

// distinct checks that no other key holds the same value.
func (v *validator) distinct(seen map[string]string, value, key, rule string) {
	if value == "" || v.suspect(key) {
		return
	}
	if other, ok := seen[value]; ok {
		v.add(key, "%s is %s (line %d) already: %s", quote(value), other, v.lines[other], rule)
		return
	}
	seen[value] = key
}

func (v *validator) registry(path string, r *Registry) {
	at := func(name string) string { return child(path, name) }
	v.require(at("upstream"), r.Upstream != nil || r.Offline != nil, "is missing: expected the URL of the registry itself, or offline in its place")
	v.certificates(at("upstream-ca-file"), r.UpstreamCAFile)
	if r.UpstreamCAFile != "" && r.Upstream != nil && r.Upstream.Scheme == "http" {
		v.add(at("upstream-ca-file"), "has no meaning for an http:// upstream: write https://, or leave it out")
	}
	v.credentials(at("credentials"), r.Credentials)
	v.named(at("realms"), r.Realms, "the hosts of token servers")
	v.named(at("redirect-hosts"), r.RedirectHosts, "the hosts that redirects may lead to")
	mirrors := map[string]string{}
	for i, host := range r.MirrorHosts {
		key := element(at("mirror-hosts"), i)
		if host == AnyHost {
			v.add(key, `"*" is not accepted here: where "*" stands in hosts, ns chooses among all registries`)
		}
		v.distinct(mirrors, host, key, "leave it out")
	}
	v.notary(at("notary"), r)
	v.offline(path, r)

	v.passPaths(at("pass-paths"), r)
	v.push(at("push"), r)
	v.denial(at("denial"), r)
	v.cache(at("cache"), r)
}

// cache checks that there is a place for what is kept, and that all of it comes by;
// of an offline registry nothing does.
func (v *validator) cache(key string, r *Registry) {
	c := r.Cache
	if c == nil {
		return
	}
	v.require(key, r.Redirects == RedirectsFollow || r.Offline != nil,
		"needs redirects: follow, with redirect-hosts where there are any: blobs that clients fetch elsewhere are never seen here")
	v.require("state-dir", v.c.StateDir != "" || r.Offline != nil || v.suspect("storage"),
		"is missing: %s needs it for the blobs that are being fetched (the default is the rootdirectory of storage.filesystem)", key)
	v.require(child(key, "max-size"), c.MaxSize == 0 || v.c.Storage.Driver == Filesystem || v.suspect("storage"),
		"needs storage.filesystem: with %s only ttl says how long content stays", v.c.Storage.Driver)
	v.require(child(key, "ttl"), c.TTL >= 0, "must be 0 or more, got %s", c.TTL)
}

// denial checks that a form of refusal breaks no client that the registry is
// there for.
func (v *validator) denial(key string, r *Registry) {
	if r.Denial == DenialStrictMirror && r.Name != dockerHub {
		v.add(key, "strict-mirror is for the registry named docker.io, whose mirrors clients pass by; write not-found or denied")
	}
	if r.Denial != DenialNotFound && r.Push {
		v.add(key, "%s is for registries that are only pulled from: clients that look at a tag before they push stop at it; write not-found, or push: false", r.Denial)
	}
}

// named checks that a list of hosts does not mean all of them.
func (v *validator) named(key string, hosts []string, what string) {
	if i := slices.Index(hosts, AnyHost); i >= 0 {
		v.add(element(key, i), `"*" is not accepted here: name %s`, what)
	}
}

// push checks that whoever writes is known to the registry.
func (v *validator) push(key string, r *Registry) {
	v.require(key, !r.Push || r.Credentials.Kind == Passthrough,
		"true needs credentials: passthrough, so that the registry knows who pushes: this registry has %s", r.Credentials.Kind.written())
}

func (v *validator) credentials(key string, c Credentials) {
	if c.Kind != Password {
		return
	}
	v.require(child(key, "username"), c.Username != "", "is missing: it goes with password-file")
	v.require(child(key, "username"), !strings.ContainsFunc(c.Username, func(r rune) bool { return r == ':' || unicode.IsControl(r) }),
		"holds a colon or a control character, which no user name does")
	v.require(child(key, "password-file"), c.PasswordFile != "", "is missing: expected the path of a file that holds the password")
	if c.PasswordFile != "" {
		if _, err := LoadPassword(c.PasswordFile); err != nil {
			v.add(child(key, "password-file"), "%s", err)
		}
	}
}

func (v *validator) notary(path string, r *Registry) {
	at := func(name string) string { return child(path, name) }
	n := r.Notary
	switch {
	case n.URL != nil || r.Offline != nil:
	case v.c.ContentTrust.Mode == Enforced, v.c.ContentTrust.Mode == Permissive:
		v.require(at("url"), false, "is missing: with content-trust.mode %s every registry needs the URL of its Notary", v.c.ContentTrust.Mode)
	case v.c.ContentTrust.demandsTrust(r.Name):
		v.require(at("url"), false, "is missing: a policy consults trust for repositories of this registry, which needs the URL of its Notary")
	case n != defaultRegistry().Notary:
		v.require(at("url"), false, "is missing: the other keys of notary have no meaning without it")
	}
	plain := n.URL != nil && n.URL.Scheme == "http"
	for _, file := range []struct{ name, value string }{{"ca-file", n.CAFile}, {"cert-file", n.CertFile}, {"key-file", n.KeyFile}} {
		if plain && file.value != "" {
			v.add(at(file.name), "has no meaning for an http:// Notary: write https://, or leave it out")
		}
	}
	v.certificates(at("ca-file"), n.CAFile)
	switch {
	case n.CertFile != "" && n.KeyFile != "":
		v.pair(at("cert-file"), n.CertFile, at("key-file"), n.KeyFile)
	case n.CertFile != "":
		v.require(at("key-file"), false, "is missing: cert-file and key-file come together")
	case n.KeyFile != "":
		v.require(at("cert-file"), false, "is missing: cert-file and key-file come together")
	}
	v.credentials(at("credentials"), n.Credentials)
	v.require(at("writes"), !n.Writes || r.Credentials.Kind == Passthrough,
		"true needs credentials: passthrough, so that Notary knows who publishes: this registry has %s", r.Credentials.Kind.written())
}

func (v *validator) contentTrust() {
	t := &v.c.ContentTrust
	at := func(name string) string { return child("content-trust", name) }
	v.require(at("mode"), t.Mode != "", "is missing: write enforced, permissive or disabled (there is no default, since Mirantis Container Runtime reads its absence as disabled)")
	v.trustPinning(at("trust-pinning"), &t.TrustPinning)
	if t.Refresh <= 0 {
		v.add(at("refresh"), "must be more than 0, got %s", t.Refresh)
	}
	if t.MaxStale < 0 {
		v.add(at("max-stale"), "must be 0 or more, got %s", t.MaxStale)
	}
	if t.AuthorisationTTL < 0 {
		v.add(at("authorisation-ttl"), "must be 0 or more, got %s", t.AuthorisationTTL)
	}
	v.limits(at("limits"), t.Limits)
	v.signers(at("signers"), t.Signers)
	v.policies(at("policies"), t)
}

func (v *validator) limits(path string, l Limits) {
	standard := DefaultLimits()
	size := func(name string, value, standard int64) {
		v.limit(child(path, name), value, standard, formatSize)
	}
	size("root", l.Root, standard.Root)
	size("timestamp", l.Timestamp, standard.Timestamp)
	size("snapshot", l.Snapshot, standard.Snapshot)
	size("targets", l.Targets, standard.Targets)
	size("memory", l.Memory, standard.Memory)
	v.limit(child(path, "roles"), int64(l.Roles), int64(standard.Roles), decimal)
	v.limit(child(path, "signatures"), int64(l.Signatures), int64(standard.Signatures), decimal)
	v.limit(child(path, "depth"), int64(l.Depth), int64(standard.Depth), decimal)
	largest := max(l.Root, l.Timestamp, l.Snapshot, l.Targets)
	tooLarge := slices.ContainsFunc([]string{"root", "timestamp", "snapshot", "targets"}, func(name string) bool {
		return v.wrong[child(path, name)] // is reported, and not comparable
	})
	v.require(child(path, "memory"), l.Memory >= largest || tooLarge,
		"%s is less than the largest file allowed, %s: it bounds all metadata being verified at once", formatSize(l.Memory), formatSize(largest))
}

// limit checks one limit against its default.
func (v *validator) limit(key string, value, standard int64, format func(int64) string) {
	v.require(key, value > 0 && value <= 16*standard,
		"must be more than 0 and at most %s (16 times the default), got %s", format(16*standard), format(value))
}
