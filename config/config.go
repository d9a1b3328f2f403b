// Package config holds the shape of proxy.yaml and turns a file into a checked
// value: decode strictly, fill in the defaults, validate, and only then hand
// anything out. Everything that is wrong with a file is found in one run and
// named with its line and key.
//
// It refuses what it does not understand. A key that is unknown, given twice or
// of the wrong type is an error, because a misspelt key in a tool of this kind
// is a hole; a key whose feature is not built yet is an error that says so,
// unless its value is the default. It opens no sockets and holds no secrets:
// passwords and private keys stay in the files that the configuration names.
//
// Load and Parse are safe for concurrent use. A Config is not changed after it
// was returned; whoever needs another one loads the file again, and asks
// RestartOnly whether a running program can go over to it.
package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

// Config is a whole proxy.yaml, with defaults filled in, every relative path
// made absolute, and every rule of this package checked.
type Config struct {
	// Listen is the address of the public listener, host:port. An empty host
	// means all interfaces, port 0 one that the system chooses. Default
	// 127.0.0.1:8443.
	Listen string
	// TLS says how clients are met. Required.
	TLS TLS
	// Clients says who may connect to Listen at all. Nil, the default:
	// everybody. It can change at run time, for connections that are open too.
	Clients *Clients
	// Limits bound what clients may use of this machine. Absent: the defaults of
	// its keys hold.
	Limits ClientLimits
	// Admin places the operator's listeners. Absent, the default: no admin
	// listener, and a control socket where there is a StateDir.
	Admin Admin
	// Audit says where requests are recorded beside the log. Nil, the default:
	// nowhere. It can change at run time.
	Audit *Audit
	// DrainTimeout is how long a stop waits for the requests under way before it
	// cuts them off. Default 30s; more than 0 and at most an hour.
	DrainTimeout time.Duration
	// StateDir is a local directory for the CA of tls.self-signed, certificates
	// and spooled bodies; it is created when missing. Default: the
	// rootdirectory of storage.filesystem; empty where there is none.
	StateDir string
	// Storage is where trust state and cached content are kept.
	Storage Storage
	// Registries lists the registries that Sealgate stands in front of: at
	// least one, their names distinct and their hosts distinct.
	Registries []Registry
	// ContentTrust says what is demanded of a tag. Required.
	ContentTrust ContentTrust
}

// TLS is how clients are met. Exactly one field is set.
type TLS struct {
	// SelfSigned makes certificates from a CA of its own, kept in
	// Config.StateDir, for development.
	SelfSigned *SelfSigned
	// Files are certificates with their keys, from disk: one pair or a list.
	Files []KeyPair
	// ACME obtains certificates from a server such as Let's Encrypt, and renews
	// them.
	ACME *ACME
	// PlainHTTP serves without TLS, on a loopback address or behind a proxy
	// that ends TLS.
	PlainHTTP *PlainHTTP
}

// SelfSigned configures certificates for development.
type SelfSigned struct {
	// Hosts are the names and IP addresses that the certificate is for, without
	// ports. Default (also when empty): localhost and 127.0.0.1.
	Hosts []string
}

// KeyPair names the PEM files of one certificate chain and its private key.
type KeyPair struct {
	// Cert and Key are absolute paths; both are required and belong together.
	Cert, Key string
}

// ACME configures certificates from an ACME server, kept in Config.StateDir.
// Whoever configures it agrees to that server's terms.
type ACME struct {
	// Domains are the host names to obtain certificates for, one each: in lower
	// case, distinct, at least one. A client that asks for another name is shown
	// the certificate of the first.
	Domains []string
	// Email is the contact given to the ACME server. Empty, the default: none.
	Email string
	// Directory is the ACME server's directory URL, https. Default
	// DefaultDirectory.
	Directory string
	// CAFile is the absolute path of the PEM CAs trusted for Directory. Empty,
	// the default: the system's.
	CAFile string
	// HTTPListen is where HTTP-01 challenges are answered, host:port; nothing
	// else is. Empty, the default: nowhere, so that only TLS-ALPN-01 on
	// Config.Listen is left.
	HTTPListen string
}

// PlainHTTP configures serving without TLS.
type PlainHTTP struct {
	// BehindTLSProxy says that a proxy in front ends TLS, so that
	// Config.Listen need not be loopback. Default false.
	BehindTLSProxy bool
	// TrustedProxies are the networks that the proxy connects from: every other
	// connection is refused, and a client's address is the rightmost entry of
	// X-Forwarded-For that is in none of them. Required with BehindTLSProxy, and
	// empty without; none is all addresses.
	TrustedProxies []netip.Prefix
}

// Clients says who may connect. At least one field is set.
type Clients struct {
	// CAFile is the absolute path of the PEM CAs (see LoadCAs) of client
	// certificates, which every client then needs; it is read again when it
	// changes. Empty: none are asked for, as always without TLS.
	CAFile string
	// Allow lists the networks that clients may come from. Nil: any.
	Allow []netip.Prefix
}

// ClientLimits is what clients may use on Config.Listen. A client is an
// address, of IPv6 the /64 that it is in. All but HeaderTimeout, IdleTimeout and
// MaxHeaderBytes can change at run time.
type ClientLimits struct {
	// Connections bounds those that are open at once; to make room for a new one
	// that which has been without a request for longest is closed. 0, the default:
	// what the process may have of open files but half of them, at most 4,096, which
	// stay for servers and disk; and no more than 32,768.
	Connections int
	// ConnectionsPerClient bounds those of one client; one more is closed before
	// TLS begins. 0, the default: three quarters of Connections. It has no meaning,
	// and is not accepted, behind a TLS proxy, from which all connections come.
	ConnectionsPerClient int
	// RequestsPerClient bounds the requests of one client that are under way at once;
	// more are refused with 429. Default 1,536, which is three quarters of what a
	// registry has of connections for bodies; 0: no bound.
	RequestsPerClient int
	// RequestsPerSecond bounds the rate of requests of one client, whatever they are
	// for; more are refused with 429. A pull has one for the tag, one or two for
	// manifests, and one for each layer and the config, and as many again where the
	// client looks first. 0, the default: no bound.
	RequestsPerSecond int
	// Burst is how many requests a client that was silent may send at once. 0, the
	// default: ten times RequestsPerSecond and at least 100.
	Burst int
	// Exempt lists networks whose clients the limits per client do not count.
	// Default none.
	Exempt []netip.Prefix
	// HeaderTimeout bounds how long a client may take for the header of a request,
	// and for a TLS handshake. Default 10s; more than 0 and at most 5m.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection is kept without a request. Default 2m;
	// more than 0 and at most 1h.
	IdleTimeout time.Duration
	// MinRate is how slowly a body may come from a client or from upstream, or be
	// read, in bytes a second, before it is cut. A minute is forgiven (ten to
	// who reads), once used up, until what has moved makes up for it. 0: a body must
	// only not stand still for that long. Default 512; at most 1 MiB.
	MinRate int64
	// MaxHeaderBytes bounds the header of a request, in bytes. Default 64 KiB; 4 KiB
	// to 1 MiB.
	MaxHeaderBytes int64
}

// Admin places the operator's listeners, which are never on the public one.
type Admin struct {
	// Listen is host:port of the status page, metrics, health and readiness; port 0 is one that
	// the system chooses. It never takes the port of Config.Listen. Empty, the
	// default: not listening.
	Listen string
	// Hosts are the host names, without a port, at which the status page answers,
	// beside IP addresses and localhost: those of a page elsewhere that has its
	// name lead here are not among them. Default none.
	Hosts []string
	// Control is the absolute path of the control socket, a unix socket: reload,
	// forget, log level, profiles. At most 107 bytes. Default (also when empty):
	// control.sock in Config.StateDir; empty, not listening, where there is no
	// Config.StateDir or the default would be longer.
	Control string
}

// Audit is where the line of each request goes, whatever the level of the log.
// Exactly one field is set.
type Audit struct {
	// File is a file that is rotated.
	File *AuditFile
	// Stdout is the standard output.
	Stdout *AuditStdout
}

// AuditFile is a file of audit lines. When it would become too large it is
// renamed, with the time in its name, and begun anew.
type AuditFile struct {
	// Path is absolute and that of a regular file, or of none, in a directory that
	// is there. It is made with mode 0600. Required.
	Path string
	// MaxSize is the largest size of the file in bytes: whole MiB, at least one and
	// at most 1 TiB. Default 100 MiB.
	MaxSize int64
	// MaxFiles is how many renamed files are kept, the newest: 1 to 10,000. Default
	// 10.
	MaxFiles int
	// MaxAge is how long after its renaming a file is kept: whole days, at most
	// 10,000. Zero, the default: MaxFiles alone decides.
	MaxAge time.Duration
	// Compress says that renamed files are compressed with gzip. Default false.
	Compress bool
}

// AuditStdout has nothing to configure.
type AuditStdout struct{}

// The storage drivers of this version.
const (
	Filesystem = "filesystem"
	InMemory   = "inmemory"
	S3         = "s3" // also s3aws in a file
)

// Storage is one of distribution's storage drivers with its parameters.
type Storage struct {
	// Driver is Filesystem, S3 or InMemory. Default InMemory, which forgets
	// everything when the process ends. With S3 Config.StateDir is required.
	Driver string
	// Parameters are the driver's own; for Filesystem "rootdirectory", an
	// absolute path (a string, required). For S3 those of distribution's driver
	// as they were given, "bucket" and "region" always (see s3.go); "accesskey"
	// and "secretkey", both or neither, are secrets. Never nil.
	Parameters map[string]any
}

// RootDirectory is the directory of Filesystem; empty for other drivers.
func (s Storage) RootDirectory() string {
	if s.Driver != Filesystem {
		return "" // that of S3 is no directory
	}
	root, _ := s.Parameters["rootdirectory"].(string)
	return root
}

// String names the driver only: parameters of some drivers are secrets.
func (s Storage) String() string { return fmt.Sprintf("{%s}", s.Driver) }

// GoString is String.
func (s Storage) GoString() string { return s.String() }

// MarshalText is String, so that JSON and YAML print no parameters either.
func (s Storage) MarshalText() ([]byte, error) { return []byte(s.Driver), nil }

// Values of Registry.Redirects, Registry.Denial, Registry.SignatureTags and
// Notary.Expose.
const (
	RedirectsPass   = "pass"
	RedirectsFollow = "follow"

	DenialNotFound     = "not-found"
	DenialDenied       = "denied"
	DenialStrictMirror = "strict-mirror"

	SignatureTagsHidden = "hidden"
	SignatureTagsPass   = "pass"

	ExposeAuto   = "auto"
	ExposeAlways = "always"
	ExposeNever  = "never"
)

// AnyHost is the entry of Registry.Hosts that stands for every Host header that
// no registry names.
const AnyHost = "*"

// Registry is one registry that Sealgate stands in front of.
type Registry struct {
	// Name is what publishers typed when they signed: host or host:port, in
	// lower case. The GUN of a repository is Name + "/" + repository. Docker
	// Hub is docker.io. Required.
	Name string
	// Hosts are the Host headers that mean this registry: host, host:port, an
	// IP address, or AnyHost (in one registry only); in lower case. An entry
	// without a port stands for every port. An IPv6 address has brackets only
	// where it has a port. Default (also when empty): Name alone.
	Hosts []string
	// MirrorHosts are Host headers (as in Hosts, without AnyHost) on which
	// containerd's ?ns= may choose this registry, by Name or one of Hosts. Several
	// registries may share one, and it may be in Hosts of one of them or of
	// another, which is meant where there is no ns. Default none.
	MirrorHosts []string
	// Upstream is the registry itself: http or https, no user, query or
	// fragment; a path (put before /v2/) has no trailing slash. Required, and nil
	// with Offline.
	Upstream *url.URL
	// UpstreamCAFile is the absolute path of the PEM CAs trusted for Upstream.
	// Empty, the default: the system's.
	UpstreamCAFile string
	// Credentials are those shown to Upstream: Passthrough (default), or
	// Sealgate's own, with which it never challenges a client; with Offline
	// always Anonymous.
	Credentials Credentials
	// Realms are the hosts (host or host:port, in lower case) of token servers
	// that are allowed besides the host of Upstream, or of Notary.URL, itself:
	// Sealgate's own credentials go there. Default (also when empty):
	// auth.docker.io where Name is docker.io and there is an Upstream, else none.
	Realms []string
	// Redirects is what happens to Upstream's redirects: RedirectsPass (default)
	// leaves them to the client; with RedirectsFollow Sealgate follows them to
	// RedirectHosts and no client sees one.
	Redirects string
	// RedirectHosts are the hosts (host or host:port, in lower case) to which
	// Upstream may redirect Sealgate; never back to itself. A name must not
	// resolve to an address of this machine, its link or its cloud's services,
	// unless it is localhost; an address that is listed is its own permission.
	// Default none.
	RedirectHosts []string
	// PassPaths are path prefixes, outside the registry API, below which everything
	// is forwarded to Upstream's host untouched, at the same path, with what
	// credentials the client sends: a registry's pages and API. Each begins with
	// "/", in canonical form; it stands for whole components, or for all that
	// follows where it ends in "/". Trust has no say there. Default none.
	PassPaths []string
	// Push lets clients push and delete, with their own credentials. Default
	// false; true needs Credentials Passthrough and Denial DenialNotFound.
	Push bool
	// Denial is the answer for a tag that is not visible, where that is enforced:
	// DenialNotFound (default); DenialDenied, not with Push; DenialStrictMirror,
	// not with Push and for the registry named docker.io only.
	Denial string
	// SignatureTags is what becomes of tags that hold cosign signatures and the
	// like (sha256-<hex>, alone or with .sig, .att or .sbom), where tags are
	// enforced: SignatureTagsHidden, as any other tag; SignatureTagsPass, the
	// registry's own while nothing runnable is in them. Default
	// SignatureTagsPass where Push is true, else SignatureTagsHidden.
	SignatureTags string
	// Notary is the trust server of this registry. Required where ContentTrust.Mode
	// is Enforced or Permissive, and not with Offline.
	Notary Notary
	// Offline serves what "sealgate bundle load" has brought, and asks nobody: it
	// takes the place of Upstream and Notary and all that is about them, needs a
	// Config.Storage that outlives the process, and enforces trust for all tags. Nil, the
	// default: not offline.
	Offline *Offline
	// Cache keeps what clients read by digest, and serves it to those that may read
	// it, on Config.Storage. Nil, the default: no cache. It needs Redirects
	// RedirectsFollow and Config.StateDir. With Offline there is always one, of what
	// was loaded, and this bounds how long something stays that has been replaced by
	// what was loaded later; nil: for ever.
	Cache *Cache
}

// CredentialsKind is whose credentials a server is shown.
type CredentialsKind string

// The kinds of credentials.
const (
	// Passthrough: the client's own, and the server's challenge goes back
	// untouched. Not for Notary.
	Passthrough CredentialsKind = "passthrough"
	// Anonymous: none.
	Anonymous CredentialsKind = "anonymous"
	// Password: Sealgate's own user name and password.
	Password CredentialsKind = "password"
	// DockerConfig: Sealgate's own, from the docker config.json of its user.
	DockerConfig CredentialsKind = "docker-config"
)

// written is the kind as proxy.yaml has it.
func (k CredentialsKind) written() string {
	if k == Password {
		return "{username: …, password-file: …}"
	}
	return string(k)
}

// Credentials is what a server is shown: one of the words passthrough,
// anonymous and docker-config, or {username, password-file}.
type Credentials struct {
	// Kind is never empty.
	Kind CredentialsKind
	// Username and PasswordFile are set for Password only. The file is an
	// absolute path (see LoadPassword); the password itself is never in the
	// configuration.
	Username, PasswordFile string
}

// Notary is a registry's trust server.
type Notary struct {
	// URL is http or https, no user, query or fragment; a path has no trailing
	// slash. Required where ContentTrust.Mode is Enforced or Permissive; nil
	// where there is no trust server, as with Registry.Offline.
	URL *url.URL
	// CAFile is the absolute path of the PEM CAs trusted for URL. Empty, the
	// default: the system's.
	CAFile string
	// CertFile and KeyFile are the absolute paths of the PEM client certificate
	// shown to URL and its private key: both or, the default, neither.
	CertFile, KeyFile string
	// Credentials are Sealgate's own, the only ones Notary is asked with for
	// refreshes, and never on behalf of a client: any but Passthrough. Default
	// Anonymous.
	Credentials Credentials
	// Expose says when clients may read trust data through Sealgate:
	// ExposeAuto (default: where Notary itself refuses anonymous reads, or to
	// clients that may read the repository), ExposeAlways, ExposeNever.
	Expose string
	// Writes lets clients publish trust data, with their own credentials, which
	// URL has to judge. Default false; true needs the registry's Credentials
	// Passthrough.
	Writes bool
}

// Offline configures serving what was loaded.
type Offline struct {
	// Grace is how far past their expiry the timestamp and the snapshot of a
	// repository may be, which nobody here can sign anew: it bounds the age of
	// what is served. Default 0, of which a timestamp has a minute as always; at
	// most a year.
	Grace time.Duration
}

// Cache configures the content cache of a registry. It can change at run time.
type Cache struct {
	// MaxSize bounds the cache, in bytes: what was not used for longest leaves, at
	// the next sweep. 0, the default: no bound. It needs Config.Storage Filesystem.
	MaxSize int64
	// TTL is how long content is kept after its last use. 0, the default: for ever.
	TTL time.Duration
}

// Mode is what is done about tags that nobody signed.
type Mode string

// The modes.
const (
	// Enforced: they do not exist.
	Enforced Mode = "enforced"
	// Permissive: the registry's own tags and lists are served, with a Warning
	// header; what Enforced would have denied or changed is logged and counted.
	Permissive Mode = "permissive"
	// Disabled: trust is not consulted.
	Disabled Mode = "disabled"
)

// ContentTrust is what is demanded of a tag: the keys of Mirantis Container
// Runtime's block of this name, and Sealgate's own.
type ContentTrust struct {
	// Mode is Enforced, Permissive or Disabled. Required: there is no default,
	// since Mirantis Container Runtime reads its absence as disabled.
	Mode Mode
	// TrustPinning says which roots of trust are accepted. Absent: none, so that no
	// tag is visible without TrustOnFirstUse.
	TrustPinning TrustPinning
	// TrustOnFirstUse accepts the first root seen of a repository that no pin
	// covers. Default false: such a repository has no visible tags.
	TrustOnFirstUse bool
	// AllowExpiredCachedTrustData lets trust data that is cached or kept, never
	// what is fetched, stand past its expiry while there is nothing newer, for
	// MaxStale at most. Default false.
	AllowExpiredCachedTrustData bool
	// Refresh is how long a verified snapshot is used without asking Notary
	// again. Default 60s; more than 0.
	Refresh time.Duration
	// MaxStale is how long a snapshot stands while Notary gives no good answer.
	// Default 24h; 0: not at all, once Refresh has passed.
	MaxStale time.Duration
	// AuthorisationTTL is how long the upstream's yes to a client is
	// remembered. Default 30s; 0: every request is authorised upstream.
	AuthorisationTTL time.Duration
	// Limits bound what is read from Notary before any of it is believed.
	Limits Limits
	// Signers are named key sets for Policy.RequiredSigners. Default none.
	Signers map[string]Signer
	// Policies refine these keys for some repositories (see EffectivePolicies). Default
	// none.
	Policies []Policy
}

// TrustPinning says which roots of trust are accepted, by pattern (see
// MatchPattern): the exact name of a repository, or a wildcard over
// repositories; each begins with the name of a configured registry.
//
// One kind decides for a repository: CertIDs where one of its patterns matches,
// else RootKeys, else CA; within it the best match alone (see Matcher). So a
// wildcard in CertIDs decides before an exact name in RootKeys. As many keys as
// a root demands have to match.
type TrustPinning struct {
	// RootKeys are canonical IDs of root keys: 64 lower-case hexadecimal
	// digits, at least one for each pattern. Default none.
	RootKeys map[string][]string
	// CertIDs are IDs of root certificates as root files list them, which
	// "docker trust inspect" prints for root keys: 64 lower-case hexadecimal
	// digits, at least one for each pattern. A certificate counts while it is
	// valid. Default none.
	CertIDs map[string][]string
	// CA are absolute paths of PEM files with at least one authority (see
	// LoadCAs) to which root certificates have to lead, directly or through
	// others that come with them, all of them valid. Default none.
	CA map[string]string
	// OfficialLibraryImages is always false. The key is Mirantis Container
	// Runtime's; true is an error, since Docker has retired those signatures.
	OfficialLibraryImages bool
}

// Limits is how much is read from Notary before any of it is believed: what has
// more is refused like a forgery, with an alarm. All are
// positive and at most 16 times their default. Sizes are in bytes (in the file:
// 1048576, 64KiB, 1MiB, 1GiB).
type Limits struct {
	// Root, Timestamp, Snapshot and Targets bound one file of that kind; each
	// delegation counts as a targets file. Defaults 1 MiB, 64 KiB, 4 MiB and
	// 8 MiB (about 80,000 tags).
	Root, Timestamp, Snapshot, Targets int64
	// Memory bounds all metadata being verified at once; it is at least the
	// largest of the four above. Default 32 MiB.
	Memory int64
	// Roles bounds the roles of one repository, delegations included. Default 1000.
	Roles int
	// Signatures bounds the signatures on one file, counted before any is
	// checked. Default 64.
	Signatures int
	// Depth bounds the nesting of JSON objects and lists. Default 32.
	Depth int
}

// Signer is who must have signed a tag besides the role whose word counts. One
// field is set.
type Signer struct {
	// Keys are canonical key IDs: one of these keys must have signed a role that
	// names the same digest for the tag. The repository's owner cannot appoint
	// them.
	Keys []string
	// CertFile is the absolute path of PEM certificates, whose keys count as
	// Keys do.
	CertFile string
	// Role is a delegation of the repository, whoever its owner appoints to it:
	// it must name the same digest for the tag.
	Role string
}

// Policy refines ContentTrust for the repositories that Match matches; the most
// specific match decides alone, and what it leaves out comes from ContentTrust.
type Policy struct {
	// Match is a pattern (see MatchPattern) over the repositories of a configured
	// registry. Required, and distinct.
	Match string
	// Mode replaces ContentTrust.Mode for the repositories that match: enforced,
	// permissive or disabled. Empty: not replaced.
	Mode Mode
	// Roles are those whose word counts, in this order. Nil: those of
	// Docker's clients, targets/releases and then targets.
	Roles []string
	// RequiredSigners names those of ContentTrust.Signers who must all have
	// signed the same digest.
	RequiredSigners []string
	// ExemptTags are patterns of tags that never consult trust: a tag, in which
	// "*" stands for any characters. Not every tag.
	ExemptTags []string
}

// Defaults of Config.
const (
	DefaultListen           = "127.0.0.1:8443"
	DefaultDirectory        = "https://acme-v02.api.letsencrypt.org/directory" // Let's Encrypt
	DefaultDrainTimeout     = 30 * time.Second
	DefaultAuditSize        = 100 << 20 // bytes
	DefaultAuditFiles       = 10
	DefaultRefresh          = 60 * time.Second
	DefaultMaxStale         = 24 * time.Hour
	DefaultAuthorisationTTL = 30 * time.Second
)

// DefaultClientLimits are the limits of clients where the file says nothing.
func DefaultClientLimits() ClientLimits {
	return ClientLimits{RequestsPerClient: 1536, HeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MinRate: 512, MaxHeaderBytes: 64 << 10}
}

// DefaultLimits are the limits where the file says nothing.
func DefaultLimits() Limits {
	return Limits{
		Root: 1 << 20, Timestamp: 64 << 10, Snapshot: 4 << 20, Targets: 8 << 20, Memory: 32 << 20,
		Roles: 1000, Signatures: 64, Depth: 32,
	}
}
