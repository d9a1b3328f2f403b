package e2e

import (
	"fmt"
	"testing"
)

func TestReleasesDecidesBeforeTargets(t *testing.T) {
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	mustAppoint(t, w, "team/app", "targets/releases")
	older, newer := w.mustSay(t, "team/app", "v1", "older"), w.mustSay(t, "team/app", "v1", "newer")
	w.mustSign(t, "team/app", "v1", older)
	w.mustSign(t, "team/app", "v1", newer, "targets/releases")
	w.mustSign(t, "team/app", "only-targets", older)
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "v1"), newer)
	wantServed(t, w.manifest(t, "team/app", "only-targets"), older)
	wantTags(t, tagsIn(t, w.get(t, "/v2/team/app/tags/list")), "only-targets", "v1")
}

func TestReleasesThatNobodyHasSignedYetIsEmpty(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	mustAppoint(t, w, "team/app", "targets/releases")
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
}

func TestKeyRotationsKeepWhatIsSigned(t *testing.T) {
	t.Parallel()
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	for _, rotation := range [][]string{{"targets"}, {"snapshot", "-r"}, {"timestamp", "-r"}, {"root"}} {
		t.Run(rotation[0], func(t *testing.T) {
			if err := w.rotate(w.gun("team/app"), rotation...); err != nil {
				t.Fatal(err)
			}
			tag := "after-" + rotation[0]
			w.mustSign(t, "team/app", tag, image)
			eventually(t, w.refresh+slack, func() error {
				if a := w.manifest(t, "team/app", tag); a.status != 200 {
					return fmt.Errorf("still %v", a)
				}
				return nil
			})
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
		})
	}
}

func mustAppoint(t *testing.T, w *world, repository, role string) {
	t.Helper()
	if err := w.appoint(w.gun(repository), role); err != nil {
		t.Fatal(err)
	}
}
