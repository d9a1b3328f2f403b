package content

import (
	"fmt"
	"regexp"
	"strings"
)

// Platform is what an image is made for, as an index and an image's
// configuration have it (OCI image-spec v1.1, image-index.md).
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// String is OS/architecture[/variant]. It is whatever the registry says, of any
// characters, unless ParsePlatform made it.
func (p Platform) String() string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}

// unknown is the platform of what is none, such as attestations.
const unknown = "unknown"

// Known says whether p names a platform that something could run on.
func (p Platform) Known() bool {
	return p.OS != "" && p.OS != unknown && p.Architecture != unknown
}

var platformText = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?$`)

// ParsePlatform reads what an operator asks for, such as linux/amd64 or
// linux/arm/v7.
func ParsePlatform(text string) (Platform, error) {
	if !platformText.MatchString(text) {
		return Platform{}, fmt.Errorf("%.100q is not a platform: expected os/architecture[/variant] such as linux/amd64 or linux/arm/v7", text)
	}
	parts := append(strings.Split(text, "/"), "")
	return Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}, nil
}

// Includes says whether an image made for other is wanted where p is. Without a
// variant p is every one of them; arm64 without one is its v8.
func (p Platform) Includes(other Platform) bool {
	if p.OS != other.OS || p.Architecture != other.Architecture {
		return false
	}
	return p.Variant == "" || p.variant() == other.variant()
}

func (p Platform) variant() string {
	if p.Architecture == "arm64" && p.Variant == "" {
		return "v8"
	}
	return p.Variant
}
