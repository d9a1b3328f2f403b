package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/spf13/cobra"
)

// selection is what an operator names of a repository: a tag, or a pattern of
// tags as in exempt-tags.
type selection struct {
	registry   int // index in cfg.Registries
	gun        string
	repository string // gun without the registry's name
	tag        string // with "*" for any characters
}

// String is how the operator may name it.
func (s selection) String() string { return s.gun + ":" + s.tag }

func (s selection) isPattern() bool { return strings.Contains(s.tag, "*") }

// matches says whether tag is selected.
func (s selection) matches(tag string) bool {
	return (&proxy.Policy{Exempt: []string{s.tag}}).Exempts(tag)
}

// parseSelections reads arguments of the form REPO:TAG, in which the tag may be
// a pattern. An error is bad usage.
func parseSelections(cfg *config.Config, args []string) (all []selection, err error) {
	for _, arg := range args {
		s, err := parseSelection(cfg, arg)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func parseSelection(cfg *config.Config, arg string) (selection, error) {
	end := strings.LastIndexByte(arg, ':')
	if end <= strings.LastIndexByte(arg, '/') {
		return selection{}, usage("%q: a tag is expected, as in %s:latest, or a pattern of tags, as in %s:v1.*", arg, arg, arg)
	}
	// As if "*" were a letter: what is a tag then is a pattern.
	registry, gun, tag, err := parseInspect(cfg, arg[:end+1]+strings.ReplaceAll(arg[end+1:], "*", "x"))
	if err != nil {
		return selection{}, err
	}
	if tag == "" || strings.Contains(arg[:end], "*") {
		return selection{}, usage("%q: one repository is expected, and a tag or a pattern of its tags", arg)
	}
	return selection{registry, gun, strings.TrimPrefix(gun, cfg.Registries[registry].Name+"/"), arg[end+1:]}, nil
}

// selectedTag is a tag of a selection, and what is signed for it.
type selectedTag struct {
	selection // of one tag
	target    trustcache.Target
	err       error // why it is not visible; target is nothing then
	stale     error // why older verified trust data decided; nil where it is fresh
}

// signed returns what trust says of a selection, sorted by tag. For a pattern
// these are the tags that are visible, of which there has to be one.
func (s selection) signed(ctx context.Context, trust proxy.Trust) []selectedTag {
	if !s.isPattern() {
		view, err := trust.Tag(ctx, s.gun, s.tag)
		return []selectedTag{s.decided(s.tag, view, err)}
	}
	view, err := trust.Repository(ctx, s.gun)
	if err != nil {
		return []selectedTag{s.decided(s.tag, view, err)}
	}
	var all []selectedTag
	for last, more := "", true; more; {
		var page []string
		page, more = view.Page(last, 1000)
		for _, tag := range page {
			if s.matches(tag) {
				all = append(all, s.decided(tag, view, nil))
			}
			last = tag
		}
	}
	if len(all) == 0 {
		return []selectedTag{{selection: s, err: fmt.Errorf("no signed tag of %s is matched by %q", s.gun, s.tag)}}
	}
	return all
}

func (s selection) decided(tag string, view trustcache.View, err error) selectedTag {
	s.tag = tag
	d := proxy.Decide(s.gun, tag, view, err)
	if d.Denial != nil {
		return selectedTag{selection: s, err: d.Denial}
	}
	return selectedTag{selection: s, target: d.Target, stale: view.Stale}
}

// someReferences is oneReference for at least one.
func someReferences(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("%s: at least one %s is expected", cmd.Name(), what)
		}
		return nil
	}
}

// platformFlag is the flag --platform, for parsePlatforms.
func platformFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringSlice("platform", nil, "take only these of an index: os/architecture[/variant], repeated or separated by commas (default all)")
}

// parsePlatforms reads the values of --platform.
func parsePlatforms(texts []string) (all []content.Platform, err error) {
	for _, text := range texts {
		p, err := content.ParsePlatform(text)
		if err != nil {
			return nil, usage("--platform: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}
