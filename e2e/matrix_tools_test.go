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
		runs:   without(copiesOnly),
		builds: without(copiesOnly),
		pushes: does("yes", func(t *testing.T) {
			p := mustPushWorld(t)
			mustRun(t, trusting(p.world), "crane", "push", must(p.layout())(t), p.tag("team/pushed", "by-crane"))
			p.wantHiddenUntilSigned(t, "by-crane")
		}),
		signs:   without(signsNone),
		resumes: tryingAgain(c),
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
		runs:   without(copiesOnly),
		builds: without(copiesOnly),
		pushes: does("yes", func(t *testing.T) {
			p := mustPushWorld(t)
			env := append(trusting(p.world), "REGCTL_CONFIG="+filepath.Join(t.TempDir(), "regctl.json"))
			mustRun(t, env, "regctl", "image", "copy", "ocidir://"+must(p.layout())(t)+":words", p.tag("team/pushed", "by-regctl"))
			p.wantHiddenUntilSigned(t, "by-regctl")
		}),
		signs:   without(signsNone),
		resumes: tryingAgain(c),
	})}
}
