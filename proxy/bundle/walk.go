package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
)

// tree is everything below a tag.
type tree struct {
	// manifests are the signed one and those below it, parents before children.
	manifests []content.Descriptor
	blobs     []content.Descriptor // configurations and layers, each once
	leftOut   []digest.Digest      // images of an index that are not there on purpose, sorted
	platforms []string             // of those that are there, as the index says
}

// descriptor is that of the signed manifest.
func (t Tag) descriptor() content.Descriptor {
	return content.Descriptor{MediaType: t.MediaType, Digest: t.Digest}
}

// digests are those of all that is in the tree.
func (t *tree) digests() []digest.Digest {
	all := make([]digest.Digest, 0, len(t.manifests)+len(t.blobs))
	for _, d := range slices.Concat(t.manifests, t.blobs) {
		all = append(all, d.Digest)
	}
	return all
}

// walk reads the tree below top. manifest reads one, with an error that wraps
// fs.ErrNotExist where there is none; mayLack says of the images of an index
// which of them may be missing.
func walk(ctx context.Context, top content.Descriptor, manifest func(content.Descriptor) (*content.Manifest, error), mayLack func(digest.Digest) bool) (*tree, error) {
	t := &tree{}
	seen := map[digest.Digest]bool{top.Digest: true}
	for left := []content.Descriptor{top}; len(left) > 0; left = left[1:] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d := left[0]
		m, err := manifest(d)
		switch {
		case errors.Is(err, fs.ErrNotExist) && d.Digest != top.Digest && mayLack(d.Digest):
			t.leftOut = append(t.leftOut, d.Digest)
			continue
		case errors.Is(err, fs.ErrNotExist):
			return nil, malformed("the manifest %s is not in it", d.Digest)
		case err != nil:
			return nil, err
		}
		named, err := content.Closure(m)
		if err != nil {
			return nil, malformed("%w", err)
		}
		t.manifests = append(t.manifests, d)
		t.take(d, named)
		left = append(left, fresh(seen, named.Manifests)...)
		t.blobs = append(t.blobs, fresh(seen, named.Blobs)...)
		if len(seen) > maxFiles || len(t.manifests)+len(left) > maxImages {
			return nil, malformed("below %s there is more than a bundle can have", top.Digest)
		}
	}
	slices.Sort(t.leftOut)
	return t, nil
}

// take notes the platform of an image that an index says one of.
func (t *tree) take(d content.Descriptor, named content.Named) {
	if d.Platform == nil || !d.Platform.Known() || len(named.Manifests) > 0 || d.Attests != "" {
		return
	}
	if name := d.Platform.String(); !slices.Contains(t.platforms, name) {
		t.platforms = append(t.platforms, name)
	}
}

// fresh are those not seen before, which they are from now on.
func fresh(seen map[digest.Digest]bool, all []content.Descriptor) []content.Descriptor {
	return slices.DeleteFunc(slices.Clone(all), func(d content.Descriptor) bool {
		before := seen[d.Digest]
		seen[d.Digest] = true
		return before
	})
}

// readManifest reads a manifest of a source and checks it; the error wraps
// fs.ErrNotExist where there is none.
func readManifest(from source, d content.Descriptor) (*content.Manifest, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	raw, err := readAll(from, blobName(d.Digest), maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := content.Check(sumOf(d.Digest), raw, d.MediaType)
	if err != nil {
		return nil, malformed("the manifest %s: its bytes have another digest", d.Digest)
	}
	return m, nil
}

// sumOf is the sha256 of a digest that was checked.
func sumOf(d digest.Digest) (sum [sha256.Size]byte) {
	_, _ = hex.Decode(sum[:], []byte(d.Encoded()))
	return sum
}
