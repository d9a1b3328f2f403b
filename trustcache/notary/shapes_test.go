package notary_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
)

// TestOtherWritingsOfWhatWasSignedAreTheSame: publishers sign canonical JSON,
// and a file may hold it with other spaces, another order and other escapes.
func TestOtherWritingsOfWhatWasSignedAreTheSame(t *testing.T) {
	for name, rewrite := range map[string]func(payload []byte) []byte{
		"indented": func(p []byte) []byte {
			var out bytes.Buffer
			must(t, json.Indent(&out, p, "", "  "))
			return out.Bytes()
		},
		"escaped":     func(p []byte) []byte { return bytes.ReplaceAll(p, []byte(`"latest"`), []byte(`"\u006catest"`)) },
		"key escaped": func(p []byte) []byte { return bytes.ReplaceAll(p, []byte(`"version"`), []byte(`"\u0076ersion"`)) },
	} {
		for _, role := range []string{"root", "targets", releases, "snapshot", "timestamp"} {
			t.Run(name+" "+role, func(t *testing.T) {
				w := newWorld(t)
				w.Delegate(releases)
				w.Sign("targets", "v1", 2)
				w.Sign(releases, "latest", 1)
				w.Spoil[role] = func(file []byte) []byte {
					payload := payloadOf(file)
					return bytes.Replace(file, payload, rewrite(payload), 1)
				}
				w.PublishRoot()
				w.Publish()
				snap := w.verified(w.source(), nil)
				wantDigest(t, snap, "latest", 1)
				wantDigest(t, snap, "v1", 2)
			})
		}
	}
}

// TestWhatCanonicalJSONWouldDropIsNotBelieved: the attacker puts a second
// value beside a signed one, under the same key; canonicalisation keeps the
// last alone, so that the signature is good, and only that one may count.
func TestWhatCanonicalJSONWouldDropIsNotBelieved(t *testing.T) {
	evil := digest(66)
	for _, c := range []struct{ name, role, before, insert string }{
		{"targets", releases, `"targets":{`, `"targets":{"latest":{"hashes":{"sha256":%s},"length":1}},`},
		{"a tag", releases, `"latest":{`, `"latest":{"hashes":{"sha256":%s},"length":1},`},
		{"the hashes of a tag", releases, `"hashes":{`, `"hashes":{"sha256":%s},`},
		{"a hash", releases, `"sha256":`, `"sha256":%s,`},
		{"a tag that was never signed", releases, `"targets":{`, `"targets":{"evil":{"hashes":{"sha256":%s},"length":1}},`},
		{"the expiry", releases, `"expires":`, `"expires":"3026-01-01T00:00:00Z",`},
		{"the version", releases, `"version":`, `"version":99999,`},
		{"the type", releases, `"_type":`, `"_type":"Targets",`},
		{"delegations", "targets", `"delegations":{`, `"delegations":{"keys":{},"roles":[]},`},
		{"the roles of a root", "root", `"roles":{`, `"roles":{"mirror":{"keyids":[],"threshold":1}},`},
		{"the version of a root", "root", `"version":`, `"version":99999,`},
		{"the files of a snapshot", "snapshot", `"meta":{`, `"meta":{"targets/evil":{"hashes":{"sha256":%s},"length":1}},`},
		{"the version of a timestamp", "timestamp", `"version":`, `"version":99999,`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.Delegate(releases)
			w.Sign(releases, "latest", 1)
			w.Spoil[c.role] = func(file []byte) []byte {
				insert := c.insert
				if strings.Contains(insert, "%s") {
					insert = fmt.Sprintf(insert, jsonOf(t, evil[:]))
				}
				if !bytes.Contains(file, []byte(c.before)) {
					t.Fatalf("no %s in %s", c.before, file)
				}
				return bytes.Replace(file, []byte(c.before), []byte(insert+c.before), 1)
			}
			w.PublishRoot()
			w.Publish()
			// Believing the signed values and refusing the file are both right.
			snap, err := w.fetch(w.source(), nil)
			if err != nil {
				wantClass(t, err, trustcache.ErrMalicious)
				return
			}
			wantDigest(t, snap, "latest", 1)
			if snap.Len() != 1 {
				t.Error("something that nobody signed is visible")
			}
			for _, e := range snap.Evidence() {
				if e.Version > 2 || e.Expires.Year() > 3000 {
					t.Errorf("%s has version %d and expires at %s", e.Role, e.Version, e.Expires)
				}
			}
		})
	}
}

func TestFilesAtTheirLimitsAreAccepted(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"nested as deep as allowed": func(w *world) {
			// {signed:{targets:{latest:{custom: is level 4; the rest is lists.
			w.Edit[releases] = custom(strings.Repeat("[", 28) + strings.Repeat("]", 28))
		},
		"64 signatures, the good one last": func(w *world) {
			w.Spoil["timestamp"] = func(file []byte) []byte { return withStrangers(w, file, 63) }
		},
		"a timestamp of 64 KiB": func(w *world) {
			w.Spoil["timestamp"] = func(file []byte) []byte {
				return append(file, bytes.Repeat([]byte(" "), 64<<10-len(file))...)
			}
		},
		"a root of 1 MiB": func(w *world) {
			w.Spoil["root"] = func(file []byte) []byte { return append(file, bytes.Repeat([]byte("\n"), 1<<20-len(file))...) }
		},
		"a releases file of 8 MiB": func(w *world) {
			w.Spoil[releases] = func(file []byte) []byte { return append(file, bytes.Repeat([]byte("\t"), 8<<20-len(file))...) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Delegate(releases)
			w.Sign(releases, "latest", 1)
			change(w)
			w.PublishRoot()
			w.Publish()
			wantDigest(t, w.verified(w.source(), nil), "latest", 1)
		})
	}
}

// custom gives the tag "latest" a custom field of that JSON text.
func custom(text string) func([]byte) []byte {
	return func(p []byte) []byte {
		return bytes.Replace(p, []byte(`"latest":{`), []byte(`"latest":{"custom":`+text+`,`), 1)
	}
}

func TestASignedFileNestedTooDeepIsRefused(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases)
	w.Sign(releases, "latest", 1)
	w.Edit[releases] = custom(strings.Repeat("[", 29) + strings.Repeat("]", 29))
	w.Publish()
	_, err := w.fetch(w.source(), nil)
	wantClass(t, err, trustcache.ErrMalicious)
}
