package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// craneDirect is crane with images named as the registry is.
func craneDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "crane", pull: cranePull}
	return matrixClient{"crane", with(reads(s, c, s.listen), map[string]cell{
		list: does("signed only", func(t *testing.T) {
			wantTags(t, strings.Fields(mustRun(t, trusting(s.world), "crane", "ls", s.gun("team/list"))), "v1", "v2")
		}),
		runs:    without(copiesOnly),
		builds:  without(copiesOnly),
		resumes: goesOn(c, false),
	})}
}

// regctlDirect is regctl with images named as the registry is.
func regctlDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "regctl", pull: regctlCopy}
	return matrixClient{"regctl", with(reads(s, c, s.listen), map[string]cell{
		list: does("signed only", func(t *testing.T) {
			env := append(trusting(s.world), "REGCTL_CONFIG="+filepath.Join(t.TempDir(), "regctl.json"))
			wantTags(t, strings.Fields(mustRun(t, env, "regctl", "tag", "ls", s.gun("team/list"))), "v1", "v2")
		}),
		runs:    without(copiesOnly),
		builds:  without(copiesOnly),
		resumes: goesOn(c, false),
	})}
}
