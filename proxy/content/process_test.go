package content

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The environment of a test binary that is to be one of several processes on
// one directory: it puts blobs and manifests from a number on, sweeps beside,
// and prints each digest that was put.
const (
	childDirectory = "SEALGATE_TEST_CONTENT"
	childFrom      = "SEALGATE_TEST_CONTENT_FROM"
)

func child(directory string) {
	from, err := strconv.Atoi(os.Getenv(childFrom))
	if err == nil {
		err = fill(directory, from)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// fill puts until it is killed.
func fill(directory string, from int) error {
	ctx := context.Background()
	s, err := NewStore(ctx, StoreOptions{Driver: Root(onDisk(directory), "r", ""), TTL: time.Hour, MaxSize: 1 << 40})
	if err != nil {
		return err
	}
	go func() {
		for err == nil {
			_, err = s.Sweep(ctx)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}()
	for i := from; ; i++ {
		d, body := blobOf(i, i*7919%300_000)
		if err := s.PutBlob(ctx, repository, d, bytes.NewReader(body)); err != nil {
			return err
		}
		fmt.Println("blob", d)
		text := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"n":%d}}`, i)
		m, err := Check(sumOf(text), text, v1.MediaTypeImageManifest)
		if err != nil {
			return err
		}
		if err := s.PutManifest(ctx, repository, m); err != nil {
			return err
		}
		fmt.Println("manifest", m.Digest)
	}
}

// filled runs a child on the directory until it is killed, after it has put so
// many, and tells what it said to have put.
func filled(tb testing.TB, directory string, from, until int) (said [][2]string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDirectory+"="+directory, fmt.Sprintf("%s=%d", childFrom, from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(tb, err)
	must(tb, cmd.Start())
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var is [2]string
		if _, err := fmt.Sscan(lines.Text(), &is[0], &is[1]); err != nil {
			tb.Errorf("%q: %v", lines.Text(), err)
		}
		if said = append(said, is); len(said) >= until && !killed {
			killed = true
			// At any point of what it does next: that is the chance, not a wait.
			time.AfterFunc(rand.N(4*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); !killed || !errors.As(err, new(*exec.ExitError)) {
		tb.Errorf("it was not killed, but ended: %v", err)
	}
	return said
}

// killCycles says how often TestKilledAtRandom kills; by default it is short.
const killCycles = "SEALGATE_KILL_CYCLES"

// TestKilledAtRandom: what a process said to have put before kill -9 is there,
// whatever is there is what its digest says, and a sweep removes the rest.
func TestKilledAtRandom(t *testing.T) {
	cycles := 8
	if text := os.Getenv(killCycles); text != "" {
		var err error
		cycles, err = strconv.Atoi(text)
		must(t, err)
	}
	directory, put := t.TempDir(), 0
	for range cycles {
		said := filled(t, directory, put, 1+rand.IntN(8))
		put += len(said)
		s := newStore(t, StoreOptions{Driver: Root(onDisk(directory), "r", "")})
		for _, is := range said {
			checkWhole(t, s, is[0], digest.Digest(is[1]))
		}
	}
	s := newStore(t, StoreOptions{Driver: Root(onDisk(directory), "r", "")})
	found, err := s.look(t.Context(), time.Now())
	must(t, err)
	for _, l := range found.links {
		if l.kind == layers {
			checkWhole(t, s, "blob", l.digest())
		} else {
			checkWhole(t, s, "manifest", l.digest())
		}
	}
	did := sweepOf(t, later(t, s, 2*time.Hour, nil))
	again := sweepOf(t, later(t, s, 2*time.Hour, nil))
	if again.Abandoned != 0 || again.Freed != 0 || again.Links != again.Objects || len(objects(t, s)) != again.Links+again.Objects {
		t.Errorf("after a sweep %+v there is something left: %+v", did, again)
	}
	t.Logf("killed %d times, %d put, then swept %+v", cycles, put, did)
}

// checkWhole checks that something is there and is what its digest says.
func checkWhole(t *testing.T, s *Store, what string, d digest.Digest) {
	t.Helper()
	if what == "manifest" {
		if _, err := s.Manifest(t.Context(), repository, d); err != nil {
			t.Error(err)
		}
		return
	}
	got, err := readBlob(s, repository, d, 0)
	if err != nil || digest.FromBytes(got) != d {
		t.Errorf("%s: %d bytes, %v", d, len(got), err)
	}
}
