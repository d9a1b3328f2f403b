package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/spf13/cobra"
)

// forgetTimeout is how long the running server has to answer.
const forgetTimeout = 30 * time.Second

func forgetCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget GUN",
		Short: "Drop the remembered trust of a repository after a legitimate key reset",
		Long: `Tell the running server to forget the root, the versions and the tags that it
remembers of a repository, so that trust in it begins anew with the pins of the
configuration. A GUN is what publishers type: the registry's name, "/", the
repository. Do this only when the publisher says that the keys were reset: what
is forgotten is what protects against older versions being played back.`,
		Args: cobra.ExactArgs(1),
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		gun := args[0]
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(cfg.Registries, func(r config.Registry) bool { return strings.HasPrefix(gun, r.Name+"/") }) {
			return usage("%q names no repository of a registry in %s: the registry's name, %q and the repository are expected", gun, *path, "/")
		}
		if cfg.Admin.Control == "" {
			return failed(fmt.Errorf("%s has neither admin.control nor state-dir, so its server has no control socket", *path))
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), forgetTimeout)
		defer cancel()
		_, err = admin.Call(ctx, cfg.Admin.Control, http.MethodPost, "/forget?gun="+url.QueryEscape(gun), nil)
		var refused *admin.CallError
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
			fmt.Fprintf(stdout, "%s: nothing was remembered\n", gun)
			return nil
		case err != nil:
			return failed(err)
		}
		fmt.Fprintf(stdout, "%s: forgotten\n", gun)
		return nil
	}
	return cmd
}
