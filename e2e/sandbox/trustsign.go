package sandbox

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
)

// renewal is the share of a file's lifetime, counted from its end, in which the
// server signs it anew when somebody asks for it.
const renewal = 10

// expiries says for how long the server's own signatures are valid.
type expiries struct {
	timestamp time.Duration
	snapshot  time.Duration
}

// dueAt says whether a file that was signed for lifetime expires soon.
func (f metadataFile) dueAt(now time.Time, lifetime time.Duration) bool {
	return f.expires.Sub(now) <= lifetime/renewal
}

// refresh signs the server's own roles anew where they expire soon. Without
// trust data, and where nothing is due, it does nothing.
func (r *trustRepository) refresh(now time.Time, valid expiries) error {
	root := r.root()
	if root == nil {
		return nil
	}
	snapshot := r.current[data.CanonicalSnapshotRole]
	renewSnapshot := r.canSign(root, data.CanonicalSnapshotRole) && snapshot.dueAt(now, valid.snapshot)
	if !renewSnapshot && !r.current[data.CanonicalTimestampRole].dueAt(now, valid.timestamp) {
		return nil
	}
	next := r.current.clone()
	if renewSnapshot {
		if err := r.signSnapshot(next, root, now, valid.snapshot); err != nil {
			return err
		}
	}
	if err := r.signTimestamp(next, root, now, valid.timestamp); err != nil {
		return err
	}
	r.commit(next)
	return nil
}

// signSnapshot puts into next a snapshot of root, targets and every delegation
// that next holds.
func (r *trustRepository) signSnapshot(next view, root *data.SignedRoot, now time.Time, valid time.Duration) error {
	meta := data.Files{}
	for role, file := range next {
		if serverHeld(role) {
			continue
		}
		described, err := data.NewFileMeta(bytes.NewReader(file.raw), data.NotaryDefaultHashes...)
		if err != nil {
			return fmt.Errorf("describe %s: %w", role, err)
		}
		meta[role.String()] = described
	}
	role := data.CanonicalSnapshotRole
	snapshot := &data.SignedSnapshot{Signed: data.Snapshot{SignedCommon: r.common(role, now, valid), Meta: meta}}
	unsigned, err := snapshot.ToSigned()
	if err != nil {
		return fmt.Errorf("serialise the snapshot: %w", err)
	}
	if snapshot.Signatures, err = r.sign(root, role, *unsigned.Signed); err != nil {
		return err
	}
	raw, err := snapshot.MarshalJSON()
	if err != nil {
		return fmt.Errorf("serialise the snapshot: %w", err)
	}
	next[role] = newMetadataFile(role, snapshot.Signed.SignedCommon, raw, now)
	return nil
}

// signTimestamp puts into next a timestamp of the snapshot that next holds.
func (r *trustRepository) signTimestamp(next view, root *data.SignedRoot, now time.Time, valid time.Duration) error {
	described, err := data.NewFileMeta(bytes.NewReader(next[data.CanonicalSnapshotRole].raw), data.NotaryDefaultHashes...)
	if err != nil {
		return fmt.Errorf("describe the snapshot: %w", err)
	}
	role := data.CanonicalTimestampRole
	timestamp := &data.SignedTimestamp{Signed: data.Timestamp{
		SignedCommon: r.common(role, now, valid),
		Meta:         data.Files{data.CanonicalSnapshotRole.String(): described},
	}}
	unsigned, err := timestamp.ToSigned()
	if err != nil {
		return fmt.Errorf("serialise the timestamp: %w", err)
	}
	if timestamp.Signatures, err = r.sign(root, role, *unsigned.Signed); err != nil {
		return err
	}
	raw, err := timestamp.MarshalJSON()
	if err != nil {
		return fmt.Errorf("serialise the timestamp: %w", err)
	}
	next[role] = newMetadataFile(role, timestamp.Signed.SignedCommon, raw, now)
	return nil
}

// common makes the head of the next version of role.
func (r *trustRepository) common(role data.RoleName, now time.Time, valid time.Duration) data.SignedCommon {
	return data.SignedCommon{
		Type:    data.TUFTypes[role],
		Version: r.current[role].version + 1,
		Expires: now.Add(valid).UTC().Round(time.Second),
	}
}

// sign signs message with every key of role that the server holds.
func (r *trustRepository) sign(root *data.SignedRoot, role data.RoleName, message []byte) ([]data.Signature, error) {
	var signatures []data.Signature
	for _, key := range r.heldKeys(root, role) {
		signature, err := key.Sign(rand.Reader, message, nil)
		if err != nil {
			return nil, fmt.Errorf("sign the %s: %w", role, err)
		}
		signatures = append(signatures, data.Signature{
			KeyID: key.ID(), Method: key.SignatureAlgorithm(), Signature: signature,
		})
	}
	if len(signatures) == 0 {
		return nil, errServerKey
	}
	return signatures, nil
}

func (v view) clone() view {
	next := make(view, len(v)+1)
	for role, file := range v {
		next[role] = file
	}
	return next
}
