package upstream

import (
	"context"
	"encoding/base64"
)

// Secret is what a server, or its token server, knows us by. The zero value
// is nobody.
type Secret struct {
	Username, Password string
	// IdentityToken is an OAuth2 refresh token, which only a token server takes.
	IdentityToken string
	// RegistryToken is a Bearer token that the server itself takes.
	RegistryToken string
}

// Secrets finds the secret for one server. It is safe for concurrent use.
// again says that the secret that it returned last was refused, so that a
// newer one is wanted where there is one. The error must not repeat a secret.
type Secrets func(ctx context.Context, again bool) (Secret, error)

// String says nothing of the secret, so that no log and no error does.
func (s Secret) String() string {
	if s == (Secret{}) {
		return "no credentials"
	}
	return "credentials"
}

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, so that JSON holds no secret either.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// basic is the value of an Authorization header (RFC 7617); "" for nobody.
func (s Secret) basic() string {
	if s.Username == "" && s.Password == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.Username+":"+s.Password))
}
