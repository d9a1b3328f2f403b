package notary

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/theupdateframework/notary/tuf/data"
)

// metadataName is what the protocol calls a file: a role, with a root's version
// before it or the sha256 of the file after it.
var metadataName = regexp.MustCompile(`^(?:([1-9][0-9]{0,9})\.(root)|(root|timestamp|snapshot|targets(?:/[a-z0-9_-]+)*)(?:\.([0-9a-f]{64}))?)\.json$`)

// Metadata returns a file that is kept of gun, byte for byte as it was fetched,
// by the name that clients of Notary ask for. Where there is none the error wraps
// fs.ErrNotExist. It is what was once verified, which the caller's client does
// again by itself; whether it stands is for Fetch to say. It may have as many
// bytes as Limits allow the role.
func (s *Source) Metadata(gun, name string) ([]byte, error) {
	m := metadataName.FindStringSubmatch(name)
	if m == nil || s.opts.Files == nil {
		return nil, fmt.Errorf("%s of %s: %w", name, gun, fs.ErrNotExist)
	}
	switch version, role, sum := m[1], m[3], m[4]; {
	case version != "":
		return s.opts.Files.File(gun, rootPrefix+version, s.opts.Limits.Root)
	case role == "root":
		return s.newestRoot(gun, sum)
	case sum != "":
		return s.hashed(gun, role, sum)
	case role == "timestamp":
		raw, _, err := s.readKept(gun)
		return raw, err
	}
	return s.newest(gun, m[3])
}

// newestRoot returns the trusted root, if it has that sha256; any will do where
// none is given.
func (s *Source) newestRoot(gun, sum string) ([]byte, error) {
	state, err := s.opts.Store.Load(gun)
	if err != nil {
		return nil, err
	}
	if !state.known() || sum != "" && fmt.Sprintf("%x", sha256.Sum256(state.Root)) != sum {
		return nil, fmt.Errorf("root of %s: %w", gun, fs.ErrNotExist)
	}
	return state.Root, nil
}

// hashed returns the file of that sha256.
func (s *Source) hashed(gun, role, sum string) ([]byte, error) {
	limit := s.opts.Limits.Targets
	if role == "snapshot" {
		limit = s.opts.Limits.Snapshot
	}
	raw, err := s.opts.Files.File(gun, sum, limit)
	if err == nil && fmt.Sprintf("%x", sha256.Sum256(raw)) != sum {
		err = fmt.Errorf("kept %s of %s is damaged", role, gun)
	}
	return raw, err
}

// newest returns the file of a role as the kept timestamp leads to it.
func (s *Source) newest(gun, role string) ([]byte, error) {
	timestamp, _, err := s.readKept(gun)
	if err != nil {
		return nil, err
	}
	sum, err := s.named(timestamp, "snapshot")
	if err != nil {
		return nil, err
	}
	snapshot, err := s.hashed(gun, "snapshot", sum)
	if err != nil || role == "snapshot" {
		return snapshot, err
	}
	if sum, err = s.named(snapshot, role); err != nil {
		return nil, err
	}
	return s.hashed(gun, role, sum)
}

// named returns the sha256 that a file has for that of another role. It was
// verified when it was kept, but disks forget: the scan comes first all the same.
func (s *Source) named(raw []byte, role string) (sum string, err error) {
	env, err := s.openEnvelope(raw)
	if err != nil {
		return "", err
	}
	var body struct{ Meta map[string]data.FileMeta }
	if err := json.Unmarshal(env.Signed, &body); err != nil {
		return "", errors.New("kept metadata is damaged")
	}
	meta, listed := body.Meta[role]
	if !listed {
		return "", fmt.Errorf("%s: %w", role, fs.ErrNotExist)
	}
	ref, err := newFileRef(meta)
	return hex.EncodeToString(ref.hash[:]), err
}
