package content

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// The layout is that of distribution v3 (registry/storage/paths.go), which does
// not export it.
const (
	blobs        = "/docker/registry/v2/blobs"
	repositories = "/docker/registry/v2/repositories"
	uploads      = "_uploads"
)

// kind is what a link of a repository is to; the value is its directory there.
type kind string

const (
	manifests kind = "_manifests/revisions"
	layers    kind = "_layers" // and configurations: every blob
)

// link is the object that says that a repository has a digest. Its
// modification time is when that was used last.
type link struct {
	kind       kind
	repository string
	digest     digest.Digest
}

// directory holds nothing but the link.
func (l link) directory() string {
	return path.Join(repositories, l.repository, string(l.kind), "sha256", l.digest.Encoded())
}

func (l link) path() string { return l.directory() + "/link" }

// parseLink reads the path of a link, false if it is none.
func parseLink(name string) (link, bool) {
	below, ok := strings.CutPrefix(name, repositories+"/")
	if !ok {
		return link{}, false
	}
	for _, k := range []kind{manifests, layers} {
		repository, rest, ok := strings.Cut(below, "/"+string(k)+"/sha256/")
		hex, ok2 := strings.CutSuffix(rest, "/link")
		if l := (link{k, repository, digest.NewDigestFromEncoded(digest.SHA256, hex)}); ok && ok2 && l.digest.Validate() == nil {
			return l, true
		}
	}
	return link{}, false
}

// dataDirectory holds nothing but the bytes of d.
func dataDirectory(d digest.Digest) string {
	return blobs + "/sha256/" + d.Encoded()[:2] + "/" + d.Encoded()
}

func dataPath(d digest.Digest) string { return dataDirectory(d) + "/data" }

// parseData reads the path of the bytes of a digest, false if it is none.
func parseData(name string) (digest.Digest, bool) {
	hex, ok := strings.CutSuffix(name, "/data")
	d := digest.NewDigestFromEncoded(digest.SHA256, path.Base(hex))
	if !ok || d.Validate() != nil || dataPath(d) != name {
		return "", false
	}
	return d, true
}

func uploadDirectory(repository, id string) string {
	return path.Join(repositories, repository, uploads, id)
}

// errName: not a repository name. None that could be anything else in the
// layout passes: no component begins with "." or "_", and there is no ":".
var errName = errors.New("not a repository name")

func parseRepository(name string) (reference.Named, error) {
	named, err := reference.WithName(name)
	if err != nil || strings.Contains(name, ":") || strings.ToLower(name) != name {
		return nil, fmt.Errorf("%q: %w", name, errName)
	}
	return named, nil
}

// cacheable is nil for the digests that are kept: sha256 alone, since the
// library would keep others under another digest.
func cacheable(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%q: %w", d, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: %q is not a sha256 digest", ErrUncacheable, d)
	}
	return nil
}

// absent says whether err is of a driver that has nothing there.
func absent(err error) bool { return errors.As(err, new(driver.PathNotFoundError)) }
