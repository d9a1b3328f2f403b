package e2e

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// liar is a Notary server's stand-in that can go on showing the timestamps of an
// earlier time: what leads from them is still there, for Notary keeps it.
type liar struct {
	addr  string
	shown atomic.Pointer[map[string][]byte] // instead of the newest, by path; nil: it is honest
	asked atomic.Int64                      // for timestamps, since it lies
}

// newLiar stands before the Notary server at origin.
func newLiar(t *testing.T, ca *authority, origin string) *liar {
	t.Helper()
	n := &liar{addr: must(freeAddress())(t)}
	target := must(url.Parse(origin))(t)
	transport := ca.transport(false)
	t.Cleanup(transport.CloseIdleConnections)
	honest := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	stop := must(serveTLS(ca, "liar", n.addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown := n.shown.Load(); shown != nil && (*shown)[r.URL.Path] != nil {
			n.asked.Add(1)
			_, _ = w.Write((*shown)[r.URL.Path])
			return
		}
		honest.ServeHTTP(w, r)
	})))(t)
	t.Cleanup(stop)
	return n
}

// timestampOf is the newest timestamp of a repository as origin shows it.
func (n *liar) timestampOf(t *testing.T, ca *authority, origin, gun string) map[string][]byte {
	t.Helper()
	path := "/v2/" + gun + "/_trust/tuf/timestamp.json"
	transport := ca.transport(false)
	defer transport.CloseIdleConnections()
	resp := must((&http.Client{Transport: transport}).Get(origin + path))(t)
	defer resp.Body.Close()
	raw := must(io.ReadAll(resp.Body))(t)
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(raw), "Timestamp") {
		t.Fatalf("%s: %d %s", path, resp.StatusCode, raw)
	}
	return map[string][]byte{path: raw}
}
