package notary

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cjson "github.com/docker/go/canonical/json"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// maxRootSteps bounds how many rotations one update follows.
const maxRootSteps = 128

// root is a verified root file.
type root struct {
	*rootHead
	raw []byte
	// roles are the keys of every base role; nil where the root was remembered
	// and an update has not yet needed them. See keysOf.
	roles map[string]*roleKeys
	keys  *keyring // of the file, with its certificates
}

// rootHead is what stays in memory of a root: enough to compare it with pins
// and for an update that finds nothing new. The file itself takes several times
// as much, and is read again from the store by an update that needs more.
type rootHead struct {
	verified                    // it expires with the file or its certificates, whichever is first
	hash      [sha256.Size]byte // of the file, as a snapshot names it
	threshold int               // of the keys that sign roots
	timestamp *roleKeys
}

// parseRoot reads the signed part of a root file, checking its structure and
// that root certificates are for gun, but no signature.
func parseRoot(raw, payload []byte, gun string) (*root, error) {
	message := cjson.RawMessage(payload)
	parsed, err := data.RootFromSigned(&data.Signed{Signed: &message})
	if err != nil {
		return nil, err
	}
	r := &root{raw: raw, roles: map[string]*roleKeys{}, keys: newKeyring(parsed.Signed.Keys)}
	for _, name := range data.BaseRoles {
		var usable func(readKey) error
		if name == data.CanonicalRootRole {
			usable = func(k readKey) error { return usableForRoot(k, gun) }
		}
		base := parsed.Signed.Roles[name]
		if r.roles[name.String()], err = newRoleKeys(base.KeyIDs, r.keys, base.Threshold, usable); err != nil {
			return nil, fmt.Errorf("role %s: %w", name, err)
		}
	}
	r.rootHead = &rootHead{
		verified:  verified{version: parsed.Signed.Version, expires: parsed.Signed.Expires, payload: sha256.Sum256(payload)},
		hash:      sha256.Sum256(raw),
		threshold: r.roles["root"].threshold,
		timestamp: r.roles["timestamp"],
	}
	return r, nil
}

// usableForRoot binds a root key to the GUN through its certificate, as
// Notary's clients do; whole components, where they match bare prefixes.
func usableForRoot(k readKey, gun string) error {
	if k.cert == nil {
		return errors.New("root key is not a certificate")
	}
	if k.cert.IsCA {
		return errors.New("root certificate is a certificate authority")
	}
	cn := k.cert.Subject.CommonName
	prefix, wildcard := strings.CutSuffix(cn, "/*")
	if cn == gun || wildcard && strings.HasPrefix(gun, prefix+"/") {
		return nil
	}
	return fmt.Errorf("root certificate is for %q", cn)
}

// readRoot verifies a root file with its own keys and, where it is to follow
// another root, with the root keys of that one.
func (u *update) readRoot(raw []byte, before *roleKeys) (*root, error) {
	env, err := u.source.openEnvelope(raw)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if _, _, err := verify(env, before); err != nil {
			return nil, fmt.Errorf("version after %d: with the keys before: %w", u.root.version, err)
		}
	}
	r, err := parseRoot(raw, env.Signed, u.gun)
	if err != nil {
		return nil, err
	}
	if u.state == nil && len(u.pins) > 0 && !r.hasPinned(u.pins) {
		return nil, errors.New("none of its root keys is pinned") // before signatures cost time
	}
	payload, signers, err := verify(env, r.roles["root"])
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(payload, env.Signed) {
		// What was signed is the canonical form, so that is what counts.
		if r, err = parseRoot(raw, payload, u.gun); err != nil {
			return nil, err
		}
		if _, signers, err = verify(env, r.roles["root"]); err != nil {
			return nil, err
		}
	}
	r.signers = signers
	r.expires = r.standsUntil(u.now)
	return r, nil
}

func (r *root) hasPinned(pins []string) bool {
	return slices.ContainsFunc(r.roles["root"].keys, func(k *key) bool { return slices.Contains(pins, k.canonical) })
}

// standsUntil is the root's expiry, or the moment from which too few of the
// certificates that signed it are valid. A certificate not yet valid (beyond
// a day of clock difference) is no certificate.
func (r *root) standsUntil(now time.Time) time.Time {
	var ends []time.Time
	for _, canonical := range r.signers {
		var latest time.Time // one key may come in several certificates
		for _, k := range r.roles["root"].keys {
			cert := r.keys.read[k.id].cert
			if k.canonical == canonical && now.AddDate(0, 0, 1).After(cert.NotBefore) && cert.NotAfter.After(latest) {
				latest = cert.NotAfter
			}
		}
		ends = append(ends, latest)
	}
	slices.SortFunc(ends, func(a, b time.Time) int { return b.Compare(a) })
	if needed := r.threshold; ends[needed-1].Before(r.expires) {
		return ends[needed-1]
	}
	return r.expires
}

// establishRoot finds the root to verify with: the remembered one, or, for a
// repository never seen, the server's; if the pins or first use accept it.
func (u *update) establishRoot() error {
	establish := u.firstRoot
	if u.state != nil {
		establish = u.rememberedRoot
	}
	if err := establish(); err != nil {
		return err
	}
	if !u.now.Before(u.root.expires) {
		return u.advanceRoot()
	}
	if u.rootPolled || u.memo == nil || u.now.Sub(u.memo.rootPolled) < u.source.opts.RootPoll {
		return nil
	}
	return u.pollRoot()
}

func (u *update) firstRoot() error {
	err := u.file("root.json", u.source.opts.Limits.Root, false, func(raw []byte) (err error) {
		if u.root, err = u.readRoot(raw, nil); err == nil {
			err = u.floors.accept("root", u.root.roles["root"], u.root.verified)
		}
		return u.bad("root", err)
	})
	if errors.Is(err, errNotFound) {
		return u.absent("timestamp.json", u.source.opts.Limits.Timestamp)
	}
	if err != nil {
		return err
	}
	u.anchor = u.root
	if !u.root.satisfies(u.pins) {
		return u.bad("root", fmt.Errorf("signed by %d of the pinned keys where %d are needed", u.root.pinned(u.pins), u.root.threshold))
	}
	return nil
}

// rememberedRoot takes up the newest root of the last update and its anchor,
// from memory where the store still has the same ones, and judges them by the
// pins as they are now.
func (u *update) rememberedRoot() (err error) {
	hash := sha256.Sum256(u.state.Root)
	if u.memo != nil && u.memo.root.hash == hash {
		u.root = &root{rootHead: u.memo.root, raw: u.state.Root}
	} else {
		if u.root, err = u.readRoot(u.state.Root, nil); err == nil {
			err = u.floors.accept("root", u.root.roles["root"], u.root.verified)
		}
		if err != nil {
			return u.bad("stored root", err)
		}
	}
	if u.anchor, err = u.rememberedAnchor(); err != nil {
		return u.bad("stored anchor root", err)
	}
	return u.checkPins()
}

func (u *update) rememberedAnchor() (*root, error) {
	raw := u.state.Anchor
	if raw == nil {
		return u.root, nil
	}
	if u.memo != nil && u.memo.anchor.hash == sha256.Sum256(raw) {
		return &root{rootHead: u.memo.anchor, raw: raw}, nil
	}
	return u.readRoot(raw, nil)
}

// checkPins requires of what is remembered that the anchor matches the pins,
// since the newest root descends from it, or else the newest root itself, which
// is the anchor from then on. Where neither does, the pins may be for a root
// that the server has and that descends from the newest; nothing but the chain
// is believed until its end matches.
func (u *update) checkPins() error {
	if u.anchor.satisfies(u.pins) {
		return nil
	}
	if !u.root.satisfies(u.pins) {
		err := u.pollRoot()
		if err != nil && !errors.Is(err, trustcache.ErrExpired) { // that is judged after the pins
			return err
		}
	}
	if !u.root.satisfies(u.pins) {
		return u.bad("root", errors.New("neither the remembered root nor one that descends from it matches the pins that are configured now: "+
			`correct trust-pinning, or drop what is remembered with "sealgate forget"`))
	}
	u.anchor = u.root
	return nil
}

// satisfies says whether enough of the pinned keys signed the root. No pins
// means first use: whoever asks has checked that it is allowed.
func (r *rootHead) satisfies(pins []string) bool {
	return len(pins) == 0 || r.pinned(pins) >= r.threshold
}

// pinned returns how many of the pinned keys signed the root.
func (r *rootHead) pinned(pins []string) int {
	n := 0
	for _, signer := range r.signers {
		if slices.Contains(pins, signer) {
			n++
		}
	}
	return n
}

// keysOf returns the keys of a base role. An update that finds nothing new
// needs those of the timestamp alone; for any other the remembered root is
// verified once more.
func (u *update) keysOf(role string) (*roleKeys, error) {
	if role == "timestamp" {
		return u.root.timestamp, nil
	}
	if u.root.roles == nil {
		whole, err := u.readRoot(u.root.raw, nil)
		if err != nil {
			return nil, u.bad("stored root", err)
		}
		u.root.roles = whole.roles
	}
	return u.root.roles[role], nil
}

// pollRoot follows the root chain without any sign of a rotation. One may be
// published right after this: it must not use up the one time that a bad
// signature leads there.
func (u *update) pollRoot() error {
	u.rootPolled = true
	err := u.advanceRoot()
	u.rootAdvanced = false
	return err
}

// advanceRoot follows the root chain from the trusted version, one by one,
// until the server has no next (TUF 1.0 section 5.3). Each step is signed by
// the root before it and by itself, so no gap can be jumped.
func (u *update) advanceRoot() error {
	u.rootAdvanced = true
	for range maxRootSteps {
		before, err := u.keysOf("root")
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d.root.json", u.root.version+1)
		err = u.file(name, u.source.opts.Limits.Root, false, func(raw []byte) error {
			next, err := u.readRoot(raw, before)
			if err == nil && next.version != u.root.version+1 {
				err = fmt.Errorf("%s holds version %d", name, next.version)
			}
			if err == nil {
				err = u.floors.accept("root", next.roles["root"], next.verified)
			}
			if err != nil {
				return u.bad("root", err)
			}
			u.root = next
			return nil
		})
		if errors.Is(err, errNotFound) {
			return u.unexpired("root", u.root.expires)
		}
		if err != nil {
			return err
		}
	}
	return u.bad("root", fmt.Errorf("more than %d rotations to follow", maxRootSteps))
}

// absent is called when the server has no root or no timestamp and names the
// other of the two: only when both are missing there is no trust data.
func (u *update) absent(other string, limit int64) error {
	err := u.file(other, limit, false, func([]byte) error { return nil })
	switch {
	case err == nil:
		return u.unreachable("it has %s but not all of the trust data", other)
	case !errors.Is(err, errNotFound):
		return err
	case u.state != nil:
		return fmt.Errorf("%w: the trust server no longer knows %s", trustcache.ErrVanished, u.gun)
	}
	return fmt.Errorf("%w for %s", trustcache.ErrNoTrustData, u.gun)
}
