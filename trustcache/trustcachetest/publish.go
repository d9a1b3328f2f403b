package trustcachetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"testing"

	cjson "github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
)

// Publish signs every targets role, the snapshot and the timestamp anew.
func (w *World) Publish() {
	w.PublishRoles(append([]string{"targets"}, w.Order...)...)
}

// PublishRoles signs the given targets roles, the snapshot and the timestamp.
func (w *World) PublishRoles(roles ...string) {
	w.TB.Helper()
	for _, role := range roles {
		if !w.Idle[role] {
			w.put(role, data.Targets{SignedCommon: w.next(role, "Targets"), Targets: w.Content[role], Delegations: w.delegations(role)})
		}
	}
	w.PublishSnapshot()
}

// PublishSnapshot signs the snapshot and the timestamp, and no targets role.
func (w *World) PublishSnapshot() {
	w.TB.Helper()
	meta := data.Files{"root": w.Meta("root")}
	for role := range w.Content {
		if w.Raw[role] != nil && !w.Dropped[role] {
			meta[role] = w.Meta(role)
		}
	}
	w.put("snapshot", data.Snapshot{SignedCommon: w.next("snapshot", "Snapshot"), Meta: meta})
	w.PublishTimestamp()
}

// PublishTimestamp signs the timestamp alone.
func (w *World) PublishTimestamp() {
	w.TB.Helper()
	w.put("timestamp", data.Timestamp{SignedCommon: w.next("timestamp", "Timestamp"), Meta: data.Files{"snapshot": w.Meta("snapshot")}})
	w.Files["timestamp.json"] = w.Raw["timestamp"]
}

// PublishRoot signs the next root, which lists the keys of the four base roles as
// they are now; with the given signers, or those of root where there are none.
// The snapshot names it from the next publication on.
func (w *World) PublishRoot(signers ...*Signer) {
	w.TB.Helper()
	root := data.Root{SignedCommon: w.next("root", "Root"), Keys: data.Keys{}, Roles: map[data.RoleName]*data.RootRole{}}
	for _, role := range data.BaseRoles {
		root.Roles[role] = w.Parties[role.String()].list(root.Keys)
	}
	w.put("root", root, signers...)
	w.Files["root.json"] = w.Raw["root"]
	w.Files[fmt.Sprintf("%d.root.json", w.Version["root"])] = w.Raw["root"]
}

// Rotate gives a base role new keys and publishes everything under them. A new
// root is signed by the old root keys and by its own.
func (w *World) Rotate(role string, keys ...*Signer) {
	w.TB.Helper()
	before := w.Parties["root"].Signers()
	w.Parties[role].Keys, w.Parties[role].Hands = keys, nil
	if role == "root" {
		w.PublishRoot(append(slices.Clone(before), keys...)...)
	} else {
		w.PublishRoot(before...)
	}
	w.Publish()
}

func (p *Party) list(keys data.Keys) *data.RootRole {
	r := &data.RootRole{Threshold: p.Threshold}
	for _, s := range p.Keys {
		keys[s.Public.ID()] = s.Public
		r.KeyIDs = append(r.KeyIDs, s.Public.ID())
	}
	return r
}

func (w *World) delegations(parent string) data.Delegations {
	d := data.Delegations{Keys: data.Keys{}, Roles: []*data.Role{}}
	for _, role := range w.Order {
		if path.Dir(role) == parent {
			d.Roles = append(d.Roles, &data.Role{RootRole: *w.Parties[role].list(d.Keys), Name: data.RoleName(role), Paths: w.Paths[role]})
		}
	}
	return d
}

// next is what the next file of the role begins with.
func (w *World) next(role, kind string) data.SignedCommon {
	w.Version[role]++
	expires, ok := w.Expires[role]
	if !ok {
		expires = w.Now().AddDate(0, 1, 0)
	}
	return data.SignedCommon{Type: kind, Version: w.Version[role], Expires: expires}
}

// put signs the payload and keeps the file under the names it is asked for.
func (w *World) put(role string, payload any, signers ...*Signer) {
	w.TB.Helper()
	canonical, err := cjson.MarshalCanonical(payload)
	must(w.TB, err)
	if edit := w.Edit[role]; edit != nil {
		canonical = edit(canonical)
	}
	if len(signers) == 0 {
		signers = w.Parties[role].Signers()
	}
	raw := Seal(w.TB, canonical, signers...)
	if spoil := w.Spoil[role]; spoil != nil {
		raw = spoil(bytes.Clone(raw))
	}
	w.Raw[role] = raw
	w.Files[HashName(role, raw)] = raw
}

// Use puts a file in the place of the role's newest. Publish what names it with
// RepublishAbove.
func (w *World) Use(role string, raw []byte) {
	w.Raw[role] = raw
	w.Files[HashName(role, raw)] = raw
}

// RepublishAbove signs what names the role's file anew: the timestamp, and the
// snapshot where it is not the snapshot's.
func (w *World) RepublishAbove(role string) {
	w.TB.Helper()
	if role == "snapshot" {
		w.PublishTimestamp()
		return
	}
	w.PublishSnapshot()
}

// Meta is what the file above says of the role's newest: its length and hashes,
// or what Declare has.
func (w *World) Meta(role string) data.FileMeta {
	if declared, ok := w.Declare[role]; ok {
		return declared
	}
	meta, err := data.NewFileMeta(bytes.NewReader(w.Raw[role]), data.NotaryDefaultHashes...)
	must(w.TB, err)
	return meta
}

// Keep returns the newest files by role as they are now.
func (w *World) Keep() map[string][]byte { return maps.Clone(w.Raw) }

// Seal signs payload as it stands and makes a metadata file of it.
func Seal(tb testing.TB, payload []byte, signers ...*Signer) []byte {
	tb.Helper()
	sigs := make([]data.Signature, 0, len(signers))
	for _, s := range signers {
		sigs = append(sigs, s.Sign(tb, payload))
	}
	return Envelope(tb, payload, sigs)
}

// Envelope makes a metadata file of a payload and signatures.
func Envelope(tb testing.TB, payload []byte, sigs []data.Signature) []byte {
	tb.Helper()
	list, err := json.Marshal(sigs)
	must(tb, err)
	return slices.Concat([]byte(`{"signed":`), payload, []byte(`,"signatures":`), list, []byte(`}`))
}

// HashName is the name by which a file of the role is asked for once its hash is
// known.
func HashName(role string, raw []byte) string {
	return fmt.Sprintf("%s.%x.json", role, sha256.Sum256(raw))
}
