package config

import (
	"net/netip"

	"go.yaml.in/yaml/v3"
)

// This file is the table of all keys: one function for each block of proxy.yaml.
// What the keys mean is said at the fields of Config.

func (d *decoder) config(c *Config, root *yaml.Node) {
	d.mapping("", root, keys{
		"listen": d.text(&c.Listen),
		"tls":    d.tls(&c.TLS),
		"clients": func(path string, n *yaml.Node) {
			c.Clients = &Clients{}
			d.mapping(path, n, keys{
				"ca-file": d.path(&c.Clients.CAFile),
				"allow":   listOf(d, &c.Clients.Allow, "networks", d.network),
			})
		},
		"limits": d.clientLimits(&c.Limits),
		"admin": d.block(keys{
			"listen":  d.text(&c.Admin.Listen),
			"hosts":   d.texts(&c.Admin.Hosts),
			"control": d.path(&c.Admin.Control),
		}),
		"audit": func(path string, n *yaml.Node) {
			c.Audit = &Audit{}
			d.audit(c.Audit)(path, n)
		},
		"drain-timeout": d.duration(&c.DrainTimeout),
		"state-dir":     d.path(&c.StateDir),
		"storage":       d.storage(&c.Storage),
		"registries":    listOf(d, &c.Registries, "registries", d.registry),
		"content-trust": d.contentTrust(&c.ContentTrust),
	})
}

func (d *decoder) tls(t *TLS) setter {
	return d.block(keys{
		"self-signed": func(path string, n *yaml.Node) {
			t.SelfSigned = &SelfSigned{}
			d.mapping(path, n, keys{"hosts": d.texts(&t.SelfSigned.Hosts)})
		},
		"files": func(path string, n *yaml.Node) {
			if n.Kind == yaml.MappingNode {
				t.Files = make([]KeyPair, 1)
				d.keyPair(&t.Files[0])(path, n)
				return
			}
			listOf(d, &t.Files, "pairs {cert: …, key: …}", d.keyPair)(path, n)
		},
		"acme": func(path string, n *yaml.Node) {
			t.ACME = &ACME{Directory: DefaultDirectory}
			d.mapping(path, n, keys{
				"domains":     d.texts(&t.ACME.Domains),
				"email":       d.text(&t.ACME.Email),
				"directory":   d.text(&t.ACME.Directory),
				"ca-file":     d.path(&t.ACME.CAFile),
				"http-listen": d.text(&t.ACME.HTTPListen),
			})
		},
		"plain-http": func(path string, n *yaml.Node) {
			t.PlainHTTP = &PlainHTTP{}
			d.mapping(path, n, keys{
				"behind-tls-proxy": d.flag(&t.PlainHTTP.BehindTLSProxy),
				"trusted-proxies":  listOf(d, &t.PlainHTTP.TrustedProxies, "networks", d.network),
			})
		},
	})
}

func (d *decoder) keyPair(p *KeyPair) setter {
	return d.block(keys{"cert": d.path(&p.Cert), "key": d.path(&p.Key)})
}

func (d *decoder) network(dst *netip.Prefix) setter {
	return parsed(d, dst, "a network such as 10.0.0.0/8", parseNetwork)
}

func (d *decoder) clientLimits(l *ClientLimits) setter {
	return d.block(keys{
		"connections":            d.count(&l.Connections),
		"connections-per-client": d.count(&l.ConnectionsPerClient),
		"requests-per-client":    d.count(&l.RequestsPerClient),
		"requests-per-second":    d.count(&l.RequestsPerSecond),
		"burst":                  d.count(&l.Burst),
		"exempt":                 listOf(d, &l.Exempt, "networks", d.network),
		"header-timeout":         d.duration(&l.HeaderTimeout),
		"idle-timeout":           d.duration(&l.IdleTimeout),
		"min-rate":               d.size(&l.MinRate),
		"max-header-bytes":       d.size(&l.MaxHeaderBytes),
	})
}

func (d *decoder) audit(a *Audit) setter {
	return d.block(keys{
		"file": func(path string, n *yaml.Node) {
			a.File = &AuditFile{MaxSize: DefaultAuditSize, MaxFiles: DefaultAuditFiles}
			d.mapping(path, n, keys{
				"path":      d.path(&a.File.Path),
				"max-size":  d.size(&a.File.MaxSize),
				"max-files": d.count(&a.File.MaxFiles),
				"max-age":   d.duration(&a.File.MaxAge),
				"compress":  d.flag(&a.File.Compress),
			})
		},
		"stdout": func(path string, n *yaml.Node) {
			a.Stdout = &AuditStdout{}
			d.mapping(path, n, keys{})
		},
	})
}

// storage leaves the parameters of drivers that are not supported yet alone.
func (d *decoder) storage(s *Storage) setter {
	later := func(string, *yaml.Node) {}
	return d.block(keys{
		Filesystem: func(path string, n *yaml.Node) {
			var root string
			d.mapping(path, n, keys{"rootdirectory": d.path(&root)})
			s.Driver, s.Parameters = Filesystem, map[string]any{"rootdirectory": root}
		},
		InMemory: func(path string, n *yaml.Node) {
			d.mapping(path, n, keys{})
			s.Driver, s.Parameters = InMemory, map[string]any{}
		},
		S3:      d.s3(s),
		"s3aws": d.s3(s),
		"azure": later, "gcs": later,
	})
}

func (d *decoder) registry(r *Registry) setter {
	*r = defaultRegistry()
	return d.block(keys{
		"name":             d.text(&r.Name),
		"hosts":            listOf(d, &r.Hosts, "hosts", d.host),
		"mirror-hosts":     listOf(d, &r.MirrorHosts, "hosts", d.host),
		"upstream":         parsed(d, &r.Upstream, "a URL", parseURL),
		"upstream-ca-file": d.path(&r.UpstreamCAFile),
		"credentials":      d.credentials(&r.Credentials, Passthrough, Anonymous, DockerConfig),
		"realms":           listOf(d, &r.Realms, "hosts", d.host),
		"redirects":        word(d, &r.Redirects, RedirectsPass, RedirectsFollow),
		"redirect-hosts":   listOf(d, &r.RedirectHosts, "hosts", d.host),
		"pass-paths":       d.texts(&r.PassPaths),
		"push":             d.flag(&r.Push),
		"denial":           word(d, &r.Denial, DenialNotFound, DenialDenied, DenialStrictMirror),
		"signature-tags":   word(d, &r.SignatureTags, SignatureTagsHidden, SignatureTagsPass),
		"notary":           d.notary(&r.Notary),
		"offline": func(path string, n *yaml.Node) {
			r.Offline = &Offline{}
			d.mapping(path, n, keys{"grace": d.duration(&r.Offline.Grace)})
		},
		"cache": func(path string, n *yaml.Node) {
			r.Cache = &Cache{}
			d.mapping(path, n, keys{"max-size": d.size(&r.Cache.MaxSize), "ttl": d.duration(&r.Cache.TTL)})
		},
	})
}

func (d *decoder) host(dst *string) setter {
	return parsed(d, dst, "a host", func(s string) (string, error) {
		if s == AnyHost {
			return s, nil
		}
		return parseHost(s)
	})
}

func (d *decoder) notary(n *Notary) setter {
	return d.block(keys{
		"url":         parsed(d, &n.URL, "a URL", parseURL),
		"ca-file":     d.path(&n.CAFile),
		"cert-file":   d.path(&n.CertFile),
		"key-file":    d.path(&n.KeyFile),
		"credentials": d.credentials(&n.Credentials, Anonymous, DockerConfig),
		"expose":      word(d, &n.Expose, ExposeAuto, ExposeAlways, ExposeNever),
		"writes":      d.flag(&n.Writes),
	})
}

// credentials takes one of the words, or a user name with the file of its
// password. It repeats no other value: it may be a password.
func (d *decoder) credentials(c *Credentials, words ...CredentialsKind) setter {
	return func(path string, n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			*c = Credentials{Kind: Password}
			d.mapping(path, n, keys{"username": d.text(&c.Username), "password-file": d.path(&c.PasswordFile)})
			return
		}
		for _, word := range words {
			if isText(n) && n.Value == string(word) {
				*c = Credentials{Kind: word}
				return
			}
		}
		if n.Kind != yaml.AliasNode {
			d.add(path, "expected %s, or {username: …, password-file: …}", joined(words))
		}
	}
}

func (d *decoder) contentTrust(t *ContentTrust) setter {
	l := &t.Limits
	return d.block(keys{
		"mode": word(d, &t.Mode, Enforced, Permissive, Disabled),
		"trust-pinning": d.block(keys{
			"root-keys":               mapOf(d, &t.TrustPinning.RootKeys, d.texts),
			"cert-ids":                mapOf(d, &t.TrustPinning.CertIDs, d.texts),
			"ca":                      mapOf(d, &t.TrustPinning.CA, d.path),
			"official-library-images": d.flag(&t.TrustPinning.OfficialLibraryImages),
		}),
		"trust-on-first-use":              d.flag(&t.TrustOnFirstUse),
		"allow-expired-cached-trust-data": d.flag(&t.AllowExpiredCachedTrustData),
		"refresh":                         d.duration(&t.Refresh),
		"max-stale":                       d.duration(&t.MaxStale),
		"authorisation-ttl":               d.duration(&t.AuthorisationTTL),
		"limits": d.block(keys{
			"root": d.size(&l.Root), "timestamp": d.size(&l.Timestamp), "snapshot": d.size(&l.Snapshot),
			"targets": d.size(&l.Targets), "memory": d.size(&l.Memory),
			"roles": d.count(&l.Roles), "signatures": d.count(&l.Signatures), "depth": d.count(&l.Depth),
		}),
		"signers":  mapOf(d, &t.Signers, d.signer),
		"policies": listOf(d, &t.Policies, "policies", d.policy),
	})
}

func (d *decoder) signer(s *Signer) setter {
	return d.block(keys{"keys": d.texts(&s.Keys), "cert-file": d.path(&s.CertFile), "role": d.text(&s.Role)})
}

func (d *decoder) policy(p *Policy) setter {
	return d.block(keys{
		"match":            d.text(&p.Match),
		"mode":             word(d, &p.Mode, Enforced, Permissive, Disabled),
		"roles":            d.texts(&p.Roles),
		"required-signers": d.texts(&p.RequiredSigners),
		"exempt-tags":      d.texts(&p.ExemptTags),
	})
}
