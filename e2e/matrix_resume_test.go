package e2e

import (
	"os"
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

// goesOn is the cell of a client whose connection is cut in the middle of a blob,
// once. Whatever it does then, it ends with the signed image: at once, or when it
// is asked again. byName has it use the registry's name instead of an address.
func goesOn(c client, byName bool) cell {
	return cell{test: func(t *testing.T) outcome {
		s, big := shared(t), must(bigImage())(t)
		n := newLine(t, big.gate.listen)
		n.cutOnce.Store(cutAfter)
		through := *s.world
		through.listen, through.gate = n.addr, &gate{process: big.gate.process, url: "https://" + n.addr}
		reference := n.addr + "/team/big:signed"
		if byName {
			reference = strings.Replace(reference, "127.0.0.1", registryName, 1)
		}
		before := strings.Count(s.registry.output(), `" 206 `)
		_, err := c.pull(t, &through, reference)
		if n.cutOnce.Load() != 0 {
			t.Fatalf("the line was not cut: %v", err)
		}
		if err != nil {
			wantPulled(t, c, &through, reference, big.pushed)
			return outcome{word: "fails, then pulls"}
		}
		if s.registry.served206(before) {
			return outcome{word: "resumes"}
		}
		return outcome{word: "starts over"}
	}}
}

// served206 tells whether the access log has more than before answers of a part.
// It is written after the answer, so that a no takes a while.
func (r *registry) served206(before int) bool {
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Count(r.output(), `" 206 `) > before {
			return true
		}
	}
	return false
}
