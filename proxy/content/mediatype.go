package content

import (
	"encoding/json"
	"fmt"

	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/schema2"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// mediaType is what a manifest is by its bytes alone: nothing else of it is
// stored. It follows distribution's manifest store (v3.1.2,
// registry/storage/manifeststore.go, Get); the error wraps ErrUncacheable for
// what that would not read.
func mediaType(body []byte) (string, error) {
	var of struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(body, &of); err != nil || of.SchemaVersion != 2 {
		return "", fmt.Errorf("%w: not a manifest of schema version 2", ErrUncacheable)
	}
	switch of.MediaType {
	case schema2.MediaTypeManifest, manifestlist.MediaTypeManifestList, v1.MediaTypeImageManifest, v1.MediaTypeImageIndex:
		return of.MediaType, nil
	case "":
		if of.Manifests != nil && string(of.Manifests) != "null" {
			return v1.MediaTypeImageIndex, nil
		}
		return v1.MediaTypeImageManifest, nil
	}
	return "", fmt.Errorf("%w: manifest of type %q", ErrUncacheable, of.MediaType)
}
