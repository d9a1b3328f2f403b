package notary_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/theupdateframework/notary/tuf/data"
)

// published is a repository on a real trust server, signed by the Notary
// client library.
type published struct {
	t         *testing.T
	server    *sandbox.TrustServer
	publisher *sandbox.Publisher
	transport *http.Transport
	source    *notary.Source
	tags      map[string]bool
}

func newPublished(t *testing.T) *published {
	t.Helper()
	server, err := sandbox.StartTrustServer(t.Context(), sandbox.TrustServerOptions{})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	publisher, err := sandbox.NewPublisher(server.URL(), nil, "")
	must(t, err)
	pin, err := publisher.Init(testGUN)
	must(t, err)
	base := must2(url.Parse(server.URL()))
	p := &published{t: t, server: server, publisher: publisher, transport: &http.Transport{DisableKeepAlives: true}, tags: map[string]bool{"absent": true}}
	p.source = notary.New(notary.Options{URL: base, Transport: p.transport, Pins: func(string) notary.Pins { return notary.Pins{Kind: notary.RootKeys, IDs: []string{pin}} }})
	return p
}

func (p *published) sign(tag string, n int, roles ...string) {
	p.t.Helper()
	sum := sha256.Sum256([]byte(fmt.Sprint(n)))
	must(p.t, p.publisher.Sign(testGUN, tag, hex.EncodeToString(sum[:]), int64(n), roles...))
	p.tags[tag] = true
}

// compare asks for every tag that was ever signed.
func (p *published) compare(what string, prev *trustcache.Snapshot) *trustcache.Snapshot {
	p.t.Helper()
	snap, err := p.source.Fetch(p.t.Context(), testGUN, prev)
	must(p.t, err)
	fresh := notary.New(notary.Options{URL: must2(url.Parse(p.server.URL())), Transport: p.transport, TrustOnFirstUse: true})
	cold, err := fresh.Fetch(p.t.Context(), testGUN, nil)
	must(p.t, err)
	visible := 0
	for tag := range p.tags {
		want, signed, err := sandbox.DockersAnswer(p.server.URL(), p.transport, testGUN, tag)
		must(p.t, err)
		if signed {
			visible++
		}
		for name, s := range map[string]*trustcache.Snapshot{"update": snap, "first look": cold} {
			got, ok := s.Lookup(tag)
			if ok != signed || ok && (got.Digest.String() != want.Digest || got.Length != want.Length || got.Role != want.Role) {
				p.t.Errorf("%s, %s: tag %q is %v %+v, for Docker it is %v %+v", what, name, tag, ok, got, signed, want)
			}
		}
	}
	if snap.Len() != visible {
		p.t.Errorf("%s: %d tags, Docker knows %d", what, snap.Len(), visible)
	}
	return snap
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestAnswersAreDockers: for every tag what a Docker client with content trust
// would pull, at every step of a repository's life.
func TestAnswersAreDockers(t *testing.T) {
	p := newPublished(t)
	snap := p.compare("nothing signed", nil)
	p.sign("latest", 1)
	p.sign("v1", 2)
	snap = p.compare("targets alone", snap)

	must(t, p.publisher.AddDelegation(testGUN, releases))
	snap = p.compare("releases not yet published", snap)
	p.sign("latest", 3, releases)
	p.sign("v2", 4, releases)
	snap = p.compare("releases published", snap)

	must(t, p.publisher.AddDelegation(testGUN, "targets/alice", "v"))
	p.sign("v3", 5, "targets/alice")
	p.sign("v1", 2, "targets/alice", "targets")
	snap = p.compare("another role", snap)

	const child = releases + "/ci"
	must(t, p.publisher.AddDelegation(testGUN, child, "v1", "night"))
	p.sign("v1", 6, child)
	p.sign("v1.1", 7, child)
	p.sign("nightly", 8, child)
	p.sign("nightly", 9)
	snap = p.compare("a child of releases", snap)

	for _, role := range []string{"targets", "snapshot", "timestamp", "root"} {
		must(t, p.publisher.RotateKey(testGUN, role, role == "timestamp" || role == "snapshot"))
		p.tags[role] = true
		p.sign("latest", 100+len(role), releases)
		snap, _ = p.source.Fetch(t.Context(), testGUN, snap)
		if target, ok := snap.Lookup("latest"); !ok || target.Length != int64(100+len(role)) {
			t.Errorf("after the rotation of %s: %v %+v", role, ok, target)
		}
	}
	must(t, p.publisher.Remove(testGUN, "latest", releases))
	must(t, p.publisher.Remove(testGUN, "v1", child))
	p.compare("revoked", snap)
}

// TestAnswersAreDockersForRepositoriesOfChance: roles, paths and tags at
// random, out of few, so that they meet.
func TestAnswersAreDockersForRepositoriesOfChance(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 2))
			p := newPublished(t)
			roles := []string{"targets"}
			for _, role := range []string{releases, "targets/alice", releases + "/ci", releases + "/ci/x", "targets/alice/y"} {
				if parent := data.RoleName(role).Parent().String(); chance.IntN(4) == 0 || !slices.Contains(roles, parent) {
					continue
				}
				paths := [][]string{nil, {"a"}, {"b", "ab"}, {"a", "b"}}[chance.IntN(4)]
				// The library refuses paths that the parent does not have.
				if p.publisher.AddDelegation(testGUN, role, paths...) == nil {
					roles = append(roles, role)
				}
			}
			var snap *trustcache.Snapshot
			for n := range 12 {
				tag, role := []string{"a", "b", "ab", "ba"}[chance.IntN(4)], roles[chance.IntN(len(roles))]
				p.tags[tag] = true
				sum := sha256.Sum256([]byte(fmt.Sprint(n)))
				// Where the role's paths do not cover the tag, the library
				// refuses to sign.
				_ = p.publisher.Sign(testGUN, tag, hex.EncodeToString(sum[:]), int64(n), role)
				if n%4 == 3 {
					snap = p.compare(fmt.Sprint("step ", n), snap)
				}
			}
		})
	}
}
