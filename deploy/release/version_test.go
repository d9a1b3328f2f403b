package main

import "testing"

func TestDebianVersionsSortAsReleasesFollow(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3":                  "1.2.3",
		"v1.2.3-rc.1":             "1.2.3~rc.1",
		"v1.2.3-4-g0123abc":       "1.2.3+4.g0123abc",
		"v1.2.3-4-g0123abc-dirty": "1.2.3+4.g0123abc.dirty",
		"v1.2.3-dirty":            "1.2.3+dirty",
		"0123abc":                 "0~0123abc",
		"0123abc-dirty":           "0~0123abc.dirty",
	} {
		if got := debianVersion(version); got != want {
			t.Errorf("%s: want %s, got %s", version, want, got)
		}
	}
}

func TestAVersionIsOneWord(t *testing.T) {
	for version, valid := range map[string]bool{
		"v1.2.3": true, "v1.2.3-rc.1": true, "0123abc-dirty": true,
		"": false, "v1 -X main.x=y": false, "-v": false, "../v1": false, "v1/2": false, "v1+2": false,
	} {
		if validVersion(version) != valid {
			t.Errorf("%q: want %t", version, valid)
		}
	}
}
