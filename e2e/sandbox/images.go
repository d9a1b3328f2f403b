package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image returns a linux/amd64 image (Docker's schema 2) with one tiny layer:
// the file /seed, which holds the seed and a line feed. The same seed gives
// the same digest, another seed another one.
func Image(seed string) (v1.Image, error) {
	return image(seed, "amd64", empty.Image, types.DockerLayer)
}

// Index returns an OCI index over a linux/amd64 and a linux/arm64 image made
// like Image's, in OCI media types. The same seed gives the same digest.
func Index(seed string) (v1.ImageIndex, error) {
	var index v1.ImageIndex = empty.Index
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := image(seed, arch, base, types.OCILayer)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, nil
}

func image(seed, arch string, base v1.Image, layerType types.MediaType) (v1.Image, error) {
	content, err := seedTar(seed)
	if err != nil {
		return nil, fmt.Errorf("make image %q: %w", seed, err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(layerType))
	if err != nil {
		return nil, fmt.Errorf("make image %q: %w", seed, err)
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("make image %q: %w", seed, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make image %q: %w", seed, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Labels = map[string]string{"sealgate.sandbox.seed": seed}
	return mutate.ConfigFile(img, config)
}

// seedTar is the layer's content: no times and no owners, so that it depends
// on the seed alone.
func seedTar(seed string) ([]byte, error) {
	var buf bytes.Buffer
	text := seed + "\n"
	w := tar.NewWriter(&buf)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: "seed", Mode: 0o644, Size: int64(len(text)), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// described is what images and indexes have in common beyond being pushable.
type described interface {
	partial.WithRawManifest
	Digest() (v1.Hash, error)
	Size() (int64, error)
}

// Push uploads thing, an image or an index, as repo:tag to the registry at
// registryURL (https://host:port or http://host:port; a user name and password
// in it are sent as Basic authentication) and returns the digest ("sha256:…")
// and the size in bytes of its manifest: what a publisher signs. pool holds the
// authorities that the registry's certificate may come from; nil means the
// system's.
func Push(ctx context.Context, registryURL string, pool *x509.CertPool, repo, tag string, thing remote.Taggable) (digest string, size int64, err error) {
	ref, options, err := destination(registryURL, repo, tag)
	if err != nil {
		return "", 0, err
	}
	manifest, ok := thing.(described)
	if !ok {
		return "", 0, fmt.Errorf("push %s: expected an image or an index, have %T", ref, thing)
	}
	transport := newTransport(pool)
	defer transport.CloseIdleConnections()
	options = append(options, remote.WithContext(ctx), remote.WithTransport(transport))
	switch thing := thing.(type) {
	case v1.Image:
		err = remote.Write(ref, thing, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, thing, options...)
	default:
		err = remote.Put(ref, thing, options...)
	}
	if err != nil {
		return "", 0, fmt.Errorf("push %s: %w", ref, err)
	}
	hash, err := manifest.Digest()
	if err != nil {
		return "", 0, fmt.Errorf("push %s: %w", ref, err)
	}
	size, err = manifest.Size()
	if err != nil {
		return "", 0, fmt.Errorf("push %s: %w", ref, err)
	}
	return hash.String(), size, nil
}

func destination(registryURL, repo, tag string) (name.Tag, []remote.Option, error) {
	u, err := url.Parse(registryURL)
	if err != nil {
		// Not wrapped: the text would repeat the password that the URL may hold.
		return name.Tag{}, nil, errors.New("registry URL: cannot be parsed")
	}
	if u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return name.Tag{}, nil, errors.New("registry URL: expected https://host:port or http://host:port")
	}
	var nameOptions []name.Option
	if u.Scheme == "http" {
		nameOptions = append(nameOptions, name.Insecure)
	}
	ref, err := name.NewTag(u.Host+"/"+repo+":"+tag, nameOptions...)
	if err != nil {
		return name.Tag{}, nil, err
	}
	options := []remote.Option{remote.WithAuth(authn.Anonymous)}
	if u.User != nil {
		password, _ := u.User.Password()
		options[0] = remote.WithAuth(&authn.Basic{Username: u.User.Username(), Password: password})
	}
	return ref, options, nil
}

func withUser(target, user, password string) string {
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// newTransport returns a transport that trusts pool and keeps no connection
// open for later, so that nothing outlives the call that made it.
func newTransport(pool *x509.CertPool) *http.Transport {
	return &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
}
