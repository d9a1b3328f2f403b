package proxy

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/proxy/upstream"
)

const (
	// maxJudged bounds what the registry is asked for one signature tag:
	// manifests that its index lists, and layers in them. What was judged is
	// remembered, so that a larger one is judged in several reads.
	maxJudged = 512
	// maxJudging bounds the signature tags that are judged at once.
	maxJudging = 16
	// headOfLayer is how much of a layer is looked at, in bytes: room for a
	// block of tar and the one after it.
	headOfLayer = 1024
)

// judgement is the work of finding out whether a client could run what is
// under a signature tag. Docker's store of images looks at no media type of a
// layer and unpacks whatever it gets, so that the bytes have to be looked at.
type judgement struct {
	*gate
	repo          repo
	authorization string
	left          int // questions that the registry may still be asked
}

// runnable says whether anything in the manifest of a signature tag can be
// unpacked or run: a layer of its own, or of a manifest that it lists. The error
// is an *Error, and says nothing of the manifest.
func (j *judgement) runnable(ctx context.Context, m *content.Manifest) (bool, error) {
	return j.judge(underTag, m.Digest, func() (bool, error) {
		s, ok := parseSignatures(m.Body, m.MediaType)
		if !ok {
			return true, nil
		}
		for _, entry := range s.manifests {
			if runs, err := j.entryRuns(ctx, entry.Digest); err != nil || runs {
				return runs, err
			}
		}
		return j.layersRun(ctx, s.layers)
	})
}

// entryRuns judges a manifest that an index lists. One that is itself an index
// counts as runnable: nobody keeps signatures in one, and this has an end.
func (j *judgement) entryRuns(ctx context.Context, digest string) (bool, error) {
	if !validDigest(digest) {
		return true, nil
	}
	return j.judge(inIndex, digest, func() (bool, error) {
		body, mediaType, err := j.entry(ctx, digest)
		if errors.Is(err, errSchema1) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		s, ok := parseSignatures(body, mediaType)
		if !ok || s.isIndex {
			return true, nil
		}
		return j.layersRun(ctx, s.layers)
	})
}

func (j *judgement) layersRun(ctx context.Context, layers []descriptor) (bool, error) {
	for _, layer := range layers {
		if layerType.MatchString(layer.MediaType) || len(layer.URLs) > 0 || !validDigest(layer.Digest) {
			return true, nil
		}
	}
	for _, layer := range layers {
		runs, err := j.judge(asLayer, layer.Digest, func() (bool, error) {
			head, err := j.head(ctx, layer.Digest)
			return unpacks(head), err
		})
		if err != nil || runs {
			return runs, err
		}
	}
	return false, nil
}

// judge asks for a verdict once and remembers it: what a digest names does not
// change.
func (j *judgement) judge(as role, digest string, ask func() (bool, error)) (bool, error) {
	if runs, known := j.verdicts.get(j.origin, as, digest); known {
		return runs, nil
	}
	runs, err := ask()
	if err != nil {
		return false, err
	}
	j.verdicts.put(j.origin, as, digest, runs)
	return runs, nil
}

// question sends a by-digest read to the registry, within the bound.
func (j *judgement) question(ctx context.Context, route Route, header ...string) (*http.Response, error) {
	if j.left--; j.left < 0 {
		return nil, badGateway("signature-tag-too-large", "there is too much under this signature tag to see at once that nothing in it can be run: try again, and list fewer than %d things in it", maxJudged)
	}
	req := j.request(ctx, http.MethodGet, route, j.authorization)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := j.manifestUpstream.RoundTrip(req)
	if err != nil {
		return nil, errUpstream(err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return resp, nil
	}
	upstream.Discard(resp)
	if resp.StatusCode == http.StatusNotFound {
		return nil, badGateway("signature-tag-incomplete", "%s, which this signature tag leads to, is not in the registry, so that it cannot be seen that nothing in it can be run", route.Reference)
	}
	return nil, j.refused(resp)
}

// entry fetches a manifest that an index lists. The error is errSchema1 or an
// *Error.
func (j *judgement) entry(ctx context.Context, digest string) (body []byte, contentType string, err error) {
	resp, err := j.question(ctx, Route{Kind: ManifestByDigest, Repository: j.repo.name, Reference: digest})
	if err != nil {
		return nil, "", err
	}
	defer upstream.Discard(resp)
	if body, contentType, err = readSignatures(resp, digest); err != nil {
		return nil, "", err // schema 1 before the digest, which it has of its payload alone
	}
	if !matchesDigest(digest, body) {
		return nil, "", badGateway("upstream-mismatch", "the registry's bytes do not match the digest %s", digest)
	}
	return body, contentType, nil
}

// head fetches the first bytes of a layer. A layer that ends within them is
// there as a whole, and has to have its digest: cut short it could be anything.
func (j *judgement) head(ctx context.Context, digest string) ([]byte, error) {
	if digest == emptyBlob {
		return nil, nil // of which there is no range
	}
	resp, err := j.question(ctx, Route{Kind: Blob, Repository: j.repo.name, Reference: digest}, "Accept", "*/*", "Range", "bytes=0-1023")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // and not to its end, should the registry send all of it
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, badGateway("upstream-encoding", "the registry sent %s encoded", digest)
	}
	if resp.StatusCode == http.StatusPartialContent && !strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes 0-") {
		return nil, badGateway("upstream-protocol", "the registry sent another part of %s than its beginning", digest)
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, headOfLayer))
	if err != nil {
		return nil, errUpstream(err)
	}
	if len(head) < headOfLayer && !matchesDigest(digest, head) {
		return nil, badGateway("upstream-mismatch", "the registry's bytes do not match the digest %s", digest)
	}
	return head, nil
}

// matchesDigest says whether digest is that of b.
func matchesDigest(digest string, b []byte) bool {
	if strings.HasPrefix(digest, "sha512:") {
		sum := sha512.Sum512(b)
		return digest == "sha512:"+hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256(b)
	return digest == "sha256:"+hex.EncodeToString(sum[:])
}

// layerType are media types of file systems, packed or not, and of programs:
// those of Docker's and OCI's layers (OCI image-spec v1.1, layer.md), and those
// that say of themselves that they are archives, images of a disk or WebAssembly.
var layerType = regexp.MustCompile(`(?i)image\.(?:layer|rootfs)|(?:^|[./+-])(?:tar|tgz|rootfs|erofs|squashfs|sif|wasm)(?:$|[./+;-])`)

// packed are the first bytes of what clients unpack or run: gzip, bzip2, xz,
// Zstandard (RFC 8878 section 3.1; skippable frames, which may come first, are
// seen to below), WebAssembly, programs, and scripts, as which the images of
// Apptainer begin, or the file system in those.
var packed = [][]byte{
	{0x1f, 0x8b}, []byte("BZh"), {0xfd, '7', 'z', 'X', 'Z', 0}, {0x28, 0xb5, 0x2f, 0xfd}, []byte("\x00asm"),
	[]byte("\x7fELF"), []byte("#!"), []byte("hsqs"),
}

// unpacks says whether clients could unpack a layer that begins with head.
func unpacks(head []byte) bool {
	for _, magic := range packed {
		if bytes.HasPrefix(head, magic) {
			return true
		}
	}
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return true // a skippable frame of Zstandard
	}
	// Shorter than a block there is no tar. Otherwise anything but a bad header is
	// one: its first entry may have a header that goes on past what is here.
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return len(head) >= 512 && !errors.Is(err, tar.ErrHeader)
}

// descriptor is what is looked at of an OCI descriptor.
type descriptor struct {
	MediaType string   `json:"mediaType"`
	Digest    string   `json:"digest"`
	URLs      []string `json:"urls"`
}

// UnmarshalJSON refuses keys that come twice: clients would read either.
func (d *descriptor) UnmarshalJSON(b []byte) error {
	if _, _, err := topLevel(b); err != nil {
		return err
	}
	type plain descriptor
	return json.Unmarshal(b, (*plain)(d))
}

// signatures is a manifest or an index as it is judged.
type signatures struct {
	isIndex           bool
	layers, manifests []descriptor
}

// parseSignatures reads a manifest that has one reading; ok is false where it
// is not known what clients make of it.
func parseSignatures(body []byte, contentType string) (s signatures, ok bool) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return s, false
	}
	var parsed struct {
		Layers, Manifests []descriptor
		Blobs             []descriptor // of OCI's artifact manifest, which came and went before v1.1
	}
	if err := json.Unmarshal(body, &parsed); err != nil {
		return s, false
	}
	switch {
	case shapes[mediaType] == index:
		return signatures{isIndex: true, manifests: parsed.Manifests}, true
	case shapes[mediaType] == image, mediaType == "application/vnd.oci.artifact.manifest.v1+json":
		return signatures{layers: append(parsed.Layers, parsed.Blobs...)}, true
	}
	return s, false
}
