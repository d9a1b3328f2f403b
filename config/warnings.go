package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// Warnings are things that are allowed but that an operator should be told at
// start, each with the path of its key, in the order of proxy.yaml.
func (c *Config) Warnings() []string {
	var all []string
	warn := func(key, format string, args ...any) {
		all = append(all, key+": "+fmt.Sprintf(format, args...))
	}
	c.certificateWarnings(time.Now(), warn)
	if c.TLS.ACME != nil && c.TLS.ACME.HTTPListen == "" && c.Clients != nil && c.Clients.Allow != nil {
		warn("tls.acme", "the ACME server has to connect to listen, and clients.allow closes it to strangers: set http-listen, which it does not close, unless that server is in one of its networks")
	}
	if plain := c.TLS.PlainHTTP; plain != nil && !plain.BehindTLSProxy && c.Clients != nil && c.Clients.Allow != nil {
		warn("clients.allow", "all clients have addresses of this machine, since tls.plain-http is there for nobody else: where a TLS proxy is in front, set behind-tls-proxy and trusted-proxies, or its clients count as this machine")
	}
	if host, _, _ := net.SplitHostPort(c.Admin.Listen); c.Admin.Listen != "" && !isLoopback(host) {
		warn("admin.listen", "%q is not a loopback address: metrics and status, with the names of repositories in use, can be read by whoever reaches it", c.Admin.Listen)
	}
	if path := c.defaultControl(); c.Admin.Control == "" && len(path) > maxSocketPath {
		warn("admin.control", "no control socket: %q is longer than %d bytes; set admin.control", path, maxSocketPath)
	}
	if c.Admin.Control == "" && c.StateDir == "" {
		warn("admin.control", "no control socket, since neither it nor state-dir is set: SIGHUP reloads, but nothing can be forgotten and the log level stays")
	}
	if c.Storage.Driver == InMemory {
		warn("storage", "trust state is kept in memory, and forgotten when the process ends: older signed metadata is accepted after a restart; use filesystem, or s3")
	} else if root := c.Storage.RootDirectory(); writableByOthers(root) {
		warn("storage.filesystem.rootdirectory", "%q can be written by other users: trust state in it protects nothing against them; chmod go-w", root)
	}
	if c.Storage.Driver == S3 {
		c.s3Warnings(warn)
	}
	for i := range c.Registries {
		r, path := &c.Registries[i], element("registries", i)
		if domain, _, hasPort := strings.Cut(r.Name, ":"); !hasPort && domain != "localhost" && !strings.ContainsAny(domain, ".[") {
			warn(child(path, "name"), "%q has neither a dot nor a port, so that docker takes it for a user of Docker Hub", r.Name)
		}
		if u := r.Upstream; u != nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			warn(child(path, "upstream"), "%s is not encrypted: anybody on the way can read clients' credentials and private images", u)
		}
		if u := r.Upstream; u != nil && (u.Host == c.Listen || slices.Contains(r.Hosts, u.Host) || slices.Contains(r.Hosts, u.Hostname()) && !isLoopback(u.Hostname())) {
			warn(child(path, "upstream"), "%q is also a name by which clients reach Sealgate: where it leads back here, Sealgate asks itself without end. Give the origin a name or an address of its own", u.Host)
		}
		c.credentialsWarnings(path, r, warn)
		if r.Redirects == RedirectsFollow && len(r.RedirectHosts) == 0 && r.Cache == nil { // a cache needs follow, redirects or not
			warn(child(path, "redirect-hosts"), "is empty, and redirects are followed to no other hosts: every redirect of %s is an error", r.Upstream)
		}
		if u := r.Notary.URL; u != nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			warn(child(child(path, "notary"), "url"), "%s is not encrypted: anybody on the way can withhold or hold back signatures", u)
		}
		if r.Notary.Writes && c.ContentTrust.TrustOnFirstUse {
			warn(child(child(path, "notary"), "writes"), "true beside trust-on-first-use: whoever the Notary server lets write first owns a repository that no pin covers")
		}
		if r.Cache != nil && c.Storage.Driver == InMemory {
			warn(child(path, "cache"), "content is kept in memory, without a bound, and gone when the process ends: use storage.filesystem")
		} else if r.Cache != nil && *r.Cache == (Cache{}) {
			warn(child(path, "cache"), "neither max-size nor ttl is set: it grows for as long as there is room")
		}
		if r.Denial == DenialStrictMirror {
			warn(child(path, "denial"), "strict-mirror leans on how today's clients fail, and stops neither podman nor skopeo: close the way to Docker Hub as well")
		}
		if t := c.ContentTrust; t.demandsTrust(r.Name) && !t.TrustOnFirstUse && !t.TrustPinning.covers(r.Name) {
			outcome := "none of its tags is visible"
			if t.Mode == Permissive {
				outcome = "enforced would hide all of its tags"
			}
			warn(child(path, "name"), "no pin in content-trust.trust-pinning covers a repository of %q, and trust-on-first-use is off: %s", r.Name, outcome)
		}
	}
	switch c.ContentTrust.Mode {
	case Permissive:
		warn("content-trust.mode", "permissive enforces nothing: every tag is served, signed or not; what enforced would deny or change is logged and counted")
	case Disabled:
		warn("content-trust.mode", "disabled: every tag is served, signed or not")
	}
	for i, p := range c.ContentTrust.Policies {
		switch key := child(element("content-trust.policies", i), "mode"); {
		case p.Mode == Permissive && c.ContentTrust.Mode == Enforced:
			warn(key, "permissive enforces nothing for %s: every tag is served, signed or not", p.Match)
		case p.Mode == Disabled && c.ContentTrust.Mode != Disabled:
			warn(key, "disabled for %s: every tag is served, signed or not", p.Match)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.ContentTrust.Signers)) {
		if !slices.ContainsFunc(c.ContentTrust.Policies, func(p Policy) bool { return slices.Contains(p.RequiredSigners, name) }) {
			warn(child("content-trust.signers", name), "no policy requires this signer")
		}
	}
	c.ContentTrust.TrustPinning.warnings("content-trust.trust-pinning", time.Now(), warn)
	if c.ContentTrust.AllowExpiredCachedTrustData {
		warn("content-trust.allow-expired-cached-trust-data", "on: what a publisher has let expire, perhaps on purpose, is served for as long as max-stale allows")
	}
	if c.ContentTrust.TrustOnFirstUse {
		again := ""
		if c.Storage.Driver == InMemory {
			again = ", after every start anew while storage is inmemory"
		}
		warn("content-trust.trust-on-first-use", "on: whatever root a Notary shows first of an unpinned repository is believed%s", again)
	}
	return all
}

// certificateWarnings are about certificates that clients will not believe: they are
// not valid now, or for none of the hosts of a registry.
func (c *Config) certificateWarnings(now time.Time, warn func(key, format string, args ...any)) {
	var key string
	var covers func(host string) bool
	switch t := c.TLS; {
	case t.SelfSigned != nil:
		key, covers = "tls.self-signed.hosts", func(host string) bool { return slices.Contains(t.SelfSigned.Hosts, host) }
	case len(t.Files) > 0:
		leaves := t.leaves()
		for i, leaf := range leaves {
			if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
				warn("tls.files", "the certificate %q is valid from %s to %s, and not now", t.Files[i].Cert, leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
			}
		}
		key, covers = "tls.files", func(host string) bool {
			return len(leaves) == 0 || slices.ContainsFunc(leaves, func(leaf *x509.Certificate) bool { return leaf.VerifyHostname(host) == nil })
		}
	default:
		return
	}
	for _, r := range c.Registries {
		if hosts := slices.Concat(r.Hosts, r.MirrorHosts); !slices.ContainsFunc(hosts, func(host string) bool { return host == AnyHost || covers(withoutPort(host)) }) {
			warn(key, "no certificate for any of the hosts of %s (%s): its clients will not believe Sealgate; add those that they use", r.Name, strings.Join(hosts, ", "))
		}
	}
}

// leaves are the certificates of Files, in their order; none where one cannot be
// read any more.
func (t TLS) leaves() []*x509.Certificate {
	var all []*x509.Certificate
	for _, pair := range t.Files {
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return nil
		}
		all = append(all, cert.Leaf)
	}
	return all
}

// withoutPort is the host of an entry of Registry.Hosts.
func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// credentialsWarnings are about the credentials of Sealgate's own.
func (c *Config) credentialsWarnings(path string, r *Registry, warn func(key, format string, args ...any)) {
	notary := child(path, "notary")
	for _, own := range []struct {
		key string
		Credentials
	}{{child(path, "credentials"), r.Credentials}, {child(notary, "credentials"), r.Notary.Credentials}} {
		if own.Kind == Password && readableByOthers(own.PasswordFile) {
			warn(child(own.key, "password-file"), "%q can be read by every user of this machine; chmod o-r", own.PasswordFile)
		}
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	if own := r.Credentials.Kind == Password || r.Credentials.Kind == DockerConfig; own && c.Clients == nil && !isLoopback(host) {
		warn(child(path, "credentials"), "whoever reaches %q can read, of the tags that are visible and of everything by digest, what these credentials can: the registry no longer asks clients who they are", c.Listen)
	}
}

func writableByOthers(directory string) bool {
	info, err := os.Stat(directory)
	return err == nil && info.Mode().Perm()&0o022 != 0
}
