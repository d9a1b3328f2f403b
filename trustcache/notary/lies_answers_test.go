package notary_test

import (
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
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

func TestATrustServerWithoutAGoodAnswerIsUnreachable(t *testing.T) {
	testLies(t, told(trustcachetest.Dark()))
}

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
