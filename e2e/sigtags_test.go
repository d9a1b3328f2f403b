package e2e

import (
	"strings"
	"testing"
)

// An image could be pushed under the name of a signature tag, so as to be pulled
// without anybody's signature. Clients that run images must not get it there.
func TestAnOrdinaryImageUnderASignatureTagIsNotServed(t *testing.T) {
	p := mustPushWorld(t)
	image := must(p.say("team/pushed", "smuggled", "smuggled words"))(t)
	name := strings.Replace(image.digest, ":", "-", 1)
	for _, tag := range []string{name, name + ".sig", name + ".att", name + ".sbom"} {
		if _, err := p.crane("push", must(p.layout())(t), p.tag("team/pushed", tag)); err != nil {
			t.Fatal(err)
		}
		p.wantHidden(t, tag)
		docker := client{name: "docker", pull: dockerPull}
		wantDenied(t, docker, p.world, p.tag("team/pushed", tag), noTrustData(p.world, "team/pushed", tag))
	}
}
