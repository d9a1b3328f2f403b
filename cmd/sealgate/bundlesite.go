package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/bundle"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// site is where bundles are loaded: the storage of a configuration, beside a
// server that may run on it, and what that server believes.
type site struct {
	cfg    *config.Config
	rules  trustRules
	memory *remembered // the server's, without its clock, which it alone writes
	now    func() time.Time
	stores map[string]*content.Store
}

// openSite opens the storage of cfg, or makes it.
func openSite(cfg *config.Config) (*site, error) {
	if cfg.Storage.Driver == config.InMemory {
		return nil, usage("storage is inmemory: what is loaded would be gone with this command")
	}
	rules, err := readTrustRules(cfg.ContentTrust)
	if err != nil {
		return nil, err
	}
	if err := makeRoot(cfg.Storage); err != nil {
		return nil, err
	}
	if err := checkOwner(cfg.Storage); err != nil {
		return nil, err
	}
	if err := closeContent(cfg.Storage); err != nil {
		return nil, err
	}
	m, err := openBeside(cfg)
	if err != nil {
		return nil, err
	}
	return &site{cfg: cfg, rules: rules, memory: m, now: m.now, stores: map[string]*content.Store{}}, nil
}

// find is where the site has a repository.
func (s *site) find(gun string) (bundle.Place, error) {
	for _, reg := range s.cfg.Registries {
		repository, ok := strings.CutPrefix(gun, reg.Name+"/")
		switch {
		case !ok:
			continue
		case reg.Offline == nil:
			return bundle.Place{}, fmt.Errorf("the registry %s is not offline in this configuration: it would go on asking its upstream and its Notary server", reg.Name)
		case !isRepository(repository):
			return bundle.Place{}, fmt.Errorf("%.300q is no repository", gun)
		}
		store, err := s.store(reg)
		if err != nil {
			return bundle.Place{}, err
		}
		return bundle.Place{Name: repository, Store: store, Stage: func(ctx context.Context, server http.RoundTripper) (bundle.Staged, error) {
			return s.stage(ctx, reg, gun, server)
		}}, nil
	}
	var names []string
	for _, reg := range s.cfg.Registries {
		names = append(names, reg.Name)
	}
	return bundle.Place{}, fmt.Errorf("%.300q is of no registry that is configured here (there is %s)", gun, strings.Join(names, ", "))
}

// store is the content of an offline registry.
func (s *site) store(reg config.Registry) (*content.Store, error) {
	if s.stores[reg.Name] == nil {
		made, err := content.NewStore(context.Background(), contentOptions(s.memory.driver, reg))
		if err != nil {
			return nil, err
		}
		s.stores[reg.Name] = made
	}
	return s.stores[reg.Name], nil
}

// nowhere is the address of a server that is not asked over a network.
var nowhere = url.URL{Scheme: "https", Host: "bundle.invalid"}

// stage verifies what server says of gun as an update of what the site knows.
func (s *site) stage(ctx context.Context, reg config.Registry, gun string, server http.RoundTripper) (*stagedUpdate, error) {
	opts := s.rules.source(s.now)
	opts.Grace = reg.Offline.Grace
	u := &stagedUpdate{gun: gun, again: func(ctx context.Context) (*stagedUpdate, error) { return s.stage(ctx, reg, gun, server) }}

	// What a running server shows: nothing where it could not be verified any more.
	u.before, _ = notary.New(newStaging(s.memory.store, s.memory.files).over(opts)).Fetch(ctx, gun, nil)

	u.staging = newStaging(s.memory.store, s.memory.files)
	opts.URL, opts.Transport = &nowhere, server
	var err error
	u.after, err = notary.New(u.staging.over(opts)).Fetch(ctx, gun, nil)
	return u, err
}

// stagedUpdate implements bundle.Staged.
type stagedUpdate struct {
	gun           string
	staging       *staging
	before, after *trustcache.Snapshot
	again         func(context.Context) (*stagedUpdate, error)
}

// Before implements bundle.Staged.
func (u *stagedUpdate) Before() *trustcache.Snapshot { return u.before }

// After implements bundle.Staged.
func (u *stagedUpdate) After() *trustcache.Snapshot { return u.after }

// maxCommits is how often an update is verified anew because a server, or another
// load, has remembered more meanwhile.
const maxCommits = 5

// Commit implements bundle.Staged.
func (u *stagedUpdate) Commit(ctx context.Context) error {
	for tried := 1; ; tried++ {
		err := u.staging.commit(ctx, u.gun)
		if !errors.Is(err, notary.ErrConflict) || tried == maxCommits {
			return err
		}
		now, err := u.again(ctx)
		if err != nil {
			return fmt.Errorf("more has become known of it meanwhile: %w", err)
		}
		u.staging = now.staging
	}
}
