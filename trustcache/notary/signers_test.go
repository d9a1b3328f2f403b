package notary_test

import (
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// approvedByQA is a world in which QA approved 1.0 and withdrew that, and what
// QA's file was before.
func approvedByQA(t *testing.T) (w *world, s *notary.Source, snap *trustcache.Snapshot, qa *party, approved []byte) {
	t.Helper()
	w = newWorld(t)
	w.Delegate(releases)
	qa = w.Delegate("targets/qa")
	w.Sign(releases, "1.0", 1)
	w.Sign("targets/qa", "1.0", 1)
	w.Publish()
	approved = w.Raw["targets/qa"]
	s = w.source(keptIn(newStore()), under(notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{w.keyOf("targets/qa")}}}}))
	snap = w.verified(s, nil)
	wantDigest(t, snap, "1.0", 1)
	delete(w.Content["targets/qa"], "1.0")
	w.Publish()
	snap = w.verified(s, snap)
	wantMissing(t, snap, "1.0", "qa")
	return w, s, snap, qa, approved
}

func wantMissing(t *testing.T, snap *trustcache.Snapshot, tag, signer string) {
	t.Helper()
	if h, ok := snap.LookupHidden(tag); !ok || len(h.Missing) != 1 || h.Missing[0] != signer {
		t.Errorf("tag %q: %+v, %v, expected %q to be missing", tag, h, ok, signer)
	}
}

// TestAnOwnerCannotReplayAWithdrawnApproval: who holds the key of targets may
// appoint QA's key anywhere, and publish there what QA once signed.
func TestAnOwnerCannotReplayAWithdrawnApproval(t *testing.T) {
	t.Run("in another role", func(t *testing.T) {
		w, s, snap, qa, approved := approvedByQA(t)
		w.Delegate("targets/q2")
		w.Parties["targets/q2"] = qa
		w.PublishRoles("targets")
		w.Use("targets/q2", approved)
		w.PublishSnapshot()
		snap = w.verified(s, snap)
		wantMissing(t, snap, "1.0", "qa")
		wantMissing(t, w.verified(s, nil), "1.0", "qa")
	})
	t.Run("in the same role, after a rotation there and back", func(t *testing.T) {
		w, s, snap, qa, approved := approvedByQA(t)
		w.Parties["targets/qa"] = &party{Keys: []*signer{newSigner(t)}, Threshold: 1} // the owner's own
		w.Publish()
		snap = w.verified(s, snap)
		w.Parties["targets/qa"] = qa
		w.PublishRoles("targets")
		w.Use("targets/qa", approved)
		w.PublishSnapshot()
		snap = w.verified(s, snap)
		wantMissing(t, snap, "1.0", "qa")

		// QA approves anew.
		w.Version["targets/qa"] = 9
		w.Sign("targets/qa", "1.0", 1)
		w.Publish()
		wantDigest(t, w.verified(s, snap), "1.0", 1)
	})
	t.Run("under a policy that a reload brings", func(t *testing.T) {
		w, s, _, qa, approved := approvedByQA(t)
		kept := newStore()
		policy := notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{qa.Keys[0].Canonical()}}}}
		w.verified(w.source(keptIn(kept), under(policy)), nil)
		w.Delegate("targets/q2")
		w.Parties["targets/q2"] = qa
		w.PublishRoles("targets")
		w.Use("targets/q2", approved)
		w.PublishSnapshot()
		plain := w.verified(w.source(keptIn(kept)), nil)
		wantDigest(t, plain, "1.0", 1)
		adopted := w.source(keptIn(kept), under(policy)).Adopt(plain)
		if adopted == nil {
			t.Fatal("not adopted")
		}
		wantMissing(t, adopted, "1.0", "qa")
		_ = s
	})
}

// TestAnAppointmentThatHasExpiredVouchesNoMore, also where the role itself names
// nobody that counts.
func TestAnAppointmentThatHasExpiredVouchesNoMore(t *testing.T) {
	w := newWorld(t)
	for _, role := range []string{releases, "targets/team", "targets/team/qa"} {
		w.Delegate(role)
	}
	w.Sign(releases, "1.0", 1)
	w.Sign("targets/team/qa", "1.0", 1)
	w.Expires["targets/team"] = w.Now().Add(time.Hour)
	w.Publish()
	s := w.source(under(notary.Policy{Required: []notary.Signer{{Name: "qa", Keys: []string{w.keyOf("targets/team/qa")}}}}))
	snap := w.verified(s, nil)
	if expires, role := snap.Expires(); role != "targets/team" || !expires.Equal(w.Expires["targets/team"]) {
		t.Errorf("stands until %s (%s)", expires, role)
	}
	w.Pass(2 * time.Hour)
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrExpired)
}
