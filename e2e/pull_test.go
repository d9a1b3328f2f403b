package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// eachClient runs a subtest for every client.
func eachClient(t *testing.T, test func(*testing.T, client)) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) { test(t, c) })
	}
}

// wantPulled fails unless the client gets image, and not other, under reference.
func wantPulled(t *testing.T, c client, w *world, reference string, image pushed, other ...pushed) {
	t.Helper()
	digests, err := c.pull(t, w, reference)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(digests, image.digest) {
		t.Fatalf("want %s, got %v", image.digest, digests)
	}
	for _, o := range other {
		if slices.Contains(digests, o.digest) {
			t.Fatalf("got %s as well", o.digest)
		}
	}
}

// wantDenied fails unless the client gets nothing and tells its user why.
func wantDenied(t *testing.T, c client, w *world, reference, message string) {
	t.Helper()
	digests, err := c.pull(t, w, reference)
	if err == nil {
		t.Fatalf("pulled %v", digests)
	}
	if !c.shows(err, message) {
		t.Fatalf("want the message %q, got %v", message, err)
	}
}

func TestTagSignedInReleasesPullsAsSigned(t *testing.T) {
	s := shared(t)
	eachClient(t, func(t *testing.T, c client) {
		wantPulled(t, c, s.world, s.tag("team/app", "released"), s.released)
	})
}

func TestAbsentTagIsNotFound(t *testing.T) {
	s := shared(t)
	eachClient(t, func(t *testing.T, c client) {
		wantDenied(t, c, s.world, s.tag("team/app", "absent"), noTrustData(s.world, "team/app", "absent"))
	})
}

func TestTagSignedOnlyInAnotherRoleIsNotFound(t *testing.T) {
	s := shared(t)
	eachClient(t, func(t *testing.T, c client) {
		wantDenied(t, c, s.world, s.tag("team/app", "qa-only"), noTrustData(s.world, "team/app", "qa-only"))
	})
}

func TestTagInRepositoryWithoutTrustDataIsNotFound(t *testing.T) {
	s := shared(t)
	eachClient(t, func(t *testing.T, c client) {
		wantDenied(t, c, s.world, s.tag("team/plain", "latest"), "remote trust data does not exist for "+s.gun("team/plain"))
	})
}

// noTrustData is what an unsigned tag's reader is told.
func noTrustData(w *world, repository, tag string) string {
	return `no trust data for tag "` + tag + `" in ` + w.gun(repository)
}

func TestDenialsLookTheSameWhetherTheHiddenTagExistsOrNot(t *testing.T) {
	s := shared(t)
	exists := s.manifest(t, "team/app", "unsigned")
	absent := s.manifest(t, "team/app", "absent")
	wantRefused(t, exists, 404, "MANIFEST_UNKNOWN", noTrustData(s.world, "team/app", "unsigned"))
	wantRefused(t, absent, 404, "MANIFEST_UNKNOWN", noTrustData(s.world, "team/app", "absent"))
	if strings.ReplaceAll(exists.body, "unsigned", "absent") != absent.body {
		t.Errorf("the bodies tell the tags apart:\n%s\n%s", exists.body, absent.body)
	}
	for _, a := range []answer{exists, absent} {
		for _, header := range []string{"Date", "X-Request-Id", "Content-Length"} {
			a.header.Del(header)
		}
	}
	if len(exists.header) != len(absent.header) {
		t.Errorf("the headers tell the tags apart:\n%v\n%v", exists.header, absent.header)
	}
	for name := range exists.header {
		if exists.header.Get(name) != absent.header.Get(name) {
			t.Errorf("the header %s tells the tags apart: %q, %q", name, exists.header.Get(name), absent.header.Get(name))
		}
	}
}

func TestRegistrySeesTheSameRequestsWhetherTheHiddenTagExistsOrNot(t *testing.T) {
	s := shared(t)
	trace := func(tag string) []string {
		time.Sleep(s.authTTL + time.Second) // what was authorised is forgotten
		before := len(s.registry.requests(0))
		s.manifest(t, "team/app", tag)
		time.Sleep(200 * time.Millisecond) // the access log is written after the answer
		return s.registry.requests(before)
	}
	exists, absent := trace("unsigned"), trace("absent")
	if !slices.Equal(exists, absent) {
		t.Errorf("the registry saw %q for a tag that it has and %q for one that it lacks", exists, absent)
	}
}

func TestSignedTagThatTheRegistryLacksIsNotFound(t *testing.T) {
	s := shared(t)
	wantRefused(t, s.manifest(t, "team/app", "gone"), 404, "MANIFEST_UNKNOWN", "signed digest "+s.gone.digest+" is not in the registry")
}
