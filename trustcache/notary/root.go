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

// root is a root file: the keys of every base role.
type root struct {
	raw     []byte
	hash    [sha256.Size]byte // of raw, as a snapshot names it
	version int
	expires time.Time // the file's or its certificates', whichever is first
	signers []string
	payload []byte
	roles   map[string]*roleKeys
}

func (r *root) role(name string) *roleKeys { return r.roles[name] }

func (r *root) verified() verified {
	return verified{common: common{Version: r.version, Expires: r.expires}, signers: r.signers}
}

// parseRoot reads the signed part of a root file, checking its structure and
// that root certificates are for gun, but no signature.
func parseRoot(raw, payload []byte, gun string) (*root, error) {
	message := cjson.RawMessage(payload)
	parsed, err := data.RootFromSigned(&data.Signed{Signed: &message})
	if err != nil {
		return nil, err
	}
	r := &root{
		raw:     raw,
		hash:    sha256.Sum256(raw),
		version: parsed.Signed.Version,
		expires: parsed.Signed.Expires,
		payload: payload,
		roles:   map[string]*roleKeys{},
	}
	keys := newKeyring(parsed.Signed.Keys)
	for _, name := range data.BaseRoles {
		var usable func(*key) error
		if name == data.CanonicalRootRole {
			usable = func(k *key) error { return usableForRoot(k, gun) }
		}
		base := parsed.Signed.Roles[name]
		if r.roles[name.String()], err = newRoleKeys(base.KeyIDs, keys, base.Threshold, usable); err != nil {
			return nil, fmt.Errorf("role %s: %w", name, err)
		}
	}
	return r, nil
}

// usableForRoot binds a root key to the GUN through its certificate, as
// Notary's clients do; whole components, where they match bare prefixes.
func usableForRoot(k *key, gun string) error {
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

// readRoot verifies a root file with its own keys and, where there is one,
// with those of the root before it.
func (u *update) readRoot(raw []byte, before *root) (*root, error) {
	env, err := u.source.openEnvelope(raw)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if _, _, err := verify(env, before.role("root")); err != nil {
			return nil, fmt.Errorf("version after %d: with the keys before: %w", before.version, err)
		}
	}
	r, err := parseRoot(raw, env.Signed, u.gun)
	if err != nil {
		return nil, err
	}
	if u.state == nil && len(u.pins) > 0 && !r.hasPinned(u.pins) {
		return nil, errors.New("none of its root keys is pinned") // before signatures cost time
	}
	payload, signers, err := verify(env, r.role("root"))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(payload, env.Signed) {
		// What was signed is the canonical form, so that is what counts.
		if r, err = parseRoot(raw, payload, u.gun); err != nil {
			return nil, err
		}
		if _, signers, err = verify(env, r.role("root")); err != nil {
			return nil, err
		}
	}
	r.signers = signers
	r.expires = r.standsUntil(u.now)
	return r, nil
}

func (r *root) hasPinned(pins []string) bool {
	for _, k := range r.role("root").keys {
		if slices.Contains(pins, k.canonical) {
			return true
		}
	}
	return false
}

// standsUntil is the root's expiry, or the moment from which too few of the
// certificates that signed it are valid. A certificate not yet valid (beyond
// a day of clock difference) is no certificate.
func (r *root) standsUntil(now time.Time) time.Time {
	var ends []time.Time
	for _, canonical := range r.signers {
		var latest time.Time // one key may come in several certificates
		for _, k := range r.role("root").keys {
			if k.canonical == canonical && now.AddDate(0, 0, 1).After(k.cert.NotBefore) && k.cert.NotAfter.After(latest) {
				latest = k.cert.NotAfter
			}
		}
		ends = append(ends, latest)
	}
	slices.SortFunc(ends, func(a, b time.Time) int { return b.Compare(a) })
	if needed := r.role("root").threshold; ends[needed-1].Before(r.expires) {
		return ends[needed-1]
	}
	return r.expires
}

// establishRoot finds the root to verify with: the one of the last update,
// the stored one, or, for a repository never seen, the server's, if a pin or
// first use accepts it.
func (u *update) establishRoot() error {
	var err error
	switch {
	case u.memo != nil:
		u.root = u.memo.root
	case u.state != nil:
		if u.root, err = u.readRoot(u.state.Root, nil); err != nil {
			return u.bad("stored root", err)
		}
	default:
		if err := u.firstRoot(); err != nil {
			return err
		}
	}
	if err := u.floors.accept("root", u.root.role("root"), u.root.verified(), u.root.payload); err != nil {
		return u.bad("root", err)
	}
	if !u.now.Before(u.root.expires) {
		return u.advanceRoot()
	}
	if u.memo == nil || u.now.Sub(u.memo.rootPolled) < u.source.opts.RootPoll {
		return nil
	}
	// A rotation may be published right after this: it must not use up the one
	// time that a bad signature leads here.
	u.rootPolled = true
	err = u.advanceRoot()
	u.rootAdvanced = false
	return err
}

func (u *update) firstRoot() error {
	err := u.file("root.json", u.source.opts.Limits.Root, false, func(raw []byte) (err error) {
		u.root, err = u.readRoot(raw, nil)
		return u.bad("root", err)
	})
	if errors.Is(err, errNotFound) {
		return u.absent("timestamp.json", u.source.opts.Limits.Timestamp)
	}
	if err != nil {
		return err
	}
	return u.checkPins()
}

// checkPins requires that enough of the pinned keys signed the first root.
func (u *update) checkPins() error {
	if len(u.pins) == 0 {
		return nil // first use: begin has checked that it is allowed
	}
	pinned := 0
	for _, signer := range u.root.signers {
		if slices.Contains(u.pins, signer) {
			pinned++
		}
	}
	if need := u.root.role("root").threshold; pinned < need {
		return u.bad("root", fmt.Errorf("signed by %d of the pinned keys where %d are needed", pinned, need))
	}
	return nil
}

// advanceRoot follows the root chain from the trusted version, one by one,
// until the server has no next (TUF 1.0 section 5.3). Each step is signed by
// the root before it and by itself, so no gap can be jumped.
func (u *update) advanceRoot() error {
	u.rootAdvanced = true
	for range maxRootSteps {
		name := fmt.Sprintf("%d.root.json", u.root.version+1)
		err := u.file(name, u.source.opts.Limits.Root, false, func(raw []byte) error {
			next, err := u.readRoot(raw, u.root)
			if err == nil && next.version != u.root.version+1 {
				err = fmt.Errorf("%s holds version %d", name, next.version)
			}
			if err == nil {
				err = u.floors.accept("root", next.role("root"), next.verified(), next.payload)
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
