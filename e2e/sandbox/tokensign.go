package sandbox

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Token is a token as the service would give it to the user ("" for everybody)
// for these scopes, with a lifetime of its own: a negative one has expired by
// that much. A registry of the distribution project accepts a token up to a
// minute past its expiry.
func (t *Tokens) Token(user string, lifetime time.Duration, scopes ...string) (string, error) {
	return t.sign(user, t.opts.Service, t.allowed(user, scopes), lifetime)
}

// sign makes a JSON Web Token (RFC 7519), signed with RS256 (RFC 7518 section
// 3.3). Its key is named twice, as registries of different ages look it up: by
// libtrust's fingerprint, and by its certificate.
func (t *Tokens) sign(user, service string, access []tokenAccess, lifetime time.Duration) (string, error) {
	kid, err := fingerprint(&t.key.PublicKey)
	if err != nil {
		return "", err
	}
	now := time.Now()
	expires := now.Add(lifetime)
	issued := now
	if lifetime < 0 {
		issued = expires.Add(-DefaultTokenLifetime)
	}
	header := map[string]any{"typ": "JWT", "alg": "RS256", "kid": kid, "x5c": []string{base64.StdEncoding.EncodeToString(t.cert)}}
	claims := map[string]any{
		"iss": t.opts.Issuer, "sub": user, "aud": service,
		"exp": expires.Unix(), "nbf": issued.Add(-clockSkew).Unix(), "iat": issued.Unix(),
		"jti": rand.Text(), "access": access,
	}
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", fmt.Errorf("make a token: %w", err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	payload := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(payload))
	signature, err := rsa.SignPKCS1v15(rand.Reader, t.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return payload + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// fingerprint is libtrust's ID of a key: the first 240 bits of the SHA-256 of
// its DER form, in base32, in groups of four.
func fingerprint(key *rsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("name a token's key: %w", err)
	}
	sum := sha256.Sum256(der)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	var groups []string
	for i := 0; i < len(text); i += 4 {
		groups = append(groups, text[i:i+4])
	}
	return strings.Join(groups, ":"), nil
}
