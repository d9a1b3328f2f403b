package e2e

import (
	"strings"
	"testing"
)

// TestClientMatrix runs every client in use through every behaviour that has a
// meaning for it, a subtest for each cell, and compares what it saw with the tables
// in docs/clients.md, which `make clients` writes from such a run.
func TestClientMatrix(t *testing.T) {
	t.Parallel()
	m := &matrix{}
	for _, row := range []func(*testing.T) matrixClient{
		dockerDirect, dockerWithContentTrust, buildKit,
		containerdDirect, podmanDirect, skopeoDirect, craneDirect, regctlDirect, cosignDirect, orasDirect,
	} {
		m.run(t, row(t))
	}
	m.runDockerHub(t)
	m.runFlows(t)
	m.compare(t)
}

// runDockerHub tests the ways to docker.io: first with a Docker Hub that answers
// under its own names, then with Sealgate there.
func (m *matrix) runDockerHub(t *testing.T) {
	hub := newDockerHub(t)
	address := must(freeAddress())(t)
	g := hub.openAt(t, address, "", address)
	m.run(t, dockerWithMirror(t, hub, g))
	m.run(t, dockerWithStrictMirror(t, hub))
	host := hub.emits(t, g)
	for _, row := range []func(*testing.T, emitted) matrixClient{containerdEmitted, podmanEmitted, skopeoEmitted} {
		m.run(t, row(t, host))
	}
	m.run(t, dockerBehindDNS(t, hub))
}

// behaviours are the columns of the matrix: the head of the column, and what the
// client does or suffers there, which names the subtest.
var behaviours = []struct{ head, does string }{
	{signedTag, "pulls a signed tag"},
	{unsignedTag, "is refused an unsigned tag"},
	{driftedTag, "gets what was signed of a tag that was pushed again"},
	{signedIndex, "pulls a signed multi-architecture index"},
	{byItsDigest, "pulls an unsigned image by digest"},
	{list, "lists signed tags only"},
	{runs, "runs a signed tag and no unsigned one"},
	{builds, "builds from a signed tag and from no unsigned one"},
	{pushes, "pushes a tag that is hidden until it is signed"},
	{signs, "signs, and loses no signature"},
	{resumes, "has the image after a blob was cut"},
}

const (
	signedTag   = "signed tag"
	unsignedTag = "unsigned tag"
	driftedTag  = "drifted tag"
	signedIndex = "index"
	byItsDigest = "digest"
	list        = "list"
	runs        = "run"
	builds      = "build"
	pushes      = "push"
	signs       = "sign"
	resumes     = "after a cut"
)

// matrixClient is a row of the matrix: a client, set up in one way.
type matrixClient struct {
	name  string
	cells map[string]cell // by the head of the column; all of them
}

// cell is one behaviour of one client.
type cell struct {
	// test fails unless the client does what it should, and returns what the
	// table then says.
	test func(*testing.T) outcome
	// none is why there is nothing to test, where test is nil.
	none string
}

// outcome is what a cell saw.
type outcome struct {
	word string // for the table
	said string // what a client printed that was refused an unsigned tag
}

// without is the cell of a behaviour that has no meaning for a client.
func without(reason string) cell { return cell{none: reason} }

// Reasons of more than one cell.
const (
	copiesOnly = "it copies images and runs none"
	signsNone  = "it signs nothing"
	signsOnly  = "it resolves, signs and verifies images"
	seeDocker  = "the daemon fetches blobs: see docker"
)

// does is a cell whose outcome is word unless the test fails.
func does(word string, test func(*testing.T)) cell {
	return cell{test: func(t *testing.T) outcome {
		test(t)
		return outcome{word: word}
	}}
}

// matrix is what one run has seen: the rows of the tables, in order.
type matrix struct {
	rows       []matrixRow
	flowsSeen  int  // tests of flows that ran
	incomplete bool // a cell failed, or was not asked for
}

type matrixRow struct {
	client   matrixClient
	outcomes map[string]outcome // by the head of the column
}

// run tests one client's row.
func (m *matrix) run(t *testing.T, c matrixClient) {
	row := matrixRow{client: c, outcomes: map[string]outcome{}}
	t.Run(c.name, func(t *testing.T) {
		for _, b := range behaviours {
			here, ok := c.cells[b.head]
			if !ok {
				t.Errorf("nothing is said of %q", b.head)
			}
			if here.test == nil {
				continue
			}
			t.Run(b.does, func(t *testing.T) {
				seen := here.test(t)
				row.outcomes[b.head] = seen
			})
		}
	})
	for head, here := range c.cells {
		if _, ok := row.outcomes[head]; !ok && here.test != nil {
			m.incomplete = true
		}
	}
	m.rows = append(m.rows, row)
}

// reads are the cells of a client that pulls by reference, from a registry that
// it calls by that name and that has the scene's images.
func reads(s *scene, c client, registry string) map[string]cell {
	app := registry + "/team/app"
	return map[string]cell{
		signedTag: does("yes", func(t *testing.T) { wantPulled(t, c, s.world, app+":signed", s.signed) }),
		unsignedTag: {test: func(t *testing.T) outcome {
			return refusedTag(t, s, c, app+":unsigned")
		}},
		driftedTag:  does("as signed", func(t *testing.T) { wantPulled(t, c, s.world, app+":drifted", s.drifted, s.drift) }),
		signedIndex: does("yes", func(t *testing.T) { wantPulled(t, c, s.world, app+":index", s.index) }),
		byItsDigest: does("yes", func(t *testing.T) {
			wantPulled(t, c, s.world, app+"@"+s.unsigned.digest, s.unsigned)
			wantPulled(t, c, s.world, registry+"/team/plain@"+s.plain.digest, s.plain)
		}),
	}
}

// refusedTag fails unless the client is refused the scene's unsigned tag.
func refusedTag(t *testing.T, s *scene, c client, reference string) outcome {
	t.Helper()
	digests, err := c.pull(t, s.world, reference)
	if err == nil {
		t.Fatalf("pulled %v", digests)
	}
	if !c.shows(err, noTrustData(s.world, "team/app", "unsigned")) {
		t.Fatalf("want the reason or %q, got %v", c.instead, err)
	}
	return outcome{word: "refused", said: printed(err)}
}

// printed is what a client that failed has told its user.
func printed(err error) string {
	_, out, found := strings.Cut(err.Error(), "\n") // the first line is run's
	if !found {
		return err.Error() // of a library
	}
	return out
}

// with returns the cells with some of them added or replaced.
func with(cells map[string]cell, more map[string]cell) map[string]cell {
	for head, c := range more {
		cells[head] = c
	}
	return cells
}
