package config

import (
	"math"
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1": 1, "1048576": 1 << 20, "64KiB": 64 << 10, "1MiB": 1 << 20, "50GiB": 50 << 30, "2TiB": 2 << 40,
		"9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		if got, err := parseSize(s); got != want || err != nil {
			t.Errorf("parseSize(%q) = %d, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "KiB", "-1", "+1", "1.5MiB", "1MB", "1M", "1mib", "1 MiB", " 1", "0x10", "1_000", "010", "1e6", "1KiBKiB",
		"9223372036854775808", "8388608TiB", "99999999999999999999",
	} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %d", s, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1023: "1023", 1024: "1KiB", 1536: "1536", 1 << 20: "1MiB", 3 << 30: "3GiB", -1024: "-1KiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %q", n, got)
		}
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "60s": time.Minute, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond} {
		if got, err := parseDuration(s); got != want || err != nil {
			t.Errorf("parseDuration(%q) = %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "60", "1d", "1 h", "s", "9999999999h"} {
		if got, err := parseDuration(s); err == nil {
			t.Errorf("parseDuration(%q) = %s", s, got)
		}
	}
}

func TestHosts(t *testing.T) {
	for s, want := range map[string]string{
		"a": "a", "a.example.com": "a.example.com", "a-b.example.com:5000": "a-b.example.com:5000", "localhost": "localhost",
		"10.0.0.1": "10.0.0.1", "10.0.0.1:443": "10.0.0.1:443", "::1": "::1", "[::1]": "::1", "[0::1]:443": "[::1]:443",
		"xn--bcher-kva.example": "xn--bcher-kva.example", "1password.example": "1password.example",
	} {
		if got, err := parseHost(s); got != want || err != nil {
			t.Errorf("parseHost(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "A", "ä", "a b", "a/b", "https://a", "a:", "a:0", "a:x", "a:65536", "a:080",
		"a:1:2", ":443", "*", "*.a", "10.0.0.256", "10.1", "2130706433", "[::1", "[::1]x", "[::1]:", "[10.0.0.1]", "[a]", "::1%lo", "[::1%25lo]:1",
		"a@b", "a\n",
	} {
		if got, err := parseHost(s); err == nil {
			t.Errorf("parseHost(%q) = %q", s, got)
		}
	}
}

func TestURLs(t *testing.T) {
	for s, want := range map[string]string{
		"https://a.example.com":        "https://a.example.com",
		"https://a.example.com/":       "https://a.example.com",
		"HTTP://A.example.com:80/x/Y/": "http://a.example.com:80/x/Y",
		"https://a_b:5000/x~y":         "https://a_b:5000/x~y",
		"http://[::1]:5000/":           "http://[::1]:5000",
		"https://a/v2x":                "https://a/v2x",
	} {
		if got, err := parseURL(s); err != nil || got.String() != want {
			t.Errorf("parseURL(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "a.example.com", "a.example.com:443", "//a.example.com", "https:a", "https:///x", "https://", "https://:443", "ftp://a", "unix:///x",
		"https://u@a", "https://@a", "https://u:p@a", "https://a?", "https://a?x=y", "https://a#", "https://a/x#y", "https://a:", "https://a:0", "https://a:65536", "https://a:x",
		"https://a//", "https://a//b", "https://a/./b", "https://a/..", "https://a/b/../c", "https://a/%41", "https://a/b%2fc", "https://a/b c", `https://a/b\c`, "https://a/ä",
		"https://a/v2", "https://a/x/v2/", "https://a b", "https://a\n", "https://[::1%25lo]", "https://*", "https://a,b",
	} {
		if got, err := parseURL(s); err == nil {
			t.Errorf("parseURL(%q) = %v", s, got)
		}
	}
}

func TestListen(t *testing.T) {
	for _, s := range []string{":0", ":8443", "127.0.0.1:8443", "[::]:443", "[fe80::1%eth0]:443", "localhost:1", "gate.example.com:443"} {
		if err := checkListen(s, ""); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "8443", "127.0.0.1", "a:https", "a:-1", "a:65536", "a:01", "::1:443", "10.0.0.256:1", "a b:1", "*:443", "http://a:1"} {
		if err := checkListen(s, ""); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestListenersThatCollide(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{":0", ":0", false},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{"127.0.0.1:1", "[::1]:1", false},
		{"127.0.0.1:1", "[::ffff:127.0.0.1]:1", true},
		{"[::1]:1", "[0:0::1]:1", true},
		{"[fe80::1%eth0]:1", "[fe80::1%eth1]:1", false},
		{"localhost:1", "127.0.0.1:1", true},
		{"localhost:1", "localhost:1", true},
		{"gate.example.com:1", "gate.example.com:1", true},
		{"gate.example.com:1", "admin.example.com:1", false},
		{"gate.example.com:1", "127.0.0.1:1", false},
		{":1", "127.0.0.1:1", true},
		{":1", "[::]:1", true},
		{"0.0.0.0:1", "[::1]:1", true},
		{"[::ffff:0.0.0.0]:1", "10.0.0.1:1", true},
		{":1", "gate.example.com:1", true},
		{":1", "gate.example.com:2", false},
	} {
		if got := collide(test.a, test.b); got != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
		if got := collide(test.b, test.a); got != test.want {
			t.Errorf("%s and %s: %v", test.b, test.a, got)
		}
	}
}
