package notary_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

// nonsense is what no metadata file looks like, by what it is.
func nonsense() map[string]string {
	return map[string]string{
		"no signed part":              `{"signatures":[{"keyid":"a","method":"ecdsa","sig":"AAAA"}]}`,
		"signed is null":              `{"signed":null,"signatures":[{"keyid":"a","method":"ecdsa","sig":"AAAA"}]}`,
		"signed is a string":          `{"signed":"{}","signatures":[{"keyid":"a","method":"ecdsa","sig":"AAAA"}]}`,
		"signed is a list":            `{"signed":[],"signatures":[]}`,
		"signed is empty":             `{"signed":{},"signatures":[{"keyid":"a","method":"ecdsa","sig":"AAAA"}]}`,
		"signatures are null":         `{"signed":{"_type":"Root","version":1},"signatures":null}`,
		"a signature is null":         `{"signed":{"_type":"Root","version":1},"signatures":[null]}`,
		"a signature is a number":     `{"signed":{"_type":"Root","version":1},"signatures":[7]}`,
		"null":                        `null`,
		"a number":                    `1`,
		"an empty object":             `{}`,
		"a web page":                  `<!DOCTYPE html><html><body>Sign in</body></html>`,
		"an empty body":               ``,
		"spaces":                      `      `,
		"zero bytes":                  strings.Repeat("\x00", 1000),
		"half a string":               `{"signed":{"_type":"Roo`,
		"ten megabytes of [":          strings.Repeat("[", 10<<20),
		"seven megabytes of { and [":  `{"a":` + strings.Repeat("[", 7<<20),
		"lists nested deep in signed": `{"signed":{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `},"signatures":[]}`,
		"lists nested 33 deep":        `{"signed":{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `},"signatures":[]}`,
		"objects nested deep":         `{"signed":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) + `,"signatures":[]}`,
		"nested deep in a signature":  `{"signed":{},"signatures":[{"keyid":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}]}`,
		"nested deep in another key":  `{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"signed":{},"signatures":[]}`,
		"brackets that close first":   `{}` + strings.Repeat("]", 5000) + strings.Repeat("[", 5000),
		"more after the end":          `{"signed":{},"signatures":[]}{"signed":{},"signatures":[]}`,
		"200,000 signatures":          `{"signed":{},"signatures":[` + strings.Repeat(`{},`, 199_999) + `{}]}`,
	}
}

// TestMalformedFilesAreRefused: in the place of each role, first with nothing
// but the name of the file, then promised by a snapshot and a timestamp that
// are in order.
func TestMalformedFilesAreRefused(t *testing.T) {
	var lies []lie
	for what, text := range nonsense() {
		for _, name := range []string{"timestamp.json", "root.json"} {
			l := lie{
				name: what + " as " + name,
				tell: func(w *world, _ map[string][]byte) { w.Serve[name] = []byte(text) },
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			}
			if name == "root.json" {
				l.warm = nil // not asked for again
			}
			lies = append(lies, l)
		}
		for _, role := range []string{"snapshot", "targets", releases} {
			if role != releases && len(text) > 1<<20 {
				continue // slow, and the same
			}
			lies = append(lies, lie{
				name: what + " as " + role,
				tell: func(w *world, _ map[string][]byte) {
					w.Use(role, []byte(text))
					w.RepublishAbove(role)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			})
		}
	}
	testLies(t, lies)
}

// TestBadlyShapedPayloadsAreRefused: the signatures are good, what they sign
// is not.
func TestBadlyShapedPayloadsAreRefused(t *testing.T) {
	delegations := map[string]string{
		"a delegation that is null":            `{"keys":{},"roles":[null]}`,
		"a delegation without a name":          `{"keys":{},"roles":[{}]}`,
		"delegations that are a list":          `[]`,
		"delegated roles that are a string":    `{"keys":{},"roles":"x"}`,
		"delegation keys that are a list":      `{"keys":[],"roles":[]}`,
		"a delegation to root":                 `{"keys":{},"roles":[{"name":"root","keyids":[],"threshold":1,"paths":[""]}]}`,
		"a delegation to targets itself":       `{"keys":{},"roles":[{"name":"targets","keyids":[],"threshold":1,"paths":[""]}]}`,
		"a delegation to a grandchild":         `{"keys":{},"roles":[{"name":"targets/releases/x","keyids":[],"threshold":1,"paths":[""]}]}`,
		"a delegation out of the tree":         `{"keys":{},"roles":[{"name":"targets/../root","keyids":[],"threshold":1,"paths":[""]}]}`,
		"a delegation with an upper-case name": `{"keys":{},"roles":[{"name":"targets/Releases","keyids":[],"threshold":1,"paths":[""]}]}`,
		"the same delegation twice": `{"keys":{},"roles":[{"name":"targets/bob","keyids":[],"threshold":1,"paths":[""]},` +
			`{"name":"targets/bob","keyids":[],"threshold":1,"paths":[""]}]}`,
		"the deciding delegation without keys":         `{"keys":null,"roles":[{"name":"targets/releases","keyids":null,"threshold":1,"paths":[""]}]}`,
		"the deciding delegation with a missing key":   `{"keys":{"a":null},"roles":[{"name":"targets/releases","keyids":["a"],"threshold":1,"paths":[""]}]}`,
		"the deciding delegation with threshold zero":  `{"keys":{},"roles":[{"name":"targets/releases","keyids":[],"threshold":0,"paths":[""]}]}`,
		"the deciding delegation with threshold minus": `{"keys":{},"roles":[{"name":"targets/releases","keyids":[],"threshold":-1,"paths":[""]}]}`,
	}
	var lies []lie
	for what, text := range delegations {
		lies = append(lies, lie{
			name: what,
			tell: func(w *world, _ map[string][]byte) {
				w.Edit["targets"] = func(p []byte) []byte { return replaceDelegations(p, text) }
				w.Publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		})
	}
	for _, c := range []struct{ what, role, from, to string }{
		{"targets that are a list", "targets", `"targets":{`, `"targets":[],"was":{`},
		{"a target that is a string", releases, `"latest":{`, `"x":"y","latest":{`},
		{"a target of no length", releases, `"length":1`, `"length":1e400`},
		{"a target with a hash that is not base64", releases, `"sha256":"`, `"sha256":"!`},
		{"a releases file that says it is a snapshot", releases, `"_type":"Targets"`, `"_type":"Snapshot"`},
		{"a releases file in TUF's own spelling", releases, `"_type":"Targets"`, `"_type":"targets"`},
		{"a snapshot with files that are a list", "snapshot", `"meta":{`, `"meta":[],"was":{`},
		{"a snapshot with a file that is a string", "snapshot", `"meta":{`, `"meta":{"x":"y",`},
		{"a timestamp with files that are null", "timestamp", `"meta":{`, `"meta":null,"was":{`},
		{"a releases file with a date that is none", releases, `"expires":"2026`, `"expires":"yesterday2026`},
	} {
		lies = append(lies, lie{
			name: c.what,
			tell: func(w *world, _ map[string][]byte) {
				w.Edit[c.role] = func(p []byte) []byte {
					if !bytes.Contains(p, []byte(c.from)) {
						w.TB.Fatalf("%s does not contain %s", p, c.from)
					}
					return bytes.Replace(p, []byte(c.from), []byte(c.to), 1)
				}
				w.Publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		})
	}
	testLies(t, lies)
}

// padded returns a file that begins like an honest one and goes on for n bytes.
func padded(file []byte, n int) []byte {
	start := signedPart(file)
	return append(append(start, fmt.Sprintf(`,"filler":%q`, strings.Repeat("x", n))...), `,"signatures":[]}`...)
}

func TestOversizeFilesAreRefused(t *testing.T) {
	lies := told(trustcachetest.Oversize())
	for name, limit := range map[string]int{"timestamp.json": 64 << 10, "root.json": 1 << 20} {
		for what, answer := range map[string]func(w *world) *reply{
			"one byte too many of " + name: func(w *world) *reply {
				file := w.Files[name]
				file = append(bytes.Clone(file), bytes.Repeat([]byte(" "), limit+1-len(file))...)
				return &reply{Status: http.StatusOK, Body: bytes.NewReader(file)}
			},
		} {
			l := lie{
				name: what,
				tell: func(w *world, _ map[string][]byte) {
					w.Answer = func(asked string) *reply {
						if asked == name {
							return answer(w)
						}
						return nil
					}
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			}
			if name == "root.json" {
				l.warm = nil
			}
			lies = append(lies, l)
		}
	}
	for role, limit := range map[string]int{"snapshot": 4 << 20, "targets": 8 << 20, releases: 8 << 20} {
		lies = append(lies,
			lie{
				name: role + " truly larger than its limit",
				tell: func(w *world, _ map[string][]byte) {
					w.Spoil[role] = func(file []byte) []byte { return padded(file, limit) }
					w.Publish()
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
		)
		for what, length := range map[string]int64{"one byte over the limit": int64(limit) + 1} {
			lies = append(lies, lie{
				name: role + " promised with " + what,
				tell: func(w *world, _ map[string][]byte) {
					w.Publish()
					meta := w.Meta(role)
					meta.Length = length
					w.Declare[role] = meta
					w.RepublishAbove(role)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			})
		}
	}
	lies = append(lies, lie{
		name: "a snapshot of more roles than the limit",
		tell: func(w *world, _ map[string][]byte) {
			w.Edit["snapshot"] = func(p []byte) []byte {
				var more strings.Builder
				for i := range 1003 {
					fmt.Fprintf(&more, `"targets/r%d":{"hashes":{},"length":1},`, i)
				}
				return bytes.Replace(p, []byte(`"meta":{`), []byte(`"meta":{`+more.String()), 1)
			}
			w.Publish()
		},
		cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
	}, lie{
		name: "65 signatures, the good one last",
		tell: func(w *world, _ map[string][]byte) {
			w.Spoil["timestamp"] = func(file []byte) []byte { return withStrangers(w, file, 64) }
			w.Publish()
		},
		cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
	})
	testLies(t, lies)
}
