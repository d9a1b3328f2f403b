package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// The workflows of the OCI distribution-spec v1.1's conformance, written from the
// specification: what a registry does by itself, a Sealgate in mode disabled
// before it does as well, and in mode enforced it differs where it has to. The
// table in docs/conformance.md is what the three runs have seen;
// E2E_CONFORMANCE_MD=1 has it written instead of compared.

// conformanceOutcome is what became of one check: "" where the specification is met.
type conformanceOutcome struct{ workflow, check, failure string }

func TestConformanceWithTheDistributionSpec(t *testing.T) {
	direct, disabled, enforced := conformsAt(t, ""), conformsAt(t, "disabled"), conformsAt(t, "enforced")
	if len(direct) < 40 || len(disabled) != len(direct) || len(enforced) != len(direct) {
		t.Fatalf("%d, %d and %d checks ran", len(direct), len(disabled), len(enforced))
	}
	for i, alone := range direct {
		if disabled[i] != alone {
			t.Errorf("%s, %s: %q in mode disabled, where the registry itself has %q", alone.workflow, alone.check, disabled[i].failure, alone.failure)
		}
		if why := enforcedDiffers[alone.check]; (why != "") != (enforced[i] != alone) {
			t.Errorf("%s, %s: %q in mode enforced, where the registry itself has %q; declared is %q", alone.workflow, alone.check, enforced[i].failure, alone.failure, why)
		}
	}
	compareConformance(t, direct, enforced)
}

// enforcedDiffers are the checks that mode enforced does not pass as the registry
// does, each with its reason.
var enforcedDiffers = map[string]string{
	"HEAD of a manifest by tag":                     unsignedTagHidden,
	"GET of a manifest by tag":                      unsignedTagHidden,
	"all tags are listed in order":                  unsignedTagsNotListed,
	"n tags, and a link to the rest":                unsignedTagsNotListed,
	"the tags after last":                           unsignedTagsNotListed,
	"a deleted tag is not listed, and the other is": unsignedTagsNotListed,
}

const (
	unsignedTagHidden     = "nobody signed the tag, so it does not exist; by digest it is there"
	unsignedTagsNotListed = "nobody signed the tags, so none is listed"
)

// conformsAt runs every workflow against a fresh registry, or at a push-capable
// Sealgate in this mode before it.
func conformsAt(t *testing.T, mode string) []conformanceOutcome {
	t.Helper()
	registry, err := sandbox.StartRegistry(t.Context(), sandbox.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registry.Close(); err != nil {
			t.Error(err)
		}
	})
	c := newConformance(t, registry.URL(), &http.Transport{})
	if mode != "" {
		w := openToWrite(t, func(s *settings) { s.upstream, s.mode = registry.URL(), mode })
		c = newConformance(t, w.url, w.ca.transport(false))
	}
	c.pull()
	c.push()
	c.manifests()
	c.discovery()
	c.referrers()
	c.management()
	return c.outcomes
}

// conformanceDocument has the table, between these lines.
const (
	conformanceDocument = "../docs/conformance.md"
	conformanceBegin    = "<!-- TestConformanceWithTheDistributionSpec writes and compares what follows -->\n"
	conformanceEnd      = "<!-- end of what the test writes -->\n"
)

func compareConformance(t *testing.T, direct, enforced []conformanceOutcome) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n| workflow | check | distribution v3, and `disabled` | `enforced` | why it differs |\n|---|---|---|---|---|\n")
	for i, alone := range direct {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", alone.workflow, alone.check, passes(alone), passes(enforced[i]), enforcedDiffers[alone.check])
	}
	b.WriteString("\n")
	text := string(must(os.ReadFile(conformanceDocument))(t))
	head, rest, found := strings.Cut(text, conformanceBegin)
	table, tail, ended := strings.Cut(rest, conformanceEnd)
	switch {
	case !found || !ended:
		t.Fatalf("%s has not the lines between which the table stands", conformanceDocument)
	case table == b.String():
	case os.Getenv("E2E_CONFORMANCE_MD") != "":
		if err := os.WriteFile(conformanceDocument, []byte(head+conformanceBegin+b.String()+conformanceEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not say what was seen. Lines that differ:\n%s", conformanceDocument, lineDifference(table, b.String()))
	}
}

func passes(o conformanceOutcome) string {
	if o.failure == "" {
		return "passes"
	}
	return o.failure
}
