package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/admin"
	"golang.org/x/sync/errgroup"
)

// This file is what the status page is told: instance implements admin.Watched.

// Process implements admin.Watched.
func (i *instance) Process() admin.Process {
	return admin.Process{Version: version, Started: i.started, Now: i.remembered.now()}
}

// Registries implements admin.Watched.
func (i *instance) Registries() []admin.RegistrySettings {
	cfg := i.current.Load().cfg
	all := make([]admin.RegistrySettings, len(cfg.Registries))
	for at, reg := range cfg.Registries {
		all[at] = admin.RegistrySettings{
			Name: reg.Name, Mode: string(cfg.ContentTrust.Mode), Offline: reg.Offline != nil,
			Upstream: hostOf(reg.Upstream), Notary: hostOf(reg.Notary.URL),
		}
		if reg.Cache != nil {
			all[at].MaxCache = reg.Cache.MaxSize
		}
	}
	return all
}

// hostOf leaves out what else a URL has; "" where there is none.
func hostOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Host
}

// Policy implements admin.Watched.
func (i *instance) Policy(gun string) admin.Policy {
	p := i.current.Load().policy(gun)
	return admin.Policy{Mode: string(p.Mode), Match: p.Match, RequiredSigners: p.RequiredSigners, ExemptTags: p.ExemptTags}
}

// Certificates implements admin.Watched.
func (i *instance) Certificates() (all []admin.Certificate) {
	c := i.current.Load().certificates
	for _, cert := range c.shown() {
		leaf := cert.Leaf
		made := admin.Certificate{Names: leaf.DNSNames, Issuer: leaf.Issuer.CommonName, Source: c.source(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
		for _, ip := range leaf.IPAddresses {
			made.Names = append(made.Names, ip.String())
		}
		all = append(all, made)
	}
	return all
}

// LastReload implements admin.Watched.
func (i *instance) LastReload() admin.Reload {
	if last := i.reload.Load(); last != nil {
		return *last
	}
	return admin.Reload{}
}

// noteReload is told of a reload that has just ended.
func (i *instance) noteReload(err error) {
	ended := &admin.Reload{Time: time.Now()}
	if err != nil {
		ended.Error = err.Error()
	}
	i.reload.Store(ended)
}

// Hosts implements admin.Watched.
func (i *instance) Hosts() []string { return i.current.Load().cfg.Admin.Hosts }

// comparing bounds the requests of one comparison at a time.
const comparing = 4

// Compare implements admin.Watched.
func (i *instance) Compare(ctx context.Context, gun string, tags []string) ([]admin.InRegistry, error) {
	p := i.acquire() // its connections stay
	defer p.inUse.RUnlock()
	of, err := p.registryOf(gun)
	switch {
	case err != nil:
		return nil, err
	case of.asked.Upstream == nil:
		return nil, fmt.Errorf("%s is offline: there is no registry to compare with", of.name)
	}
	return i.compareWith(ctx, of.asked, strings.TrimPrefix(gun, of.name+"/"), tags)
}

func (l lasting) compareWith(ctx context.Context, reg proxy.Registry, repository string, tags []string) ([]admin.InRegistry, error) {
	found := make([]admin.InRegistry, len(tags))
	var group errgroup.Group
	group.SetLimit(comparing)
	for at, tag := range tags {
		group.Go(l.guarded("operator", func() error {
			digest, err := proxy.TagDigest(ctx, reg, repository, tag)
			if errors.Is(err, proxy.ErrNotInRegistry) {
				err = nil
			}
			found[at] = admin.InRegistry{Digest: digest, Err: err}
			return nil
		}))
	}
	return found, group.Wait()
}

// denialOf is what the status page remembers of a request, if it does: a tag or a
// list that a client did not get, or in mode permissive would not have got, and
// whatever could not be answered. A challenge, and a client that went away, are no
// news.
func denialOf(e proxy.Entry) (admin.Denial, bool) {
	if !isDenial(e) {
		return admin.Denial{}, false
	}
	d := admin.Denial{
		GUN: strings.TrimSuffix(e.Registry+"/"+e.Repository, "/"), Tag: e.Tag, Digest: e.Digest,
		Decision: e.Decision, Reason: e.Reason, Message: e.Message, Cause: e.Cause, Status: e.Status, Alarm: e.Alarm, Last: e.Time,
	}
	if strings.HasPrefix(e.Repository, e.Registry+"/") { // of trust data
		d.GUN = e.Repository
	}
	switch e.Would {
	case "deny":
		d.Decision = admin.WouldDeny
	case "change":
		d.Decision = admin.WouldChange
		d.Message = fmt.Sprintf("%s is signed", e.SignedDigest)
		if e.UpstreamDigest != "" {
			d.Message += fmt.Sprintf(", %s was served", e.UpstreamDigest)
		}
	}
	return d, true
}

// isDenial is asked of every request.
func isDenial(e proxy.Entry) bool {
	asked := e.Route == proxy.ManifestByTag || e.Route == proxy.Tags
	return e.Alarm || e.Would == "deny" || e.Would == "change" || e.Decision == "error" ||
		e.Decision == "deny" && asked && e.Status != 401 && e.Status != 499
}
