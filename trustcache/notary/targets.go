package notary

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// delegation is a role as its parent appoints it.
type delegation struct {
	name  string
	keys  *roleKeys
	err   error    // why keys is nil
	paths prefixes // of the target names it may sign, parents' applied
}

// holds says whether this canonical key ID is one of the role's.
func (d *delegation) holds(id string) bool {
	return d.keys != nil && slices.ContainsFunc(d.keys.keys, func(k *key) bool { return k.canonical == id })
}

// targetsRole is a verified targets or delegation file, as it is kept for the
// next update.
type targetsRole struct {
	verified
	name     string
	keys     [sha256.Size]byte // the set that it was verified with
	paths    prefixes
	hash     [sha256.Size]byte
	entries  []entry
	children []delegation
}

// signedBy says whether the key with this canonical ID signed the role.
func (r *targetsRole) signedBy(key string) bool { return slices.Contains(r.signers, key) }

func (r *targetsRole) allows(tag string) bool { return r.paths.cover(tag) }

// entry is one signed tag.
type entry struct {
	tag    string
	digest trustcache.Digest
	length int64 // noDigest where it has no sha256: eight bytes less a tag
}

const noDigest = -1

func (e *entry) target(role string, signers []string) trustcache.Target {
	if e.length == noDigest {
		return trustcache.Target{Tag: e.tag, NoDigest: true, Role: role, Signers: signers}
	}
	return trustcache.Target{Tag: e.tag, Digest: e.digest, Length: e.length, Role: role, Signers: signers}
}

// namersTimeout bounds the time for all roles that only name signers.
const namersTimeout = 5 * time.Second

// readRoles walks the delegations breadth first, as Notary's clients do, but
// those that decide before the others, which must not use up their time; it
// leaves in m the roles that were verified. Any failure of a role that decides
// fails the update; one that only names signers is noted and left out.
func (u *update) readRoles(snap *snapshotFile, m *memo) error {
	keys, err := u.keysOf(targetsName)
	if err != nil {
		return err
	}
	deciding := []delegation{{name: targetsName, keys: keys, paths: prefixes{""}}}
	var naming []delegation
	left := u.source.opts.Limits.Memory // for all files of the repository together
	read := func(u *update, d delegation) error {
		if left -= snap.meta[d.name].Length; left < 0 {
			return u.bad(d.name, fmt.Errorf("with it the repository's files are larger than %d bytes", u.source.opts.Limits.Memory))
		}
		role, err := u.readRole(snap, d)
		if err != nil || role == nil {
			return err
		}
		if n := len(m.roles) + len(deciding) + len(naming) + len(role.children); n > u.source.opts.Limits.Roles {
			return u.bad(d.name, fmt.Errorf("with it there are more than %d delegations", u.source.opts.Limits.Roles))
		}
		m.roles = append(m.roles, role)
		for _, child := range role.children {
			if u.policy.decides(child.name, child.holds) {
				deciding = append(deciding, child)
			} else {
				naming = append(naming, child)
			}
		}
		return nil
	}
	decide := func() error {
		for ; len(deciding) > 0; deciding = deciding[1:] {
			if err := read(u, deciding[0]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := decide(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(u.ctx, namersTimeout)
	defer cancel()
	named := *u
	named.ctx = ctx
	for ; len(naming) > 0; naming = naming[1:] {
		if err := read(&named, naming[0]); err != nil {
			m.notes = append(m.notes, trustcache.Evidence{Role: naming[0].name, Note: err.Error()})
			m.complete = m.complete && !errors.Is(err, trustcache.ErrUnreachable)
		}
		if err := decide(); err != nil { // a required signer's key, appointed there
			return err
		}
	}
	return nil
}

// readRole returns the verified role, from the last update where neither its
// file nor its keys changed. A role that was never published is nil: the state
// between `signer add` and the first `sign`.
func (u *update) readRole(snap *snapshotFile, d delegation) (*targetsRole, error) {
	meta, listed := snap.meta[d.name]
	if !listed {
		if d.name == targetsName || u.floors.seen(d.name) {
			return nil, u.bad(d.name, errors.New("the snapshot no longer lists it"))
		}
		return nil, nil
	}
	if d.err != nil {
		return nil, u.bad(d.name, d.err)
	}
	ref, err := newFileRef(meta)
	if err != nil {
		return nil, u.bad(d.name, err)
	}
	role := u.remembered(d, ref)
	if role != nil {
		// Another source may have accepted a newer one since.
		err = u.bad(d.name, u.floors.accept(d.name, d.keys, role.verified))
	} else {
		role, err = u.fetchRole(d, ref)
	}
	if err != nil {
		return nil, err
	}
	return role, u.unexpired(d.name, role.expires)
}

func (u *update) remembered(d delegation, ref fileRef) *targetsRole {
	if u.memo == nil {
		return nil
	}
	for _, r := range u.memo.roles {
		if r.name == d.name && r.hash == ref.hash && r.keys == d.keys.set && slices.Equal(r.paths, d.paths) {
			return r
		}
	}
	return nil
}

func (u *update) fetchRole(d delegation, ref fileRef) (*targetsRole, error) {
	role := &targetsRole{name: d.name, keys: d.keys.set, paths: d.paths, hash: ref.hash}
	err := u.fetchRef(d.name, ref, u.source.opts.Limits.Targets, func(raw []byte) error {
		payload, head, err := u.open(raw, "Targets", d.keys)
		if err != nil {
			return err
		}
		role.verified = head
		if err := role.parse(payload, u.source.opts.Limits.Roles); err != nil {
			return err
		}
		return u.floors.accept(d.name, d.keys, role.verified)
	})
	return role, u.bad(d.name, err)
}

// parse reads a verified payload of at most that many delegations. Target
// names that are no tags are left out: nobody can ask for them.
func (r *targetsRole) parse(payload []byte, delegations int) error {
	var body struct {
		Targets map[string]struct {
			Length int64
			Hashes map[string][]byte
		}
		Delegations struct {
			Keys  data.Keys
			Roles []*data.Role
		}
	}
	if err := json.Unmarshal(payload, &body); err != nil {
		return err
	}
	r.entries = make([]entry, 0, len(body.Targets))
	for tag, t := range body.Targets {
		if !isTag(tag) {
			continue
		}
		e := entry{tag: tag, length: noDigest}
		if sum := t.Hashes["sha256"]; len(sum) == sha256.Size {
			e.digest, e.length = trustcache.Digest(sum), max(t.Length, 0)
		}
		r.entries = append(r.entries, e)
	}
	r.entries = exact(r.entries)
	slices.SortFunc(r.entries, func(a, b entry) int { return strings.Compare(a.tag, b.tag) })
	if n := len(body.Delegations.Roles); n > delegations {
		return fmt.Errorf("%d delegations where %d are the most", n, delegations)
	}
	keys := newKeyring(body.Delegations.Keys)
	r.children = make([]delegation, 0, len(body.Delegations.Roles))
	for _, child := range body.Delegations.Roles {
		if err := r.appoint(child, keys); err != nil {
			return err
		}
	}
	return nil
}

// exact returns list without room for more, since it is kept.
func exact[E any](list []E) []E {
	if len(list) == cap(list) {
		return list
	}
	return append(make([]E, 0, len(list)), list...)
}

// appoint adds a child with its paths cut to this role's own.
func (r *targetsRole) appoint(child *data.Role, keys *keyring) error {
	if child == nil || !data.IsDelegation(child.Name) || path.Dir(child.Name.String()) != r.name {
		return errors.New("it delegates to a role that is not its child")
	}
	d := delegation{name: child.Name.String(), paths: r.paths.restrict(child.Paths)}
	if slices.ContainsFunc(r.children, func(c delegation) bool { return c.name == d.name }) {
		return fmt.Errorf("it delegates to %s twice", d.name)
	}
	d.keys, d.err = newRoleKeys(child.KeyIDs, keys, child.Threshold, nil)
	r.children = append(r.children, d)
	return nil
}

// isTag checks the tag grammar of the OCI distribution-spec v1.1.
func isTag(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return true
}
