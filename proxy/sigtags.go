package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/proxy/upstream"
)

// IsSignatureTag says whether tag is one under which cosign keeps what it says
// of a digest (sha256-<hex>.sig, .att, .sbom), or the tag of a digest's
// referrers (OCI distribution-spec v1.1, "Referrers Tag Schema").
func IsSignatureTag(tag string) bool {
	hex, ok := strings.CutPrefix(tag, "sha256-")
	if !ok || len(hex) < 64 || !lowerHex(hex[:64]) {
		return false
	}
	switch hex[64:] {
	case "", ".sig", ".att", ".sbom":
		return true
	}
	return false
}

// serveSignatures answers an enforced read of a signature tag with what the
// registry has there, while nothing in it can be run (runnable.go); else the
// tag is as good as unsigned. Whoever signs or attaches reads it, adds, and
// writes it back: hidden, what others had signed would be lost. So 404 is for
// what is not there or was judged; where it cannot be judged the answer is 502.
//
// Trust data says nothing about these tags, and the registry is asked for them
// by name, with the client's own credentials.
func (g *gate) serveSignatures(w http.ResponseWriter, r *http.Request, repo repo, route Route, rec *record) error {
	rec.reason = "signature-tag"
	ctx, cancel := context.WithTimeout(r.Context(), g.manifestTimeout)
	defer cancel()
	if err := g.judging.Acquire(ctx, 1); err != nil {
		return errUpstream(err)
	}
	defer g.judging.Release(1)
	j := &judgement{gate: g, repo: repo, authorization: g.authorization(r), left: maxJudged}
	m, err := j.read(ctx, route)
	if err != nil {
		return err
	}
	runs, err := j.runnable(ctx, m)
	switch {
	case err != nil:
		return err
	case runs:
		return errSignatureTag("runnable", repo, route)
	}
	rec.upstreamDigest = m.Digest
	writeManifest(w, r, m)
	return nil
}

// errSignatureTag is what an unsigned tag gets.
func errSignatureTag(reason string, r repo, route Route) *Error {
	return notFound(reason, fmt.Sprintf("no trust data for tag %q in %s", route.Reference, r.gun))
}

// errNoSignatures: what is under a signature tag cannot be judged, since
// clients would read it in different ways.
func errNoSignatures(what string, err error) *Error {
	return badGateway("signature-tag-malformed", "the manifest %s cannot be served: %v", what, err)
}

// read fetches the manifest of a signature tag. Its digest is that of its
// bytes, whatever the registry calls it.
func (j *judgement) read(ctx context.Context, route Route) (*content.Manifest, error) {
	route.Repository = j.repo.name
	resp, err := j.askForManifest(ctx, route, j.authorization, errSignatureTag("unsigned", j.repo, route))
	if err != nil {
		return nil, err
	}
	defer upstream.Discard(resp)
	body, contentType, err := readSignatures(resp, route.Reference)
	if errors.Is(err, errSchema1) {
		return nil, errSignatureTag("runnable", j.repo, route)
	}
	if err != nil {
		return nil, err
	}
	m, err := content.Check(sha256.Sum256(body), body, contentType)
	if err != nil {
		return nil, err
	}
	if claimed := resp.Header.Get("Docker-Content-Digest"); claimed != "" && !matchesDigest(claimed, body) {
		return nil, badGateway("upstream-mismatch", "the registry's bytes for %s do not match the digest that it says they have", route.Reference)
	}
	return m, nil
}

// readSignatures is readManifest for what is about to be judged, in one reading.
// The error is errSchema1 or an *Error.
func readSignatures(resp *http.Response, what string) (body []byte, contentType string, err error) {
	if body, contentType, err = readManifest(resp, what); err != nil {
		return nil, "", err
	}
	switch err := oneReading(body, contentType); {
	case errors.Is(err, errSchema1):
		return nil, "", err
	case err != nil:
		return nil, "", errNoSignatures(what, err)
	}
	return body, contentType, nil
}
