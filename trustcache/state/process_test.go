package state_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache/state"
)

// The environment of a test binary that is to be one of several processes on
// one directory: it saves, forgets now and then, and prints each rank that was
// accepted before it goes on.
const (
	childDirectory = "SEALGATE_TEST_STATE"
	childSaves     = "SEALGATE_TEST_STATE_SAVES" // how many, then it exits
	childForgets   = "SEALGATE_TEST_STATE_FORGETS"
)

func child(directory string) {
	saves, err := strconv.Atoi(os.Getenv(childSaves))
	if err == nil {
		err = live(open(sharedBy(directory)), saves, os.Getenv(childForgets) != "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func live(s *state.Store, saves int, forgets bool) error {
	ctx := context.Background()
	for i := range saves {
		err := climb(s, "timestamp", 1, func(int) {})
		var got *state.State
		if err == nil {
			got, err = s.Load(ctx, testGUN)
		}
		if err != nil {
			return err
		}
		r := rank(got)
		fmt.Println(r[0], r[1], r[2])
		if forgets && i%5 == 4 {
			if err := s.Forget(ctx, testGUN); err != nil {
				return err
			}
			fmt.Println(r[0]+1, 0, 0)
		}
	}
	return nil
}

// process runs the test binary as a child and tells of each rank it prints,
// until that says to kill it.
func process(tb testing.TB, directory string, saves int, forgets string, printed func([3]int) (kill bool)) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDirectory+"="+directory, fmt.Sprintf("%s=%d", childSaves, saves), childForgets+"="+forgets)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	lines, killed := bufio.NewScanner(out), false
	for lines.Scan() {
		var r [3]int
		if _, err := fmt.Sscan(lines.Text(), &r[0], &r[1], &r[2]); err != nil {
			tb.Errorf("%q: %v", lines.Text(), err)
		}
		if printed(r) && !killed {
			killed = true
			// At any point of what it does next: that is the chance, not a wait.
			time.AfterFunc(rand.N(4*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	if killed && errors.As(err, new(*exec.ExitError)) {
		return nil
	}
	return err
}

// TestTwoProcessesOnOneDirectory, racing: each sees what it accepted or
// something higher, and so does who comes after.
func TestTwoProcessesOnOneDirectory(t *testing.T) {
	directory := t.TempDir()
	highest := make(chan [3]int, 2)
	for range 2 {
		go func() {
			var last [3]int
			err := process(t, directory, 60, "", func(r [3]int) bool {
				if less(r, last) {
					t.Errorf("went back from %v to %v", last, r)
				}
				last = r
				return false
			})
			if err != nil {
				t.Error(err)
			}
			highest <- last
		}()
	}
	got, a, b := open(sharedBy(directory)), <-highest, <-highest
	if r := rank(load(t, got)); less(r, a) || less(r, b) || r[2] < 60 {
		t.Errorf("%v is left of %v and %v", r, a, b)
	}
}

// killCycles says how often TestKilledAtRandom kills; by default it is short.
const killCycles = "SEALGATE_KILL_CYCLES"

// TestKilledAtRandom: whatever a process printed before kill -9, the next one
// finds that or more.
func TestKilledAtRandom(t *testing.T) {
	cycles := 15
	if text := os.Getenv(killCycles); text != "" {
		var err error
		cycles, err = strconv.Atoi(text)
		must(t, err)
	}
	directory := t.TempDir()
	var last [3]int
	for range cycles {
		until := rand.IntN(8)
		must(t, process(t, directory, 1000, "yes", func(r [3]int) bool {
			if less(r, last) {
				t.Errorf("went back from %v to %v", last, r)
			}
			last = r
			until--
			return until <= 0
		}))
		if got := rank(load(t, open(sharedBy(directory)))); less(got, last) {
			t.Fatalf("%v was accepted, and %v is left", last, got)
		}
	}
	t.Logf("killed %d times, at %v in the end", cycles, last)
}
