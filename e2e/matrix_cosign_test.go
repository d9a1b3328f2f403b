package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// cosignDirect is cosign with images named as the registry is. Of an image it
// reads what a tag means, and then goes by digest.
func cosignDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "cosign", pull: cosignResolve}
	return matrixClient{"cosign", with(reads(s, c, s.listen), map[string]cell{
		list:    without(signsOnly),
		runs:    without(signsOnly),
		builds:  without(signsOnly),
		pushes:  without(signsOnly),
		signs:   does("keeps both", func(t *testing.T) { cosignSignsTwice(t, mustPushWorld(t)) }),
		resumes: without(signsOnly),
	})}
}

// cosignResolve is what cosign takes a reference for.
func cosignResolve(t *testing.T, w *world, reference string) ([]string, error) {
	out, err := run(trusting(w), "cosign", "triangulate", "--type", "digest", reference)
	return anyDigest.FindAllString(out, -1), err
}

// cosignSignsTwice has two keys sign one image. cosign keeps signatures under a
// tag of the image's digest, which it reads, adds to and writes back.
func cosignSignsTwice(t *testing.T, p *pushWorld) {
	image := must(p.say("team/pushed", "cosigned", "words to sign"))(t)
	reference := p.gun("team/pushed") + "@" + image.digest
	env := append(trusting(p.world), "COSIGN_PASSWORD="+passphrase)
	keys := []string{filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")}
	for _, key := range keys {
		mustRun(t, env, "cosign", "generate-key-pair", "--output-key-prefix", key)
		mustRun(t, env, "cosign", "sign", "--yes", "--tlog-upload=false", "--key", key+".key", reference)
	}
	for _, key := range keys {
		mustRun(t, env, "cosign", "verify", "--insecure-ignore-tlog=true", "--key", key+".pub", reference)
	}
	// The signatures make nothing visible, and are in no list.
	wantRefused(t, p.manifest(t, "team/pushed", "cosigned"), 404, "MANIFEST_UNKNOWN", noTrustData(p.world, "team/pushed", "cosigned"))
	for _, tag := range tagsIn(t, p.get(t, "/v2/team/pushed/tags/list")) {
		if strings.HasPrefix(tag, "sha256-") {
			t.Errorf("the list has %s", tag)
		}
	}
}
