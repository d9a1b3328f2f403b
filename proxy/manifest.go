package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
)

const (
	// maxManifest bounds a manifest in bytes, as registries do.
	maxManifest = 4 << 20
	// manifestTimeout bounds fetching one.
	manifestTimeout = 20 * time.Second
)

// manifestTypes is our own Accept: the client's may leave out the signed type,
// for which some registries convert what they have into something else.
var manifestTypes = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.oci.artifact.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
	"application/vnd.docker.distribution.manifest.v1+json",
	"application/json;q=0.1",
}, ", ")

// serveTag answers a read of a tag with what is signed for it.
func (g *gate) serveTag(w http.ResponseWriter, r *http.Request, route Route, rec *record) error {
	gun := g.gun(route.Repository)
	view, trustErr := g.Trust.Tag(r.Context(), gun, route.Reference)
	if errors.Is(trustErr, context.Canceled) {
		return trustErr
	}
	d := decide(gun, route.Reference, view, trustErr)
	rec.decided(d, view)
	authorization := r.Header.Get("Authorization")
	if d.deny != nil {
		if err := g.admitToDenial(r.Context(), route.Repository, authorization, view); err != nil {
			return err
		}
		warnStale(w.Header(), view)
		return d.deny
	}
	m, err := g.signedManifest(r.Context(), route.Repository, authorization, d.target.Digest)
	if err != nil {
		return err
	}
	if int64(len(m.Body)) != d.target.Length {
		rec.signedLength = d.target.Length
	}
	warnStale(w.Header(), view)
	writeManifest(w, r, m)
	return nil
}

// warnStale says in a header that an older verified snapshot decided.
func warnStale(h http.Header, view trustcache.View) {
	if view.Snapshot != nil && view.Stale != nil {
		text := strings.NewReplacer(`"`, "'", `\`, "/", "\r", " ", "\n", " ").Replace(view.Stale.Error())
		h.Set("Warning", `110 sealgate "trust data is stale: `+text+`"`)
	}
}

func writeManifest(w http.ResponseWriter, r *http.Request, m *content.Manifest) {
	h := w.Header()
	h["Docker-Content-Digest"] = []string{m.Digest}
	h["Etag"] = []string{m.ETag}
	h["Docker-Distribution-Api-Version"] = []string{"registry/2.0"}
	if matchesETag(r.Header["If-None-Match"], m.Digest) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = []string{m.MediaType}
	h["Content-Length"] = []string{m.Length}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	w.WriteHeader(http.StatusOK)
	w.Write(m.Body) // a HEAD's body is left out by net/http
}

// matchesETag evaluates If-None-Match (RFC 9110 section 13.1.2). Docker's
// clients leave out the quotes.
func matchesETag(values []string, digest string) bool {
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || strings.Trim(tag, `"`) == digest {
				return true
			}
		}
	}
	return false
}

// signedManifest returns the manifest of a signed digest to a client that may
// read the repository: from memory when the client is admitted, else fetched
// with the client's own credentials, which admits it.
func (g *gate) signedManifest(ctx context.Context, repository, authorization string, digest trustcache.Digest) (*content.Manifest, error) {
	gun := g.gun(repository)
	if m := g.manifests.Get(gun, digest); m != nil {
		found, err := g.admit(ctx, repository, authorization, Route{Kind: ManifestByDigest, Repository: repository, Reference: m.Digest})
		if err == nil && !found {
			err = errNotInRegistry(digest)
		}
		if err != nil {
			return nil, err
		}
		return m, nil
	}
	// Callers with the same credentials share one fetch. It goes on without
	// them, so that one who hangs up does not fail the others.
	key := g.auth.key(gun+"@"+string(digest[:]), authorization)
	shared := g.fetches.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.ManifestTimeout)
		defer cancel()
		return g.fetchManifest(ctx, repository, authorization, digest)
	})
	select {
	case res := <-shared:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*content.Manifest), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func errNotInRegistry(digest trustcache.Digest) *Error {
	return notFound("not-in-registry", "signed digest "+digest.String()+" is not in the registry")
}

// fetchManifest reads a manifest by digest and lets nothing through that is
// not exactly what was signed, in one reading.
func (g *gate) fetchManifest(ctx context.Context, repository, authorization string, digest trustcache.Digest) (*content.Manifest, error) {
	if m := g.manifests.Get(g.gun(repository), digest); m != nil && g.auth.known(g.gun(repository), authorization) {
		return m, nil // another flight has just landed
	}
	route := Route{Kind: ManifestByDigest, Repository: repository, Reference: digest.String()}
	resp, err := g.ask(ctx, g.manifestUpstream, http.MethodGet, route, authorization)
	if err != nil {
		return nil, errUpstream(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, errNotInRegistry(digest)
	default:
		return nil, errRelayed(resp)
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, errMismatch("upstream-encoding", "the registry sent %s encoded", digest)
	}
	if resp.ContentLength > maxManifest {
		return nil, errMismatch("upstream-oversize", "the registry sent more than %d bytes for %s", maxManifest, digest)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return nil, errUpstream(err)
	}
	if len(body) > maxManifest {
		return nil, errMismatch("upstream-oversize", "the registry sent more than %d bytes for %s", maxManifest, digest)
	}
	m, err := content.Check(digest, body, resp.Header.Get("Content-Type"))
	if err != nil {
		return nil, errMismatch("upstream-mismatch", "the registry's bytes do not match the signed digest %s", digest)
	}
	if err := oneReading(body, m.MediaType); err != nil {
		if errors.Is(err, errSchema1) {
			return nil, notFound("schema1", "signed digest "+digest.String()+" is an image manifest of schema 1, which is not served")
		}
		return nil, errMismatch("upstream-two-readings", "the manifest %s cannot be served: %v", digest, err)
	}
	g.manifests.Put(g.gun(repository), m)
	g.auth.remember(g.gun(repository), authorization)
	return m, nil
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
	if keys["fslayers"] || strings.Contains(mediaType, "manifest.v1+") && strings.Contains(mediaType, "docker.distribution") {
		return errSchema1
	}
	index := mediaType == "application/vnd.oci.image.index.v1+json" || mediaType == "application/vnd.docker.distribution.manifest.list.v2+json"
	image := mediaType == "application/vnd.oci.image.manifest.v1+json" || mediaType == "application/vnd.docker.distribution.manifest.v2+json"
	switch {
	case keys["manifests"] && (keys["layers"] || keys["config"]):
		return errors.New("it is both an index and an image manifest")
	case declared != "" && declared != mediaType:
		return fmt.Errorf("its media type is %.100q but the registry says %.100q", declared, mediaType)
	case keys["manifests"] && !index, keys["layers"] && !image, index && !keys["manifests"], image && !keys["layers"]:
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
		name := t.(string) // the decoder allows nothing else here
		folded := strings.ToLower(name)
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
