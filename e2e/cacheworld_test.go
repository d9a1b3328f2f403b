package e2e

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// cached has a gate keep what it serves, and ask nobody who they are.
func cached(s *settings) {
	s.credentials = "anonymous"
	s.more += "redirects: follow\ncache: {max-size: 2GiB, ttl: 168h}\n"
}

// layered pushes an image with n further layers of this many bytes, and signs it.
// Its blobs are those that no other image has: the configuration and the layers.
func (w *world) layered(t *testing.T, repository, tag string, n int, size int64) (image pushed, blobs []string) {
	t.Helper()
	image, blobs = w.pushLayered(t, repository, tag, n, size)
	w.mustSign(t, repository, tag, image)
	return image, blobs
}

func (w *world) pushLayered(t *testing.T, repository, tag string, n int, size int64) (image pushed, blobs []string) {
	t.Helper()
	var what v1.Image = must(saying("words of " + repository + ":" + tag))(t)
	for range n {
		what = must(mutate.AppendLayers(what, must(random.Layer(size, types.DockerLayer))(t)))(t)
	}
	blobs = append(blobs, must(what.ConfigName())(t).String())
	for _, layer := range must(what.Layers())(t)[1:] {
		blobs = append(blobs, must(layer.Digest())(t).String())
	}
	return must(w.push(repository, tag, what))(t), blobs
}

// puller pulls as a client does, and checks all that it gets. It keeps its
// connections until close. Those of several may be used at once.
type puller struct {
	url    string
	client *http.Client
}

// puller is a new one, which speaks HTTP/2 over one connection, or HTTP/1.1.
func (g *gate) puller(t *testing.T, http2 bool) puller {
	t.Helper()
	transport := g.ca.transport(http2)
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost = false, 1000
	t.Cleanup(transport.CloseIdleConnections)
	return puller{g.url, &http.Client{Transport: transport}}
}

// refusal is an answer other than 200.
type refusal struct {
	path    string
	status  int
	message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %d %s", r.path, r.status, r.message) }

// image pulls a manifest, by tag or digest, and all that it names.
func (p puller) image(ctx context.Context, repository, reference string) error {
	var body strings.Builder
	digest, err := p.fetch(ctx, "/v2/"+repository+"/manifests/"+reference, &body)
	if err != nil {
		return err
	}
	if strings.HasPrefix(reference, "sha256:") && digest != reference {
		return fmt.Errorf("%s: the manifest hashes to %s", reference, digest)
	}
	var manifest struct {
		Config v1.Descriptor
		Layers []v1.Descriptor
	}
	if err := json.Unmarshal([]byte(body.String()), &manifest); err != nil {
		return err
	}
	for _, blob := range append(manifest.Layers, manifest.Config) {
		if err := p.blob(ctx, repository, blob.Digest.String()); err != nil {
			return err
		}
	}
	return nil
}

// blob pulls one blob.
func (p puller) blob(ctx context.Context, repository, digest string) error {
	got, err := p.fetch(ctx, "/v2/"+repository+"/blobs/"+digest, io.Discard)
	if err == nil && got != digest {
		err = fmt.Errorf("%s: the bytes hash to %s", digest, got)
	}
	return err
}

// fetch reads an answer to its end and returns the digest of its bytes, which has
// to be the one that its headers name.
func (p puller) fetch(ctx context.Context, path string, into io.Writer) (digest string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		a := answer{status: resp.StatusCode, body: string(body)}
		return "", cmp.Or[error](err, &refusal{path, a.status, a.message()})
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, into), resp.Body)
	if err != nil {
		return "", fmt.Errorf("%s: after %d bytes of %d: %w", path, n, resp.ContentLength, err)
	}
	digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	if said := resp.Header.Get("Docker-Content-Digest"); said != digest {
		err = fmt.Errorf("%s: %d bytes that hash to %s, and %s is said", path, n, digest, said)
	}
	return digest, err
}

// mustPull pulls for a test.
func (p puller) mustPull(t *testing.T, repository, reference string) {
	t.Helper()
	if err := p.image(t.Context(), repository, reference); err != nil {
		t.Fatal(err)
	}
}

// reads counts what the registry's access log has of reads by GET of what path
// ends with.
func (r *registry) reads(path string) (n int) {
	for _, request := range r.requests(0) {
		if strings.HasPrefix(request, "GET ") && strings.HasSuffix(request, path) {
			n++
		}
	}
	return n
}
