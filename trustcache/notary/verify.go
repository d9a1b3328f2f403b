package notary

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cjson "github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"
)

// key is a public key reduced to one reading. The library reads a key that is
// a certificate in two ways, which a crafted PEM bundle can make differ: the
// key ID comes from the first block that parses as a certificate, the
// signature check from the first block of any type. Here a certificate is
// parsed once, and both the ID and the check come from the bare key in it. The
// certificate itself stays behind in the keyring: it is several times as large,
// and keys are kept for the next update.
type key struct {
	id        string // as metadata lists it
	canonical string // ID of the bare public key
	bare      data.PublicKey
}

// roleKeys are the keys of one role and how many of them have to sign.
type roleKeys struct {
	keys      []*key // sorted by listed ID; those that cannot be used are left out
	threshold int
	set       [sha256.Size]byte // identifies keys and threshold, whatever their order
}

// newRoleKeys reduces the keys of a role. Keys that cannot be used do not
// count towards the threshold; they are no error, since Notary's clients skip
// them too. usable may turn down keys; nil means none.
func newRoleKeys(ids []string, all *keyring, threshold int, usable func(readKey) error) (*roleKeys, error) {
	if threshold < 1 {
		return nil, fmt.Errorf("threshold %d", threshold)
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(ids)))
	r := &roleKeys{keys: make([]*key, 0, len(sorted)), threshold: threshold}
	canonical := make([]string, 0, len(sorted))
	var why error
	for _, id := range sorted {
		got, err := all.key(id)
		if err == nil && usable != nil {
			err = usable(got)
		}
		if err != nil {
			why = fmt.Errorf("key %.12s: %w", id, err)
			continue
		}
		r.keys = append(r.keys, got.key)
		canonical = append(canonical, got.key.canonical)
	}
	if len(r.keys) == 0 && why != nil {
		return nil, fmt.Errorf("no usable key: %w", why)
	}
	slices.Sort(canonical)
	r.set = sha256.Sum256([]byte(fmt.Sprint(threshold, slices.Compact(canonical))))
	return r, nil
}

// key returns the key that is listed under id, nil where none is.
func (r *roleKeys) key(id string) *key {
	i, found := slices.BinarySearchFunc(r.keys, id, func(k *key, id string) int { return strings.Compare(k.id, id) })
	if !found {
		return nil
	}
	return r.keys[i]
}

// satisfiedBy says whether these canonical key IDs are enough of the role's.
func (r *roleKeys) satisfiedBy(signers []string) bool {
	n := 0
	for _, id := range signers {
		if slices.ContainsFunc(r.keys, func(k *key) bool { return k.canonical == id }) {
			n++
		}
	}
	return n >= r.threshold
}

// keyring reads each key of a file once, however many roles name it: a large
// certificate named thousands of times would take hours.
type keyring struct {
	listed data.Keys
	read   map[string]readKey
}

type readKey struct {
	key   *key
	cert  *x509.Certificate   // nil where the key is not a certificate
	above []*x509.Certificate // what came with cert, to lead from it to a CA
	err   error
}

func newKeyring(listed data.Keys) *keyring {
	return &keyring{listed: listed, read: map[string]readKey{}}
}

func (r *keyring) key(id string) (readKey, error) {
	got, ok := r.read[id]
	if !ok {
		got = newKey(id, r.listed[id])
		r.read[id] = got
	}
	return got, got.err
}

func newKey(id string, pub data.PublicKey) (read readKey) {
	if pub == nil {
		return readKey{err: errors.New("not among the keys")}
	}
	if pub.ID() != id {
		return readKey{err: errors.New("listed under an ID that is not its own")}
	}
	k, err := &key{id: id, bare: pub}, error(nil)
	switch pub.Algorithm() {
	case data.ECDSAx509Key, data.RSAx509Key:
		if read.cert, read.above, err = certificates(pub.Public()); err == nil {
			k.bare, err = bareKey(read.cert.PublicKey)
		}
	case data.ECDSAKey, data.RSAKey:
		var parsed any
		if parsed, err = x509.ParsePKIXPublicKey(pub.Public()); err == nil {
			// Encoding it anew gives one key one ID, however it was encoded.
			k.bare, err = bareKey(parsed)
		}
	case data.ED25519Key:
	default:
		err = fmt.Errorf("unknown key type %.20q", pub.Algorithm())
	}
	if err != nil {
		return readKey{err: err}
	}
	if k.canonical = k.bare.ID(); k.canonical == k.id {
		k.id = k.canonical // one string to keep instead of two
	}
	read.key = k
	return read
}

// certificates parses a PEM bundle strictly: certificates and nothing else, the
// leaf first.
func certificates(bundle []byte) (leaf *x509.Certificate, above []*x509.Certificate, err error) {
	for rest := bundle; len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			return nil, nil, errors.New("certificate bundle holds something else")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, err
		}
		if leaf == nil {
			leaf = cert
		} else {
			above = append(above, cert)
		}
	}
	if leaf == nil {
		return nil, nil, errors.New("no certificate")
	}
	return leaf, above, utils.ValidateCertificate(leaf, false)
}

// maxRSABits bounds the time that one signature check can take: with a key of
// a million bits, which fits into a root file, it is many minutes.
const maxRSABits = 8192

func tooLong(pub any) error {
	if k, ok := pub.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
		return fmt.Errorf("RSA key of %d bits where %d are the most", k.N.BitLen(), maxRSABits)
	}
	return nil
}

func bareKey(pub any) (data.PublicKey, error) {
	if err := tooLong(pub); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	switch pub.(type) {
	case *ecdsa.PublicKey:
		return data.NewPublicKey(data.ECDSAKey, der), nil
	case *rsa.PublicKey:
		return data.NewPublicKey(data.RSAKey, der), nil
	}
	return nil, fmt.Errorf("unsupported public key %T", pub)
}

// verify returns the exact bytes that enough of the role's keys signed, and
// the canonical IDs of those keys. Publishers sign canonical JSON, and nearly
// always the file holds it as signed, so the bytes are tried as they stand;
// else they are made canonical, and then it is the canonical form that is
// returned to be parsed. Signatures count once per key, not per key ID.
func verify(env *envelope, role *roleKeys) (payload []byte, signers []string, err error) {
	if len(env.Signatures) == 0 {
		return nil, nil, errors.New("no signatures")
	}
	if signers = goodSignatures(env, role, env.Signed); len(signers) >= role.threshold {
		return env.Signed, signers, nil
	}
	canonical, err := canonicalForm(env.Signed)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(canonical, env.Signed) {
		if signers = goodSignatures(env, role, canonical); len(signers) >= role.threshold {
			return canonical, signers, nil
		}
	}
	return nil, nil, fmt.Errorf("signed by %d of the %d keys that are needed", len(signers), role.threshold)
}

func goodSignatures(env *envelope, role *roleKeys, msg []byte) []string {
	var good []string
	for i := range env.Signatures {
		sig := &env.Signatures[i]
		k := role.key(sig.KeyID)
		if k == nil || slices.Contains(good, k.canonical) {
			continue
		}
		if signed.VerifySignature(msg, sig, k.bare) == nil {
			good = append(good, k.canonical)
		}
	}
	return good
}

func canonicalForm(raw []byte) ([]byte, error) {
	var decoded map[string]any
	if err := cjson.Unmarshal(raw, &decoded); err != nil {
		return nil, err
	}
	return cjson.MarshalCanonical(decoded)
}

// verified is what is kept of every verified file.
type verified struct {
	version int
	expires time.Time
	payload [sha256.Size]byte // of the signed part
	signers []string          // canonical IDs of the keys that signed
}

// newVerified reads what every role's signed part begins with, and checks type
// and version.
func newVerified(payload []byte, signers []string, wantType string) (verified, error) {
	var head struct {
		Type    string    `json:"_type"`
		Version int       `json:"version"`
		Expires time.Time `json:"expires"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return verified{}, err
	}
	if head.Type != wantType {
		return verified{}, fmt.Errorf("type is %.20q, not %q", head.Type, wantType)
	}
	if head.Version < 1 {
		return verified{}, fmt.Errorf("version %d", head.Version)
	}
	return verified{version: head.Version, expires: head.Expires, payload: sha256.Sum256(payload), signers: signers}, nil
}
