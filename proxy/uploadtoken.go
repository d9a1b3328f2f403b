package proxy

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"
)

// UploadKey seals the locations of uploads, with AES-256 in GCM.
type UploadKey [32]byte

// NewUploadKey returns a key by chance.
func NewUploadKey() (k UploadKey) {
	rand.Read(k[:])
	return k
}

// keyIDSize is how many bytes of a token say which key it is under.
const keyIDSize = 8

func (k UploadKey) id() (id [keyIDSize]byte) {
	sum := sha256.Sum256(append([]byte("sealgate upload key\x00"), k[:]...))
	copy(id[:], sum[:])
	return id
}

func (k UploadKey) aead() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// uploadTokens turns the locations of uploads into tokens and back. A token is
// bound to its registry and repository. It is worth what the location is worth
// to whoever has it, no more: the registry still asks for credentials.
type uploadTokens struct {
	load func(context.Context) ([]UploadKey, error)
	now  func() time.Time

	loading sync.Mutex // one at a time
	mu      sync.Mutex
	keys    []UploadKey // the first seals
	looked  time.Time
}

// lookAgain: how often a token with a key that is not known may cause a look at
// the keys that are stored, since another replica may have made one.
const lookAgain = time.Second

// newUploadTokens keeps a key for this process alone where load is nil.
func newUploadTokens(load func(context.Context) ([]UploadKey, error), now func() time.Time) *uploadTokens {
	t := &uploadTokens{load: load, now: now}
	if load == nil {
		t.keys = []UploadKey{NewUploadKey()}
	}
	return t
}

// bound is what a token is good for, beside the location in it.
func bound(registry, repository string) []byte { return []byte(registry + "\x00" + repository) }

// seal returns the token of a location.
func (t *uploadTokens) seal(ctx context.Context, registry, repository, location string) (string, error) {
	keys, err := t.known(ctx, func(keys []UploadKey) bool { return len(keys) > 0 })
	if err != nil {
		return "", err
	}
	id := keys[0].id()
	token := keys[0].aead().Seal(id[:], nil, []byte(location), bound(registry, repository))
	return base64.RawURLEncoding.EncodeToString(token), nil
}

// open returns the location of a token of this registry and repository. The
// error is an *Error.
func (t *uploadTokens) open(ctx context.Context, registry, repository, token string) (string, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < keyIDSize {
		return "", errNoUpload
	}
	var key *UploadKey
	_, err = t.known(ctx, func(keys []UploadKey) bool {
		for i := range keys {
			if keys[i].id() == [keyIDSize]byte(raw) {
				key = &keys[i]
			}
		}
		return key != nil
	})
	switch {
	case err != nil:
		return "", err
	case key == nil:
		return "", errNoUpload
	}
	location, err := key.aead().Open(nil, nil, raw[keyIDSize:], bound(registry, repository))
	if err != nil {
		return "", errNoUpload
	}
	return string(location), nil
}

// known returns the keys, looked for anew where those known are not enough.
func (t *uploadTokens) known(ctx context.Context, enough func([]UploadKey) bool) ([]UploadKey, error) {
	if keys, _ := t.held(); enough(keys) || t.load == nil {
		return keys, nil
	}
	t.loading.Lock()
	defer t.loading.Unlock()
	keys, looked := t.held()
	if enough(keys) || len(keys) > 0 && t.now().Sub(looked) < lookAgain {
		return keys, nil
	}
	keys, err := t.load(ctx)
	if err == nil && len(keys) == 0 {
		err = errInternal
	}
	if err != nil {
		return nil, unavailable("store", errUploadKeys).because(err)
	}
	t.mu.Lock()
	t.keys, t.looked = keys, t.now()
	t.mu.Unlock()
	enough(keys)
	return keys, nil
}

func (t *uploadTokens) held() ([]UploadKey, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys, t.looked
}
