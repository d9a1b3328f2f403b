package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/guard"
	"golang.org/x/sync/errgroup"
)

// Sink takes what Collect fetches. It is safe for concurrent use.
type Sink interface {
	// Has says whether a blob is there already, whole.
	Has(ctx context.Context, d digest.Digest) bool
	// PutManifest takes a manifest that was checked. It may have it already.
	PutManifest(ctx context.Context, m *content.Manifest) error
	// PutBlob takes a blob of size bytes, reading r to its end. That is io.EOF only
	// after all of them, their digest matching; after any other error, which is to
	// be returned, nothing of it may be there as the blob.
	PutBlob(ctx context.Context, d digest.Digest, size int64, r io.Reader) error
}

// Collection is one signed digest, with all that a pull of it asks for.
type Collection struct {
	Repository string // full name, as the registry knows it
	Digest     trustcache.Digest
	// Platforms are those to take of an index; nil means all.
	Platforms []content.Platform
	Into      Sink
	// Known returns a manifest of the repository that need not be fetched, nil
	// where it is not there; nil Known means that none is.
	Known func(ctx context.Context, d digest.Digest) *content.Manifest
	// Planned, when not nil, is called when all manifests are read, before anything
	// is put into the sink. An error of its ends the collection.
	Planned func(*Collected) error
	// Progress, when not nil, is called as blobs arrive, by one goroutine at a
	// time, about every 32 KiB.
	Progress func(Step)
}

// Step is how far a blob is.
type Step struct {
	Digest      digest.Digest
	Done, Total int64 // bytes
	Had         bool  // the sink had it already
}

// Collected is what a digest leads to.
type Collected struct {
	// Manifests begin with the one of the digest itself.
	Manifests []content.Descriptor
	Blobs     []content.Descriptor // configurations and layers, each once
	// Left are manifests of indexes that no wanted platform needs, Foreign layers
	// that the registry need not have, Absent the wanted platforms that are not
	// listed.
	Left, Foreign []content.Descriptor
	Absent        []content.Platform
	Bytes         int64 // of Manifests and Blobs together
}

// ErrMissing: the registry does not have what a signed digest leads to.
var ErrMissing = errors.New("the registry does not have it")

// Bounds of one collection.
const (
	maxCollectedManifests = 1000
	maxHeldManifests      = 64 << 20 // bytes
	maxCollectedBlobs     = 20_000
	maxCollectedDepth     = 4       // manifests above one another
	maxCollectedBlob      = 1 << 40 // bytes
	// blobsAtOnce is how many blobs are fetched at once, as Docker does.
	blobsAtOnce = 3
)

// Collect fetches what a signed digest leads to, past every decision: for the
// operator, who asked trust before. It uses reg's Upstream, Bodies, RedirectHosts
// and Redirected, follows redirects whether reg.Follow or not, and no client's
// credentials are passed through. Whatever gets into the sink has its digest; what
// an error leaves there is of use to the next attempt. The error names what could
// not be had.
func Collect(ctx context.Context, reg Registry, c Collection) (*Collected, error) {
	reg.Follow, reg.Passthrough = true, false
	// No other request shares anything with this one, and no rate is asked of a body.
	w := &walk{Collection: c, gate: newGate(reg.withDefaults(), new(shared)), of: map[digest.Digest]string{}}
	if err := w.manifests(ctx); err != nil {
		return nil, err
	}
	if c.Planned != nil {
		if err := c.Planned(&w.found); err != nil {
			return nil, err
		}
	}
	for _, m := range w.held {
		if err := c.Into.PutManifest(ctx, m); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Digest, err)
		}
	}
	if err := w.blobs(ctx); err != nil {
		return nil, err
	}
	return &w.found, nil
}

// walk is one collection under way.
type walk struct {
	Collection
	gate  *gate
	found Collected
	held  []*content.Manifest      // those of found
	bytes int64                    // of held
	of    map[digest.Digest]string // what names a digest, for whoever reads an error

	mu sync.Mutex // Progress
}

// manifests walks from the digest down, one level after the other.
func (w *walk) manifests(ctx context.Context) error {
	root := content.Descriptor{Digest: digest.Digest(w.Digest.String())}
	w.of[root.Digest] = "which is signed"
	level := []content.Descriptor{root}
	for depth := 0; len(level) > 0; depth++ {
		if depth == maxCollectedDepth {
			return fmt.Errorf("%s: indexes are nested more than %d deep", root.Digest, maxCollectedDepth)
		}
		var below []content.Descriptor
		for _, d := range level {
			named, err := w.manifest(ctx, d)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", d.Digest, w.of[d.Digest], err)
			}
			below = append(below, w.take(d, named)...)
		}
		if len(w.found.Manifests)+len(below) > maxCollectedManifests || len(w.found.Blobs) > maxCollectedBlobs {
			return fmt.Errorf("%s leads to more than %d manifests or %d blobs", root.Digest, maxCollectedManifests, maxCollectedBlobs)
		}
		level = below
	}
	return w.wanted()
}

// take notes what a manifest names and returns the manifests among it that are
// to be fetched.
func (w *walk) take(of content.Descriptor, named content.Named) []content.Descriptor {
	taken, left := content.Select(named.Manifests, w.Platforms)
	w.found.Left = append(w.found.Left, left...)
	w.found.Foreign = append(w.found.Foreign, named.Foreign...)
	for _, blob := range named.Blobs {
		if w.isNew(blob, of) {
			w.found.Blobs = append(w.found.Blobs, blob)
			w.found.Bytes += min(blob.Size, maxCollectedBlob) // what is larger is refused later
		}
	}
	return slices.DeleteFunc(slices.Clone(taken), func(d content.Descriptor) bool { return !w.isNew(d, of) })
}

// isNew says whether a digest is named for the first time, and notes what names
// it.
func (w *walk) isNew(d, by content.Descriptor) bool {
	if _, known := w.of[d.Digest]; known {
		return false
	}
	text := fmt.Sprintf("which %s names", by.Digest)
	if p := d.Platform; p != nil && p.Known() {
		text += fmt.Sprintf(" for %.50q", p)
	} else if p := by.Platform; p != nil && p.Known() {
		text += fmt.Sprintf(" (%.50q)", p)
	}
	w.of[d.Digest] = text
	return true
}

// manifest reads one manifest and returns what it names.
func (w *walk) manifest(ctx context.Context, d content.Descriptor) (content.Named, error) {
	var m *content.Manifest
	if w.Known != nil {
		m = w.Known(ctx, d.Digest)
	}
	if m == nil {
		var err error
		if m, err = w.fetch(ctx, d.Digest); err != nil {
			return content.Named{}, err
		}
	}
	d.MediaType, d.Size = m.MediaType, int64(len(m.Body))
	w.found.Manifests, w.held = append(w.found.Manifests, d), append(w.held, m)
	w.found.Bytes += d.Size
	if w.bytes += d.Size; w.bytes > maxHeldManifests {
		return content.Named{}, fmt.Errorf("with it there are more than %d bytes of manifests", maxHeldManifests)
	}
	return content.Closure(m)
}

// fetch asks the registry for a manifest, more than once where it does not
// answer.
func (w *walk) fetch(ctx context.Context, d digest.Digest) (m *content.Manifest, err error) {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return nil, errors.New("manifests are kept by their sha256 alone")
	}
	sum := sha256Of(d.String())
	var tries tries
	for {
		if m, err = w.once(ctx, sum); err == nil {
			return m, nil
		}
		if !tries.again(ctx, err) {
			return nil, cmp.Or(ctx.Err(), err)
		}
	}
}

func (w *walk) once(ctx context.Context, d trustcache.Digest) (*content.Manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, manifestTimeout)
	defer cancel()
	route := Route{Kind: ManifestByDigest, Repository: w.Repository, Reference: d.String()}
	resp, err := w.gate.askForManifest(ctx, route, "", ErrMissing)
	if err != nil {
		return nil, err
	}
	defer upstream.Discard(resp)
	return checkedManifest(resp, d)
}

// wanted says which platforms an index does not have.
func (w *walk) wanted() error {
	if len(w.found.Left) == 0 && len(w.found.Manifests) == 1 {
		return nil // no index: its platform is in its configuration, and it is all there is
	}
	for _, p := range w.Platforms {
		if !slices.ContainsFunc(w.found.Manifests, func(d content.Descriptor) bool { return d.Platform != nil && p.Includes(*d.Platform) }) {
			w.found.Absent = append(w.found.Absent, p)
		}
	}
	if len(w.found.Blobs) == 0 && len(w.found.Absent) > 0 {
		return fmt.Errorf("%s is for none of the platforms asked for: it has %.500s", w.Digest, fmt.Sprintf("%q", platformsOf(w.found.Left)))
	}
	return nil
}

func platformsOf(all []content.Descriptor) (platforms []string) {
	for _, d := range all {
		if d.Platform != nil && d.Platform.Known() && len(platforms) < maxPlatforms {
			platforms = append(platforms, d.Platform.String())
		}
	}
	return platforms
}

// blobs fetches what the sink does not have.
func (w *walk) blobs(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	for _, d := range w.found.Blobs {
		group.Go(func() (err error) {
			defer guard.Catch(&err)
			if err := w.blob(ctx, d); err != nil {
				return fmt.Errorf("%s, %s: %w", d.Digest, w.of[d.Digest], err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (w *walk) blob(ctx context.Context, d content.Descriptor) error {
	if d.Size > maxCollectedBlob {
		return fmt.Errorf("it is said to have %d bytes, more than %d", d.Size, int64(maxCollectedBlob))
	}
	if w.Into.Has(ctx, d.Digest) {
		w.step(Step{Digest: d.Digest, Done: d.Size, Total: d.Size, Had: true})
		return nil
	}
	body := w.download(ctx, d)
	defer body.close()
	err := w.Into.PutBlob(ctx, d.Digest, d.Size, body)
	switch {
	case body.err != nil && body.err != io.EOF:
		return body.err // and not what the sink made of it
	case err == nil && body.err == nil:
		return fmt.Errorf("only %d of %d bytes were taken", body.offset, d.Size)
	}
	return err
}

func (w *walk) step(s Step) {
	if w.Progress == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Progress(s)
}
