package notary

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
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
	if slices.ContainsFunc(k.above, func(c *x509.Certificate) bool { return !c.IsCA }) {
		return errors.New("root certificate comes with another that is no certificate authority")
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
	if u.state == nil && before == nil && !u.pins.couldAccept(r) {
		return nil, fmt.Errorf("it has nothing that trust-pinning.%s names", u.pins.Kind) // before signatures cost time
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

// standsUntil is the root's expiry, or the moment from which too few of the
// certificates that signed it are valid.
func (r *root) standsUntil(now time.Time) time.Time {
	end := untilFewerThan(r.threshold, r.signers, func(signer string) time.Time {
		return r.latest(signer, now, func(k readKey) time.Time { return k.cert.NotAfter })
	})
	if end.Before(r.expires) {
		return end
	}
	return r.expires
}

// latest is the latest moment that until names of the certificates that a
// signer has: one key may come in several. A certificate not yet valid (beyond
// a day of clock difference) is no certificate.
func (r *root) latest(signer string, now time.Time, until func(readKey) time.Time) time.Time {
	var latest time.Time
	for _, k := range r.roles["root"].keys {
		read := r.keys.read[k.id]
		if k.canonical != signer || !now.AddDate(0, 0, 1).After(read.cert.NotBefore) {
			continue
		}
		if end := until(read); end.After(latest) {
			latest = end
		}
	}
	return latest
}

// untilFewerThan is the moment from which fewer than needed of the signers
// count, where until says of each how long it does.
func untilFewerThan(needed int, signers []string, until func(signer string) time.Time) time.Time {
	ends := make([]time.Time, 0, len(signers))
	for _, signer := range signers {
		ends = append(ends, until(signer))
	}
	slices.SortFunc(ends, func(a, b time.Time) int { return b.Compare(a) })
	return ends[needed-1]
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
	accepted, err := u.accepted(u.root)
	if err != nil || accepted {
		return err
	}
	return u.unaccepted(fmt.Errorf("not signed by enough of what trust-pinning.%s accepts: %d needed", u.pins.Kind, u.root.threshold))
}

// rememberedRoot takes up the newest root of the last update and its anchor,
// and judges them by the pins as they are now.
func (u *update) rememberedRoot() error {
	if err := u.recall(); err != nil {
		return err
	}
	return u.checkPins()
}

// recall takes both from memory where the store still has the same ones.
func (u *update) recall() (err error) {
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
	if u.anchor, err = u.recallAnchor(); err != nil {
		return u.bad("stored anchor root", err)
	}
	return nil
}

func (u *update) recallAnchor() (*root, error) {
	raw := u.state.Anchor
	if raw == nil {
		return u.root, nil
	}
	if u.memo != nil && u.memo.anchor.hash == sha256.Sum256(raw) {
		return &root{rootHead: u.memo.anchor, raw: raw}, nil
	}
	return u.readRoot(raw, nil)
}

// checkPins requires of what is remembered that the pins accept the anchor,
// since the newest root descends from it, or else the newest root itself, which
// is the anchor from then on. Where they accept neither, they may be for a root
// that the server has and that descends from the newest; nothing but the chain
// is believed until its end is accepted.
func (u *update) checkPins() error {
	if accepted, err := u.accepted(u.anchor); accepted || err != nil {
		return err
	}
	accepted, err := u.accepted(u.root)
	if err != nil {
		return err
	}
	if !accepted {
		err := u.pollRoot()
		if err != nil && !errors.Is(err, trustcache.ErrExpired) { // that is judged after the pins
			return err
		}
		if accepted, err = u.accepted(u.root); err != nil {
			return err
		}
	}
	if !accepted {
		return u.unaccepted(fmt.Errorf("neither the remembered root nor one that descends from it matches the pins that are configured now: "+
			`correct trust-pinning.%s, or drop what is remembered with "sealgate forget"`, u.pins.Kind))
	}
	u.anchor = u.root
	return nil
}

// accepted says whether the pins as they are now accept the root.
func (u *update) accepted(r *root) (bool, error) {
	if u.memo != nil && r.rootHead == u.memo.anchor && u.memo.vouched.holds(u.pins, u.now) {
		u.vouched = vouched{u.pins, u.memo.vouched.until} // those of today, so that nothing keeps older ones
		return true, nil
	}
	if u.pins.Kind == CertIDs || u.pins.Kind == CA {
		if err := u.whole(r); err != nil {
			return false, err
		}
	}
	until := u.pins.accept(r, u.now)
	if !u.now.Before(until) {
		if until.After(u.lapsed) {
			u.lapsed = until
		}
		return false, nil
	}
	u.vouched = vouched{u.pins, until}
	return true, nil
}

// unaccepted is the error for roots that the pins do not accept, err unless it
// is the age of a certificate.
func (u *update) unaccepted(err error) error {
	if u.lapsed.IsZero() {
		return u.bad("root", err)
	}
	return fmt.Errorf("%w: the certificate by which trust-pinning.%s accepts the root of %s expired at %s: renew it, or pin what has replaced it",
		trustcache.ErrExpired, u.pins.Kind, u.gun, u.lapsed.UTC().Format(time.RFC3339))
}

// keysOf returns the keys of a base role. An update that finds nothing new
// needs those of the timestamp alone; for any other the remembered root is
// verified once more.
func (u *update) keysOf(role string) (*roleKeys, error) {
	if role == "timestamp" {
		return u.root.timestamp, nil
	}
	if err := u.whole(u.root); err != nil {
		return nil, err
	}
	return u.root.roles[role], nil
}

// whole reads what is not kept of a remembered root: keys and certificates.
func (u *update) whole(r *root) error {
	if r.roles != nil {
		return nil
	}
	read, err := u.readRoot(r.raw, nil)
	if err != nil {
		return u.bad("stored root", err)
	}
	r.roles, r.keys = read.roles, read.keys
	return nil
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
