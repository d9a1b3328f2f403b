package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache"
)

func TestWhatTheStatusPageRemembersOfRequests(t *testing.T) {
	const name = "registry.example.com"
	for _, c := range []struct {
		what  string
		entry proxy.Entry
		want  string // decision and repository; "" where it is forgotten
	}{
		{"a signed tag", proxy.Entry{Route: proxy.ManifestByTag, Decision: "allow", Reason: "signed", Status: 200}, ""},
		{"an unsigned tag", proxy.Entry{Route: proxy.ManifestByTag, Decision: "deny", Reason: "unsigned", Status: 404}, "deny " + name + "/app"},
		{"a list of nothing", proxy.Entry{Route: proxy.Tags, Decision: "deny", Status: 404}, "deny " + name + "/app"},
		{"a challenge", proxy.Entry{Route: proxy.ManifestByTag, Decision: "deny", Reason: "upstream-refused", Status: 401}, ""},
		{"a client that went away", proxy.Entry{Route: proxy.ManifestByTag, Decision: "deny", Reason: "client-gone", Status: 499}, ""},
		{"a blob that is not there, before a push", proxy.Entry{Route: proxy.Blob, Decision: "deny", Reason: "not-in-registry", Status: 404}, ""},
		{"a blob that cannot be had", proxy.Entry{Route: proxy.Blob, Decision: "error", Status: 502}, "error " + name + "/app"},
		{"no route", proxy.Entry{Decision: "refuse", Reason: "no-route", Status: 404}, ""},
		{"permissive, unsigned", proxy.Entry{Route: proxy.ManifestByTag, Decision: "pass", Would: "deny", Status: 200}, "would-deny " + name + "/app"},
		{"permissive, drifted", proxy.Entry{Route: proxy.ManifestByTag, Decision: "pass", Would: "change", Status: 200}, "would-change " + name + "/app"},
		{"permissive, signed", proxy.Entry{Route: proxy.ManifestByTag, Decision: "pass", Would: "allow", Status: 200}, ""},
		{"trust data, by its full name", proxy.Entry{Route: proxy.TrustMetadata, Repository: name + "/app", Decision: "error", Status: 502}, "error " + name + "/app"},
	} {
		c.entry.Registry = name
		if c.entry.Repository == "" {
			c.entry.Repository = "app"
		}
		d, remembered := denialOf(c.entry)
		got := ""
		if remembered {
			got = d.Decision + " " + d.GUN
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

// TestADriftedTagIsShownWithBothDigests, since the client got no message that says
// what is wrong.
func TestADriftedTagIsShownWithBothDigests(t *testing.T) {
	for _, c := range []struct{ served, want string }{
		{"sha256:bb", "sha256:aa is signed, sha256:bb was served"},
		{"", "sha256:aa is signed"}, // the registry has none, or did not say
	} {
		d, _ := denialOf(proxy.Entry{Would: "change", SignedDigest: "sha256:aa", UpstreamDigest: c.served})
		if d.Message != c.want {
			t.Errorf("got %q, want %q", d.Message, c.want)
		}
	}
}

// TestTheStatusPageOfARunningGate: what the command tells it is what happens.
func TestTheStatusPageOfARunningGate(t *testing.T) {
	inst, load := newStoryInstance(t)
	const gun = storyName + "/demo/app"
	for _, tag := range []string{"1.0", "latest", "nightly"} {
		get(inst, "/v2/demo/app/manifests/"+tag)
	}
	var denied []string
	for _, d := range inst.recent.Denials() {
		denied = append(denied, d.GUN+":"+d.Tag+" "+d.Message)
	}
	if got := strings.Join(denied, ", "); got != gun+`:nightly no trust data for tag "nightly" in `+gun {
		t.Errorf("denied: %s", got)
	}
	found, err := inst.Compare(t.Context(), gun, []string{"1.0", "latest", "absent"})
	if err != nil || len(found) != 3 {
		t.Fatalf("%v, %v", found, err)
	}
	use, known := inst.Trust()[0].Peek(gun)
	if !known || use.Condition != trustcache.Fresh {
		t.Fatalf("%+v", use)
	}
	for i, same := range map[int]bool{0: true, 1: false} {
		target, _ := use.Snapshot.Lookup([]string{"1.0", "latest"}[i])
		if found[i].Err != nil || (found[i].Digest == target.Digest.String()) != same {
			t.Errorf("%s: %+v beside %s", target.Tag, found[i], target.Digest)
		}
	}
	if found[2] != (admin.InRegistry{}) {
		t.Errorf("a tag that is not there: %+v", found[2])
	}
	if _, err := inst.Compare(t.Context(), "elsewhere.example.com/app", nil); !errors.Is(err, admin.ErrBadGUN) {
		t.Errorf("another registry's: %v", err)
	}
	if certs := inst.Certificates(); len(certs) != 1 || certs[0].Source != "self-signed" || len(certs[0].Names) != 2 {
		t.Errorf("certificates: %+v", certs)
	}
	if !inst.LastReload().Time.IsZero() {
		t.Error("nothing was reloaded")
	}
	inst.noteReload(reload(inst, load("listen: "+storyName, "listen: 127.0.0.1:9")))
	if last := inst.LastReload(); last.Time.IsZero() || !strings.Contains(last.Error, "listen") {
		t.Errorf("a refused reload: %+v", last)
	}
	if len(inst.recent.Denials()) != 1 {
		t.Error("a reload has forgotten what was denied")
	}
}
