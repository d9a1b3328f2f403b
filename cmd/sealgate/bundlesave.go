package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/bundle"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/spf13/cobra"
)

func saveCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save REPO:TAG… -o FILE.tar|DIR",
		Short: "Write signed images, and what proves them, into one file for another site",
		Long: `Fetch all that a pull of these tags asks for, and the trust metadata that proves
them, from the first version of the root to the timestamp, and write both into one
OCI image layout: an archive where the name ends in ".tar", a directory otherwise.
"sealgate bundle load" takes it at a site that reaches neither; other tools read
its images too (skopeo copy oci-archive:FILE.tar:REPO:TAG …). A TAG may be a pattern
over the signed tags, such as v1.* or "*".

Only what is visible with this configuration is saved, in whichever mode. What is
signed is the index: it stays as it is where only some platforms are asked for.
The registry is asked with the credentials of the configuration, or, where those
are passthrough, with those that "docker login" has stored for it.

Interrupted, or where something could not be had, run it again: what is in the
directory, or for an archive in FILE.tar.partial, is not fetched twice. An archive
has its name only when it is complete. The same content makes the same file.

REPO is the full name (registry.example.com/app), or without the registry's name
where the configuration has only one registry. Where it has docker.io, an image
of Docker Hub has its short name too (alpine).

Exit codes: 0 all of it is saved, 1 nothing is, 2 bad usage or configuration.`,
		Args: someReferences("REPO:TAG"),
	}
	path := configFlag(cmd)
	output := cmd.Flags().StringP("output", "o", "", `where to: FILE.tar, or a directory (required)`)
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
		if *output == "" {
			return usage("--output is missing: where to, as in -o site.tar")
		}
		if info, err := os.Stat(*output); err == nil && !info.IsDir() && !strings.HasSuffix(*output, archiveSuffix) {
			return usage("--output: %s is no directory, and no archive, whose name ends in %s", *output, archiveSuffix)
		}
		for _, s := range selections {
			if reg := cfg.Registries[s.registry]; reg.Notary.URL == nil {
				return usage("%s has no notary.url in the configuration: nothing of it is signed, and only signed tags are saved", reg.Name)
			}
		}
		s := &saving{cfg: cfg, stdout: stdout, stderr: stderr, platforms: wanted, output: *output, sources: map[int]*provenSource{}}
		defer s.close()
		return failed(s.run(cmd.Context(), selections))
	}
	return cmd
}

// saving is one run of the command.
type saving struct {
	cfg            *config.Config
	stdout, stderr io.Writer
	platforms      []content.Platform
	output         string
	writer         *bundle.Writer
	sources        map[int]*provenSource // by registry, those in use
	saved          []bundle.Saved
}

// provenSource is a registry whose tags are fetched together with what proves them.
type provenSource struct {
	*signedSource
	proofs *trustProofs
}

func (s *saving) close() {
	for _, source := range s.sources {
		source.close()
	}
}

const (
	archiveSuffix = ".tar"     // what tells an archive from a directory
	partial       = ".partial" // of the directory that an archive is made from
)

// directory is where the bundle is made.
func (s *saving) directory() string {
	if s.archive() {
		return s.output + partial
	}
	return s.output
}

// archive says whether it is to be one.
func (s *saving) archive() bool {
	if info, err := os.Stat(s.output); err == nil && info.IsDir() {
		return false
	}
	return strings.HasSuffix(s.output, archiveSuffix)
}

// run saves all or fails: what is carried away has to be all that was asked for.
func (s *saving) run(ctx context.Context, selections []selection) error {
	tags, err := s.signed(ctx, selections)
	if err != nil {
		return err
	}
	if s.writer, err = bundle.NewWriter(s.directory()); err != nil {
		return err
	}
	for _, tag := range tags {
		if err := s.fetch(ctx, tag); err != nil {
			return s.incomplete(ctx, fmt.Errorf("%s: %w", tag, err))
		}
	}
	if err := s.writer.Finish(ctx, s.saved); err != nil {
		return s.incomplete(ctx, err)
	}
	if s.archive() {
		bar := newProgress(s.stderr, s.output)
		defer bar.clear()
		if err := bundle.Pack(ctx, s.directory(), s.output, bar.at); err != nil {
			return s.incomplete(ctx, err)
		}
		bar.clear()
	}
	_, err = fmt.Fprintf(s.stdout, "%s: saved, %s\n", s.output, numbered(len(tags), "tag"))
	return err
}

// signed are the tags that are selected, each once. That one is not visible is an
// error, before anything is fetched.
func (s *saving) signed(ctx context.Context, selections []selection) ([]selectedTag, error) {
	var all []selectedTag
	for _, selected := range selections {
		source, err := s.source(selected.registry)
		if err != nil {
			return nil, err
		}
		for _, tag := range selected.signed(ctx, source.proofs) {
			if ctx.Err() != nil {
				return nil, errors.New("interrupted")
			}
			if tag.err != nil {
				return nil, fmt.Errorf("%s: %w", tag, tag.err)
			}
			if !slices.ContainsFunc(all, func(t selectedTag) bool { return t.String() == tag.String() }) {
				all = append(all, tag)
			}
		}
	}
	return all, nil
}

func (s *saving) source(registry int) (*provenSource, error) {
	if s.sources[registry] == nil {
		source, err := openSigned(s.cfg, registry)
		if err != nil {
			return nil, err
		}
		s.sources[registry] = &provenSource{source, newTrustProofs(source.judging)}
	}
	return s.sources[registry], nil
}

// fetch brings one tag into the bundle and says so.
func (s *saving) fetch(ctx context.Context, tag selectedTag) error {
	source := s.sources[tag.registry]
	bar := newProgress(s.stderr, tag.String())
	defer bar.clear()
	got, err := proxy.Collect(ctx, source.proxied, proxy.Collection{
		Repository: tag.repository,
		Digest:     tag.target.Digest,
		Platforms:  s.platforms,
		Into:       s.writer,
		Planned:    func(c *proxy.Collected) error { bar.planned(c); return nil },
		Progress:   bar.step,
	})
	if err != nil {
		return err
	}
	bar.clear()
	if err := s.add(ctx, source, tag); err != nil {
		return err
	}
	sayCollected(s.stdout, s.stderr, tag, "", got, bar.fetched)
	return nil
}

// add has the tag in what is saved of its repository.
func (s *saving) add(ctx context.Context, source *provenSource, tag selectedTag) error {
	at := slices.IndexFunc(s.saved, func(r bundle.Saved) bool { return r.GUN == tag.gun })
	if at < 0 {
		proof, err := source.proofs.of(ctx, tag.gun)
		if err != nil {
			return err
		}
		if proof.firstRoot > 1 {
			fmt.Fprintf(s.stderr, "sealgate: %s: note: the trust server does not have every version of its root: a site that knows one before %d has to \"forget\" it first\n", tag.gun, proof.firstRoot)
		}
		at = len(s.saved)
		s.saved = append(s.saved, bundle.Saved{GUN: tag.gun, Trust: proof.files, Tags: map[string]digest.Digest{}, Partial: len(s.platforms) > 0})
	}
	s.saved[at].Tags[tag.tag] = digest.Digest(tag.target.Digest.String())
	return nil
}

// incomplete says what to do about a bundle that is not complete.
func (s *saving) incomplete(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	case errors.Is(err, syscall.ENOSPC):
		err = fmt.Errorf("the disk is full: %w", err)
	}
	return fmt.Errorf("%w\nnothing is saved; %s has what was fetched: run it again to go on, or remove it", err, s.directory())
}
