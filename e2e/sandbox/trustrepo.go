package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

const (
	// maxHistory is how many versions of a role are kept. Roots are all kept:
	// clients walk them one by one.
	maxHistory = 64
	// maxHeldKeys bounds the keys that a client can make the server hold for
	// one role by asking again and again.
	maxHeldKeys = 8
)

// metadataFile is one published file, byte for byte.
type metadataFile struct {
	role     data.RoleName
	version  int
	expires  time.Time
	raw      []byte
	sha256   string // lower-case hex
	modified time.Time
}

func newMetadataFile(role data.RoleName, common data.SignedCommon, raw []byte, now time.Time) metadataFile {
	sum := sha256.Sum256(raw)
	return metadataFile{
		role: role, version: common.Version, expires: common.Expires,
		raw: raw, sha256: hex.EncodeToString(sum[:]), modified: now,
	}
}

// view is a repository's current file for each role. A published view is never
// changed, only replaced.
type view map[data.RoleName]metadataFile

// trustRepository is the trust data of one GUN. The server's lock guards it.
type trustRepository struct {
	gun     data.GUN
	current view // nil before the first publication
	history map[data.RoleName][]metadataFile
	keys    map[data.RoleName][]data.PrivateKey // server-held, oldest first
}

func newTrustRepository(gun data.GUN) *trustRepository {
	return &trustRepository{
		gun:     gun,
		history: map[data.RoleName][]metadataFile{},
		keys:    map[data.RoleName][]data.PrivateKey{},
	}
}

// commit makes next the current view and keeps its new files for those who ask
// by version or checksum.
func (r *trustRepository) commit(next view) {
	for role, file := range next {
		if old, ok := r.current[role]; ok && old.sha256 == file.sha256 {
			continue
		}
		files := append(r.history[role], file)
		if role != data.CanonicalRootRole && len(files) > maxHistory {
			files = append([]metadataFile(nil), files[len(files)-maxHistory:]...)
		}
		r.history[role] = files
	}
	r.current = next
}

// find returns the file that a route names.
func (r *trustRepository) find(route trustRoute) (metadataFile, bool) {
	if route.version == 0 && route.sha256 == "" {
		file, ok := r.current[route.role]
		return file, ok
	}
	files := r.history[route.role]
	for i := len(files) - 1; i >= 0; i-- {
		if route.sha256 != "" && files[i].sha256 == route.sha256 ||
			route.version != 0 && files[i].version == route.version {
			return files[i], true
		}
	}
	return metadataFile{}, false
}

// forget drops the published files and keeps the server's keys.
func (r *trustRepository) forget() {
	r.current = nil
	r.history = map[data.RoleName][]metadataFile{}
}

// root returns the current root, or nil before the first publication.
func (r *trustRepository) root() *data.SignedRoot {
	file, ok := r.current[data.CanonicalRootRole]
	if !ok {
		return nil
	}
	root, err := parseRoot(file.raw)
	if err != nil {
		return nil // cannot be: it was parsed when it was published
	}
	return root
}

// key returns the public half of the server's key for role: the one that the
// current root names, else the one that waits to be named, else a new one.
func (r *trustRepository) key(role data.RoleName) (data.PublicKey, error) {
	if root := r.root(); root != nil {
		if held := r.heldKeys(root, role); len(held) > 0 {
			return data.PublicKeyFromPrivate(held[0]), nil
		}
	}
	if held := r.keys[role]; len(held) > 0 {
		return data.PublicKeyFromPrivate(held[len(held)-1]), nil
	}
	return r.newKey(role)
}

// newKey makes another key for role. It signs nothing until a root names it.
func (r *trustRepository) newKey(role data.RoleName) (data.PublicKey, error) {
	key, err := utils.GenerateECDSAKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a %s key: %w", role, err)
	}
	held := append(r.keys[role], key)
	if len(held) > maxHeldKeys {
		held = r.dropOldest(role, held)
	}
	r.keys[role] = held
	return data.PublicKeyFromPrivate(key), nil
}

// dropOldest drops the oldest key that the current root does not name.
func (r *trustRepository) dropOldest(role data.RoleName, held []data.PrivateKey) []data.PrivateKey {
	inUse := map[string]bool{}
	if root := r.root(); root != nil {
		for _, key := range r.heldKeys(root, role) {
			inUse[key.ID()] = true
		}
	}
	for i, key := range held {
		if !inUse[key.ID()] {
			return append(held[:i:i], held[i+1:]...)
		}
	}
	return held
}

// heldKeys returns the server's keys among those that root names for role.
func (r *trustRepository) heldKeys(root *data.SignedRoot, role data.RoleName) []data.PrivateKey {
	base, err := root.BuildBaseRole(role)
	if err != nil {
		return nil
	}
	var held []data.PrivateKey
	for _, key := range r.keys[role] {
		if _, ok := base.Keys[key.ID()]; ok {
			held = append(held, key)
		}
	}
	return held
}

// canSign says whether the server holds enough keys to sign role under root.
func (r *trustRepository) canSign(root *data.SignedRoot, role data.RoleName) bool {
	base, err := root.BuildBaseRole(role)
	return err == nil && len(r.heldKeys(root, role)) >= base.Threshold
}
