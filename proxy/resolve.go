package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/proxy/upstream"
)

// Resolved is what a registry has for a tag, checked.
type Resolved struct {
	// Digest is the sha256 of the manifest, Size its length in bytes.
	Digest string
	Size   int64
	// MediaType is one of an image or an index, or any other that the manifest
	// has; it is the registry's word.
	MediaType string
	// Platforms are those that an index lists, or the one of an image, as
	// os/architecture[/variant]; empty where none is said. They are the
	// registry's word, of any characters.
	Platforms []string
}

// Errors of Resolve.
var (
	ErrNotInRegistry = errors.New("the registry has no such tag, or shows it to nobody without other credentials")
	ErrSchema1       = errors.New("it is an image manifest of schema 1, which cannot be signed so that it is served: push the image again with a client of today")
	ErrMismatch      = errors.New("the registry contradicts itself")
)

// Resolve asks a registry what it has for a tag, past every decision: for the
// operator who is about to make one. It uses reg's Upstream, RedirectHosts and
// Redirected; repository is the full name. What the registry then serves is what
// was checked here: by digest, the bytes of that digest, in one reading.
func Resolve(ctx context.Context, reg Registry, repository, tag string) (*Resolved, error) {
	g := newGate(reg.withDefaults(), new(shared))
	byTag, err := g.checked(ctx, Route{Kind: ManifestByTag, Repository: repository, Reference: tag})
	if err != nil {
		return nil, err
	}
	byDigest, err := g.checked(ctx, Route{Kind: ManifestByDigest, Repository: repository, Reference: byTag.Digest})
	if err != nil {
		return nil, fmt.Errorf("by its digest %s: %w", byTag.Digest, err)
	}
	if byDigest.Digest != byTag.Digest {
		return nil, fmt.Errorf("%w: for the digest %s it has the bytes of %s", ErrMismatch, byTag.Digest, byDigest.Digest)
	}
	byDigest.Platforms = g.platforms(ctx, repository, byDigest)
	return &byDigest.Resolved, nil
}

// TagDigest asks a registry which digest it has for a tag, and takes its word for
// it: for the operator who compares, past every decision. It uses what Resolve
// does and fetches no manifest. The error is ErrNotInRegistry where there is no
// such tag.
func TagDigest(ctx context.Context, reg Registry, repository, tag string) (string, error) {
	g := newGate(reg.withDefaults(), new(shared))
	resp, err := g.ask(ctx, g.manifestUpstream, http.MethodHead, Route{Kind: ManifestByTag, Repository: repository, Reference: tag}, "")
	if err != nil {
		return "", err
	}
	defer upstream.Discard(resp)
	said := resp.Header.Get("Docker-Content-Digest")
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return "", ErrNotInRegistry
	case resp.StatusCode != http.StatusOK:
		return "", errRelayed(resp)
	case !validDigest(said):
		return "", fmt.Errorf("%w: its answer names no digest", ErrMismatch)
	}
	return said, nil
}

// resolved is a manifest that was read.
type resolved struct {
	Resolved
	body []byte
}

// checked reads one manifest and checks it against what the registry says of it.
func (g *gate) checked(ctx context.Context, route Route) (*resolved, error) {
	resp, err := g.ask(ctx, g.manifestUpstream, http.MethodGet, route, "")
	if err != nil {
		return nil, err
	}
	defer upstream.Discard(resp)
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, ErrNotInRegistry
	case resp.StatusCode != http.StatusOK:
		return nil, errRelayed(resp)
	case isSchema1(resp.Header.Get("Content-Type")):
		return nil, ErrSchema1
	}
	body, contentType, err := readManifest(resp, route.Reference)
	if err != nil {
		return nil, err
	}
	made := &resolved{body: body, Resolved: Resolved{Digest: digest.FromBytes(body).String(), Size: int64(len(body))}}
	if claimed := resp.Header.Get("Docker-Content-Digest"); claimed != "" && claimed != made.Digest {
		return nil, fmt.Errorf("%w: it says %.80q of bytes whose digest is %s", ErrMismatch, claimed, made.Digest)
	}
	if err := oneReading(body, contentType); err != nil {
		if errors.Is(err, errSchema1) {
			return nil, ErrSchema1
		}
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	made.MediaType, _, _ = mime.ParseMediaType(contentType) // oneReading has read it
	return made, nil
}

// maxPlatforms bounds how many are named.
const maxPlatforms = 100

// platforms are those of a manifest. What cannot be read names none: they are
// for the reader's eye alone.
func (g *gate) platforms(ctx context.Context, repository string, m *resolved) (all []string) {
	var manifest struct {
		Manifests []struct{ Platform content.Platform }
		Config    struct{ Digest string }
	}
	if json.Unmarshal(m.body, &manifest) != nil {
		return nil
	}
	add := func(p content.Platform) {
		if p.Known() && len(all) < maxPlatforms { // attestations are of none
			all = append(all, p.String())
		}
	}
	for _, child := range manifest.Manifests {
		add(child.Platform)
	}
	if validDigest(manifest.Config.Digest) {
		var config content.Platform
		if json.Unmarshal(g.blob(ctx, repository, manifest.Config.Digest), &config) == nil {
			add(config)
		}
	}
	return all
}

// blob reads a small blob; nil where it cannot be had, or is another one.
func (g *gate) blob(ctx context.Context, repository, name string) []byte {
	resp, err := g.ask(ctx, g.manifestUpstream, http.MethodGet, Route{Kind: Blob, Repository: repository, Reference: name}, "")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	if err != nil || resp.StatusCode != http.StatusOK || digest.Digest(name).Algorithm().FromBytes(body).String() != name {
		return nil
	}
	return body
}
