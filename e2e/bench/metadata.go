package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

const (
	releases = "targets/releases"
	// lifetime is how long all that is signed here is valid: far longer than a run.
	lifetime = 30 * 24 * time.Hour
)

// object is a JSON object. encoding/json sorts its keys, which makes it the
// canonical form that publishers sign: no value here holds what the two write
// in different ways.
type object map[string]any

// signer is a key as Notary v1's metadata lists it.
type signer struct {
	key    *ecdsa.PrivateKey
	id     string
	listed object
}

func newSigner() (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return list(key, "ecdsa", der)
}

// list gives the key the ID that the public form has in metadata.
func list(key *ecdsa.PrivateKey, kind string, public []byte) (*signer, error) {
	listed := object{"keytype": kind, "keyval": object{"private": nil, "public": public}}
	canonical, err := json.Marshal(listed)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	return &signer{key: key, id: hex.EncodeToString(sum[:]), listed: listed}, nil
}

// certified returns the same key in a certificate for name, as root keys are
// listed.
func (s *signer) certified(name string) (*signer, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.key.Public(), s.key)
	if err != nil {
		return nil, err
	}
	return list(s.key, "ecdsa-x509", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// seal makes a metadata file of the payload.
func (s *signer) seal(payload object) ([]byte, error) {
	canonical, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	r, t, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return nil, err
	}
	sig := make([]byte, 64) // r and s, 32 bytes each
	r.FillBytes(sig[:32])
	t.FillBytes(sig[32:])
	return json.Marshal(object{
		"signed":     json.RawMessage(canonical),
		"signatures": []object{{"keyid": s.id, "method": "ecdsa", "sig": sig}},
	})
}

// metadata is the trust data of any number of repositories that all have the
// same tags, signed once: nothing but the root's certificate names a
// repository, and that is for a wildcard.
type metadata struct {
	files   map[string][]byte // by the names under which they are asked for
	rootKey string            // canonical ID, for the pin
}

// newMetadata signs the digest of size bytes under each of tags, in
// targets/releases, for all repositories of the registry of that name.
func newMetadata(registry string, tags []string, digest [sha256.Size]byte, size int) (*metadata, error) {
	var keys [5]*signer // root, targets, releases, snapshot, timestamp
	for i := range keys {
		var err error
		if keys[i], err = newSigner(); err != nil {
			return nil, err
		}
	}
	bare, targets, release, snapshot, timestamp := keys[0], keys[1], keys[2], keys[3], keys[4]
	root, err := bare.certified(registry + "/*")
	if err != nil {
		return nil, err
	}
	m := &metadata{files: map[string][]byte{}, rootKey: bare.id}
	listed := object{}
	roles := object{}
	for role, s := range map[string]*signer{"root": root, "targets": targets, "snapshot": snapshot, "timestamp": timestamp} {
		listed[s.id] = s.listed
		roles[role] = object{"keyids": []string{s.id}, "threshold": 1}
	}
	if err := m.put("root", root, object{"_type": "Root", "consistent_snapshot": false, "keys": listed, "roles": roles}); err != nil {
		return nil, err
	}
	delegations := object{
		"keys":  object{release.id: release.listed},
		"roles": []object{{"name": releases, "keyids": []string{release.id}, "paths": []string{""}, "threshold": 1}},
	}
	if err := m.put("targets", targets, object{"_type": "Targets", "targets": object{}, "delegations": delegations}); err != nil {
		return nil, err
	}
	signed := object{}
	for _, tag := range tags {
		signed[tag] = object{"hashes": object{"sha256": digest[:]}, "length": size}
	}
	none := object{"keys": object{}, "roles": []object{}}
	if err := m.put(releases, release, object{"_type": "Targets", "targets": signed, "delegations": none}); err != nil {
		return nil, err
	}
	meta := object{"root": m.describe("root"), "targets": m.describe("targets"), releases: m.describe(releases)}
	if err := m.put("snapshot", snapshot, object{"_type": "Snapshot", "meta": meta}); err != nil {
		return nil, err
	}
	return m, m.put("timestamp", timestamp, object{"_type": "Timestamp", "meta": object{"snapshot": m.describe("snapshot")}})
}

// put signs the payload as version 1 of the role and keeps the file.
func (m *metadata) put(role string, by *signer, payload object) error {
	payload["version"] = 1
	payload["expires"] = time.Now().Add(lifetime).UTC().Truncate(time.Second).Format(time.RFC3339)
	raw, err := by.seal(payload)
	if err != nil {
		return fmt.Errorf("sign %s: %w", role, err)
	}
	m.files[role+".json"] = raw
	m.files[fmt.Sprintf("%s.%x.json", role, sha256.Sum256(raw))] = raw
	return nil
}

// describe names a role's file as another role's file does.
func (m *metadata) describe(role string) object {
	raw := m.files[role+".json"]
	short, long := sha256.Sum256(raw), sha512.Sum512(raw)
	return object{"length": len(raw), "hashes": object{"sha256": short[:], "sha512": long[:]}}
}
