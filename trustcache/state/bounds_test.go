package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// sized is a state that takes about so many bytes.
func sized(bytes int) *State {
	return &State{Root: make([]byte, bytes), Floors: map[string][]Floor{rootRole: {{Version: 1, Signers: []string{"r"}}}}}
}

// TestMoreThanAGUNMayHave is not read any further.
func TestMoreThanAGUNMayHave(t *testing.T) {
	d := inmemory.New()
	for i := range 3 { // as if three had written at once
		made, raw, err := newSet("gun", 1, canonical(sized(1000+i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.PutContent(t.Context(), made.name.path("gun"), raw); err != nil {
			t.Fatal(err)
		}
	}
	s := New(Options{Driver: d})
	if _, err := s.Load(t.Context(), "gun"); err != nil {
		t.Fatal(err)
	}
	s.maxStored = 3000
	if _, err := s.Load(t.Context(), "gun"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "more than 3000 bytes") {
		t.Error(err)
	}
}

// TestMemoryIsBounded: what was used last stays.
func TestMemoryIsBounded(t *testing.T) {
	s := New(Options{Driver: inmemory.New(), MaxMemory: 10 << 10})
	for i := range 50 {
		gun := fmt.Sprint("gun ", i)
		if err := s.Save(t.Context(), gun, nil, sized(1000)); err != nil {
			t.Fatal(err)
		}
		if s.memory.bytes > 10<<10 {
			t.Fatalf("%d bytes", s.memory.bytes)
		}
	}
	if n := s.memory.sets.Len(); n < 4 {
		t.Errorf("only %d sets are kept", n)
	}
	for s.memory.sets.Len() > 0 {
		path, one, _ := s.memory.sets.GetOldest()
		s.memory.keep(path, one) // two have read it at once
		s.memory.drop(path)
	}
	if s.memory.bytes != 0 {
		t.Errorf("%d bytes are counted for nothing", s.memory.bytes)
	}
}
