package sandbox

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/theupdateframework/notary"
	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
)

// DockersTarget is what a Docker client with content trust pulls for a tag.
type DockersTarget struct {
	Digest string // "sha256:" and lower-case hex
	Length int64  // in bytes, as it was signed
	Role   string // targets/releases or targets
}

// DockersAnswer asks a trust server (https://host:port, no trailing slash) for a
// tag as a Docker client does that has never seen the repository: the Notary
// library's own lookup in the roles that Docker names, then the check of Docker's
// CLI that the role found is one of the two. It is what Sealgate's answers are
// compared with; nothing is served from it.
//
// signed is false where Docker finds no trust data for the tag, or none in these
// roles; an err says that the client could not find out. It believes the root that
// it is shown. It may be called from several goroutines.
func DockersAnswer(trustServerURL string, transport http.RoundTripper, gun, tag string) (target DockersTarget, signed bool, err error) {
	name := data.GUN(gun)
	const releases = data.RoleName("targets/releases")
	remote, err := storage.NewNotaryServerStore(trustServerURL, name, transport)
	if err != nil {
		return DockersTarget{}, false, err
	}
	repo, err := client.NewRepository(name, trustServerURL, remote, storage.NewMemoryStore(nil),
		trustpinning.TrustPinConfig{}, cryptoservice.EmptyService, changelist.NewMemChangelist())
	if err != nil {
		return DockersTarget{}, false, err
	}
	found, err := repo.GetTargetByName(tag, releases, data.CanonicalTargetsRole)
	var noTarget client.ErrNoSuchTarget
	var noRepository client.ErrRepositoryNotExist
	switch {
	case errors.As(err, &noTarget), errors.As(err, &noRepository):
		return DockersTarget{}, false, nil
	case err != nil:
		return DockersTarget{}, false, fmt.Errorf("ask for %s:%s as docker does: %w", gun, tag, err)
	case found.Role != releases && found.Role != data.CanonicalTargetsRole:
		return DockersTarget{}, false, nil
	}
	return DockersTarget{
		Digest: "sha256:" + hex.EncodeToString(found.Hashes[notary.SHA256]),
		Length: found.Length,
		Role:   found.Role.String(),
	}, true, nil
}
