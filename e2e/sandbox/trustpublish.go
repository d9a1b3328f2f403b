package sandbox

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/validation"
)

// publication is one upload on its way to becoming the current view. It works
// on a copy, so that a refused upload leaves no trace.
type publication struct {
	repo     *trustRepository
	uploads  map[data.RoleName][]byte
	now      time.Time
	validity expiries

	next view
	root *data.SignedRoot
}

// publish checks uploads against what is published and against each other, in
// the order root, targets and delegations, snapshot, and makes them current
// together with a new timestamp, or changes nothing and says why.
func (r *trustRepository) publish(uploads map[data.RoleName][]byte, now time.Time, valid expiries) (err error) {
	defer func() {
		// The library's parsers run here over a stranger's bytes.
		if cause := recover(); cause != nil {
			err = errJSON
		}
	}()
	p := &publication{repo: r, uploads: uploads, now: now, validity: valid, next: r.current.clone()}
	for _, step := range []func() error{p.takeRoot, p.takeTargets, p.prune, p.takeSnapshot} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := r.signTimestamp(p.next, p.root, now, valid.timestamp); err != nil {
		return err
	}
	r.commit(p.next)
	return nil
}

// takeRoot accepts a new root when its own keys and those of the root before
// it have signed it (TUF 1.0, 5.3.4), and when the server can sign timestamps
// under it.
func (p *publication) takeRoot() error {
	previous := p.repo.root()
	raw, ok := p.uploads[data.CanonicalRootRole]
	if !ok {
		if previous == nil {
			return validation.ErrValidation{Msg: "the first upload must hold a root"}
		}
		p.root = previous
		return nil
	}
	decoded, common, err := decodeSigned(raw)
	if err != nil {
		return err
	}
	// Before the first publication a key may already have been rotated.
	if previous != nil && common.Version != previous.Signed.Version+1 || previous == nil && common.Version > 2 {
		return badRoot(fmt.Errorf("version %d does not follow the current one by one", common.Version))
	}
	root, err := trustpinning.ValidateRoot(previous, decoded, p.repo.gun, trustpinning.TrustPinConfig{})
	if err != nil {
		return badRoot(err)
	}
	if err := p.checkExpiry(common); err != nil {
		return badRoot(err)
	}
	if !p.repo.canSign(root, data.CanonicalTimestampRole) {
		return badRoot(errors.New("the timestamp key is not one of this server's"))
	}
	p.root = root
	p.next[data.CanonicalRootRole] = newMetadataFile(data.CanonicalRootRole, common, raw, p.now)
	return nil
}

// takeTargets accepts targets and delegations, parents before children, and
// makes sure that targets still has the signatures that the root asks for.
func (p *publication) takeTargets() error {
	var roles []data.RoleName
	for role := range p.uploads {
		if role == data.CanonicalTargetsRole || data.IsDelegation(role) {
			roles = append(roles, role)
		}
	}
	sort.Slice(roles, func(i, j int) bool {
		a, b := strings.Count(roles[i].String(), "/"), strings.Count(roles[j].String(), "/")
		return a < b || a == b && roles[i] < roles[j]
	})
	for _, role := range roles {
		file, err := p.checkTargets(role, p.uploads[role])
		if err != nil {
			return err
		}
		p.next[role] = file
	}
	targets, ok := p.next[data.CanonicalTargetsRole]
	if !ok {
		return validation.ErrBadHierarchy{Missing: data.CanonicalTargetsRole.String(), Msg: "the first upload must hold targets"}
	}
	if err := p.verify(data.CanonicalTargetsRole, targets.raw); err != nil {
		return badTargets(err)
	}
	return nil
}

func (p *publication) checkTargets(role data.RoleName, raw []byte) (metadataFile, error) {
	decoded, common, err := decodeSigned(raw)
	if err != nil {
		return metadataFile{}, err
	}
	if _, err := data.TargetsFromSigned(decoded, role); err != nil {
		return metadataFile{}, badTargets(err)
	}
	if err := p.verify(role, raw); err != nil {
		return metadataFile{}, badTargets(err)
	}
	if err := p.checkVersion(role, common, badTargets); err != nil {
		return metadataFile{}, err
	}
	if err := p.checkExpiry(common); err != nil {
		return metadataFile{}, badTargets(err)
	}
	return newMetadataFile(role, common, raw, p.now), nil
}

// prune drops delegations that no parent names any more. A role that comes
// back later begins anew.
func (p *publication) prune() error {
	reachable := map[data.RoleName]bool{}
	if err := p.walk(data.CanonicalTargetsRole, reachable); err != nil {
		return badTargets(err)
	}
	for role := range p.next {
		if !data.IsDelegation(role) || reachable[role] {
			continue
		}
		if _, uploaded := p.uploads[role]; uploaded {
			return badTargets(fmt.Errorf("no role delegates to %s", role))
		}
		delete(p.next, role)
	}
	return nil
}

// walk marks role and everything below it. It ends, since a child's name is
// longer than its parent's.
func (p *publication) walk(role data.RoleName, reachable map[data.RoleName]bool) error {
	reachable[role] = true
	file, ok := p.next[role]
	if !ok {
		return nil
	}
	targets, err := parseTargets(role, file.raw)
	if err != nil {
		return err
	}
	for _, child := range targets.Signed.Delegations.Roles {
		if err := p.walk(child.Name, reachable); err != nil {
			return err
		}
	}
	return nil
}

// takeSnapshot accepts the uploaded snapshot, or makes one where the root
// leaves that to the server.
func (p *publication) takeSnapshot() error {
	role := data.CanonicalSnapshotRole
	raw, ok := p.uploads[role]
	if !ok {
		if !p.repo.canSign(p.root, role) {
			return validation.ErrBadHierarchy{
				Missing: role.String(),
				Msg:     "the upload holds no snapshot and its key is not one of this server's",
			}
		}
		return p.repo.signSnapshot(p.next, p.root, p.now, p.validity.snapshot)
	}
	decoded, common, err := decodeSigned(raw)
	if err != nil {
		return err
	}
	snapshot, err := data.SnapshotFromSigned(decoded)
	if err != nil {
		return badSnapshot(err)
	}
	for _, check := range []func() error{
		func() error { return p.verify(role, raw) },
		func() error { return p.checkListed(snapshot) },
		func() error { return p.checkExpiry(common) },
	} {
		if err := check(); err != nil {
			return badSnapshot(err)
		}
	}
	if err := p.checkVersion(role, common, badSnapshot); err != nil {
		return err
	}
	p.next[role] = newMetadataFile(role, common, raw, p.now)
	return nil
}

// checkListed asks that the snapshot describe exactly the files that will be
// served. Roles that nobody delegates to may stand in it: clients leave them.
func (p *publication) checkListed(snapshot *data.SignedSnapshot) error {
	for role, file := range p.next {
		if serverHeld(role) {
			continue
		}
		meta, ok := snapshot.Signed.Meta[role.String()]
		if !ok {
			return fmt.Errorf("%s is not listed", role)
		}
		if err := data.CheckHashes(file.raw, role.String(), meta.Hashes); err != nil {
			return err
		}
		if meta.Length != int64(len(file.raw)) {
			return fmt.Errorf("%s has %d bytes, not %d", role, len(file.raw), meta.Length)
		}
	}
	return nil
}

// verify checks the signatures over raw against the keys and the threshold that
// root, or the parent, gives to role.
func (p *publication) verify(role data.RoleName, raw []byte) error {
	base, err := p.baseRole(role)
	if err != nil {
		return err
	}
	decoded, _, err := decodeSigned(raw)
	if err != nil {
		return err
	}
	return signed.VerifySignatures(decoded, base)
}

func (p *publication) baseRole(role data.RoleName) (data.BaseRole, error) {
	if !data.IsDelegation(role) {
		return p.root.BuildBaseRole(role)
	}
	parent, ok := p.next[role.Parent()]
	if !ok {
		return data.BaseRole{}, fmt.Errorf("no role delegates to %s", role)
	}
	targets, err := parseTargets(role.Parent(), parent.raw)
	if err != nil {
		return data.BaseRole{}, err
	}
	delegation, err := targets.BuildDelegationRole(role)
	return delegation.BaseRole, err
}

// checkVersion asks for the version after the current one. The first version
// may be any: clients count what they never published.
func (p *publication) checkVersion(role data.RoleName, common data.SignedCommon, wrap func(error) error) error {
	current, ok := p.repo.current[role]
	switch {
	case !ok || common.Version == current.version+1:
		return nil
	case common.Version <= current.version:
		return errOld
	default:
		return wrap(fmt.Errorf("%s: version %d does not follow version %d", role, common.Version, current.version))
	}
}

func (p *publication) checkExpiry(common data.SignedCommon) error {
	if !common.Expires.After(p.now) {
		return fmt.Errorf("expired at %s", common.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}
