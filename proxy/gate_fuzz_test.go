package proxy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzNamespace: where ns is understood, every reader of queries understands it
// alike, and it is a host.
func FuzzNamespace(f *testing.F) {
	for _, query := range []string{"ns=docker.io", "ns=a:5000&ns=b", "a=b&%6es=x", "ns=%5B::1%5D", "ns", "&&ns=a%2Fb", "ns=A.b;c", "ns=%"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		ns, given, err := namespace("/v2/?" + query)
		if err != nil {
			return
		}
		values, parseErr := url.ParseQuery(query)
		all := values["ns"]
		switch {
		case given && (!hostGrammar.MatchString(ns) || ns != strings.ToLower(ns)):
			t.Errorf("%q is no host", ns)
		case given && (len(all) != 1 || ns != strings.ToLower(all[0]) && ns != DockerHub):
			t.Errorf("%q is read as %q, and otherwise as %q", query, ns, all)
		case !given && len(all) != 0:
			t.Errorf("%q has an ns for others: %q (%v)", query, all, parseErr)
		}
	})
}

// FuzzUnpacks: what can be unpacked, however it goes on, is found by its
// beginning.
func FuzzUnpacks(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: strings.Repeat("long/", 300), Size: 1, Format: tar.FormatGNU})
	_, _ = w.Write([]byte("x"))
	f.Add(b.Bytes())
	b = bytes.Buffer{}
	w = tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{"comment": strings.Repeat("y", 2000)}})
	f.Add(b.Bytes())
	f.Add(make([]byte, 1024))
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, layer []byte) {
		found := unpacks(layer[:min(len(layer), headOfLayer)])
		if _, err := tar.NewReader(bytes.NewReader(layer)).Next(); err == nil && !found {
			t.Error("a tar is not found")
		}
		if _, err := gzip.NewReader(bytes.NewReader(layer)); err == nil && !found {
			t.Error("gzip is not found")
		}
	})
}

// FuzzNoAddress: whatever a message is, it makes a header's value that no client
// can follow.
func FuzzNoAddress(f *testing.F) {
	for _, message := range []string{"", "a\r\nb: c", "@x:1/", "#", "?", "%zz", "é\xff", "]:80/"} {
		f.Add(message, 404)
	}
	f.Fuzz(func(t *testing.T, message string, status int) {
		location := noAddress(&Error{Status: status, Message: message})
		if u, err := url.Parse(location); err == nil {
			t.Errorf("%q can be followed to %v", location, u)
		}
		if len(location) > maxShown+100 || slices.ContainsFunc([]byte(location), func(c byte) bool { return c < ' ' || c > '~' || c == '"' }) {
			t.Errorf("%q is no line of text", location)
		}
	})
}
