package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/bundle"
	"github.com/spf13/cobra"
)

func loadCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load BUNDLE",
		Short: "Verify a bundle with this site's own pins and serve what is in it",
		Long: `Load a bundle, an archive or a directory, that "sealgate bundle save" has made
elsewhere. Everything is verified first, as if this site's Notary server had just
sent it: with the pins and policies of this configuration, against the versions
that this site knows, and no older than the registry's offline.grace allows; and
every file has to be there with its digest. Only then is anything stored, and it
is visible when all of a repository is there. A bundle is taken whole or not at
all; what it says that is refused names the reason.

It runs beside a server on the same storage, which serves what was loaded from its
next refresh on ("refresh", a minute unless the configuration says otherwise).
Interrupted at any point, what was served before goes on being served, and loading
it again completes it. Run it as the user that Sealgate runs as.

Exit codes: 0 all of it is loaded, 1 it was refused or it failed, 2 bad usage or
configuration.`,
		Args: oneBundle,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		return failed(loadBundle(cmd.Context(), cfg, args[0], stdout, stderr))
	}
	return cmd
}

func loadBundle(ctx context.Context, cfg *config.Config, name string, stdout, stderr io.Writer) (err error) {
	b, err := openBundle(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	s, err := openSite(cfg)
	if err != nil {
		return err
	}
	bar := newProgress(stderr, name)
	report, err := b.Load(ctx, bundle.LoadOptions{Find: s.find, Progress: bar.at})
	bar.clear()
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted: load it again to complete it")
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return printLoaded(stdout, report, cfg.ContentTrust.Refresh)
}

// printLoaded says what a bundle made visible.
func printLoaded(w io.Writer, r *bundle.Report, refresh time.Duration) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "IMAGE\tDIGEST\tPLATFORMS\tSIGNED BY\tSTANDS UNTIL\t")
	for _, l := range r.Loaded {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, l.Digest, platformsText(l), strings.Join(l.Signers, ", "), l.Expires.UTC().Format(time.RFC3339), changeText(l))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, name := range r.Gone {
		fmt.Fprintf(w, "%s is not signed any more, and hidden from now on\n", name)
	}
	for _, name := range r.Lacking {
		fmt.Fprintf(w, "%s is now signed as an image that no bundle has brought: load one with it\n", name)
	}
	_, err := fmt.Fprintf(w, "%s stored; a running server shows it within %s\n", byteText(r.Copied), refresh)
	return err
}

func platformsText(l bundle.Loaded) string {
	list := strings.Join(l.Platforms, " ")
	if list == "" {
		list = "-"
	}
	if l.LeftOut > 0 {
		list += fmt.Sprintf(" (%d left out)", l.LeftOut)
	}
	return plain(list)
}

func changeText(l bundle.Loaded) string {
	switch {
	case l.Was:
		return "was here"
	case l.Replaced != "":
		return "replaces " + l.Replaced
	}
	return "new"
}
