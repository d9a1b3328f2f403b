package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
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
configuration; where no server runs, what is stored is forgotten (do it as the
user that the server runs as). A GUN is what publishers type, without a tag: the
registry's name, "/", the repository (for one of Docker Hub, its short name will
do, where docker.io is configured). Do this only when the publisher says that
the keys were reset: what is forgotten is what protects against older versions
being played back. Where the repository is pinned, change the pin and reload first.

Exit codes: 0 forgotten, 1 nothing was remembered or it failed, 2 bad usage.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("one GUN is expected, the registry's name, %q and the repository, such as registry.example.com/prod/app", "/")
			}
			return nil
		},
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		gun := fullName(cfg, args[0])
		if err := checkGUN(cfg, gun); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), forgetTimeout)
		defer cancel()
		known, err := forget(ctx, cfg, gun)
		switch {
		case err != nil:
			return failed(err)
		case !known:
			fmt.Fprintf(stdout, "%s: nothing was remembered\n", gun)
			return &exitError{code: exitFailed}
		}
		fmt.Fprintf(stdout, "%s: forgotten\n", gun)
		return nil
	}
	return cmd
}

// forget asks the server that runs; where none does, it is done here, if there
// is something that outlives a server.
func forget(ctx context.Context, cfg *config.Config, gun string) (known bool, err error) {
	if cfg.Admin.Control == "" {
		return false, errors.New("the configuration names no control socket: set admin.control, or restart the server where storage is inmemory")
	}
	err = admin.Call(ctx, cfg.Admin.Control, "/forget?gun="+url.QueryEscape(gun))
	var refused *admin.CallError
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return false, nil
	case errors.Is(err, admin.ErrNotRunning) && cfg.Storage.Driver != config.InMemory:
		if err := checkOwner(cfg.Storage); err != nil {
			return false, err
		}
		d, err := openDriver(cfg.Storage)
		if err != nil {
			return false, err
		}
		store := newTrustStore(state.New(state.Options{Driver: d}))
		return notary.New(notary.Options{Store: store, Files: store}).Forget(gun)
	}
	return err == nil, err
}

// checkGUN says what is wrong with a GUN before anybody is asked to forget it.
func checkGUN(cfg *config.Config, gun string) error {
	for _, reg := range cfg.Registries {
		repository, ok := strings.CutPrefix(gun, reg.Name+"/")
		if !ok {
			continue
		}
		if isRepository(repository) {
			return nil
		}
		if end := strings.IndexAny(repository, ":@"); end > 0 && isRepository(repository[:end]) {
			return usage("%q: a GUN has no tag and no digest: %s/%s is forgotten as a whole", gun, reg.Name, repository[:end])
		}
		return usage("%q: %q is no repository: components of a-z and 0-9, with one of . _ __ - between them, and %q between components are expected", gun, repository, "/")
	}
	return usage("%q names no repository of a registry that is configured: a GUN is the registry's name, %q and the repository, such as %s/prod/app", gun, "/", cfg.Registries[0].Name)
}

// isRepository asks the grammar of requests.
func isRepository(name string) bool {
	route, err := proxy.Parse("/v2/" + name + "/manifests/latest")
	return err == nil && route.Kind == proxy.ManifestByTag && route.Repository == name
}
