package sandbox

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"sync"
	"time"

	"github.com/theupdateframework/notary"
	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/passphrase"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustmanager"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"
)

// publisherPassphrase encrypts the keys of every publisher. It protects
// nothing and is not meant to.
const publisherPassphrase = "sandbox-passphrase"

// delegationLifetime is how long the certificate of a delegation key is valid.
const delegationLifetime = 10 * notary.Year

// Publisher signs tags and publishes them at once, with the Notary client
// library. It keeps private keys but no metadata: every call starts from what
// the trust server says, believing the root it is shown. Its methods may be
// called from several goroutines and run one at a time.
//
// The library logs through logrus's global logger.
type Publisher struct {
	url       string
	transport http.RoundTripper
	keys      signed.CryptoService

	mu      sync.Mutex
	rootKey string // canonical ID; empty until the first Init
}

// NewPublisher returns a publisher for the trust server at trustServerURL
// (https://host:port, no trailing slash) whose certificate must come from pool
// (nil means the system's). Private keys are kept in dir, which is made when
// missing; a publisher with the same dir later has the same keys. An empty dir
// keeps them in memory.
func NewPublisher(trustServerURL string, pool *x509.CertPool, dir string) (*Publisher, error) {
	retriever := passphrase.ConstantRetriever(publisherPassphrase)
	store := trustmanager.NewKeyMemoryStore(retriever)
	if dir != "" {
		var err error
		if store, err = trustmanager.NewKeyFileStore(dir, retriever); err != nil {
			return nil, fmt.Errorf("open the key store %q: %w", dir, err)
		}
	}
	return &Publisher{
		url:       trustServerURL,
		transport: newTransport(pool),
		keys:      cryptoservice.NewCryptoService(store),
	}, nil
}

// Init publishes a new repository without tags, whose snapshots the server
// signs, as Docker does. It returns the canonical ID of the root key, the form
// that trust-pinning.root-keys takes; all repositories of one publisher share
// that key. A gun that already has trust data is an error.
func (p *Publisher) Init(gun string) (rootKeyID string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, err := p.rootKeyID()
	if err != nil {
		return "", fmt.Errorf("initialise %q: %w", gun, err)
	}
	repo, err := p.repository(gun)
	if err != nil {
		return "", fmt.Errorf("initialise %q: %w", gun, err)
	}
	var missing client.ErrRepositoryNotExist
	if _, err := repo.ListRoles(); err == nil {
		return "", fmt.Errorf("initialise %q: it already has trust data", gun)
	} else if !errors.As(err, &missing) {
		return "", fmt.Errorf("initialise %q: %w", gun, err)
	}
	if err := repo.Initialize([]string{id}, data.CanonicalSnapshotRole); err != nil {
		return "", fmt.Errorf("initialise %q: %w", gun, err)
	}
	if err := repo.Publish(); err != nil {
		return "", fmt.Errorf("initialise %q: %w", gun, err)
	}
	return id, nil
}

// Sign signs tag for the manifest whose sha256 is digestHex (64 hex digits, no
// "sha256:") and whose size is size bytes, in each of roles; no role means
// "targets". The delegations among them must exist.
func (p *Publisher) Sign(gun, tag string, digestHex string, size int64, roles ...string) error {
	sum, err := hex.DecodeString(digestHex)
	if err != nil || len(sum) != notary.SHA256HexSize/2 {
		return fmt.Errorf("sign %s:%s: expected a sha256 in 64 hex digits, have %q", gun, tag, digestHex)
	}
	target := &client.Target{Name: tag, Hashes: data.Hashes{notary.SHA256: sum}, Length: size}
	return p.publish("sign "+gun+":"+tag, gun, func(repo client.Repository) error {
		return repo.AddTarget(target, data.NewRoleList(roles)...)
	})
}

// Remove takes tag out of each of roles; no role means "targets". A tag that is
// not there is no error.
func (p *Publisher) Remove(gun, tag string, roles ...string) error {
	return p.publish("remove "+gun+":"+tag, gun, func(repo client.Repository) error {
		return repo.RemoveTarget(tag, data.NewRoleList(roles)...)
	})
}

// AddDelegation makes a key and a certificate for role ("targets/releases",
// say), keeps the key for Sign, and delegates to it the tags that begin with
// one of paths; no path means every tag. A role that exists gets one more key.
func (p *Publisher) AddDelegation(gun, role string, paths ...string) error {
	if len(paths) == 0 {
		paths = []string{""}
	}
	what := "delegate " + role + " of " + gun
	return p.publish(what, gun, func(repo client.Repository) error {
		key, err := p.delegationKey(gun, role)
		if err != nil {
			return err
		}
		return repo.AddDelegation(data.RoleName(role), data.KeyList{key}, paths)
	})
}

// RotateKey replaces the key of role (root, targets, snapshot or timestamp) by
// a new one, held by the trust server when serverManaged: which timestamp must
// be, snapshot can be, and the others cannot.
func (p *Publisher) RotateKey(gun, role string, serverManaged bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	repo, err := p.repository(gun)
	if err == nil {
		err = repo.RotateKey(data.RoleName(role), serverManaged, nil)
	}
	if err != nil {
		return fmt.Errorf("rotate the %s key of %q: %w", role, gun, err)
	}
	return nil
}

// publish stages changes and publishes them. It refuses to bring a repository
// into being, which the library would do with keys of its own choice.
func (p *Publisher) publish(what, gun string, stage func(client.Repository) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	repo, err := p.repository(gun)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := repo.ListRoles(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := stage(repo); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := repo.Publish(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// repository opens gun with an empty cache and nothing staged.
func (p *Publisher) repository(gun string) (client.Repository, error) {
	name := data.GUN(gun)
	remote, err := storage.NewNotaryServerStore(p.url, name, p.transport)
	if err != nil {
		return nil, err
	}
	cache := storage.NewMemoryStore(nil)
	return client.NewRepository(name, p.url, remote, cache, trustpinning.TrustPinConfig{}, p.keys, changelist.NewMemChangelist())
}

// rootKeyID returns the root key that new repositories get: the one of the last
// Init, else one found in the key store, else a new one.
func (p *Publisher) rootKeyID() (string, error) {
	if p.rootKey != "" {
		return p.rootKey, nil
	}
	known := p.keys.ListKeys(data.CanonicalRootRole)
	if len(known) > 0 {
		sort.Strings(known)
		p.rootKey = known[0]
		return p.rootKey, nil
	}
	key, err := p.keys.Create(data.CanonicalRootRole, "", data.ECDSAKey)
	if err != nil {
		return "", fmt.Errorf("make a root key: %w", err)
	}
	p.rootKey = key.ID()
	return p.rootKey, nil
}

func (p *Publisher) delegationKey(gun, role string) (data.PublicKey, error) {
	private, err := utils.GenerateECDSAKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	now := time.Now()
	cert, err := cryptoservice.GenerateCertificate(private, data.GUN(gun), now.Add(-clockSkew), now.Add(delegationLifetime))
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	public := utils.CertToKey(cert)
	if public == nil {
		return nil, errors.New("make a certificate: its key is of a kind that Notary does not know")
	}
	if err := p.keys.AddKey(data.RoleName(role), data.GUN(gun), private); err != nil {
		return nil, fmt.Errorf("keep the key: %w", err)
	}
	return public, nil
}
