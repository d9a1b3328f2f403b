package bundle

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The names of a bundle's files; those of blobs and of metadata end in the
// sha256 of what is in them.
const (
	layoutName  = v1.ImageLayoutFile // oci-layout
	indexName   = v1.ImageIndexFile  // index.json
	blobsDir    = v1.ImageBlobsDir + "/sha256"
	trustDir    = "trust/sha256"
	catalogName = "trust/bundle.json"
)

// Bounds of what is read into memory, in bytes, and of how much there may be.
const (
	maxLayout  = 4 << 10
	maxIndex   = 16 << 20
	maxCatalog = 16 << 20
	// maxManifest is the bound of a manifest, as of any that Sealgate serves.
	maxManifest = 4 << 20
	// maxFiles bounds the entries of an archive.
	maxFiles = 100_000
	// maxImages bounds the manifests of one bundle.
	maxImages = 50_000
	// maxProtocolName bounds the name of a metadata file.
	maxProtocolName = 1024
)

// Annotations of the descriptors of tags. containerd reads its own before OCI's.
const (
	refName        = v1.AnnotationRefName
	containerdName = "io.containerd.image.name"
)

// format is the version of the catalog.
const format = 1

// Catalog is trust/bundle.json: what the bundle is for. It is a table of
// contents and proves nothing.
type Catalog struct {
	Format       int          `json:"format"`
	Repositories []Repository `json:"repositories"` // by GUN
}

// Repository is one repository of a bundle.
type Repository struct {
	GUN string `json:"gun"`
	// Files are the metadata: the sha256 of each in hexadecimal by its name in
	// Notary's protocol, such as 1.root.json, timestamp.json or
	// targets/releases.<sha256>.json.
	Files map[string]string `json:"files"`
	Tags  []Tag             `json:"tags"` // by tag
}

// Tag is one tag of a bundle.
type Tag struct {
	Tag    string        `json:"tag"`
	Digest digest.Digest `json:"digest"`
	// MediaType is that of the manifest.
	MediaType string `json:"media-type"`
	// LeftOut are the images of its index that were left out on purpose, because
	// other platforms were asked for.
	LeftOut []digest.Digest `json:"left-out,omitempty"`
}

// reference is what the tag is called in the layout.
func reference(gun, tag string) string { return gun + ":" + tag }

// ErrFormat: it is no bundle, or a damaged one.
var ErrFormat = errors.New("not a bundle that can be used")

func malformed(form string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(form, args...))
}

// blobName is where the layout has a blob.
func blobName(d digest.Digest) string { return blobsDir + "/" + d.Encoded() }

func trustName(sum string) string { return trustDir + "/" + sum }

// isSum says whether text is a sha256 in the one form that is written.
func isSum(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 32 && text == strings.ToLower(text)
}

// checkDigest accepts sha256 alone: that is what is signed, and what is kept.
func checkDigest(d digest.Digest) error {
	if hexed, ok := strings.CutPrefix(string(d), "sha256:"); !ok || !isSum(hexed) {
		return malformed("%.100q is no sha256 digest", string(d))
	}
	return nil
}

// protocolName is what metadata is called in Notary's protocol below _trust/tuf/.
var protocolName = regexp.MustCompile(`^(timestamp\.json|root\.json|[1-9][0-9]{0,8}\.root\.json|` +
	`(snapshot|targets(/[a-zA-Z0-9._-]+)*)\.[0-9a-f]{64}\.json)$`)

// check refuses a catalog that does not say one thing in one way.
func (c *Catalog) check() error {
	if c.Format != format {
		return malformed("it is of format %d where %d is expected: another version of sealgate wrote it", c.Format, format)
	}
	if len(c.Repositories) == 0 {
		return malformed("%s names no repository", catalogName)
	}
	if !slices.IsSortedFunc(c.Repositories, func(a, b Repository) int { return strings.Compare(a.GUN, b.GUN) }) {
		return malformed("the repositories in %s are not in order", catalogName)
	}
	for i, r := range c.Repositories {
		if i > 0 && c.Repositories[i-1].GUN == r.GUN {
			return malformed("%s has %.300q twice", catalogName, r.GUN)
		}
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repository) check() error {
	for name, sum := range r.Files {
		if len(name) > maxProtocolName || !protocolName.MatchString(name) || !isSum(sum) {
			return malformed("%.300q: %.300q is no metadata of it", r.GUN, name)
		}
	}
	for _, needed := range []string{"root.json", "timestamp.json"} {
		if r.Files[needed] == "" {
			return malformed("%.300q has no %s", r.GUN, needed)
		}
	}
	if len(r.Tags) == 0 {
		return malformed("%.300q has no tags", r.GUN)
	}
	for i, t := range r.Tags {
		if i > 0 && r.Tags[i-1].Tag >= t.Tag {
			return malformed("the tags of %.300q are not in order, or one comes twice", r.GUN)
		}
		for _, d := range append([]digest.Digest{t.Digest}, t.LeftOut...) {
			if err := checkDigest(d); err != nil {
				return fmt.Errorf("%.300q: %w", r.GUN, err)
			}
		}
	}
	return nil
}

// marshal is the one encoding of everything that is written.
func marshal(v any) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", "  ")
	return append(raw, '\n'), err
}

// decode is strict: an unknown key is another format, and nothing follows.
func decode(name string, raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return malformed("%s: %w", name, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed("%s: something follows the JSON object", name)
	}
	return nil
}

// layoutFile is the content of oci-layout.
func layoutFile() ([]byte, error) {
	return marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
}

// readAs are the media types under which a manifest of Docker's is in the index
// once more. skopeo looks for a name among manifests of OCI's types alone, and then
// reads what it finds there as what it is.
var readAs = map[string]string{
	"application/vnd.docker.distribution.manifest.v2+json":      v1.MediaTypeImageManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json": v1.MediaTypeImageIndex,
}

// newIndex is the index of the layout: every tag as what it is, and after them
// those of Docker's types once more. size says how large a manifest is.
func newIndex(c *Catalog, size func(digest.Digest) int64) *v1.Index {
	index := &v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	var again []v1.Descriptor
	for _, r := range c.Repositories {
		for _, t := range r.Tags {
			name := reference(r.GUN, t.Tag)
			d := v1.Descriptor{MediaType: t.MediaType, Digest: t.Digest, Size: size(t.Digest), Annotations: map[string]string{refName: name, containerdName: name}}
			index.Manifests = append(index.Manifests, d)
			if other := readAs[d.MediaType]; other != "" {
				d.MediaType, d.Annotations = other, map[string]string{refName: name}
				again = append(again, d)
			}
		}
	}
	index.Manifests = append(index.Manifests, again...)
	return index
}

// source is where the files of a bundle are.
type source interface {
	// open returns a file and its size; the error wraps fs.ErrNotExist where there
	// is none. Several may be open at once.
	open(name string) (io.ReadCloser, int64, error)
	close() error
}

// readAll reads a file of at most limit bytes; the error wraps fs.ErrNotExist
// where there is none.
func readAll(from source, name string, limit int64) ([]byte, error) {
	r, size, err := from.open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, malformed("%s is missing: %w", name, fs.ErrNotExist)
	case err != nil:
		return nil, err
	}
	defer r.Close()
	if size > limit {
		return nil, malformed("%s has %d bytes where %d are the most", name, size, limit)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, malformed("%s: %w", name, err)
	}
	return raw, nil
}
