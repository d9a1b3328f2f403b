package trustcachetest

import (
	"bytes"
	"encoding/json"

	"github.com/theupdateframework/notary/tuf/data"
)

// PayloadOf returns the signed part of a file of a world, byte for byte.
func PayloadOf(file []byte) []byte {
	var outer struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(file, &outer); err != nil {
		panic(err)
	}
	return outer.Signed
}

// SignedPart returns a file of a world up to the signatures, as the start of
// another one.
func SignedPart(file []byte) []byte {
	at := bytes.LastIndex(file, []byte(`,"signatures":`))
	return file[:at:at]
}

// Forge signs the file's payload with a new key and claims that it was keyID.
func Forge(w *World, file []byte, keyID string) []byte {
	payload := PayloadOf(file)
	sig := NewSigner(w.TB).Sign(w.TB, payload)
	sig.KeyID = keyID
	return Envelope(w.TB, payload, []data.Signature{sig})
}

// Tamper changes one byte of the signed part of a file of a world, in place.
func Tamper(file []byte) []byte {
	at := bytes.Index(file, []byte(`"expires":"2`))
	file[at+len(`"expires":"`)] = '3' // 3026
	return file
}
