package content

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

const origin = "https://registry.example.com"

func manifest(t testing.TB, body string) *Manifest {
	t.Helper()
	m, err := Check(sha256.Sum256([]byte(body)), []byte(body), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheckTakesOnlyTheBytesOfTheDigest(t *testing.T) {
	body := []byte("body")
	sum := sha256.Sum256(body)
	m, err := Check(sum, body, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("sha256:%x", sum)
	if m.Digest != want || m.Header.Digest[0] != want || m.Header.ETag[0] != `"`+want+`"` || m.Header.Length[0] != "4" || m.Header.Type[0] != "a/b" || m.MediaType != "a/b" || !bytes.Equal(m.Body, body) {
		t.Errorf("got %+v", m)
	}
	for name, other := range map[string][]byte{"other bytes": []byte("bodx"), "more bytes": []byte("body\n"), "fewer bytes": []byte("bod"), "no bytes": nil} {
		t.Run(name, func(t *testing.T) {
			if m, err := Check(sum, other, "a/b"); m != nil || !errors.Is(err, ErrDigest) {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

func TestAManifestIsHeldForItsRepositoryOnly(t *testing.T) {
	c, m := NewManifests(1<<20), manifest(t, "x")
	c.Put(origin, "r/a", m)
	if got := c.Get(origin, "r/a", m.sum); got != m {
		t.Errorf("got %v", got)
	}
	for _, repository := range []string{"r/b", "r/", "", "r/a/", "R/A"} {
		if got := c.Get(origin, repository, m.sum); got != nil {
			t.Errorf("%q has it too", repository)
		}
	}
	if got := c.Get("https://mirror.example.com", "r/a", m.sum); got != nil {
		t.Error("a registry at another address has it too")
	}
	if got := c.Get(origin, "r/a", sha256.Sum256(nil)); got != nil {
		t.Errorf("got %v for another digest", got)
	}
}

func TestTheLeastRecentlyUsedGoesFirst(t *testing.T) {
	one, two, three := manifest(t, "1"), manifest(t, "2"), manifest(t, "3")
	c := NewManifests(2 * size(key{origin, "r/a", one.sum}, one))
	c.Put(origin, "r/a", one)
	c.Put(origin, "r/a", two)
	c.Get(origin, "r/a", one.sum)
	c.Put(origin, "r/a", three)
	if c.Get(origin, "r/a", one.sum) == nil || c.Get(origin, "r/a", two.sum) != nil || c.Get(origin, "r/a", three.sum) == nil {
		t.Error("want the second gone, and the others held")
	}
}

func TestWhatAloneExceedsTheBoundIsNotHeld(t *testing.T) {
	small, big := manifest(t, "x"), manifest(t, string(make([]byte, 4096)))
	c := NewManifests(2048)
	c.Put(origin, "r/a", small)
	c.Put(origin, "r/a", big)
	if c.Get(origin, "r/a", big.sum) != nil || c.Get(origin, "r/a", small.sum) == nil {
		t.Error("want the small one held and the big one not")
	}
}

func TestPuttingAgainCountsOnce(t *testing.T) {
	c, m := NewManifests(1<<20), manifest(t, "x")
	for range 10 {
		c.Put(origin, "r/a", m)
	}
	if want := size(key{origin, "r/a", m.sum}, m); c.bytes != want || c.lru.Len() != 1 {
		t.Errorf("%d bytes in %d entries, want %d in 1", c.bytes, c.lru.Len(), want)
	}
}

func TestTheBoundHoldsUnderLoad(t *testing.T) {
	const most = 64 << 10
	c := NewManifests(most)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 2000 {
				body := fmt.Sprintf("%0*d", 1+rng.IntN(3000), rng.IntN(100))
				repository := fmt.Sprint("r/", rng.IntN(10))
				m := manifest(t, body)
				c.Put(origin, repository, m)
				if got := c.Get(origin, repository, m.sum); got != nil && got.Digest != m.Digest {
					t.Errorf("got %s for %s", got.Digest, m.Digest)
				}
			}
		})
	}
	all.Wait()
	var held int64
	for _, k := range c.lru.Keys() {
		v, _ := c.lru.Peek(k)
		held += size(k, v)
	}
	if c.bytes != held || held > most || c.lru.Len() == 0 {
		t.Errorf("%d bytes are counted and %d held, where %d are the most", c.bytes, held, most)
	}
}
