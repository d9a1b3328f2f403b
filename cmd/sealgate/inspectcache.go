package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/content"
)

// inspectCache is what the cache has of a visible tag.
type inspectCache struct {
	Manifest bool   `json:"manifest"`           // the signed one is there
	Pinned   int    `json:"pinned,omitempty"`   // manifests and blobs that stay, for this tag
	Missing  int    `json:"missing,omitempty"`  // of these
	Outdated bool   `json:"outdated,omitempty"` // these are of what was signed before
	Error    string `json:"error,omitempty"`
}

// cached looks at the cache, where there is one that outlives a process. No use
// of anything is noted by that.
func (r *inspectReport) cached(ctx context.Context, cfg *config.Config, reg config.Registry) {
	if reg.Cache == nil && reg.Offline == nil || cfg.Storage.Driver == config.InMemory {
		return
	}
	if r.Tag == nil || r.Tag.Verdict != "visible" || r.Tag.Digest == "" {
		return
	}
	r.Cache = &inspectCache{}
	store, err := readCache(ctx, cfg, reg)
	if err == nil {
		err = r.Cache.look(ctx, store, strings.TrimPrefix(r.GUN, reg.Name+"/"), r.Tag.inspectTag)
	}
	if err != nil {
		r.Cache.Error = err.Error()
	}
}

func (c *inspectCache) look(ctx context.Context, store *content.Store, repository string, tag inspectTag) error {
	pins, err := store.Pins(ctx)
	if err != nil {
		return err
	}
	if c.Manifest, err = store.Has(ctx, repository, digest.Digest(tag.Digest)); err != nil {
		return err
	}
	for _, p := range pins {
		if p.Repository != repository || p.Tag != tag.Tag {
			continue
		}
		c.Outdated = !slices.Contains(p.Digests, digest.Digest(tag.Digest))
		for _, d := range p.Digests {
			has, err := store.Has(ctx, repository, d)
			if err != nil {
				return err
			}
			if c.Pinned++; !has {
				c.Missing++
			}
		}
	}
	return nil
}

// print says it; what is missing comes by warming, or with a bundle where the
// registry is offline, whose clients get a 404 until then.
func (c *inspectCache) print(w io.Writer, offline bool) {
	said, renew := "not this manifest", "warm it again"
	if offline {
		said, renew = "not this manifest: clients get 404 until a bundle brings it", "load a bundle with it"
	}
	if c.Manifest {
		said = "the manifest is in it"
	}
	if c.Pinned > 0 {
		said += fmt.Sprintf(", %s pinned", numbered(c.Pinned, "part"))
	}
	switch {
	case c.Outdated:
		said += ", of what was signed before: " + renew
	case c.Missing > 0:
		said += fmt.Sprintf(", %d of them missing: %s", c.Missing, renew)
	}
	if c.Error != "" {
		said = "cannot be read: " + c.Error
	}
	fmt.Fprintf(w, "  cache    %s\n", said)
}
