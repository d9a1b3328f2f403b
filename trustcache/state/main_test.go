package state_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sealgate/sealgate/trustcache/state"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if directory := os.Getenv(childDirectory); directory != "" {
		child(directory)
	}
	goleak.VerifyTestMain(hangingUp{m})
}

// hangingUp closes the connections that the driver of a bucket keeps.
type hangingUp struct{ *testing.M }

func (m hangingUp) Run() int {
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return m.M.Run()
}

const (
	testGUN = "registry.example.com/acme/app"

	setsTop  = "/sealgate/trust/sets"
	indexTop = "/sealgate/trust/index"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func open(d driver.StorageDriver) *state.Store { return state.New(state.Options{Driver: d}) }

func floor(role string, version int, signers ...string) state.Floor {
	return state.Floor{Signers: signers, Version: version, Payload: sha256.Sum256(fmt.Append(nil, role, version))}
}

// at is a state whose root is of version 1 and whose roles are at the versions
// that follow: at("timestamp", 7, "targets", 3).
func at(roles ...any) *state.State {
	s := &state.State{Root: []byte("the root"), Floors: map[string][]state.Floor{"root": {floor("root", 1, "r")}}}
	for i := 0; i < len(roles); i += 2 {
		role, version := roles[i].(string), roles[i+1].(int)
		s.Floors[role] = []state.Floor{floor(role, version, "k")}
	}
	return s
}

// raised is s with one more version of a role.
func raised(s *state.State, role string, version int) *state.State {
	next := *s
	next.Floors = maps.Clone(s.Floors)
	next.Floors[role] = []state.Floor{floor(role, version, "k")}
	return &next
}

// newest is the version of the newest floor of the role, 0 without one.
func newest(s *state.State, role string) int {
	if s == nil || len(s.Floors[role]) == 0 {
		return 0
	}
	return s.Floors[role][0].Version
}

func load(tb testing.TB, s *state.Store) *state.State {
	tb.Helper()
	got, err := s.Load(context.Background(), testGUN)
	must(tb, err)
	return got
}

// save stores next over whatever there is.
func save(tb testing.TB, s *state.Store, next *state.State) {
	tb.Helper()
	must(tb, s.Save(context.Background(), testGUN, load(tb, s), next))
}

func wantConflict(tb testing.TB, err error) {
	tb.Helper()
	if !errors.Is(err, state.ErrConflict) {
		tb.Errorf("%v where a conflict was expected", err)
	}
}

func wantDamaged(tb testing.TB, s *state.Store) {
	tb.Helper()
	got, err := s.Load(context.Background(), testGUN)
	if !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), `"sealgate forget"`) {
		tb.Errorf("loaded %+v, %v where damage was expected, and what to do about it", got, err)
	}
}

// objects lists all objects below the directories, with their content.
func objects(tb testing.TB, d driver.StorageDriver, under ...string) map[string]string {
	tb.Helper()
	found := map[string]string{}
	for _, directory := range under {
		guns, err := d.List(context.Background(), directory)
		if errors.As(err, new(driver.PathNotFoundError)) {
			continue
		}
		must(tb, err)
		for _, gun := range guns {
			list, err := d.List(context.Background(), gun)
			must(tb, err)
			for _, object := range list {
				raw, err := d.GetContent(context.Background(), object)
				must(tb, err)
				found[object] = string(raw)
			}
		}
	}
	return found
}

// wantObjects checks how many sets there are, and the marks.
func wantObjects(tb testing.TB, d driver.StorageDriver, sets int, marks ...string) {
	tb.Helper()
	if got := objects(tb, d, setsTop); len(got) != sets {
		tb.Errorf("%d sets where %d were expected: %v", len(got), sets, slices.Sorted(maps.Keys(got)))
	}
	var got []string
	for object := range objects(tb, d, indexTop) {
		got = append(got, strings.TrimLeft(path.Base(object), "0"))
	}
	slices.Sort(got)
	if !slices.Equal(got, marks) {
		tb.Errorf("the marks are %v, expected %v", got, marks)
	}
}

// put copies objects to another driver.
func put(tb testing.TB, d driver.StorageDriver, all map[string]string) {
	tb.Helper()
	for object, content := range all {
		must(tb, d.PutContent(context.Background(), object, []byte(content)))
	}
}
