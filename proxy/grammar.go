package proxy

import (
	"strings"

	"github.com/distribution/reference"
)

// The grammars of what every pull names, by hand: regular expressions took a
// quarter of the time of a read. The tests compare them with distribution's.

// validName says whether name is a repository name: path components of a-z
// and 0-9 with ".", "_", "__" or any number of "-" between them
// (distribution/reference v0.6.0, regexp.go; OCI distribution-spec v1.1).
func validName(name string) bool {
	if len(name) > reference.RepositoryNameTotalLengthMax {
		return false
	}
	for component := range strings.SplitSeq(name, "/") {
		if !validComponent(component) {
			return false
		}
	}
	return true
}

func validComponent(s string) bool {
	for {
		n := countLowerAlnum(s)
		if n == 0 {
			return false
		}
		if s = s[n:]; s == "" {
			return true
		}
		s = s[countSeparator(s):] // none leaves what no letter or digit begins
	}
}

func countLowerAlnum(s string) (n int) {
	for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] >= '0' && s[n] <= '9') {
		n++
	}
	return n
}

func countSeparator(s string) (n int) {
	switch {
	case s[0] == '.':
		return 1
	case strings.HasPrefix(s, "__"):
		return 2
	case s[0] == '_':
		return 1
	}
	for n < len(s) && s[n] == '-' {
		n++
	}
	return n
}

// validTag says whether tag is one (OCI distribution-spec v1.1, "Pulling
// manifests"): at most 128 word characters, "." and "-", the first a word
// character.
func validTag(tag string) bool {
	if tag == "" || len(tag) > 128 || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	for i := range len(tag) {
		switch c := tag[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// validDigest says whether digest is sha256 or sha512 in the form of the OCI
// image-spec v1.1 (descriptor.md, "Registered algorithms").
func validDigest(digest string) bool {
	if sum, ok := strings.CutPrefix(digest, "sha256:"); ok {
		return len(sum) == 64 && lowerHex(sum)
	}
	sum, ok := strings.CutPrefix(digest, "sha512:")
	return ok && len(sum) == 128 && lowerHex(sum)
}

// maxToken bounds the token of an upload, in bytes.
const maxToken = 8192

// validToken says whether token may be one of ours: base64url without padding.
func validToken(token string) bool {
	for i := range len(token) {
		switch c := token[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return token != "" && len(token) <= maxToken
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
