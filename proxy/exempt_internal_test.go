package proxy

import "testing"

func TestMatchesTag(t *testing.T) {
	for pattern, tags := range map[string]struct{ yes, no []string }{
		"dev":      {[]string{"dev"}, []string{"", "de", "devx", "xdev", "DEV"}},
		"dev-*":    {[]string{"dev-", "dev-1", "dev-a-b"}, []string{"dev", "xdev-1"}},
		"*-rc":     {[]string{"-rc", "1-rc"}, []string{"1-rc1", "rc"}},
		"a*b":      {[]string{"ab", "axb", "abb", "aabab"}, []string{"a", "b", "abc", "xab"}},
		"a*b*c":    {[]string{"abc", "axbxc", "abbc"}, []string{"ac", "acb", "abcx", "ab"}},
		"aa*aa":    {[]string{"aaaa", "aaxaa"}, []string{"aa", "aaa"}},
		"*x*":      {[]string{"x", "axb"}, []string{"", "ab"}},
		"a**b":     {[]string{"ab", "axb"}, []string{"a"}},
		"*ab*ab":   {[]string{"abab", "xabxab"}, []string{"ab", "aab"}},
		"1.0-*-rc": {[]string{"1.0--rc", "1.0-x-rc"}, []string{"1.0-rc", "1x0--rc"}},
	} {
		for _, tag := range tags.yes {
			if !matchesTag(pattern, tag) {
				t.Errorf("%q does not match %q", pattern, tag)
			}
		}
		for _, tag := range tags.no {
			if matchesTag(pattern, tag) {
				t.Errorf("%q matches %q", pattern, tag)
			}
		}
	}
}
