package content

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Descriptor is how a manifest names something (OCI image-spec v1.1,
// descriptor.md).
type Descriptor struct {
	MediaType string
	Digest    digest.Digest // of an algorithm that can be checked, well formed
	Size      int64         // in bytes, not negative
	// Platform is that of an entry of an index; nil where it says none.
	Platform *Platform
	// Attests is the manifest of the same index that this one is an attestation of
	// (as BuildKit's); "" for all others.
	Attests digest.Digest
}

// Named is what a manifest names, in its order, each digest once.
type Named struct {
	// Manifests are those that an index lists.
	Manifests []Descriptor
	// Blobs are the configuration and the layers of an image.
	Blobs []Descriptor
	// Foreign are layers that clients fetch from elsewhere ("urls", or of a media
	// type that may not be distributed): registries need not have them.
	Foreign []Descriptor
}

// maxNamed bounds what one manifest names.
const maxNamed = 10_000

// Closure reads what m names, one step deep: an index has Manifests, an image
// Blobs and Foreign. It makes no request. A media type of which it is not known
// what it names, and anything that is malformed, is an error.
//
// It reads as Go's decoders do. That other clients may read another digest where
// a key comes twice costs them a miss, and nothing else: what is stored under a
// digest has it.
func Closure(m *Manifest) (Named, error) {
	mediaType, _, err := mime.ParseMediaType(m.MediaType)
	if err != nil {
		return Named{}, fmt.Errorf("the manifest %s has the malformed media type %.100q", m.Digest, m.MediaType)
	}
	var parsed struct {
		Manifests, Layers []descriptor
		Config            *descriptor
	}
	if err := json.Unmarshal(m.Body, &parsed); err != nil {
		return Named{}, fmt.Errorf("the manifest %s cannot be read: %w", m.Digest, err)
	}
	var named Named
	switch mediaType {
	case "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json":
		named.Manifests, err = checked(parsed.Manifests)
	case "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json":
		named, err = ofImage(parsed.Config, parsed.Layers)
	default:
		err = fmt.Errorf("of media type %.100q it is not known what it names", mediaType)
	}
	if err != nil {
		return Named{}, fmt.Errorf("the manifest %s: %w", m.Digest, err)
	}
	return named, nil
}

func ofImage(config *descriptor, layers []descriptor) (named Named, err error) {
	if config == nil {
		return named, errors.New("it is an image without a configuration")
	}
	here, elsewhere := []descriptor{*config}, []descriptor(nil)
	for _, d := range layers {
		if d.foreign() {
			elsewhere = append(elsewhere, d)
		} else {
			here = append(here, d)
		}
	}
	if named.Blobs, err = checked(here); err == nil {
		named.Foreign, err = checked(elsewhere)
	}
	return named, err
}

// descriptor is one as it is written.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	URLs        []string          `json:"urls"`
	Platform    *Platform         `json:"platform"`
	Annotations map[string]string `json:"annotations"`
}

// foreign are layers that are not to be redistributed (OCI image-spec v1.1,
// layer.md; Docker's schema 2 likewise).
func (d descriptor) foreign() bool {
	switch d.MediaType {
	case "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}
	return len(d.URLs) > 0
}

// attests is the digest that an attestation is about.
func (d descriptor) attests() digest.Digest {
	if d.Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
		return ""
	}
	return digest.Digest(d.Annotations["vnd.docker.reference.digest"])
}

func checked(written []descriptor) ([]Descriptor, error) {
	if len(written) > maxNamed {
		return nil, fmt.Errorf("it names %d things, more than %d", len(written), maxNamed)
	}
	var all []Descriptor
	for _, w := range written {
		d := Descriptor{MediaType: w.MediaType, Digest: digest.Digest(w.Digest), Size: w.Size, Platform: w.Platform, Attests: w.attests()}
		if err := d.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("it names %.100q: %w", w.Digest, err)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("it names %s with a size of %d bytes", d.Digest, d.Size)
		}
		all = append(all, d)
	}
	return once(all), nil
}

// once leaves out what was named before. It sees to it that no digest is there
// with two sizes as well: the first counts, and bytes of another do not match.
func once(all []Descriptor) []Descriptor {
	seen := map[digest.Digest]bool{}
	return slices.DeleteFunc(all, func(d Descriptor) bool {
		before := seen[d.Digest]
		seen[d.Digest] = true
		return before
	})
}

// Select divides what an index lists into what the wanted platforms need and the
// rest. Without wanted all is taken. What says no platform is taken too, since it
// may be for any; an attestation goes with the manifest that it is about.
func Select(manifests []Descriptor, wanted []Platform) (taken, left []Descriptor) {
	if len(wanted) == 0 {
		return manifests, nil
	}
	images := map[digest.Digest]bool{}
	for _, d := range manifests {
		images[d.Digest] = d.Attests == "" && d.fits(wanted)
	}
	for _, d := range manifests {
		if images[d.Digest] || images[d.Attests] {
			taken = append(taken, d)
		} else {
			left = append(left, d)
		}
	}
	return taken, left
}

func (d Descriptor) fits(wanted []Platform) bool {
	return d.Platform == nil || slices.ContainsFunc(wanted, func(p Platform) bool { return p.Includes(*d.Platform) })
}
