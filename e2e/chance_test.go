package e2e

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAnswersAreDockersAtStepsOfChance: E2E_SEED repeats a run.
func TestAnswersAreDockersAtStepsOfChance(t *testing.T) {
	t.Parallel()
	steps := 20
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("E2E_SEED"); given != "" {
		seed = must(strconv.ParseUint(given, 10, 64))(t)
	}
	t.Logf("E2E_SEED=%d repeats this run", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	d := newDifferential(t)
	d.step(t, "targets alone", d.signs("a"), d.signs("b"))
	roles := []*chanceRole{{name: releases}, {name: releases + "/ci"}, {name: "targets/alice", paths: []string{"a"}}}
	for range steps {
		what, do := d.byChance(chance, roles)
		d.step(t, what, do)
	}
}

// chanceRole is a delegation that comes, and may go for good: Notary's server lets
// nobody publish in one that comes back with a file that begins anew.
type chanceRole struct {
	name  string
	paths []string
	cert  string // of its key
	full  bool   // something was published
	state int    // 0: not yet, 1: there, 2: gone
}

// byChance is something that an honest publisher may do next.
func (d *differential) byChance(chance *rand.Rand, roles []*chanceRole) (what string, do func() error) {
	above, below := roles[0], roles[1]
	for {
		tag, role := []string{"a", "ab", "b", "c"}[chance.IntN(4)], roles[chance.IntN(len(roles))]
		there := role.state == 1
		covers := role.paths == nil || slices.ContainsFunc(role.paths, func(p string) bool { return strings.HasPrefix(tag, p) })
		switch chance.IntN(8) {
		case 0:
			return "sign " + tag + " in targets", d.signs(tag)
		case 1, 2:
			if there && covers {
				role.full = true
				return "sign " + tag + " in " + role.name, d.signs(tag, role.name)
			}
		case 3:
			if there && role.full && covers {
				return "revoke " + tag + " in " + role.name, d.revokes(tag, role.name)
			}
		case 4:
			if role.state == 0 && (role != below || above.state == 1) {
				role.state = 1
				above.full = above.full || role == below // it holds the delegation
				return "appoint " + role.name, func() (err error) {
					role.cert, err = d.delegate(d.gun, role.name, role.paths...)
					return err
				}
			}
		case 5:
			if there && role != below && (role != above || below.state == 0) && chance.IntN(3) == 0 {
				role.state = 2
				return "remove " + role.name, d.removes(role.name)
			}
		case 6:
			if there && role.full {
				return "another key for " + role.name, d.replaces(role.name, &role.cert, role.paths...)
			}
		case 7:
			rotation := [][]string{{"root"}, {"targets"}, {"snapshot"}, {"snapshot", "-r"}, {"timestamp", "-r"}}[chance.IntN(5)]
			return "rotate " + strings.Join(rotation, " "), d.rotates(rotation...)
		}
	}
}
