package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/admin"
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

It runs beside a server on the same storage, which is told by its control socket;
one that cannot be told, such as another replica, serves what was loaded from its
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
		return err
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
	when := fmt.Sprintf("a running server shows it within %s", cfg.ContentTrust.Refresh)
	if s.tell(ctx, b) {
		when = "the running server shows it now"
	}
	return printLoaded(stdout, report, when)
}

// tellTimeout is how long a running server has to look at what was loaded.
const tellTimeout = 30 * time.Second

// tell has a server that runs on this configuration look at what was loaded. Where
// it cannot be asked, it looks in a while by itself.
func (s *site) tell(ctx context.Context, b *bundle.Bundle) bool {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	for _, r := range b.Catalog.Repositories {
		if s.cfg.Admin.Control == "" || admin.Call(ctx, s.cfg.Admin.Control, "/refresh?gun="+url.QueryEscape(r.GUN)) != nil {
			return false
		}
	}
	return true
}

// printLoaded says what a bundle made visible.
func printLoaded(w io.Writer, r *bundle.Report, when string) error {
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
	_, err := fmt.Fprintf(w, "%s stored; %s\n", byteText(r.Copied), when)
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
