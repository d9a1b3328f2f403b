package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

const releases = "targets/releases"

// differential compares Sealgate with a Docker client that has never seen the
// repository, for every tag that was ever used, at every step of the life of
// team/app. Three look: a gate at every step; a source that saw the beginning
// and then only a step now and then; and a source that sees it for the first
// time.
type differential struct {
	*world
	gun       string
	transport *http.Transport
	images    []pushed
	tags      []string
	signed    int // how many times
	steps     int
	seldom    *notary.Source
	last      *trustcache.Snapshot // of seldom
	visible   int                  // tags that both sides showed, over all steps
}

func newDifferential(t *testing.T) *differential {
	t.Helper()
	d := &differential{world: ownWorld(t, registryOptions{}), tags: []string{"never"}}
	d.gun, d.transport = d.world.gun("team/app"), d.ca.transport(false)
	for i := range 5 {
		d.images = append(d.images, d.mustSay(t, "team/app", "never", fmt.Sprint("words of ", i)))
	}
	d.mustBegin(t, "team/app")
	key := must(d.rootKey())(t)
	d.seldom = d.newSource(t, notary.Options{Pins: func(string) notary.Pins {
		return notary.Pins{Kind: notary.RootKeys, IDs: []string{key}}
	}})
	d.mustOpen(t, func(s *settings) { s.refresh = time.Millisecond }) // it asks for every answer
	d.compare(t)
	return d
}

func (d *differential) newSource(t *testing.T, o notary.Options) *notary.Source {
	t.Helper()
	o.URL, o.Transport = must(url.Parse(d.notary.url))(t), d.transport
	return notary.New(o)
}

// sign says that tag is the next of the images, in these roles or in targets.
func (d *differential) sign(tag string, roles ...string) error {
	if !slices.Contains(d.tags, tag) {
		d.tags = append(d.tags, tag)
	}
	d.signed++
	return d.world.sign(d.gun, tag, d.images[d.signed%len(d.images)], roles...)
}

// compare asks everybody for every tag.
func (d *differential) compare(t *testing.T) {
	t.Helper()
	d.steps++
	lookers := map[string]*trustcache.Snapshot{
		"at a first look": must(d.newSource(t, notary.Options{TrustOnFirstUse: true}).Fetch(t.Context(), d.gun, nil))(t),
	}
	if d.steps%5 == 1 {
		d.last = must(d.seldom.Fetch(t.Context(), d.gun, d.last))(t)
		lookers["after some steps"] = d.last
	}
	var listed []string
	for _, tag := range d.tags {
		want, signed, err := sandbox.DockersAnswer(d.notary.url, d.transport, d.gun, tag)
		if err != nil {
			t.Fatal(err)
		}
		for name, snap := range lookers {
			got, ok := snap.Lookup(tag)
			if ok != signed || ok && (got.Digest.String() != want.Digest || got.Length != want.Length || got.Role != want.Role) {
				t.Errorf("%s, tag %q is %v %+v, for Docker it is %v %+v", name, tag, ok, got, signed, want)
			}
		}
		a := d.manifest(t, "team/app", tag)
		switch {
		case !signed:
			if a.status != http.StatusNotFound || a.message() != noTrustData(d.world, "team/app", tag) {
				t.Errorf("for Docker nobody has signed tag %q, the gate answers %v", tag, a)
			}
		case a.status != http.StatusOK || sha256Of(a.body) != want.Digest || a.header.Get("Warning") != "":
			t.Errorf("for Docker tag %q is %+v, the gate answers %v", tag, want, a)
		default:
			d.visible++
		}
		if signed {
			listed = append(listed, tag)
		}
	}
	slices.Sort(listed)
	for name, snap := range lookers {
		if snap.Len() != len(listed) {
			t.Errorf("%s there are %d tags, for Docker %q", name, snap.Len(), listed)
		}
	}
	if got := tagsIn(t, d.get(t, "/v2/team/app/tags/list")); !slices.Equal(got, listed) {
		t.Errorf("the gate lists %q, for Docker there are %q", got, listed)
	}
}

// step is something that a publisher does.
func (d *differential) step(t *testing.T, what string, does ...func() error) {
	t.Helper()
	begin := time.Now()
	for _, do := range does {
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	took := time.Since(begin)
	d.compare(t)
	t.Logf("%s: done in %v, compared in %v", what, took, time.Since(begin)-took)
	if t.Failed() {
		t.Fatalf("after the step %q", what)
	}
}

// The verbs of a publisher, for step.

func (d *differential) signs(tag string, roles ...string) func() error {
	return func() error { return d.sign(tag, roles...) }
}

func (d *differential) revokes(tag string, roles ...string) func() error {
	return func() error { return d.revoke(d.gun, tag, roles...) }
}

func (d *differential) delegates(role string, paths ...string) func() error {
	return func() error { _, err := d.delegate(d.gun, role, paths...); return err }
}

func (d *differential) notarys(arguments ...string) func() error {
	return func() error { _, err := d.cli(arguments...); return err }
}

func (d *differential) dockers(arguments ...string) func() error {
	return func() error { _, err := d.docker(arguments...); return err }
}

func (d *differential) rotates(role ...string) func() error {
	return func() error { return d.rotate(d.gun, role...) }
}

func (d *differential) removes(role string) func() error {
	return d.notarys("delegation", "remove", "-p", "-y", d.gun, role)
}

// replaces gives a delegation another key, as its owner should: a file that both
// have signed is there before the old one goes. cert is that of the key.
func (d *differential) replaces(role string, cert *string, paths ...string) func() error {
	return func() error {
		before, err := canonicalID(*cert)
		if err != nil {
			return err
		}
		if *cert, err = d.delegate(d.gun, role, paths...); err != nil {
			return err
		}
		if _, err := d.cli("witness", "-p", d.gun, role); err != nil {
			return err
		}
		_, err = d.cli("delegation", "remove", "-p", "-y", d.gun, role, before)
		return err
	}
}

func TestAnswersAreDockers(t *testing.T) {
	t.Parallel()
	d := newDifferential(t)
	d.step(t, "targets alone", d.signs("v1"), d.signs("v2"), d.signs("latest"))
	d.step(t, "moved and revoked", d.signs("latest"), d.revokes("v2"))
	var cert string
	d.step(t, "releases appointed, and never published", func() (err error) { cert, err = d.delegate(d.gun, releases); return err })
	d.step(t, "published", d.signs("latest", releases), d.signs("v3", releases))
	d.step(t, "revoked there alone", d.revokes("latest", releases))
	d.step(t, "in both", d.signs("v4", releases, "targets"), d.signs("latest", releases))
	d.step(t, "releases has another key", d.replaces(releases, &cert))
	d.step(t, "and signs", d.signs("v5", releases))
	for _, rotation := range [][]string{{"targets"}, {"snapshot", "-r"}, {"timestamp", "-r"}, {"root"}, {"snapshot"}, {"root"}, {"snapshot", "-r"}} {
		d.step(t, "rotated "+strings.Join(rotation, " "), d.rotates(rotation...))
		d.step(t, "and signed", d.signs("after-"+rotation[0], releases), d.signs("v1"))
	}
	d.step(t, "a role for some tags", d.delegates("targets/nightly", "v1", "night"), d.signs("v1.1", "targets/nightly"), d.signs("nightly", "targets", "targets/nightly"))
	d.step(t, "below releases", d.delegates(releases+"/ci"), d.signs("v7", releases+"/ci"), d.signs("nightly", releases+"/ci"))
	d.step(t, "below releases, removed", d.removes(releases+"/ci"))
	d.step(t, "a role removed", d.removes("targets/nightly"))
	d.step(t, "releases removed", d.removes(releases))
	d.step(t, "all there is to see is in targets", d.signs("v6"))
	d.step(t, "releases again, by the same key", func() error { return d.delegateTo(cert, d.gun, releases, "v", "lat") })
	d.step(t, "published again", d.signs("v6", releases), d.signs("latest", releases), d.signs("root"))
	for range 3 {
		d.step(t, "the whole ceremony", d.rotates("root"), d.rotates("targets"), d.rotates("timestamp", "-r"), d.signs("v1"))
	}
	d.wantVisible(t, 150)
}

// wantVisible fails where so little was visible that the comparison says little.
func (d *differential) wantVisible(t *testing.T, least int) {
	t.Helper()
	if d.visible < least {
		t.Errorf("only %d times a tag was visible in %d steps", d.visible, d.steps)
	}
}

// TestAnswersAreDockersForSigners that docker's own commands appoint and dismiss.
func TestAnswersAreDockersForSigners(t *testing.T) {
	t.Parallel()
	d := newDifferential(t)
	keys := t.TempDir()
	add := func(name string) []func() error {
		return []func() error{
			d.dockers("key", "generate", name, "--dir", keys),
			d.dockers("signer", "add", "--key", filepath.Join(keys, name+".pub"), name, d.gun),
		}
	}
	d.step(t, "targets alone", d.signs("v1"), d.signs("v2"), d.signs("v3"))
	d.step(t, "alice", add("alice")...)
	d.step(t, "alice signs", d.dockers("sign", d.gun+":v1"))
	d.step(t, "bob", add("bob")...)
	d.step(t, "both sign", d.dockers("sign", d.gun+":v2"))
	d.step(t, "targets moves on", d.signs("v2"), d.signs("v3"))
	for _, rotation := range [][]string{{"targets"}, {"snapshot"}, {"root"}, {"snapshot", "-r"}, {"timestamp", "-r"}} {
		d.step(t, "rotated "+rotation[0], d.rotates(rotation...))
		d.step(t, "and signed", d.dockers("sign", d.gun+":v3"), d.signs("v1"))
	}
	d.step(t, "revoked", d.dockers("revoke", "--yes", d.gun+":v2"))
	d.step(t, "bob dismissed", d.dockers("signer", "remove", "bob", d.gun))
	d.step(t, "alice alone", d.dockers("sign", d.gun+":v1"))
	d.step(t, "bob is back with another key", d.dockers("key", "generate", "bob2", "--dir", keys),
		d.dockers("signer", "add", "--key", filepath.Join(keys, "bob2.pub"), "bob", d.gun))
	d.step(t, "both again", d.dockers("sign", d.gun+":v3"))
	d.wantVisible(t, 50)
}
