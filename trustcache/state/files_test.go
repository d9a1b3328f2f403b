package state_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/sealgate/sealgate/trustcache/state"
)

func TestFilesAreKeptByName(t *testing.T) {
	ctx := t.Context()
	driver := emptyDriver(t)
	s := state.New(state.Options{Driver: driver})
	one, two := []byte("one"), []byte("two")
	hash := func(raw []byte) string { return fmt.Sprintf("%x", sha256.Sum256(raw)) }
	want := func(s *state.Store, gun, name string, content []byte) {
		t.Helper()
		raw, err := s.File(ctx, gun, name, 3)
		if content == nil && !errors.Is(err, fs.ErrNotExist) || content != nil && (err != nil || !bytes.Equal(raw, content)) {
			t.Errorf("%s of %s: %q, %v, expected %q", name, gun, raw, err, content)
		}
	}
	want(s, "r/a", "timestamp", nil)
	for name, raw := range map[string][]byte{"timestamp": one, hash(one): one, hash(two): two} {
		for _, gun := range []string{"r/a", "r/b"} {
			if added, err := s.PutFile(ctx, gun, name, raw); err != nil || !added {
				t.Fatal(added, err)
			}
		}
	}
	if added, err := s.PutFile(ctx, "r/a", "timestamp", two); err != nil || added {
		t.Fatal(added, err)
	}
	if _, err := s.File(ctx, "r/a", "timestamp", 2); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("more than the limit: %v", err)
	}
	if err := s.KeepFiles(ctx, "r/a", []string{"timestamp", hash(two)}); err != nil {
		t.Fatal(err)
	}
	s = state.New(state.Options{Driver: driver})
	want(s, "r/a", "timestamp", two)
	want(s, "r/a", hash(two), two)
	want(s, "r/a", hash(one), nil)
	want(s, "r/b", hash(one), one)
	if err := s.Forget(ctx, "r/a"); err != nil {
		t.Fatal(err)
	}
	want(s, "r/a", "timestamp", nil)
	want(s, "r/b", "timestamp", one)
	for _, name := range []string{"", "..", "a/b", "A", "a.b", hash(one) + "0"} {
		if _, err := s.PutFile(ctx, "r/a", name, one); err == nil {
			t.Errorf("stored as %q", name)
		}
	}
}

// TestAFileThatIsBrokenIsWrittenAgain: what a crash of a driver that is not
// atomic has left is not taken for the file.
func TestAFileThatIsBrokenIsWrittenAgain(t *testing.T) {
	ctx := t.Context()
	driver := emptyDriver(t)
	content := []byte("content")
	name := fmt.Sprintf("%x", sha256.Sum256(content))
	torn := state.New(state.Options{Driver: dying(driver, 2, errTorn)}) // after it has looked
	if _, err := torn.PutFile(ctx, "r/a", name, content); err == nil {
		t.Fatal("written")
	}
	s := state.New(state.Options{Driver: driver})
	if added, err := s.PutFile(ctx, "r/a", name, content); err != nil || added {
		t.Fatal(added, err)
	}
	if raw, err := s.File(ctx, "r/a", name, 100); err != nil || !bytes.Equal(raw, content) {
		t.Errorf("%q, %v", raw, err)
	}
}
