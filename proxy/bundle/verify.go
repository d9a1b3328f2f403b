package bundle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
)

// Staged is an update of what a site knows of a repository that was verified and
// is not yet in force.
type Staged interface {
	// Before is what was in force, nil where nothing was or could be verified.
	Before() *trustcache.Snapshot
	// After is what the update makes of it.
	After() *trustcache.Snapshot
	// Commit puts it in force, unless the site knows more by now.
	Commit(ctx context.Context) error
}

// Place is where a site has a repository.
type Place struct {
	// Name is the repository's in the store.
	Name  string
	Store *content.Store
	// Stage verifies what a Notary server says of the repository as an update of
	// what the site knows of it, with the site's own pins and floors. server is
	// asked by Notary's protocol, at whatever address. Errors wrap trustcache's
	// sentinels.
	Stage func(ctx context.Context, server http.RoundTripper) (Staged, error)
}

// ErrRefused: the bundle is not to be loaded here. The error says why.
var ErrRefused = errors.New("refused")

func refused(form string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(form, args...))
}

// checked is a repository of which everything was verified.
type checked struct {
	Place
	Repository
	staged Staged
	trees  []*tree // of Tags, in their order
}

// verify has the site verify a repository's metadata, and compares it with what
// the bundle has.
func (b *Bundle) verify(ctx context.Context, r Repository, at Place) (*checked, error) {
	for _, sum := range r.Files {
		if err := verifyFile(ctx, b.from, trustName(sum), nil); err != nil {
			return nil, fmt.Errorf("the trust data of %s: %w", r.GUN, err)
		}
	}
	staged, err := b.stage(ctx, &r, at)
	if err != nil {
		return nil, err
	}
	c := &checked{Place: at, Repository: r, staged: staged}
	for _, t := range r.Tags {
		name := reference(r.GUN, t.Tag)
		if err := signed(staged.After(), t); err != nil {
			return nil, refused("%s: %w", name, err)
		}
		manifest := func(d content.Descriptor) (*content.Manifest, error) { return readManifest(b.from, d) }
		leftOut := func(d digest.Digest) bool { return slices.Contains(t.LeftOut, d) }
		whole, err := walk(ctx, t.descriptor(), manifest, leftOut)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.trees = append(c.trees, whole)
	}
	return c, nil
}

// signed says why a tag of the bundle is not what is signed.
func signed(snap *trustcache.Snapshot, t Tag) error {
	target, ok := snap.Lookup(t.Tag)
	switch hidden, known := snap.LookupHidden(t.Tag); {
	case !ok && known && len(hidden.Missing) > 0:
		return fmt.Errorf("it is not signed by the required %s", strings.Join(hidden.Missing, ", "))
	case !ok && known:
		return fmt.Errorf("it is signed only in %s, whose word does not count here", strings.Join(hidden.Roles, ", "))
	case !ok:
		return errors.New("the trust data that comes with it does not have this tag")
	case target.NoDigest || digest.Digest(target.Digest.String()) != t.Digest:
		return fmt.Errorf("the bundle has %s for it, and %s is signed", t.Digest, target.Digest)
	}
	return nil
}

// stage offers the newest root first. A site that knows nothing of the repository
// may have pinned an older one, from which the newest descends: then that one is
// offered, and the site's own verification finds its way from there.
func (b *Bundle) stage(ctx context.Context, r *Repository, at Place) (Staged, error) {
	var first error
	for _, root := range r.roots() {
		server := &replay{b: b, repo: r, root: root}
		staged, err := at.Stage(ctx, server)
		if err == nil {
			return staged, nil
		}
		if first == nil {
			first = err
		}
		another := errors.Is(err, trustcache.ErrMalicious) || errors.Is(err, trustcache.ErrExpired)
		if !another || !server.offered.Load() {
			break
		}
	}
	switch {
	case errors.Is(first, trustcache.ErrRolledBack):
		return nil, refused("%s: the bundle is older than what was loaded here before: %w", r.GUN, first)
	case errors.Is(first, trustcache.ErrUnreachable):
		return nil, refused("%s: its trust data in the bundle is not complete: %w", r.GUN, first)
	}
	return nil, refused("%w", first)
}

// roots are the names of the roots that may be offered as the first, the newest
// before older ones.
func (r *Repository) roots() []string {
	names := []string{"root.json"}
	var versions []int
	for name := range r.Files {
		if n, ok := rootVersion(name); ok && r.Files[name] != r.Files["root.json"] {
			versions = append(versions, n)
		}
	}
	slices.Sort(versions)
	for _, n := range slices.Backward(versions) {
		names = append(names, rootName(n))
	}
	return names[:min(len(names), maxRoots)]
}

func rootVersion(name string) (int, bool) {
	text, ok := strings.CutSuffix(name, ".root.json")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil
}

// sums checks every blob that the repositories need against its digest.
func (b *Bundle) sums(ctx context.Context, all []*checked, copied func(int64)) error {
	names, _, err := b.needed(all)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := verifyFile(ctx, b.from, name, copied); err != nil {
			return err
		}
	}
	return nil
}

// needed are the names of these, each once, and their bytes together.
func (b *Bundle) needed(all []*checked) (names []string, bytes int64, err error) {
	for _, c := range all {
		for _, t := range c.trees {
			for _, d := range t.digests() {
				if err := checkDigest(d); err != nil {
					return nil, 0, err
				}
				names = append(names, blobName(d))
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		r, size, err := b.from.open(name)
		if err != nil {
			return nil, 0, malformed("%s is missing: %w", name, err)
		}
		r.Close()
		bytes += size
	}
	return names, bytes, nil
}
