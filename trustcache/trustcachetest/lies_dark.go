package trustcachetest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/sealgate/sealgate/trustcache"
)

// outage answers every request in one way.
func outage(name string, r func() *Reply) Lie {
	return Lie{
		Name: name,
		Tell: func(w *World, _ map[string][]byte) { w.Answer = func(string) *Reply { return r() } },
		Cold: trustcache.ErrUnreachable, Warm: trustcache.ErrUnreachable,
	}
}

// Dark are servers that give no answer that can be judged, and those that say
// that what they had is gone.
func Dark() []Lie {
	redirect := func() *Reply {
		r := Status(http.StatusFound, "")
		r.Header = http.Header{"Location": {"https://elsewhere.test/timestamp.json"}}
		return r
	}
	encoded := func() *Reply {
		return &Reply{Status: http.StatusOK, Body: strings.NewReader("{}"), Header: http.Header{"Content-Encoding": {"br"}}}
	}
	fails := func(err error) func() *Reply { return func() *Reply { return &Reply{Err: err} } }
	broken := func(err error) func() *Reply {
		return func() *Reply {
			return &Reply{Status: http.StatusOK, Body: io.MultiReader(strings.NewReader(`{"signed":{`), errorReader{err})}
		}
	}
	lies := []Lie{
		outage("a redirect is not followed", redirect),
		outage("an encoded answer", encoded),
		outage("an ingress's 404 page", func() *Reply { return Status(http.StatusNotFound, "default backend - 404") }),
		outage("a 404 in JSON with another code", func() *Reply {
			return Status(http.StatusNotFound, `{"errors":[{"code":"NAME_UNKNOWN","message":"METADATA_NOT_FOUND"}]}`)
		}),
		outage("a 404 with no code", func() *Reply { return Status(http.StatusNotFound, `{"errors":[]}`) }),
		outage("a 404 of null", func() *Reply { return Status(http.StatusNotFound, `null`) }),
		outage("a 404 without a body", func() *Reply { return Status(http.StatusNotFound, ``) }),
		outage("an endless 404", func() *Reply { return &Reply{Status: http.StatusNotFound, Body: Endless(' ')} }),
		outage("METADATA_NOT_FOUND with status 500", func() *Reply { return Status(http.StatusInternalServerError, MetadataNotFound) }),
		outage("METADATA_NOT_FOUND with status 410", func() *Reply { return Status(http.StatusGone, MetadataNotFound) }),
		outage("connection refused", fails(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})),
		outage("no such host", fails(&net.DNSError{Err: "no such host", Name: "notary.test", IsNotFound: true})),
		outage("a connection closed in the middle of the body", broken(io.ErrUnexpectedEOF)),
		outage("a connection reset in the middle of the body", broken(&net.OpError{Op: "read", Err: syscall.ECONNRESET})),
	}
	for _, code := range []int{199, 201, 204, 206, 301, 307, 308, 400, 401, 403, 405, 407, 408, 410, 429, 500, 502, 503, 504, 600} {
		l := outage(fmt.Sprintf("status %d", code), func() *Reply { return Status(code, "{}") })
		if code == 401 || code == 403 || code == 429 {
			l.Warm, l.Cold = trustcache.ErrRefused, trustcache.ErrRefused
		}
		lies = append(lies, l)
	}
	for _, name := range []string{"snapshot", "targets", Releases} {
		lies = append(lies, Lie{
			Name: "Notary does not have the " + name + " that it names",
			Tell: func(w *World, _ map[string][]byte) {
				w.Sign(Releases, "latest", 66)
				w.Publish()
				w.Answer = func(asked string) *Reply {
					if strings.HasPrefix(asked, name+".") && asked != "timestamp.json" {
						return Status(http.StatusNotFound, MetadataNotFound)
					}
					return nil
				}
			},
			Cold: trustcache.ErrUnreachable, Warm: trustcache.ErrUnreachable,
		})
	}
	lies = append(lies,
		Lie{
			Name: "the timestamp is gone but the root is there",
			Tell: func(w *World, _ map[string][]byte) { w.Serve["timestamp.json"] = nil },
			Cold: trustcache.ErrUnreachable, Warm: trustcache.ErrUnreachable,
		},
		Lie{
			Name: "the root is gone but the timestamp is there",
			Tell: func(w *World, _ map[string][]byte) { w.Serve["root.json"] = nil },
			Cold: trustcache.ErrUnreachable,
		},
		Lie{
			Name: "the timestamp is gone and asking for the root is refused",
			Tell: func(w *World, _ map[string][]byte) {
				w.Serve["timestamp.json"] = nil
				w.Answer = func(name string) *Reply {
					if name == "root.json" {
						return Status(http.StatusForbidden, "")
					}
					return nil
				}
			},
			Cold: trustcache.ErrUnreachable, Warm: trustcache.ErrUnreachable,
		},
		Lie{
			Name: "the timestamp is gone and an ingress answers for the root",
			Tell: func(w *World, _ map[string][]byte) {
				w.Serve["timestamp.json"] = nil
				w.Answer = func(name string) *Reply {
					if name == "root.json" {
						return Status(http.StatusNotFound, "default backend - 404")
					}
					return nil
				}
			},
			Cold: trustcache.ErrUnreachable, Warm: trustcache.ErrUnreachable,
		},
		Lie{
			Name: "half a timestamp, cut without a sign",
			Tell: func(w *World, _ map[string][]byte) {
				half := w.Files["timestamp.json"]
				w.Serve["timestamp.json"] = half[:len(half)/2]
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		},
		Lie{
			Name: "half a releases file, cut without a sign",
			Tell: func(w *World, _ map[string][]byte) {
				w.Publish()
				w.Answer = func(name string) *Reply {
					if strings.HasPrefix(name, Releases+".") {
						return &Reply{Status: http.StatusOK, Body: bytes.NewReader(w.Files[name][:100])}
					}
					return nil
				}
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		},
		Lie{
			Name: "a known repository is gone, by Notary's own word",
			Tell: func(w *World, _ map[string][]byte) {
				w.Answer = func(string) *Reply { return Status(http.StatusNotFound, MetadataNotFound) }
			},
			Warm: trustcache.ErrVanished,
		},
	)
	return lies
}

// errorReader fails.
type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }
