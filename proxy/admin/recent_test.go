package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache"
)

// denied is a denial of a tag at epoch and some seconds.
func denied(tag, reason string, seconds int) admin.Denial {
	return admin.Denial{GUN: registry + "/app", Tag: tag, Decision: admin.Denied, Reason: reason, Message: "why", Status: 404, Last: epoch.Add(time.Duration(seconds) * time.Second)}
}

func TestTheSameDenialIsOneWithACount(t *testing.T) {
	r := admin.NewRecent()
	r.Deny(denied("a", "unsigned", 1), "10.0.0.1")
	r.Deny(denied("b", "unsigned", 2), "10.0.0.1")
	r.Deny(denied("a", "unsigned", 3), "10.0.0.2")
	r.Deny(denied("a", "expired", 4), "10.0.0.2")
	r.Deny(denied("a", "unsigned", 5), "10.0.0.1")
	got := r.Denials()
	if len(got) != 3 || got[0].Tag != "a" || got[0].Reason != "unsigned" || got[1].Reason != "expired" || got[2].Tag != "b" {
		t.Fatalf("%+v", got)
	}
	first := got[0]
	if first.Count != 3 || !first.First.Equal(epoch.Add(time.Second)) || !first.Last.Equal(epoch.Add(5*time.Second)) ||
		!slices.Equal(first.Clients, []string{"10.0.0.1", "10.0.0.2"}) || first.MoreClients {
		t.Errorf("%+v", first)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	r := admin.NewRecent()
	long := strings.Repeat("é\xff", 4000)
	for i := range 1000 {
		d := denied(fmt.Sprint("tag-", i, long), "malicious", i)
		d.GUN, d.Message, d.Alarm = fmt.Sprint(registry, "/", i%300), long, true
		r.Deny(d, fmt.Sprint("10.0.0.", i))
		r.Deny(denied("one", "unsigned", i), fmt.Sprint("10.0.0.", i))
	}
	denials := r.Denials()
	if len(denials) != 200 || len(r.Alarms()) != 50 {
		t.Errorf("%d denials, %d alarms", len(denials), len(r.Alarms()))
	}
	for _, d := range denials {
		for _, text := range []string{d.GUN, d.Tag, d.Message, d.Clients[0]} {
			if len(text) > 600 || !strings.Contains(text, "…") && len(text) > 100 {
				t.Fatalf("%d bytes are remembered: %.80q", len(text), text)
			}
		}
		if d.Tag == "one" && (d.Count != 1000 || len(d.Clients) != 5 || !d.MoreClients) {
			t.Errorf("of many clients: %+v", d)
		}
	}
}

// snapshot has some tags signed, each with a digest of its own words.
func snapshot(gun string, tags ...string) *trustcache.Snapshot {
	c := trustcache.Contents{GUN: gun, Expires: epoch.AddDate(1, 0, 0), ExpiresRole: "targets", Evidence: []trustcache.Evidence{
		{Role: "timestamp", Version: 3, Expires: epoch.AddDate(0, 0, 9), Decides: true, KeyIDs: []string{"ab12"}},
		{Role: "targets", Version: 2, Expires: epoch.AddDate(1, 0, 0), Decides: true},
		{Role: "targets/qa", Note: "it cannot be verified"},
	}}
	for _, t := range tags {
		tag, words, _ := strings.Cut(t, "=")
		c.Targets = append(c.Targets, trustcache.Target{Tag: tag, Digest: trustcache.Digest{0: byte(len(words)), 31: 1}, Role: "targets", Signers: []string{"targets"}})
	}
	return trustcache.NewSnapshot(c)
}

func TestRefreshesTellWhatChanged(t *testing.T) {
	r := admin.NewRecent()
	r.Refreshed(trustcache.Refresh{GUN: gun, After: snapshot(gun, "a=1")}, epoch) // the first look changes nothing
	r.Refreshed(trustcache.Refresh{GUN: gun, Before: snapshot(gun, "a=1", "b=1"), After: snapshot(gun, "a=22", "c=1")}, epoch.Add(time.Minute))
	var got []string
	for _, c := range r.Changes() {
		got = append(got, fmt.Sprint(c.What, " ", c.Tag, " ", c.From != "", " ", c.To != ""))
	}
	if want := "signed c false true, gone b true false, moved a true true"; strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
	}
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprint("tag", i, "=1"))
	}
	for range 30 {
		r.Refreshed(trustcache.Refresh{GUN: gun, Before: snapshot(gun), After: snapshot(gun, many...)}, epoch)
	}
	changes := r.Changes()
	if len(changes) != 200 || changes[0].What != admin.More || changes[0].Count != 2980 {
		t.Errorf("of %d changes the last is %+v", len(changes), changes[0])
	}
}

func TestOnlyAlarmsAreAlarms(t *testing.T) {
	r := admin.NewRecent()
	for i, err := range []error{trustcache.ErrUnreachable, trustcache.ErrRolledBack, trustcache.ErrExpired, trustcache.ErrRolledBack, trustcache.ErrVanished, nil} {
		r.Refreshed(trustcache.Refresh{GUN: registry + "/app", Err: err}, epoch.Add(time.Duration(i)*time.Second))
	}
	got := r.Alarms()
	if len(got) != 2 || got[0].Reason != "vanished" || got[1].Reason != "rolled-back" || got[1].Count != 2 || !got[1].First.Equal(epoch.Add(time.Second)) {
		t.Errorf("%+v", got)
	}
}
