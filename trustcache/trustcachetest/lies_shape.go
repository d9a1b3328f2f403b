package trustcachetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sealgate/sealgate/trustcache"
)

// Nonsense are answers that are no metadata, of the kinds that have ended
// processes: 10 MB of [ overflow the stack of a parser that recurses.
func Nonsense() []Lie {
	var lies []Lie
	for _, c := range []struct{ what, text string }{
		{"null", `null`},
		{"an empty body", ``},
		{"a web page", `<!DOCTYPE html><html><body>Sign in</body></html>`},
		{"no signed part", `{"signatures":[{"keyid":"a","method":"ecdsa","sig":"AAAA"}]}`},
		{"a signature that is null", `{"signed":{"_type":"Root","version":1},"signatures":[null]}`},
		{"ten megabytes of [", strings.Repeat("[", 10<<20)},
		{"lists nested deep in signed", `{"signed":{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `},"signatures":[]}`},
		{"200,000 signatures", `{"signed":{},"signatures":[` + strings.Repeat(`{},`, 199_999) + `{}]}`},
	} {
		for _, name := range []string{"timestamp.json", "root.json"} {
			l := Lie{
				Name: c.what + " as " + name,
				Tell: func(w *World, _ map[string][]byte) { w.Serve[name] = []byte(c.text) },
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			}
			if name == "root.json" {
				l.Warm = nil // not asked for again
			}
			lies = append(lies, l)
		}
		for _, role := range []string{"snapshot", "targets", Releases} {
			lies = append(lies, Lie{
				Name: c.what + " as " + role,
				Tell: func(w *World, _ map[string][]byte) {
					w.Use(role, []byte(c.text))
					w.RepublishAbove(role)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			})
		}
	}
	return lies
}

// Oversize are answers without an end, and files of other lengths than the ones
// that were promised. What a source's own limits are is not known here.
func Oversize() []Lie {
	var lies []Lie
	for _, name := range []string{"timestamp.json", "root.json"} {
		for _, c := range []struct {
			what string
			body func(w *World) io.Reader
		}{
			{"endless " + name, func(w *World) io.Reader { return io.MultiReader(bytes.NewReader(w.Files[name]), Endless(' ')) }},
			{"endless [ as " + name, func(*World) io.Reader { return Endless('[') }},
		} {
			l := Lie{
				Name: c.what,
				Tell: func(w *World, _ map[string][]byte) { w.answers(name, c.body) },
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			}
			if name == "root.json" {
				l.Warm = nil // not asked for again
			}
			lies = append(lies, l)
		}
	}
	for _, role := range []string{"snapshot", "targets", Releases} {
		lies = append(lies, Lie{
			Name: role + " with more bytes than were promised",
			Tell: func(w *World, _ map[string][]byte) {
				w.Publish()
				name := fmt.Sprintf("%s.%x.json", role, w.Meta(role).Hashes["sha256"])
				w.answers(name, func(*World) io.Reader { return Endless('{') })
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		})
		for _, c := range []struct {
			what   string
			length func(true int64) int64
		}{
			{"fewer bytes than it has", func(n int64) int64 { return n - 1 }},
			{"1 TiB", func(int64) int64 { return 1 << 40 }},
			{"minus one byte", func(int64) int64 { return -1 }},
			{"no bytes", func(int64) int64 { return 0 }},
		} {
			lies = append(lies, Lie{
				Name: role + " promised with " + c.what,
				Tell: func(w *World, _ map[string][]byte) {
					w.Publish()
					meta := w.Meta(role)
					meta.Length = c.length(meta.Length)
					w.Declare[role] = meta
					w.RepublishAbove(role)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			})
		}
	}
	return lies
}

// answers serves that body for the file of that name, and the truth for others.
func (w *World) answers(name string, body func(w *World) io.Reader) {
	w.Answer = func(asked string) *Reply {
		if asked != name {
			return nil
		}
		return &Reply{Status: http.StatusOK, Body: body(w)}
	}
}
