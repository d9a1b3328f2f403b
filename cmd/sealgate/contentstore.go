package main

import (
	"context"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/content"
)

// contentOptions are what the content of a registry is kept with, the same in
// every process. d is the driver of the whole storage.
func contentOptions(d driver.StorageDriver, reg config.Registry) content.StoreOptions {
	opts := content.StoreOptions{Driver: content.Root(d, reg.Name, upstreamText(reg))}
	if reg.Cache != nil {
		opts.MaxSize, opts.TTL = reg.Cache.MaxSize, reg.Cache.TTL
	}
	return opts
}

// upstreamText is the address of the registry, "" where nobody is asked.
func upstreamText(reg config.Registry) string {
	if reg.Upstream == nil {
		return ""
	}
	return reg.Upstream.String()
}

// closeContent makes the directory of all content, where there is none, for this
// user alone: what is in private registries is in it, and the filesystem driver
// makes files that everybody may read.
func closeContent(s config.Storage) error {
	return makeInRoot(s, content.Top)
}

// checkCache says why no other process than the server can see the cache of a
// registry: bad configuration.
func checkCache(cfg *config.Config, reg config.Registry) error {
	switch {
	case reg.Offline != nil:
		return usage("%s is offline: what it has comes with bundles (sealgate bundle load)", reg.Name)
	case reg.Cache == nil:
		return usage("%s has no cache in the configuration: give it one (cache: {}), and reload the server", reg.Name)
	}
	return checkShared(cfg)
}

// checkShared says why no other process than the server can see the storage.
func checkShared(cfg *config.Config) error {
	if cfg.Storage.Driver == config.InMemory {
		return usage("storage is inmemory, which the server has for itself alone: a cache that is filled or seen from outside needs storage.filesystem or storage.s3")
	}
	return nil
}

// openCache opens what the server keeps of a registry, for a command beside it
// that writes.
func openCache(ctx context.Context, cfg *config.Config, reg config.Registry) (*content.Store, error) {
	if err := checkCache(cfg, reg); err != nil {
		return nil, err
	}
	if err := checkOwner(cfg.Storage); err != nil {
		return nil, err
	}
	if err := closeContent(cfg.Storage); err != nil {
		return nil, err
	}
	return readCache(ctx, cfg, reg)
}

// readCache opens what is kept of a registry, for a look: of the store's methods
// Has and Pins alone write nothing.
func readCache(ctx context.Context, cfg *config.Config, reg config.Registry) (*content.Store, error) {
	d, err := openDriver(cfg.Storage)
	if err != nil {
		return nil, err
	}
	return content.NewStore(ctx, contentOptions(d, reg))
}
