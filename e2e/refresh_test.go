package e2e

import (
	"fmt"
	"testing"
	"time"
)

// slack is what starting the client programs and one Notary exchange may add to `refresh`.
const slack = 4 * time.Second

func TestRevokedTagDisappearsWithinRefresh(t *testing.T) {
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	image := w.mustSay(t, "team/app", "signed", "words")
	w.mustSign(t, "team/app", "signed", image)
	w.mustSign(t, "team/app", "other", image)
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)

	if err := w.revoke(w.gun("team/app"), "signed"); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, w.refresh+slack, func() error {
		a := w.manifest(t, "team/app", "signed")
		if a.status == 200 {
			return fmt.Errorf("still served")
		}
		wantRefused(t, a, 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "signed"))
		return nil
	})
	t.Logf("gone after %v, refresh is %v", took, w.refresh)
	wantTags(t, tagsIn(t, w.get(t, "/v2/team/app/tags/list")), "other")
	wantServed(t, w.manifest(t, "team/app", image.digest), image)
	eachClient(t, func(t *testing.T, c client) {
		wantDenied(t, c, w, w.tag("team/app", "signed"), noTrustData(w, "team/app", "signed"))
	})
}

func TestNewlySignedTagAppearsWithinRefresh(t *testing.T) {
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	image := w.mustSay(t, "team/app", "new", "words")
	w.mustOpen(t, nil)
	wantRefused(t, w.manifest(t, "team/app", "new"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "new"))

	w.mustSign(t, "team/app", "new", image)
	took := eventually(t, w.refresh+slack, func() error {
		if a := w.manifest(t, "team/app", "new"); a.status != 200 {
			return fmt.Errorf("still %v", a)
		}
		return nil
	})
	t.Logf("there after %v, refresh is %v", took, w.refresh)
	wantTags(t, tagsIn(t, w.get(t, "/v2/team/app/tags/list")), "new")
	eachClient(t, func(t *testing.T, c client) {
		wantPulled(t, c, w, w.tag("team/app", "new"), image)
	})
}

func TestTagSignedAnewChangesWithinRefresh(t *testing.T) {
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	before := w.mustSay(t, "team/app", "moving", "before")
	w.mustSign(t, "team/app", "moving", before)
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "moving"), before)

	after := w.mustSay(t, "team/app", "moving", "after")
	w.mustSign(t, "team/app", "moving", after)
	eventually(t, w.refresh+slack, func() error {
		a := w.manifest(t, "team/app", "moving")
		if sha256Of(a.body) == before.digest {
			return fmt.Errorf("still the old digest")
		}
		wantServed(t, a, after)
		return nil
	})
}

func TestFirstSignatureInARepositoryAppearsWithinRefresh(t *testing.T) {
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/other") // makes the root key, which the pin names
	image := w.mustSay(t, "team/new", "first", "words")
	w.mustOpen(t, nil)
	wantRefused(t, w.manifest(t, "team/new", "first"), 404, "MANIFEST_UNKNOWN", "remote trust data does not exist for "+w.gun("team/new"))

	w.mustBegin(t, "team/new")
	w.mustSign(t, "team/new", "first", image)
	eventually(t, w.refresh+slack, func() error {
		if a := w.manifest(t, "team/new", "first"); a.status != 200 {
			return fmt.Errorf("still %v", a)
		}
		return nil
	})
}
