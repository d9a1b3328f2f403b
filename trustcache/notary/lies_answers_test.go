package notary_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// outage answers every request in one way.
func outage(name string, r func() *reply) lie {
	return lie{
		name: name,
		tell: func(w *world, _ map[string][]byte) { w.Answer = func(string) *reply { return r() } },
		cold: trustcache.ErrUnreachable, warm: trustcache.ErrUnreachable,
	}
}

func TestATrustServerWithoutAGoodAnswerIsUnreachable(t *testing.T) {
	redirect := func() *reply {
		r := status(http.StatusFound, "")
		r.Header = http.Header{"Location": {"https://elsewhere.test/timestamp.json"}}
		return r
	}
	encoded := func() *reply {
		return &reply{Status: http.StatusOK, Body: strings.NewReader("{}"), Header: http.Header{"Content-Encoding": {"br"}}}
	}
	fails := func(err error) func() *reply { return func() *reply { return &reply{Err: err} } }
	broken := func(err error) func() *reply {
		return func() *reply {
			return &reply{Status: http.StatusOK, Body: io.MultiReader(strings.NewReader(`{"signed":{`), errorReader{err})}
		}
	}
	lies := []lie{
		outage("a redirect is not followed", redirect),
		outage("an encoded answer", encoded),
		outage("an ingress's 404 page", func() *reply { return status(http.StatusNotFound, "default backend - 404") }),
		outage("a 404 in JSON with another code", func() *reply {
			return status(http.StatusNotFound, `{"errors":[{"code":"NAME_UNKNOWN","message":"METADATA_NOT_FOUND"}]}`)
		}),
		outage("a 404 with no code", func() *reply { return status(http.StatusNotFound, `{"errors":[]}`) }),
		outage("a 404 of null", func() *reply { return status(http.StatusNotFound, `null`) }),
		outage("a 404 without a body", func() *reply { return status(http.StatusNotFound, ``) }),
		outage("an endless 404", func() *reply { return &reply{Status: http.StatusNotFound, Body: endless(' ')} }),
		outage("METADATA_NOT_FOUND with status 500", func() *reply { return status(http.StatusInternalServerError, metadataNotFound) }),
		outage("METADATA_NOT_FOUND with status 410", func() *reply { return status(http.StatusGone, metadataNotFound) }),
		outage("connection refused", fails(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})),
		outage("no such host", fails(&net.DNSError{Err: "no such host", Name: "notary.test", IsNotFound: true})),
		outage("a connection closed in the middle of the body", broken(io.ErrUnexpectedEOF)),
		outage("a connection reset in the middle of the body", broken(&net.OpError{Op: "read", Err: syscall.ECONNRESET})),
	}
	for _, code := range []int{199, 201, 204, 206, 301, 307, 308, 400, 401, 403, 405, 407, 408, 410, 429, 500, 502, 503, 504, 600} {
		l := outage("status "+http.StatusText(code)+" with an honest body", func() *reply { return status(code, "{}") })
		if code == 401 || code == 403 || code == 429 {
			l.warm, l.cold = trustcache.ErrRefused, trustcache.ErrRefused
		}
		lies = append(lies, l)
	}
	for _, name := range []string{"snapshot", "targets", releases} {
		lies = append(lies, lie{
			name: "Notary does not have the " + name + " that it names",
			tell: func(w *world, _ map[string][]byte) {
				w.Sign(releases, "latest", 66)
				w.Publish()
				w.Answer = func(asked string) *reply {
					if strings.HasPrefix(asked, name+".") && asked != "timestamp.json" {
						return status(http.StatusNotFound, metadataNotFound)
					}
					return nil
				}
			},
			cold: trustcache.ErrUnreachable, warm: trustcache.ErrUnreachable,
		})
	}
	lies = append(lies,
		lie{
			name: "the timestamp is gone but the root is there",
			tell: func(w *world, _ map[string][]byte) { w.Serve["timestamp.json"] = nil },
			cold: trustcache.ErrUnreachable, warm: trustcache.ErrUnreachable,
		},
		lie{
			name: "the root is gone but the timestamp is there",
			tell: func(w *world, _ map[string][]byte) { w.Serve["root.json"] = nil },
			cold: trustcache.ErrUnreachable,
		},
		lie{
			name: "the timestamp is gone and asking for the root is refused",
			tell: func(w *world, _ map[string][]byte) {
				w.Serve["timestamp.json"] = nil
				w.Answer = func(name string) *reply {
					if name == "root.json" {
						return status(http.StatusForbidden, "")
					}
					return nil
				}
			},
			cold: trustcache.ErrUnreachable, warm: trustcache.ErrUnreachable,
		},
		lie{
			name: "the timestamp is gone and an ingress answers for the root",
			tell: func(w *world, _ map[string][]byte) {
				w.Serve["timestamp.json"] = nil
				w.Answer = func(name string) *reply {
					if name == "root.json" {
						return status(http.StatusNotFound, "default backend - 404")
					}
					return nil
				}
			},
			cold: trustcache.ErrUnreachable, warm: trustcache.ErrUnreachable,
		},
		lie{
			name: "half a timestamp, cut without a sign",
			tell: func(w *world, _ map[string][]byte) {
				half := w.Files["timestamp.json"]
				w.Serve["timestamp.json"] = half[:len(half)/2]
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		lie{
			name: "half a releases file, cut without a sign",
			tell: func(w *world, _ map[string][]byte) {
				w.Publish()
				w.Answer = func(name string) *reply {
					if strings.HasPrefix(name, releases+".") {
						return &reply{Status: http.StatusOK, Body: bytes.NewReader(w.Files[name][:100])}
					}
					return nil
				}
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		lie{
			name: "a known repository is gone, by Notary's own word",
			tell: func(w *world, _ map[string][]byte) {
				w.Answer = func(string) *reply { return status(http.StatusNotFound, metadataNotFound) }
			},
			warm: trustcache.ErrVanished,
		},
	)
	testLies(t, lies)
}

// errorReader fails.
type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestARepositoryThatNeverWasHasNoTrustData(t *testing.T) {
	w := newWorld(t)
	w.Answer = func(string) *reply { return status(http.StatusNotFound, metadataNotFound) }
	_, err := w.fetch(w.source(), nil)
	wantClass(t, err, trustcache.ErrNoTrustData)
	if want := "remote trust data does not exist for " + testGUN; err.Error() != want {
		t.Errorf("text is %q, expected %q", err, want)
	}
}

func TestWhatVanishedStaysSoWhileTheServerIsUnreachable(t *testing.T) {
	w, _ := lyingWorld(t)
	cache := w.cache(w.source())
	_, err := cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	for _, answer := range []*reply{
		status(http.StatusNotFound, metadataNotFound), status(http.StatusBadGateway, ""), status(http.StatusNotFound, "nginx"),
	} {
		text, _ := io.ReadAll(answer.Body)
		w.Answer = func(string) *reply { return status(answer.Status, string(text)) }
		w.Pass(61 * time.Second)
		_, err = cache.Tag(t.Context(), w.GUN, "latest")
		wantClass(t, err, trustcache.ErrVanished)
	}
	w.Answer = func(string) *reply { return nil }
	w.Serve["timestamp.json"] = []byte("{}")
	w.Pass(61 * time.Second)
	_, err = cache.Tag(t.Context(), w.GUN, "latest")
	wantClass(t, err, trustcache.ErrVanished)
}

// TestSlowAnswersEndWithTheDeadline: a body that comes in drops is given up
// when the update's own time is over, and what stood before stands.
func TestSlowAnswersEndWithTheDeadline(t *testing.T) {
	for _, name := range []string{"root.json", "timestamp.json", "snapshot.", releases + "."} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := lyingWorld(t)
				w.Answer = func(asked string) *reply {
					if strings.HasPrefix(asked, name) {
						return &reply{Status: http.StatusOK, Body: strings.NewReader(`{"signed":`), Stall: true}
					}
					return nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				start := time.Now()
				_, err := w.source().Fetch(ctx, w.GUN, nil)
				wantClass(t, err, trustcache.ErrUnreachable)
				if took := time.Since(start); took != 20*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestOneSlowRepositoryHoldsNoMemoryOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := lyingWorld(t)
		slow := func(asked string) *reply {
			if asked == "root.json" {
				return &reply{Status: http.StatusOK, Body: strings.NewReader(`{`), Stall: true}
			}
			return nil
		}
		// Only one root fits into the bound at a time.
		s := w.source(func(o *notary.Options) { o.Limits.Memory, o.Limits.Targets, o.Limits.Snapshot = 1<<20, 1<<20, 1<<20 })
		w.Answer = slow
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		ended := make(chan error)
		go func() {
			_, err := s.Fetch(ctx, w.GUN, nil)
			ended <- err
		}()
		synctest.Wait()
		second, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		_, err := s.Fetch(second, w.GUN, nil)
		wantClass(t, err, trustcache.ErrUnreachable) // it waited for memory no longer than its own deadline
		wantClass(t, <-ended, trustcache.ErrUnreachable)
		w.Answer = nil
		wantDigest(t, w.verified(s, nil), "latest", 1)
	})
}

func TestReasonsDoNotNameTheTrustServer(t *testing.T) {
	for _, cause := range []error{
		&net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4443}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		&net.OpError{Op: "read", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4443}, Err: errors.New("reset by 10.1.2.3")},
		&net.DNSError{Err: "no such host", Name: "notary.test", Server: "10.1.2.3:53"},
		&tls.CertificateVerificationError{Err: x509.HostnameError{Host: "notary.test", Certificate: &x509.Certificate{DNSNames: []string{"10.1.2.3"}}}},
		&url.Error{Op: "Get", URL: "https://notary.test/v2/", Err: errors.New("unexpected")},
		errors.New(`malformed HTTP response from 10.1.2.3`),
	} {
		w := newWorld(t)
		w.Answer = func(string) *reply { return &reply{Err: cause} }
		_, err := w.fetch(w.source(), nil)
		wantClass(t, err, trustcache.ErrUnreachable)
		if strings.Contains(err.Error(), "10.1.2.3") || strings.Contains(err.Error(), "notary.test") {
			t.Errorf("the text names the trust server: %q", err)
		}
	}
}
