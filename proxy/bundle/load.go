package bundle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
)

// LoadOptions are what a site says about loading.
type LoadOptions struct {
	// Find says where the site has a repository; its error, why it has none.
	// Required.
	Find func(gun string) (Place, error)
	// Progress, when not nil, is told how far it is: first all bytes are checked,
	// then all are stored, so that total is twice what is in the bundle.
	Progress func(done, total int64)
}

// Loaded is what became of one tag.
type Loaded struct {
	Name      string // REPO:TAG
	Digest    digest.Digest
	Platforms []string // that are in it, as its index says; nil where it is no index
	LeftOut   int      // images of its index that are not in it
	Role      string
	Signers   []string
	// Expires is when what vouches for it stops standing.
	Expires time.Time
	// Replaced is the digest that was signed before, "" where it is the same or
	// none was.
	Replaced string
	// Was says that all of it was here before.
	Was bool
}

// Report is what a bundle made visible.
type Report struct {
	Loaded []Loaded
	// Gone are tags that were visible before and are not signed any more.
	Gone []string
	// Lacking are tags that are signed as something else than before, which
	// neither this bundle nor any before has brought.
	Lacking []string
	// Copied is how many bytes had to be stored, of each digest once, however many
	// repositories got it.
	Copied int64
}

// Load verifies a bundle whole and then loads it: content first, then what makes
// it visible. An error that wraps ErrRefused or ErrFormat means that nothing has
// become visible. After any other, and after a crash, each repository is as it was
// or as in the bundle; loading it again completes it.
func (b *Bundle) Load(ctx context.Context, opts LoadOptions) (*Report, error) {
	var all []*checked
	for _, r := range b.Catalog.Repositories {
		at, err := opts.Find(r.GUN)
		if err != nil {
			return nil, refused("%w", err)
		}
		c, err := b.verify(ctx, r, at)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	_, size, err := b.needed(all)
	if err != nil {
		return nil, err
	}
	l := &load{b: b, opts: opts, total: 2 * size, counted: map[digest.Digest]bool{}}
	if err := b.sums(ctx, all, l.copied); err != nil {
		return nil, err
	}
	return l.run(ctx, all)
}

// load is a Load of what was verified.
type load struct {
	b           *Bundle
	opts        LoadOptions
	done, total int64
	puts        int // manifests and blobs that a repository did not have
	counted     map[digest.Digest]bool
	report      Report
}

// stored notes that a repository did not have d.
func (l *load) stored(d digest.Digest, size int64) {
	l.puts++
	if !l.counted[d] {
		l.counted[d] = true
		l.report.Copied += size
	}
}

func (l *load) copied(n int64) {
	l.done = min(l.done+n, l.total)
	if l.opts.Progress != nil {
		l.opts.Progress(l.done, l.total)
	}
}

func (l *load) run(ctx context.Context, all []*checked) (*Report, error) {
	for _, c := range all {
		pins, err := c.Store.Pins(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.GUN, err)
		}
		for i, t := range c.trees {
			if err := l.store(ctx, c, i, t, pins); err != nil {
				return nil, fmt.Errorf("%s: it cannot be stored: %w", reference(c.GUN, c.Tags[i].Tag), err)
			}
		}
	}
	for _, c := range all {
		if err := c.staged.Commit(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", c.GUN, err)
		}
		if err := l.settle(ctx, c); err != nil {
			return nil, fmt.Errorf("%s is loaded, but what is not needed any more is still kept: %w", c.GUN, err)
		}
	}
	return &l.report, nil
}

// store puts everything below a tag into the store, children before parents. It
// is kept together with what the tag had before, until that has been replaced.
func (l *load) store(ctx context.Context, c *checked, i int, t *tree, pins []content.Pinned) error {
	tag := c.Tags[i].Tag
	kept := t.digests()
	for _, p := range pins {
		if p.Repository == c.Name && p.Tag == tag {
			kept = append(kept, p.Digests...)
		}
	}
	if err := c.Store.Pin(ctx, c.Name, tag, kept); err != nil {
		return err
	}
	before := l.puts
	for _, d := range t.blobs {
		if err := l.blob(ctx, c, d.Digest); err != nil {
			return err
		}
	}
	for _, d := range slices.Backward(t.manifests) {
		if err := l.manifest(ctx, c, d); err != nil {
			return err
		}
	}
	l.say(c, i, t, l.puts == before)
	return nil
}

func (l *load) blob(ctx context.Context, c *checked, d digest.Digest) error {
	r, size, err := l.b.open(d)
	if err != nil {
		return err
	}
	defer r.Close()
	if there, err := c.Store.Blob(ctx, c.Name, d); err == nil && there.Size == size {
		l.copied(size)
		return nil
	}
	if err := c.Store.PutBlob(ctx, c.Name, d, &progressReader{ctx: ctx, from: r, copied: l.copied}); err != nil {
		return err
	}
	l.stored(d, size)
	return nil
}

func (l *load) manifest(ctx context.Context, c *checked, d content.Descriptor) error {
	m, err := readManifest(l.b.from, d)
	if err != nil {
		return err
	}
	l.copied(int64(len(m.Body)))
	if _, err := c.Store.Manifest(ctx, c.Name, d.Digest); err == nil {
		return nil
	}
	if err := c.Store.PutManifest(ctx, c.Name, m); err != nil {
		return err
	}
	l.stored(d.Digest, int64(len(m.Body)))
	return nil
}

// say reports a tag.
func (l *load) say(c *checked, i int, t *tree, was bool) {
	tag := c.Tags[i]
	target, _ := c.staged.After().Lookup(tag.Tag) // verify has found it
	row := Loaded{Name: reference(c.GUN, tag.Tag), Digest: tag.Digest, Platforms: t.platforms, LeftOut: len(t.leftOut), Role: target.Role, Signers: target.Signers, Was: was}
	row.Expires, _ = c.staged.After().Expires()
	if before := c.staged.Before(); before != nil {
		old, known := before.Lookup(tag.Tag)
		if known && old.Digest != target.Digest {
			row.Replaced = old.Digest.String()
		}
		row.Was = row.Was && known && old.Digest == target.Digest
	}
	l.report.Loaded = append(l.report.Loaded, row)
}

// settle keeps no more than what is signed now, and reports what is not there any
// more.
func (l *load) settle(ctx context.Context, c *checked) error {
	for i, t := range c.trees {
		if err := c.Store.Pin(ctx, c.Name, c.Tags[i].Tag, t.digests()); err != nil {
			return err
		}
	}
	before, after := c.staged.Before(), c.staged.After()
	if before == nil {
		return nil
	}
	for i := range before.Len() {
		old := before.At(i)
		now, signed := after.Lookup(old.Tag)
		switch name := reference(c.GUN, old.Tag); {
		case !signed:
			l.report.Gone = append(l.report.Gone, name)
			if err := c.Store.Pin(ctx, c.Name, old.Tag, nil); err != nil {
				return err
			}
		case now.Digest != old.Digest:
			_, err := c.Store.Manifest(ctx, c.Name, digest.Digest(now.Digest.String()))
			if errors.Is(err, content.ErrNotCached) {
				l.report.Lacking = append(l.report.Lacking, name)
			}
		}
	}
	return nil
}
