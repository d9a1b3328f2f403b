package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/tuf/data"
)

const digestA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// trustWorld is a trust server, a publisher, and one initialised repository.
type trustWorld struct {
	ca        *CA
	server    *TrustServer
	publisher *Publisher
	rootKey   string
}

func newTrustWorld(t *testing.T, opts TrustServerOptions) *trustWorld {
	t.Helper()
	w := &trustWorld{ca: newCA(t)}
	opts.CA = w.ca
	w.server = startTrustServer(t, opts)
	w.publisher = newPublisher(t, w.ca, w.server)
	var err error
	if w.rootKey, err = w.publisher.Init(testGUN); err != nil {
		t.Fatal(err)
	}
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// signedTags lists "tag role digest" as the library's own client sees it.
func (w *trustWorld) signedTags(t *testing.T) string {
	t.Helper()
	repo, err := w.publisher.repository(testGUN)
	must(t, err)
	targets, err := repo.ListTargets()
	must(t, err)
	var lines []string
	for _, target := range targets {
		lines = append(lines, target.Name+" "+target.Role.String()+" "+hex.EncodeToString(target.Hashes["sha256"])[:4])
	}
	sort.Strings(lines)
	return strings.Join(lines, ", ")
}

func (w *trustWorld) version(t *testing.T, role string) int {
	t.Helper()
	_, common, err := decodeSigned(w.server.File(testGUN, role))
	must(t, err)
	return common.Version
}

func (w *trustWorld) get(t *testing.T, file string) (int, string) {
	t.Helper()
	return get(t, newClient(w.ca), http.MethodGet, w.server.URL()+"/v2/"+testGUN+"/_trust/tuf/"+file)
}

func TestPublisherSignsAndRemoves(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	if got := w.signedTags(t); got != "" {
		t.Fatalf("a new repository has tags: %s", got)
	}
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10))
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	must(t, w.publisher.AddDelegation(testGUN, "targets/alice", "2."))
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases/nested"))
	must(t, w.publisher.Sign(testGUN, "1.1", strings.Repeat("b", 64), 11, "targets/releases", "targets"))
	must(t, w.publisher.Sign(testGUN, "2.0", strings.Repeat("c", 64), 12, "targets/alice"))
	must(t, w.publisher.Sign(testGUN, "3.0", strings.Repeat("d", 64), 13, "targets/releases/nested"))
	want := "1.0 targets aaaa, 1.1 targets bbbb, 2.0 targets/alice cccc, 3.0 targets/releases/nested dddd"
	if got := w.signedTags(t); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	must(t, w.publisher.Remove(testGUN, "1.1", "targets"))
	must(t, w.publisher.Remove(testGUN, "1.0"))
	want = "1.1 targets/releases bbbb, 2.0 targets/alice cccc, 3.0 targets/releases/nested dddd"
	if got := w.signedTags(t); got != want {
		t.Errorf("after removing: got %s\nwant %s", got, want)
	}
}

func TestPublisherRefuses(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	if _, err := w.publisher.Init(testGUN); err == nil {
		t.Error("a repository was initialised twice")
	}
	if err := w.publisher.Sign(testGUN, "1.0", "sha256:"+digestA, 1); err == nil {
		t.Error("a digest with its algorithm was accepted")
	}
	if err := w.publisher.Sign(testGUN, "1.0", digestA, 1, "targets/nobody"); err == nil {
		t.Error("a delegation that does not exist was signed for")
	}
	var missing client.ErrRepositoryNotExist
	if err := w.publisher.Sign("registry.example.com/other", "1.0", digestA, 1); !errors.As(err, &missing) {
		t.Errorf("signing where nothing was initialised: got %v", err)
	}
}

func TestPublisherSharesItsRootKey(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	other, err := w.publisher.Init("registry.example.com/acme/other")
	must(t, err)
	if other != w.rootKey || len(other) != 64 {
		t.Errorf("got the root keys %q and %q", w.rootKey, other)
	}
}

func TestPublisherKeepsItsKeysInADirectory(t *testing.T) {
	ca := newCA(t)
	server := startTrustServer(t, TrustServerOptions{CA: ca})
	dir := t.TempDir()
	first, err := NewPublisher(server.URL(), ca.Pool(), dir)
	must(t, err)
	rootKey, err := first.Init(testGUN)
	must(t, err)
	second, err := NewPublisher(server.URL(), ca.Pool(), dir)
	must(t, err)
	must(t, second.Sign(testGUN, "1.0", digestA, 10))
	again, err := second.Init("registry.example.com/acme/other")
	must(t, err)
	if again != rootKey {
		t.Errorf("got the root key %q, want %q", again, rootKey)
	}
}

func TestKeysRotate(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10, "targets/releases"))
	for i, step := range []struct {
		role   string
		server bool
	}{
		{"targets", false}, {"snapshot", false}, {"timestamp", true}, {"root", false},
		{"snapshot", false}, {"snapshot", true}, {"snapshot", true}, {"root", false},
	} {
		rootBefore, timestampBefore := w.version(t, "root"), w.version(t, "timestamp")
		must(t, w.publisher.RotateKey(testGUN, step.role, step.server))
		if got := w.version(t, "root"); got != rootBefore+1 {
			t.Errorf("step %d: root version %d, want %d", i, got, rootBefore+1)
		}
		if got := w.version(t, "timestamp"); got != timestampBefore+1 {
			t.Errorf("step %d: timestamp version %d, want %d", i, got, timestampBefore+1)
		}
		must(t, w.publisher.Sign(testGUN, "2.0", digestA, 10, "targets"))
		if got, want := w.signedTags(t), "1.0 targets/releases aaaa, 2.0 targets aaaa"; got != want {
			t.Errorf("step %d: got %s, want %s", i, got, want)
		}
	}
	for version := 1; version <= w.version(t, "root"); version++ {
		if status, _ := w.get(t, string(rune('0'+version))+".root.json"); status != http.StatusOK {
			t.Errorf("root version %d: got %d", version, status)
		}
	}
}

func TestMetadataIsServedByNameVersionAndChecksum(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10, "targets/releases"))
	old := w.server.File(testGUN, "targets/releases")
	must(t, w.publisher.Sign(testGUN, "1.1", digestA, 10, "targets/releases"))
	current := w.server.File(testGUN, "targets/releases")
	sum := func(raw []byte) string { s := sha256.Sum256(raw); return hex.EncodeToString(s[:]) }
	for file, want := range map[string][]byte{
		"targets/releases.json":                                         current,
		"targets/releases." + sum(current) + ".json":                    current,
		"targets/releases." + sum(old) + ".json":                        old,
		"targets/releases." + strings.ToUpper(sum(old)) + ".json":       old,
		"1.targets/releases.json":                                       old,
		"2.targets/releases.json":                                       current,
		"snapshot.json":                                                 w.server.File(testGUN, "snapshot"),
		"timestamp.json":                                                w.server.File(testGUN, "timestamp"),
		"snapshot." + sum(w.server.File(testGUN, "snapshot")) + ".json": w.server.File(testGUN, "snapshot"),
	} {
		if status, body := w.get(t, file); status != http.StatusOK || body != string(want) {
			t.Errorf("%s: got %d and %d bytes, want %d", file, status, len(body), len(want))
		}
	}
	for _, file := range []string{"3.targets/releases.json", "targets/other.json", "targets." + sum(nil) + ".json"} {
		if status, body := w.get(t, file); status != http.StatusNotFound || !strings.Contains(body, `"METADATA_NOT_FOUND"`) {
			t.Errorf("%s: got %d %s", file, status, body)
		}
	}
}

func TestServerKeys(t *testing.T) {
	ca := newCA(t)
	server := startTrustServer(t, TrustServerOptions{CA: ca})
	keyOf := func(method, role string) string {
		status, body := get(t, newClient(ca), method, server.URL()+"/v2/"+testGUN+"/_trust/tuf/"+role+".key")
		if status != http.StatusOK {
			t.Fatalf("%s %s.key: got %d %s", method, role, status, body)
		}
		key, err := data.UnmarshalPublicKey([]byte(body))
		must(t, err)
		return key.ID()
	}
	for _, role := range []string{"timestamp", "snapshot"} {
		first := keyOf(http.MethodGet, role)
		if again := keyOf(http.MethodGet, role); again != first {
			t.Errorf("%s: asked twice, got two keys", role)
		}
		rotated := keyOf(http.MethodPost, role)
		if rotated == first || keyOf(http.MethodGet, role) != rotated {
			t.Errorf("%s: rotating did not make the key that comes next", role)
		}
	}
	if status, _ := get(t, newClient(ca), http.MethodGet, server.URL()+"/v2/"+testGUN+"/_trust/tuf/timestamp.json"); status != http.StatusNotFound {
		t.Errorf("a timestamp before anything was published: got %d", status)
	}
}

func TestUnusedServerKeysAreBounded(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	for range 3 * maxHeldKeys {
		if status, _ := get(t, newClient(w.ca), http.MethodPost, w.server.URL()+"/v2/"+testGUN+"/_trust/tuf/timestamp.key"); status != http.StatusOK {
			t.Fatalf("got %d", status)
		}
	}
	if held := len(w.server.repos[testGUN].keys["timestamp"]); held != maxHeldKeys {
		t.Errorf("the server holds %d keys, want %d", held, maxHeldKeys)
	}
	// The one in use is still there.
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10))
}

func TestServerSignsAnewBeforeExpiry(t *testing.T) {
	var offset atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	w := newTrustWorld(t, TrustServerOptions{Clock: clock, TimestampExpiry: 10 * time.Hour, SnapshotExpiry: 100 * time.Hour})
	for _, step := range []struct {
		after               time.Duration
		timestamp, snapshot int
	}{
		{0, 1, 1},
		{8 * time.Hour, 1, 1},
		{9*time.Hour + time.Minute, 2, 1},
		{80 * time.Hour, 3, 1},
		{91 * time.Hour, 4, 2},
	} {
		offset.Store(int64(step.after))
		if status, body := w.get(t, "timestamp.json"); status != http.StatusOK {
			t.Fatalf("after %v: got %d %s", step.after, status, body)
		}
		if got := w.version(t, "timestamp"); got != step.timestamp {
			t.Errorf("after %v: timestamp version %d, want %d", step.after, got, step.timestamp)
		}
		if got := w.version(t, "snapshot"); got != step.snapshot {
			t.Errorf("after %v: snapshot version %d, want %d", step.after, got, step.snapshot)
		}
	}
	offset.Store(0)
	if got := w.signedTags(t); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestRemovedDelegationLeavesTheSnapshot(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/alice"))
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10, "targets/alice"))
	must(t, w.publisher.publish("remove a delegation", testGUN, func(repo client.Repository) error {
		return repo.RemoveDelegationRole("targets/alice")
	}))
	if bytes.Contains(w.server.File(testGUN, "snapshot"), []byte("targets/alice")) || w.server.File(testGUN, "targets/alice") != nil {
		t.Error("a delegation that is gone is still published")
	}
	must(t, w.publisher.AddDelegation(testGUN, "targets/alice"))
	must(t, w.publisher.Sign(testGUN, "1.1", digestA, 10, "targets/alice"))
	if got, want := w.signedTags(t), "1.1 targets/alice aaaa"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDeleteForgetsTheRepository(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	if status, _ := get(t, newClient(w.ca), http.MethodDelete, w.server.URL()+"/v2/"+testGUN+"/_trust/tuf/"); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	for _, file := range []string{"root.json", "1.root.json", "timestamp.json"} {
		if status, _ := w.get(t, file); status != http.StatusNotFound {
			t.Errorf("%s after deleting: got %d", file, status)
		}
	}
	if _, err := w.publisher.Init(testGUN); err != nil {
		t.Errorf("initialise after deleting: %v", err)
	}
}

func TestHealthAndVersionCheck(t *testing.T) {
	ca := newCA(t)
	server := startTrustServer(t, TrustServerOptions{CA: ca})
	for _, path := range []string{"/_notary_server/health", "/v2/"} {
		if status, body := get(t, newClient(ca), http.MethodGet, server.URL()+path); status != http.StatusOK || body != "{}" {
			t.Errorf("%s: got %d %q", path, status, body)
		}
	}
}

func TestErrorsHaveNotarysForm(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	status, body := w.get(t, "targets/none.json")
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	must(t, json.Unmarshal([]byte(body), &answer))
	if status != http.StatusNotFound || len(answer.Errors) != 1 || answer.Errors[0].Code != "METADATA_NOT_FOUND" || answer.Errors[0].Message == "" {
		t.Errorf("got %d %s", status, body)
	}
}
