package proxy

import (
	"strings"
	"testing"
)

func FuzzSplitAbsolute(f *testing.F) {
	f.Add("https://a/b")
	f.Add("http://a@b//c?d")
	f.Add("https:///")
	f.Fuzz(func(t *testing.T, target string) {
		host, path, ok := splitAbsolute(target)
		if ok && ("https://"+host+path != target && "http://"+host+path != target || strings.Contains(host, "/") || !strings.HasPrefix(path, "/")) {
			t.Fatalf("%q is split into %q and %q", target, host, path)
		}
	})
}
