package proxy

import (
	"bytes"
	"encoding/json"
	"mime"
	"testing"
)

// FuzzOneReading: what is accepted, a decoder that folds case and takes the
// last of repeated keys and one that does neither read alike.
func FuzzOneReading(f *testing.F) {
	for _, seed := range []string{
		`{"schemaVersion":2,"layers":[]}`, `{"manifests":[]}`, `{"manifests":[],"Layers":[]}`, `{"layers":[],"LAYERS":[1]}`, `{"layers":[],"layer\u017f":[1]}`,
		`{"mediaType":"a/b","layers":[]}`, `{"layers":[]} {}`, `{"manifest\u017f":[],"layers":[]}`, `{"\u212b":1}`, `{"fsLayers":[]}`, `[]`, `{"layers":[],"mediaType":null}`,
	} {
		for mediaType := range shapes {
			f.Add([]byte(seed), mediaType)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		if oneReading(body, contentType) != nil {
			return
		}
		var folded struct {
			MediaType                           *string
			Manifests, Layers, Config, FSLayers json.RawMessage
		}
		exact := map[string]json.RawMessage{}
		if json.Unmarshal(body, &folded) != nil || json.Unmarshal(body, &exact) != nil {
			t.Fatalf("%q is accepted and no JSON object", body)
		}
		if folded.FSLayers != nil || folded.Manifests != nil && (folded.Layers != nil || folded.Config != nil) {
			t.Fatalf("%q is accepted and reads in two ways", body)
		}
		for name, value := range map[string]json.RawMessage{"manifests": folded.Manifests, "layers": folded.Layers} {
			if strict, ok := exact[name]; ok && !bytes.Equal(strict, value) {
				t.Fatalf("%q is accepted, and its %s are %s or %s", body, name, strict, value)
			}
		}
		if mediaType, _, err := mime.ParseMediaType(contentType); err != nil || folded.MediaType != nil && *folded.MediaType != "" && *folded.MediaType != mediaType {
			t.Fatalf("%q is accepted as %q", body, contentType)
		}
	})
}
