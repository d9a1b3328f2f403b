package notary_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"

	"github.com/theupdateframework/notary/tuf/data"
)

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
	stranger := newSigner(w.TB).Sign(w.TB, payload)
	for range n {
		sigs = append(sigs, stranger)
	}
	for _, s := range w.Parties["timestamp"].Keys {
		sigs = append(sigs, s.Sign(w.TB, payload))
	}
	return envelope(w.TB, payload, sigs)
}
