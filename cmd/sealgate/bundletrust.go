package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// trustProof is what a Notary server says of one repository at one moment, verified, and
// the metadata that it was verified from.
type trustProof struct {
	snap  *trustcache.Snapshot
	files map[string][]byte // as a bundle wants them
	// firstRoot is the oldest version of the root that is there and leads to the
	// newest.
	firstRoot int
}

// prove asks the Notary server of opts for all of gun's metadata. Nothing that is
// remembered changes by it.
func prove(ctx context.Context, opts notary.Options, gun string) (*trustProof, error) {
	source := notary.New(newStaging(opts.Store, opts.Files).over(opts))
	snap, err := source.Fetch(ctx, gun, nil)
	if err != nil {
		return nil, err
	}
	p := &trustProof{snap: snap, files: map[string][]byte{}}
	for _, e := range snap.Evidence() {
		if e.Note != "" {
			continue // a role that could not be read only names signers
		}
		raw, err := source.Metadata(gun, e.Role+".json")
		if err != nil {
			return nil, err
		}
		switch e.Role {
		case "root":
			p.files["root.json"] = raw
			if err := p.roots(source, gun, e.Version); err != nil {
				return nil, err
			}
		case "timestamp":
			p.files["timestamp.json"] = raw
		default:
			p.files[fmt.Sprintf("%s.%x.json", e.Role, sha256.Sum256(raw))] = raw
		}
	}
	return p, nil
}

// roots adds the versions of the root from the newest back to the first that
// leads to it.
func (p *trustProof) roots(source *notary.Source, gun string, newest int) error {
	for version := newest; version >= 1; version-- {
		name := fmt.Sprintf("%d.root.json", version)
		raw, err := source.Metadata(gun, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		p.files[name], p.firstRoot = raw, version
	}
	return nil
}

// trustProofs are those of the repositories of a bundle. They implement proxy.Trust.
type trustProofs struct {
	opts  notary.Options
	known map[string]*trustProof
}

func newTrustProofs(opts notary.Options) *trustProofs {
	return &trustProofs{opts, map[string]*trustProof{}}
}

// of is the proof of gun, of the moment when it was first asked for.
func (p *trustProofs) of(ctx context.Context, gun string) (*trustProof, error) {
	if known := p.known[gun]; known != nil {
		return known, nil
	}
	made, err := prove(ctx, p.opts, gun)
	if err == nil {
		p.known[gun] = made
	}
	return made, err
}

// Repository implements proxy.Trust.
func (p *trustProofs) Repository(ctx context.Context, gun string) (trustcache.View, error) {
	made, err := p.of(ctx, gun)
	if err != nil {
		return trustcache.View{}, err
	}
	return trustcache.View{Snapshot: made.snap}, nil
}

// Tag implements proxy.Trust.
func (p *trustProofs) Tag(ctx context.Context, gun, _ string) (trustcache.View, error) {
	return p.Repository(ctx, gun)
}

var _ proxy.Trust = (*trustProofs)(nil)
