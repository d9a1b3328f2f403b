package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/spf13/cobra"
)

func cacheCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Fill the cache ahead of pulls, and see and take back what is kept in it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(stderr)
			cmd.Help()
			return usage("a command is needed: cache warm, cache pins or cache unpin")
		},
	}
	cmd.AddCommand(warmCommand(stdout, stderr), pinsCommand(stdout), unpinCommand(stdout, stderr))
	return cmd
}

func pinsCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pins",
		Short: "List the tags whose content is kept whatever its age",
		Long: `List the tags whose content is kept in the caches of all registries whatever its
age and their max-size, by "cache warm", and those that bundles brought to offline
registries, with the number of manifests and blobs that this is. Nobody is asked,
and nothing changes.

Exit codes: 0 they are listed, 1 they cannot be read, 2 bad configuration.`,
		Args: noReference,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		return failed(listPins(cmd.Context(), cfg, stdout))
	}
	return cmd
}

func listPins(ctx context.Context, cfg *config.Config, w io.Writer) error {
	keeping := slices.DeleteFunc(slices.Clone(cfg.Registries), func(reg config.Registry) bool { return reg.Cache == nil && reg.Offline == nil })
	if len(keeping) == 0 {
		return usage("no registry has a cache in the configuration, or is offline")
	}
	if err := checkShared(cfg); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "IMAGE\tMANIFESTS AND BLOBS")
	for _, reg := range keeping {
		store, err := readCache(ctx, cfg, reg)
		if err != nil {
			return err
		}
		pins, err := store.Pins(ctx)
		if err != nil {
			return err
		}
		for _, p := range pins {
			fmt.Fprintf(tw, "%s/%s:%s\t%d\n", reg.Name, p.Repository, p.Tag, len(p.Digests))
		}
	}
	return tw.Flush()
}

func unpinCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unpin REPO:TAG…",
		Short: "Let go of what warming keeps for a tag",
		Long: `Let go of what "cache warm" keeps for these tags. It stays in the cache like what
was pulled: ttl and max-size remove it in time. A TAG may be a pattern over the
tags that are pinned, such as v1.* or "*". Nobody is asked. Run it as the user
that Sealgate runs as.

Exit codes: 0 nothing is kept for these tags any more, 1 one of them was not
pinned or it failed, 2 bad usage or configuration.`,
		Args: someReferences("REPO:TAG"),
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		selections, err := parseSelections(cfg, args)
		if err != nil {
			return err
		}
		whole := true
		for _, selected := range selections {
			pins, err := unpin(cmd.Context(), cfg, selected)
			if err != nil {
				return failed(err)
			}
			for _, p := range pins {
				fmt.Fprintf(stdout, "%s:%s: no longer pinned\n", selected.gun, p.Tag)
			}
			if len(pins) == 0 {
				fmt.Fprintf(stderr, "sealgate: %s: it is not pinned\n", selected)
				whole = false
			}
		}
		if !whole {
			return &exitError{code: exitFailed}
		}
		return nil
	}
	return cmd
}

// unpin returns what was pinned.
func unpin(ctx context.Context, cfg *config.Config, selected selection) ([]content.Pinned, error) {
	store, err := openCache(ctx, cfg, cfg.Registries[selected.registry])
	if err != nil {
		return nil, err
	}
	pins, err := store.Pins(ctx)
	if err != nil {
		return nil, err
	}
	pins = slices.DeleteFunc(pins, func(p content.Pinned) bool {
		return p.Repository != selected.repository || !selected.matches(p.Tag)
	})
	for _, p := range pins {
		if err := store.Pin(ctx, p.Repository, p.Tag, nil); err != nil {
			return nil, err
		}
	}
	return pins, nil
}
