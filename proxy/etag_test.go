package proxy

import "testing"

func TestMatchesETag(t *testing.T) {
	const digest = "sha256:ab"
	for _, tt := range []struct {
		values []string
		want   bool
	}{
		{nil, false}, {[]string{""}, false}, {[]string{digest}, true}, {[]string{`"sha256:ab"`}, true}, {[]string{`W/"sha256:ab"`}, true}, {[]string{"*"}, true},
		{[]string{`"x", "sha256:ab"`}, true}, {[]string{`"x"`, digest}, true}, {[]string{`"sha256:abc"`}, false}, {[]string{"SHA256:AB"}, false}, {[]string{`"*"`}, false},
	} {
		if got := matchesETag(tt.values, digest); got != tt.want {
			t.Errorf("%q: got %v", tt.values, got)
		}
	}
}
