package e2e

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// scene is the world that most tests share, read only, with these tags:
//
//	team/app:signed    signed in targets
//	team/app:released  an OCI image, signed in targets/releases
//	team/app:index     a signed multi-architecture index
//	team/app:drifted   signed, then pushed again with other content
//	team/app:unsigned  never signed
//	team/app:qa-only   signed in targets/qa only
//	team/app:absent    neither pushed nor signed
//	team/app:gone      signed, never pushed
//	team/list:v1, v2   signed; v3 is not
//	team/plain:latest  pushed; the repository has no trust data
type scene struct {
	*world
	signed, released, index, drifted, drift, unsigned, qaOnly, gone, v1, v2, v3, plain pushed
}

var sharedScene = sync.OnceValues(func() (*scene, error) {
	w, err := newWorld(filepath.Join(suite.dir, "scene"), registryOptions{})
	if err != nil {
		return nil, err
	}
	suite.atEnd(w.close)
	s := &scene{world: w}
	if err := s.publish(); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	return s, w.open(nil)
})

// shared is the shared scene for a test.
func shared(t *testing.T) *scene {
	t.Helper()
	return must(sharedScene())(t)
}

// publish pushes and signs what scene's comment lists.
func (s *scene) publish() error {
	var failed error
	do := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	say := func(repository, tag, words string) pushed {
		image, err := s.say(repository, tag, words)
		do(err)
		return image
	}
	app, list := s.gun("team/app"), s.gun("team/list")
	do(s.begin(app))
	do(s.appoint(app, "targets/releases"))
	do(s.appoint(app, "targets/qa"))
	do(s.begin(list))

	s.signed = say("team/app", "signed", "signed words")
	s.drifted = say("team/app", "drifted", "as it was signed")
	s.drift = say("team/app", "drifted", "as it is now")
	s.unsigned = say("team/app", "unsigned", "unsigned words")
	s.qaOnly = say("team/app", "qa-only", "words for qa")
	s.gone = pushed{"sha256:" + hex.EncodeToString(make([]byte, 32)), 400}
	s.v1, s.v2, s.v3 = say("team/list", "v1", "one"), say("team/list", "v2", "two"), say("team/list", "v3", "three")
	s.plain = say("team/plain", "latest", "plain")
	index, err := indexSaying("words of an index")
	do(err)
	oci, err := ociSaying("released words")
	do(err)
	if failed != nil {
		return failed
	}
	s.index, err = s.push("team/app", "index", index)
	do(err)
	s.released, err = s.push("team/app", "released", oci)
	do(err)

	do(s.sign(app, "signed", s.signed))
	do(s.sign(app, "released", s.released, "targets/releases"))
	do(s.sign(app, "index", s.index))
	do(s.sign(app, "drifted", s.drifted))
	do(s.sign(app, "qa-only", s.qaOnly, "targets/qa"))
	do(s.sign(app, "gone", s.gone))
	do(s.sign(list, "v1", s.v1))
	do(s.sign(list, "v2", s.v2))
	return failed
}
