package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestTagSignedOnlyInAnotherRoleIsNotListed(t *testing.T) {
	s := shared(t)
	wantTags(t, strings.Fields(mustRun(t, trusting(s.world), "crane", "ls", s.gun("team/app"))),
		"drifted", "gone", "index", "released", "signed")
}

func TestRepositoryWithoutTrustDataListsNothing(t *testing.T) {
	s := shared(t)
	a := s.get(t, "/v2/team/plain/tags/list")
	var list struct {
		Name string
		Tags []string
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != 200 || list.Name != "team/plain" || list.Tags == nil || len(list.Tags) > 0 {
		t.Fatalf(`want 200 with "tags":[], got %v`, a)
	}
}

func TestListPagesBySignedTags(t *testing.T) {
	s := shared(t)
	first := s.get(t, "/v2/team/app/tags/list?n=2")
	wantTags(t, tagsIn(t, first), "drifted", "gone")
	link, _, _ := strings.Cut(strings.TrimPrefix(first.header.Get("Link"), "<"), ">")
	if !strings.HasPrefix(link, "/v2/team/app/tags/list?") {
		t.Fatalf("want a path-absolute Link, got %q", first.header.Get("Link"))
	}
	second := s.get(t, link)
	wantTags(t, tagsIn(t, second), "index", "released")
}

func TestCatalogIsNotFound(t *testing.T) {
	if a := shared(t).get(t, "/v2/_catalog"); a.status != 404 {
		t.Fatalf("want 404, got %v", a)
	}
}

func tagsIn(t *testing.T, a answer) []string {
	t.Helper()
	var list struct{ Tags []string }
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != 200 {
		t.Fatalf("want a list of tags, got %v", a)
	}
	return list.Tags
}

func wantTags(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("want the tags %q, got %q", want, got)
	}
}
