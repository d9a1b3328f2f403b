// Package trustcachetest tests trust sources. It is a World, which is a
// repository, its publisher and its trust server in memory, honest or lying on
// command; and a suite that every trustcache.Source over such a server must pass.
//
// It is linked into tests alone, and knows no source: what is under test reaches
// it through trustcache's interface, and the world as an http.RoundTripper.
package trustcachetest

import "testing"

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
