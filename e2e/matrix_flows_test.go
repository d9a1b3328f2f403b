package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
)

// flow is something that CI does with a registry: how it fares where every tag
// has to be signed, and what to do where it does not work so.
type flow struct {
	name    string
	strict  way
	recipes []way
}

// way is a test, and what the table says of it unless the test fails.
type way struct {
	word string
	test func(*testing.T, *pushWorld)
}

var flows = []flow{
	{"an index of tags just pushed (`regctl index create`)",
		way{"refused: nobody has signed them", indexOfFreshTagsIsRefused}, []way{
			{"name the parts by digest", indexOfDigestsIsPushed},
			{"`exempt-tags: [\"build-*\"]`", indexOfExemptTagsIsPushed},
		}},
	{"`crane copy` from a tag that nobody has signed",
		way{"refused", craneCopyFromUnsignedTagIsRefused}, []way{{"copy from the digest", craneCopyFromDigestCopies}}},
	{"`crane copy` onto a tag that nobody has signed",
		way{"works", craneCopyOntoUnsignedTagCopies}, nil},
	{"build cache in the registry (BuildKit, `--cache-from`)",
		way{"builds, without the cache", cacheUnderAStrictTagIsNotUsed}, []way{{"`exempt-tags: [cache]`", cacheUnderAnExemptTagIsUsed}}},
	{"a Helm chart as an OCI artifact (by oras' library, with Helm's media types)",
		way{"works, once it is signed", helmChartIsPulledOnceSigned}, nil},
}

// ways are how a flow is tested, that where every tag has to be signed first.
func (f flow) ways() []way { return append([]way{f.strict}, f.recipes...) }

// runFlows tests the flows, each with its recipes.
func (m *matrix) runFlows(t *testing.T) {
	t.Run("flows of CI", func(t *testing.T) {
		p := mustPushWorld(t)
		for _, f := range flows {
			for _, w := range f.ways() {
				t.Run(f.name+": "+w.word, func(t *testing.T) {
					w.test(t, p)
					m.flowsSeen++
				})
			}
		}
		p.wantNoOtherTagReads(t)
	})
}

// regctl is the command with a configuration of its own.
func (p *pushWorld) regctl(t *testing.T, arguments ...string) (string, error) {
	env := append(trusting(p.world), "REGCTL_CONFIG="+filepath.Join(t.TempDir(), "regctl.json"))
	return run(env, append([]string{"regctl"}, arguments...)...)
}

func (p *pushWorld) crane(arguments ...string) (string, error) {
	return run(trusting(p.world), append([]string{"crane"}, arguments...)...)
}

// fresh pushes two images through the gate and returns them with their tags.
func (p *pushWorld) fresh(t *testing.T, repository string) (tags []string, images []pushed) {
	t.Helper()
	for _, tag := range []string{"build-amd64", "build-s390x"} {
		if _, err := p.crane("push", must(p.layout())(t), p.tag(repository, tag)); err != nil {
			t.Fatal(err)
		}
		tags, images = append(tags, p.tag(repository, tag)), append(images, p.stored(t, repository, tag))
	}
	return tags, images
}

func indexOfFreshTagsIsRefused(t *testing.T, p *pushWorld) {
	tags, _ := p.fresh(t, "team/pushed")
	out, err := p.regctl(t, "index", "create", p.tag("team/pushed", "of-tags"), "--ref", tags[0], "--ref", tags[1])
	if err == nil || !strings.Contains(out, "not found") { // it asks by HEAD, and has no message
		t.Errorf("want a denial, got %v:\n%s", err, out)
	}
}

func indexOfDigestsIsPushed(t *testing.T, p *pushWorld) {
	_, images := p.fresh(t, "team/pushed")
	at := p.gun("team/pushed") + "@"
	if _, err := p.regctl(t, "index", "create", p.tag("team/pushed", "of-digests"), "--ref", at+images[0].digest, "--ref", at+images[1].digest); err != nil {
		t.Fatal(err)
	}
	p.wantHiddenUntilSigned(t, "of-digests")
}

func indexOfExemptTagsIsPushed(t *testing.T, p *pushWorld) {
	tags, _ := p.fresh(t, "ci/app")
	if _, err := p.regctl(t, "index", "create", p.tag("ci/app", "v1"), "--ref", tags[0], "--ref", tags[1]); err != nil {
		t.Fatal(err)
	}
	a := p.manifest(t, "ci/app", "v1") // which is not exempt
	wantRefused(t, a, 404, "MANIFEST_UNKNOWN", noTrustData(p.world, "ci/app", "v1"))
}

func craneCopyFromUnsignedTagIsRefused(t *testing.T, p *pushWorld) {
	tags, _ := p.fresh(t, "team/pushed")
	out, err := p.crane("copy", tags[0], p.tag("team/copied", "of-a-tag"))
	if err == nil || !strings.Contains(out, "no trust data for tag") {
		t.Errorf("want a denial, got %v:\n%s", err, out)
	}
}

func craneCopyFromDigestCopies(t *testing.T, p *pushWorld) {
	_, images := p.fresh(t, "team/pushed")
	if _, err := p.crane("copy", p.gun("team/pushed")+"@"+images[0].digest, p.tag("team/copied", "of-a-digest")); err != nil {
		t.Fatal(err)
	}
	if got := p.stored(t, "team/copied", "of-a-digest"); got.digest != images[0].digest {
		t.Errorf("want %s, got %s", images[0].digest, got.digest)
	}
}

// craneCopyOntoUnsignedTagCopies: crane looks at the tag before it writes it, and
// is told that it is not there.
func craneCopyOntoUnsignedTagCopies(t *testing.T, p *pushWorld) {
	_, images := p.fresh(t, "team/pushed")
	must(p.say("team/pushed", "taken", "words that were there"))(t)
	if _, err := p.crane("copy", p.gun("team/pushed")+"@"+images[0].digest, p.tag("team/pushed", "taken")); err != nil {
		t.Fatal(err)
	}
	if got := p.stored(t, "team/pushed", "taken"); got.digest != images[0].digest {
		t.Errorf("want %s, got %s", images[0].digest, got.digest)
	}
	p.wantHiddenUntilSigned(t, "taken")
}

func cacheUnderAStrictTagIsNotUsed(t *testing.T, p *pushWorld) {
	if out := buildTwice(t, p, "team/pushed"); strings.Contains(out, "CACHED") || !strings.Contains(out, "built on it") {
		t.Errorf("want a build from nothing, got:\n%s", out)
	}
}

func cacheUnderAnExemptTagIsUsed(t *testing.T, p *pushWorld) {
	if out := buildTwice(t, p, "ci/app"); !strings.Contains(out, "CACHED") {
		t.Errorf("want a build from the cache, got:\n%s", out)
	}
}

// buildTwice builds with BuildKit, pushes the result with its cache, forgets all,
// and returns what a second build prints that is to use the cache.
func buildTwice(t *testing.T, p *pushWorld, repository string) string {
	t.Helper()
	s, d := shared(t), mustDockerd(t)
	argv, env, err := d.buildKit()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	dockerfile := fmt.Sprintf("FROM %s:signed\nRUN [\"/say\", \"built on it\"]\n", s.named("team/app"))
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	cache := p.named(repository) + ":cache"
	build := func(more ...string) string {
		forgetBuilds(d, cache)
		return mustRun(t, env, slices.Concat(argv, []string{"--network", "none", "--tag", cache}, more, []string{dir})...)
	}
	defer forgetBuilds(d, cache)
	build("--build-arg", "BUILDKIT_INLINE_CACHE=1")
	mustRun(t, d.env(), "docker", "push", cache)
	return build("--cache-from", cache)
}

// forgetBuilds leaves a daemon without an image and without what it was built of.
func forgetBuilds(d *dockerDaemon, image string) {
	d.forget(image)
	_, _ = d.docker("builder", "prune", "--all", "--force")
}

// helmChartIsPulledOnceSigned pushes as `helm push` does: a configuration and one
// layer, with types of Helm's own, under the chart's version as the tag.
func helmChartIsPulledOnceSigned(t *testing.T, p *pushWorld) {
	reference := p.tag("team/pushed", "0.1.0")
	const layer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	orasPush(t, p.world, reference, "application/vnd.cncf.helm.config.v1+json", layer, "a chart")
	pull := func() error {
		source := must(orasRepository(p.world, reference))(t)
		_, err := oras.Copy(t.Context(), source, "0.1.0", memory.New(), "pulled", oras.DefaultCopyOptions)
		return err
	}
	if err := pull(); err == nil {
		t.Error("pulled an unsigned chart")
	}
	p.wantHiddenUntilSigned(t, "0.1.0")
	if err := pull(); err != nil {
		t.Error(err)
	}
}
