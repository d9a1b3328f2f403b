package notary_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"

	"github.com/theupdateframework/notary/tuf/data"
)

// payloadOf returns the signed part of a file, byte for byte.
func payloadOf(file []byte) []byte {
	var outer struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(file, &outer); err != nil {
		panic(err)
	}
	return outer.Signed
}

// signedPart returns the file up to the signatures.
func signedPart(file []byte) []byte {
	at := bytes.LastIndex(file, []byte(`,"signatures":`))
	return file[:at:at]
}

// forge signs the file's payload with a new key and claims that it was keyID.
func forge(w *world, file []byte, keyID string) []byte {
	payload := payloadOf(file)
	sig := newSigner(w.tb).sign(w.tb, payload)
	sig.KeyID = keyID
	return envelope(w.tb, payload, []data.Signature{sig})
}

var versionField = regexp.MustCompile(`"version":\d+`)

func replaceVersion(version string) func([]byte) []byte {
	return func(payload []byte) []byte {
		return versionField.ReplaceAll(payload, []byte(`"version":`+version))
	}
}

// replaceDelegations puts another JSON value in the place of the delegations
// of a canonical targets payload.
func replaceDelegations(payload []byte, with string) []byte {
	at := bytes.Index(payload, []byte(`"delegations":`)) + len(`"delegations":`)
	dec := json.NewDecoder(bytes.NewReader(payload[at:]))
	var old json.RawMessage
	if err := dec.Decode(&old); err != nil {
		panic(err)
	}
	return append(append(bytes.Clone(payload[:at]), with...), payload[at+len(old):]...)
}

// jsonOf is v as it stands in a metadata file.
func jsonOf(tb testing.TB, v any) []byte {
	tb.Helper()
	encoded, err := json.Marshal(v)
	must(tb, err)
	return encoded
}

// withStrangers puts n signatures of a stranger before the good ones.
func withStrangers(w *world, file []byte, n int) []byte {
	payload := payloadOf(file)
	var sigs []data.Signature
	stranger := newSigner(w.tb).sign(w.tb, payload)
	for range n {
		sigs = append(sigs, stranger)
	}
	for _, s := range w.parties["timestamp"].keys {
		sigs = append(sigs, s.sign(w.tb, payload))
	}
	return envelope(w.tb, payload, sigs)
}
