package e2e

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	bigLayer = 8 << 20
	cutAfter = 3 << 20 // bytes that a connection has carried when it is cut
)

// bigImage is a signed tag of the scene, team/big:signed, with one large layer,
// and a gate that serves it under any port of loopback, for lines to end at.
var bigImage = sync.OnceValues(func() (b struct {
	pushed
	*gate
}, err error) {
	s, err := sharedScene()
	if err != nil {
		return b, err
	}
	image, err := bigSaying("words on much")
	if err != nil {
		return b, err
	}
	if err = s.begin(s.gun("team/big")); err != nil {
		return b, err
	}
	if b.pushed, err = s.push("team/big", "signed", image); err != nil {
		return b, err
	}
	if err = s.sign(s.gun("team/big"), "signed", b.pushed); err != nil {
		return b, err
	}
	settings, err := s.defaults()
	if err != nil {
		return b, err
	}
	if settings.listen, err = freeAddress(); err != nil {
		return b, err
	}
	settings.hosts = []string{"127.0.0.1", registryName}
	dir, err := os.MkdirTemp(s.dir, "gate-")
	if err != nil {
		return b, err
	}
	if b.gate, err = openGate(dir, s.ca, settings); err != nil {
		return b, err
	}
	suite.atEnd(func() { b.gate.stop(20 * time.Second) })
	return b, nil
})

func bigSaying(words string) (v1.Image, error) {
	image, err := saying(words)
	if err != nil {
		return nil, err
	}
	layer, err := random.Layer(bigLayer, types.DockerLayer)
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(image, layer)
}

// resuming is the cell of a client that asks for the rest of a blob by a range
// when its connection was cut in the middle of it. byName has it use the
// registry's name instead of an address.
func resuming(c client, byName bool) cell {
	return does("resumes", func(t *testing.T) {
		r := shared(t).registry
		before := strings.Count(r.output(), partServed)
		if err := pullOverACut(t, c, byName); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, func() error { // the access log is written after the answer
			if strings.Count(r.output(), partServed) == before {
				return errors.New("no part of a blob was asked for")
			}
			return nil
		})
	})
}

// partServed is what the registry's access log has of an answer to a range.
const partServed = `" 206 `

// tryingAgain is the cell of a client that may give up then. It has the image at
// the latest when it is asked again.
func tryingAgain(c client) cell {
	return does("second try", func(t *testing.T) { _ = pullOverACut(t, c, false) })
}

// pullOverACut has a client pull over a line that is cut once, and returns how
// that failed. Then it has to pull.
func pullOverACut(t *testing.T, c client, byName bool) error {
	t.Helper()
	s, big := shared(t), must(bigImage())(t)
	n := newLine(t, big.gate.listen)
	n.cutOnce.Store(cutAfter)
	through := *s.world
	through.listen, through.gate = n.addr, &gate{process: big.gate.process, url: "https://" + n.addr}
	reference := n.addr + "/team/big:signed"
	if byName {
		reference = strings.Replace(reference, "127.0.0.1", registryName, 1)
	}
	digests, err := c.pull(t, &through, reference)
	if n.cutOnce.Load() != 0 {
		t.Fatalf("the line was not cut: %v", err)
	}
	if err != nil {
		wantPulled(t, c, &through, reference, big.pushed)
	} else if !slices.Contains(digests, big.digest) {
		t.Fatalf("want %s, got %v", big.digest, digests)
	}
	return err
}
