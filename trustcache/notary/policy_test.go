package notary_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

func under(p notary.Policy) func(*notary.Options) {
	return func(o *notary.Options) { o.Policy = func(string) *notary.Policy { return &p } }
}

// qaAndReleases is a world in which releases, qa and prod sign.
func qaAndReleases(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for _, role := range []string{releases, "targets/qa", "targets/prod", "targets/prod/eu"} {
		w.Delegate(role)
	}
	return w
}

func (w *world) keyOf(role string) string { return w.Parties[role].Keys[0].Canonical() }

// TestWhoseWordCountsUnderAPolicy: visible are the tags in want, with the number
// of their digest; missing are those that lack a required signer.
func TestWhoseWordCountsUnderAPolicy(t *testing.T) {
	type signed struct {
		role, tag string
		digest    int
	}
	for _, c := range []struct {
		name    string
		policy  func(w *world) notary.Policy
		signs   []signed
		want    map[string]int
		missing map[string]string
	}{
		{
			name:   "one role of the policy's",
			policy: func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets/prod"}} },
			signs:  []signed{{"targets/prod", "1.0", 1}, {releases, "1.0", 2}, {releases, "2.0", 2}, {"targets", "3.0", 3}},
			want:   map[string]int{"1.0": 1},
		},
		{
			name:   "roles in the policy's order",
			policy: func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets", releases}} },
			signs:  []signed{{"targets", "1.0", 1}, {releases, "1.0", 2}, {releases, "2.0", 3}, {"targets/qa", "3.0", 4}},
			want:   map[string]int{"1.0": 1, "2.0": 3},
		},
		{
			name:   "what hangs below a role hides the roles after it",
			policy: func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets/prod", "targets"}} },
			signs:  []signed{{"targets/prod/eu", "1.0", 1}, {"targets", "1.0", 1}, {"targets", "2.0", 2}},
			want:   map[string]int{"2.0": 2},
		},
		{
			name: "and counts where it is listed itself",
			policy: func(*world) notary.Policy {
				return notary.Policy{Roles: []string{"targets/prod", "targets/prod/eu", "targets"}}
			},
			signs: []signed{{"targets/prod/eu", "1.0", 1}, {"targets", "1.0", 2}},
			want:  map[string]int{"1.0": 1},
		},
		{
			name:   "a role that nobody delegates",
			policy: func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets/nobody"}} },
			signs:  []signed{{"targets", "1.0", 1}},
		},
		{
			name: "a required role",
			policy: func(*world) notary.Policy {
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Role: "targets/qa"}}}
			},
			signs:   []signed{{releases, "1.0", 1}, {"targets/qa", "1.0", 1}, {releases, "2.0", 2}, {releases, "3.0", 3}, {"targets/qa", "3.0", 4}, {"targets/qa", "4.0", 5}},
			want:    map[string]int{"1.0": 1},
			missing: map[string]string{"2.0": "qa", "3.0": "qa", "4.0": ""},
		},
		{
			name: "a required key, in whatever role",
			policy: func(w *world) notary.Policy {
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{"ff", w.keyOf("targets/prod/eu")}}}}
			},
			signs:   []signed{{releases, "1.0", 1}, {"targets/prod/eu", "1.0", 1}, {releases, "2.0", 2}, {"targets/qa", "2.0", 2}},
			want:    map[string]int{"1.0": 1},
			missing: map[string]string{"2.0": "qa"},
		},
		{
			name: "the key of the role whose word counts is as good",
			policy: func(w *world) notary.Policy {
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{w.keyOf(releases)}}}}
			},
			signs: []signed{{releases, "1.0", 1}},
			want:  map[string]int{"1.0": 1},
		},
		{
			name: "a key counts for one signer",
			policy: func(w *world) notary.Policy {
				qa := []string{w.keyOf("targets/qa")}
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: qa}, {Name: "security", Keys: qa}}}
			},
			signs:   []signed{{releases, "1.0", 1}, {"targets/qa", "1.0", 1}},
			missing: map[string]string{"1.0": "security"},
		},
		{
			name: "and is given to whom nobody else's would do for",
			policy: func(w *world) notary.Policy {
				qa, prod := w.keyOf("targets/qa"), w.keyOf("targets/prod")
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{qa, prod}}, {Name: "security", Keys: []string{qa}}, {Name: "build", Role: releases}}}
			},
			signs:   []signed{{releases, "1.0", 1}, {"targets/qa", "1.0", 1}, {"targets/prod", "1.0", 1}, {releases, "2.0", 2}, {"targets/prod", "2.0", 2}},
			want:    map[string]int{"1.0": 1},
			missing: map[string]string{"2.0": "security"},
		},
		{
			name: "all who are missing are named",
			policy: func(w *world) notary.Policy {
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{"aa"}}, {Name: "security", Role: "targets/qa"}}}
			},
			signs:   []signed{{releases, "1.0", 1}},
			missing: map[string]string{"1.0": "qa, security"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := qaAndReleases(t)
			for _, s := range c.signs {
				w.Sign(s.role, s.tag, s.digest)
			}
			w.Publish()
			policy := c.policy(w)
			check := func(snap *trustcache.Snapshot) {
				t.Helper()
				if snap.Len() != len(c.want) {
					t.Errorf("%d tags are visible", snap.Len())
				}
				for tag, n := range c.want {
					wantDigest(t, snap, tag, n)
				}
				for tag, missing := range c.missing {
					h, known := snap.LookupHidden(tag)
					if !known || strings.Join(h.Missing, ", ") != missing || h.Doubt != "" {
						t.Errorf("tag %q is hidden as %+v (%v), expected %q missing", tag, h, known, missing)
					}
				}
			}
			check(w.verified(w.source(under(policy)), nil))

			// A snapshot of another policy is judged anew, without a question.
			kept := newStore()
			before := w.verified(w.source(keptIn(kept)), nil)
			after := w.source(keptIn(kept), under(policy))
			w.Asked()
			adopted := after.Adopt(before)
			if adopted == nil {
				t.Fatal("not adopted")
			}
			check(adopted)
			if asked := w.Asked(); len(asked) != 0 {
				t.Errorf("asked for %v", asked)
			}
			check(w.verified(after, adopted))
			if asked := w.Asked(); !slices.Equal(asked, []string{"timestamp.json"}) {
				t.Errorf("asked for %v afterwards", asked)
			}
			if back := w.source(keptIn(kept)).Adopt(adopted); back == nil || back.Len() != before.Len() || len(back.Hidden()) != len(before.Hidden()) {
				t.Error("the way back leads elsewhere")
			}
		})
	}
}

// TestARoleThatAPolicyNeedsFailsTheUpdate, whatever is wrong with it, and one
// that it does not need fails nothing.
func TestARoleThatAPolicyNeedsFailsTheUpdate(t *testing.T) {
	for what, spoil := range broken {
		for name, c := range map[string]struct {
			policy func(w *world) notary.Policy
			role   string
			fails  bool
		}{
			"listed":               {func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets/prod", "targets"}} }, "targets/prod", true},
			"above a listed one":   {func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets/prod/eu"}} }, "targets/prod", true},
			"below a listed one":   {func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets/prod", "targets"}} }, "targets/prod/eu", true},
			"releases, not listed": {func(*world) notary.Policy { return notary.Policy{Roles: []string{"targets"}} }, releases, false},
			"a required role": {func(*world) notary.Policy {
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Role: "targets/qa"}}}
			}, "targets/qa", true},
			"above a required role": {func(*world) notary.Policy {
				return notary.Policy{Required: []notary.Signer{{Name: "eu", Role: "targets/prod/eu"}}}
			}, "targets/prod", true},
			"not needed by Docker's": {func(*world) notary.Policy { return notary.Policy{} }, "targets/qa", false},
			"the one of required key": {func(w *world) notary.Policy {
				return notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{w.keyOf("targets/qa")}}}}
			}, "targets/qa", true},
		} {
			t.Run(what+": "+name, func(t *testing.T) {
				w := qaAndReleases(t)
				for role := range w.Content {
					w.Sign(role, "latest", 1)
				}
				policy := c.policy(w)
				spoil(w, c.role)
				w.Publish()
				_, err := w.fetch(w.source(under(policy)), nil)
				if what == "without a usable key" && strings.Count(c.role, "/") > 1 {
					return // targets does not list the keys of this one
				}
				// A key that cannot be read cannot be told to be the required one:
				// then the tag is in doubt instead.
				if unknowable := what == "without a usable key" && name == "the one of required key"; unknowable {
					must(t, err)
					return
				}
				if c.fails != (err != nil) {
					t.Errorf("%v", err)
				}
				if err != nil && trustcache.Absent(err) {
					t.Errorf("reported as absent: %v", err)
				}
			})
		}
	}
}

// TestAMissingSignerWhoCannotBeKnownToBeMissing is not reported as missing.
func TestAMissingSignerWhoCannotBeKnownToBeMissing(t *testing.T) {
	w := qaAndReleases(t)
	w.Sign(releases, "1.0", 1)
	w.Sign("targets/prod/eu", "1.0", 1)
	w.Sign(releases, "2.0", 2)
	w.Sign("targets/qa", "2.0", 2)
	eu, qa := w.keyOf("targets/prod/eu"), w.keyOf("targets/qa")
	w.Publish()
	s := w.source(under(notary.Policy{Required: []notary.Signer{{Name: "approved", Keys: []string{eu, qa}}}}))
	snap := w.verified(s, nil)
	wantDigest(t, snap, "1.0", 1)
	broken["forged"](w, "targets/prod") // which appoints targets/prod/eu
	w.Sign("targets/prod", "x", 1)
	w.Publish()
	snap = w.verified(s, snap)
	wantDigest(t, snap, "2.0", 2)
	if h, _ := snap.LookupHidden("1.0"); !slices.Equal(h.Missing, []string{"approved"}) || !strings.Contains(h.Doubt, "targets/prod") {
		t.Errorf("hidden as %+v", h)
	}
	if s := w.source(under(notary.Policy{})); s.Adopt(snap) != nil {
		t.Error("what could not be read may decide under another policy, and was adopted")
	}
}
