package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode"
)

// shape is what a client makes of a manifest.
type shape uint8

const (
	other   shape = iota
	index         // has "manifests"
	image         // has "layers"
	schema1       // Docker's first, signed in itself: not served
)

// shapes are the media types whose shape clients rely on.
var shapes = map[string]shape{
	"application/vnd.oci.image.index.v1+json":                   index,
	"application/vnd.docker.distribution.manifest.list.v2+json": index,
	"application/vnd.oci.image.manifest.v1+json":                image,
	"application/vnd.docker.distribution.manifest.v2+json":      image,
	"application/vnd.docker.distribution.manifest.v1+prettyjws": schema1,
	"application/vnd.docker.distribution.manifest.v1+json":      schema1,
}

// ManifestTypes is what current clients accept, as a value of Accept.
const ManifestTypes = "application/vnd.oci.image.index.v1+json, " +
	"application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, " +
	"application/vnd.docker.distribution.manifest.v2+json"

// manifestTypes is our own Accept: the client's may leave out the signed type,
// for which some registries convert what they have into something else.
const manifestTypes = ManifestTypes + ", " +
	"application/vnd.oci.artifact.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.v1+prettyjws, " +
	"application/vnd.docker.distribution.manifest.v1+json, " +
	"application/json;q=0.1"

func isSchema1(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && shapes[mediaType] == schema1
}

var errSchema1 = errors.New("schema 1")

// oneReading makes sure that every client reads the manifest alike: as an
// index or as a manifest, under one media type. Go's decoders fold the case of
// keys and take the last of repeated ones, others do not.
func oneReading(body []byte, contentType string) error {
	keys, declared, err := topLevel(body)
	if err != nil {
		return err
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("its content type %.100q is malformed", contentType)
	}
	shape := shapes[mediaType]
	if keys["fslayers"] || shape == schema1 {
		return errSchema1
	}
	switch {
	case keys["manifests"] && (keys["layers"] || keys["config"]):
		return errors.New("it is both an index and an image manifest")
	case declared != "" && declared != mediaType:
		return fmt.Errorf("its media type is %.100q but the registry says %.100q", declared, mediaType)
	case keys["manifests"] != (shape == index), keys["layers"] != (shape == image):
		return fmt.Errorf("its content does not fit the media type %.100q", mediaType)
	}
	return nil
}

// topLevel returns the keys of a JSON object, in lower case, and its
// mediaType. A key that comes twice in any case is an error.
func topLevel(body []byte) (keys map[string]bool, mediaType string, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, "", errors.New("it is not a JSON object")
	}
	keys = map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, "", errors.New("it is not valid JSON")
		}
		name, ok := t.(string)
		if !ok {
			return nil, "", errors.New("it is not valid JSON")
		}
		folded := fold(name)
		if keys[folded] {
			return nil, "", fmt.Errorf("the key %.50q comes twice", name)
		}
		keys[folded] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, "", errors.New("it is not valid JSON")
		}
		if folded == "mediatype" && json.Unmarshal(value, &mediaType) != nil {
			return nil, "", errors.New("its media type is not a string")
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, "", errors.New("it is not valid JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, "", errors.New("something follows the JSON object")
	}
	return keys, mediaType, nil
}

// fold maps keys that Go's decoders take for the same to the same: they fold
// all of Unicode, so that U+017F (the long s) stands for s as well.
func fold(key string) string {
	least := func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}
	return strings.ToLower(strings.Map(least, key))
}
