package admin_test

import (
	"net/http/httptest"
	"testing"
)

// TestOtherSitesCannotReadThePage: nor have it compare, whatever a browser can be
// made to send.
func TestOtherSitesCannotReadThePage(t *testing.T) {
	p := newPages(t, &watched{hosts: []string{"status.example.com"}})
	fetch := func(site, mode, dest string) map[string]string {
		return map[string]string{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
	}
	for _, c := range []struct {
		name, method, host string
		header             map[string]string
		status             int
	}{
		{"an address", "GET", "10.1.2.3:8444", nil, 200},
		{"an address without a port", "GET", "10.1.2.3", nil, 200},
		{"an IPv6 address", "GET", "[fd00::1]:8444", nil, 200},
		{"localhost", "GET", "localhost:8444", nil, 200},
		{"a name of admin.hosts", "GET", "Status.Example.com:8444", nil, 200},
		{"a name that leads here (rebinding)", "GET", "rebind.evil.example:8444", nil, 421},
		{"a name below one of admin.hosts", "GET", "x.status.example.com", nil, 421},
		{"no name", "GET", "", nil, 421},
		{"typed by the reader", "GET", "localhost", fetch("none", "navigate", "document"), 200},
		{"from the page itself", "GET", "localhost", fetch("same-origin", "cors", "empty"), 200},
		{"a link elsewhere", "GET", "localhost", fetch("cross-site", "navigate", "document"), 200},
		{"a script elsewhere", "GET", "localhost", fetch("cross-site", "cors", "empty"), 403},
		{"an image elsewhere", "GET", "localhost", fetch("cross-site", "no-cors", "image"), 403},
		{"a frame elsewhere", "GET", "localhost", fetch("cross-site", "navigate", "iframe"), 403},
		{"another port of this host", "GET", "localhost", fetch("same-site", "cors", "empty"), 403},
		{"a form of the page", "POST", "localhost", fetch("same-origin", "navigate", "document"), 200},
		{"a form elsewhere", "POST", "localhost", fetch("cross-site", "navigate", "document"), 403},
		{"a form elsewhere, to an address without TLS", "POST", "10.1.2.3:8444", map[string]string{"Origin": "http://evil.example"}, 403},
		{"a form of the page, to an address without TLS", "POST", "10.1.2.3:8444", map[string]string{"Origin": "http://10.1.2.3:8444"}, 200},
		{"a form in a sandbox elsewhere", "POST", "10.1.2.3:8444", map[string]string{"Origin": "null"}, 403},
		{"curl", "POST", "10.1.2.3:8444", nil, 200},
		{"curl, by a name that leads here", "POST", "rebind.evil.example", nil, 421},
	} {
		for prefix := range map[string]bool{"": true, "/api/v1": true} {
			path := prefix + "/repositories/" + gun
			if c.method == "POST" {
				path = prefix + "/compare/" + gun
			}
			r := httptest.NewRequest(c.method, path, nil)
			r.Host = c.host
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			if w.Code != c.status {
				t.Errorf("%s: %s: %d, want %d: %s", c.name, path, w.Code, c.status, w.Body)
			}
		}
	}
}
