package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/spf13/cobra"
)

func warmCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "warm REPO:TAG…",
		Short: "Fetch signed tags into the cache ahead of the first pull, and keep them there",
		Long: `Fetch all that a pull of these tags asks for into the cache: indexes, manifests,
configurations and layers, each checked against its digest. It is pinned: neither
max-size nor ttl removes it, until "cache unpin" says so or another warming of the
same tag finds other content signed. A TAG may be a pattern over the signed tags,
such as v1.* or "*".

What counts is what Notary says now, and that is remembered as the server would; a
tag that is not visible is not fetched. The running server needs no notice: it
serves what is there. The registry is asked with the credentials of the
configuration, or, where those are passthrough, with those that "docker login" has
stored for it. Interrupted, or where something could not be had, run it again:
what is there is not fetched twice. Run it as the user that Sealgate runs as.

REPO is the full name (registry.example.com/app), or without the registry's name
where the configuration has only one registry. Where it has docker.io, an image
of Docker Hub has its short name too (alpine).

Exit codes: 0 all of it is in the cache, 1 something is not, 2 bad usage or
configuration.`,
		Args: someReferences("REPO:TAG"),
	}
	path := configFlag(cmd)
	platforms := platformFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		selections, err := parseSelections(cfg, args)
		if err != nil {
			return err
		}
		wanted, err := parsePlatforms(*platforms)
		if err != nil {
			return err
		}
		for _, s := range selections {
			if err := checkWarm(cfg, cfg.Registries[s.registry]); err != nil {
				return err
			}
		}
		w := &warming{stdout: stdout, stderr: stderr, platforms: wanted, cfg: cfg, sources: map[int]*signedSource{}}
		defer w.close()
		return failed(w.run(cmd.Context(), selections))
	}
	return cmd
}

// checkWarm says why nothing of a registry can be warmed: bad configuration.
func checkWarm(cfg *config.Config, reg config.Registry) error {
	if err := checkCache(cfg, reg); err != nil {
		return err
	}
	if reg.Notary.URL == nil {
		return usage("%s has no notary.url in the configuration: nothing of it is signed, and only signed tags are fetched ahead", reg.Name)
	}
	return nil
}

// warming is one run of the command.
type warming struct {
	stdout, stderr io.Writer
	platforms      []content.Platform
	cfg            *config.Config
	memory         *remembered
	sources        map[int]*signedSource // by registry, those in use
}

func (w *warming) close() {
	for _, s := range w.sources {
		s.close()
	}
}

// run fetches one tag after the other, and goes on where one fails.
func (w *warming) run(ctx context.Context, selections []selection) error {
	var err error
	if w.memory, err = openBeside(w.cfg); err != nil {
		return err
	}
	whole := true
	for _, selected := range selections {
		store, err := openCache(ctx, w.cfg, w.cfg.Registries[selected.registry])
		if err != nil {
			return err
		}
		source, err := w.source(selected.registry)
		if err != nil {
			return err
		}
		for _, tag := range selected.signed(ctx, source.trust) {
			err := tag.err
			if notTrust := source.passedBy(tag); notTrust != nil {
				err = notTrust
			}
			if err == nil {
				err = w.fetch(ctx, source, store, tag)
			}
			if ctx.Err() != nil {
				return errors.New("interrupted: run it again, and it goes on")
			}
			if err != nil {
				fmt.Fprintf(w.stderr, "sealgate: %s: %v\n", tag, err)
				whole = false
			}
		}
	}
	if !whole {
		return &exitError{code: exitFailed}
	}
	return nil
}

func (w *warming) source(registry int) (*signedSource, error) {
	if w.sources[registry] == nil {
		source, err := w.memory.openSigned(w.cfg, registry)
		if err != nil {
			return nil, err
		}
		w.sources[registry] = source
	}
	return w.sources[registry], nil
}

// fetch brings one tag into the store and says so.
func (w *warming) fetch(ctx context.Context, source *signedSource, store *content.Store, tag selectedTag) error {
	bar := newProgress(w.stderr, tag.String())
	defer bar.clear()
	got, err := proxy.Collect(ctx, source.proxied, proxy.Collection{
		Repository: tag.repository,
		Digest:     tag.target.Digest,
		Platforms:  w.platforms,
		Into:       cacheSink{store, tag.repository},
		Known: func(ctx context.Context, d digest.Digest) *content.Manifest {
			m, err := store.Manifest(ctx, tag.repository, d)
			if err != nil {
				return nil // whatever it is: it is fetched anew
			}
			return m
		},
		Planned: func(c *proxy.Collected) error {
			bar.planned(c)
			return store.Pin(ctx, tag.repository, tag.tag, digestsOf(c)) // before a sweep finds any of it
		},
		Progress: bar.step,
	})
	if err != nil {
		return err
	}
	bar.clear()
	sayCollected(w.stdout, w.stderr, tag, "pinned, ", got, bar.fetched)
	return nil
}

// passedBy says why what is signed for a tag is not what the gate serves.
func (s *signedSource) passedBy(tag selectedTag) error {
	policy := s.proxied.Policy(tag.gun)
	switch {
	case policy.Mode == proxy.Permissive:
		return errors.New("mode is permissive for this repository: its tags are the registry's own at each pull, and nothing is fetched ahead for them")
	case policy.Mode == proxy.Disabled:
		return errors.New("mode is disabled for this repository: its tags are the registry's own at each pull, and nothing is fetched ahead for them")
	case policy.Exempts(tag.tag):
		return errors.New("a policy exempts this tag: it is the registry's own at each pull, and nothing is fetched ahead for it")
	}
	return nil
}

func digestsOf(c *proxy.Collected) (all []digest.Digest) {
	for _, d := range c.Manifests {
		all = append(all, d.Digest)
	}
	for _, d := range c.Blobs {
		all = append(all, d.Digest)
	}
	return all
}

// cacheSink puts what is collected into a repository of a store.
type cacheSink struct {
	store      *content.Store
	repository string
}

// Has implements proxy.Sink.
func (s cacheSink) Has(ctx context.Context, d digest.Digest) bool {
	has, err := s.store.Has(ctx, s.repository, d)
	return has && err == nil
}

// PutManifest implements proxy.Sink.
func (s cacheSink) PutManifest(ctx context.Context, m *content.Manifest) error {
	return s.store.PutManifest(ctx, s.repository, m)
}

// PutBlob implements proxy.Sink.
func (s cacheSink) PutBlob(ctx context.Context, d digest.Digest, _ int64, r io.Reader) error {
	return s.store.PutBlob(ctx, s.repository, d, r)
}
