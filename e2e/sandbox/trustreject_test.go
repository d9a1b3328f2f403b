package sandbox

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

// upload is a file of a multipart request, named as a client would name it.
type upload struct {
	name string
	raw  []byte
}

func (w *trustWorld) post(t *testing.T, gun string, files ...upload) (int, string) {
	t.Helper()
	var body bytes.Buffer
	writer := multipart.NewWriter(&body)
	for _, file := range files {
		part, err := writer.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="files"; filename="` + file.name + `"`},
		})
		must(t, err)
		_, err = part.Write(file.raw)
		must(t, err)
	}
	must(t, writer.Close())
	return w.postBody(t, gun, writer.FormDataContentType(), body.Bytes())
}

func (w *trustWorld) postBody(t *testing.T, gun, contentType string, body []byte) (int, string) {
	t.Helper()
	target := w.server.URL() + "/v2/" + gun + "/_trust/tuf/"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, bytes.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", contentType)
	return do(t, newClient(w.ca), request)
}

// next makes the next version of a targets role, edited, and signed by signer
// with keys.
func (w *trustWorld) next(t *testing.T, signer *Publisher, role string, keys data.KeyList, edit func(*data.Targets)) []byte {
	t.Helper()
	targets := data.NewTargets()
	if current := w.server.File(testGUN, role); current != nil {
		var err error
		targets, err = parseTargets(data.RoleName(role), current)
		must(t, err)
	}
	targets.Signed.Version++
	if edit != nil {
		edit(&targets.Signed)
	}
	unsigned, err := targets.ToSigned()
	must(t, err)
	unsigned.Signatures = nil
	must(t, signed.Sign(signer.keys, unsigned, keys, 1, nil))
	raw, err := json.Marshal(unsigned)
	must(t, err)
	return raw
}

// keysOf are the keys that the current root gives to role.
func (w *trustWorld) keysOf(t *testing.T, role data.RoleName) data.KeyList {
	t.Helper()
	root, err := parseRoot(w.server.File(testGUN, "root"))
	must(t, err)
	base, err := root.BuildBaseRole(role)
	must(t, err)
	return base.ListKeys()
}

// delegationKeys are the keys that targets gives to role.
func (w *trustWorld) delegationKeys(t *testing.T, role data.RoleName) data.KeyList {
	t.Helper()
	targets, err := parseTargets("targets", w.server.File(testGUN, "targets"))
	must(t, err)
	delegation, err := targets.BuildDelegationRole(role)
	must(t, err)
	return delegation.ListKeys()
}

func (w *trustWorld) state() view {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return maps.Clone(w.server.repos[testGUN].current)
}

// expectRefusal asserts the status, the code and a piece of the detail, and that
// nothing that is published has changed.
func (w *trustWorld) expectRefusal(t *testing.T, before view, status int, body, code, detail string) {
	t.Helper()
	if status != http.StatusBadRequest || !strings.Contains(body, `"`+code+`"`) || !strings.Contains(body, detail) {
		t.Errorf("got %d %s\nwant 400 with %s and %q", status, body, code, detail)
	}
	if len(body) > 1024 {
		t.Errorf("the answer has %d bytes, and clients read 1024", len(body))
	}
	if after := w.state(); !maps.EqualFunc(before, after, func(a, b metadataFile) bool { return a.sha256 == b.sha256 }) {
		t.Error("a refused upload changed what is published")
	}
}

func TestUploadOfTargetsIsRefused(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10))
	stranger := newPublisher(t, w.ca, w.server)
	strangerKey, err := stranger.keys.Create("targets", testGUN, data.ECDSAKey)
	must(t, err)
	keys := w.keysOf(t, "targets")
	good := w.next(t, w.publisher, "targets", keys, nil)

	for name, test := range map[string]struct {
		files        []upload
		code, detail string
	}{
		"signature over other bytes": {
			[]upload{{"targets", bytes.Replace(good, []byte(`"1.0"`), []byte(`"6.6"`), 1)}}, "INVALID_UPDATE", "ErrBadTargets"},
		"signed by a stranger": {
			[]upload{{"targets", w.next(t, stranger, "targets", data.KeyList{strangerKey}, nil)}}, "INVALID_UPDATE", "threshold"},
		"version that is published": {
			[]upload{{"targets", w.server.File(testGUN, "targets")}}, "VERSION", ""},
		"version that skips one": {
			[]upload{{"targets", w.next(t, w.publisher, "targets", keys, func(s *data.Targets) { s.Version++ })}}, "INVALID_UPDATE", "does not follow"},
		"version zero": {
			[]upload{{"targets", w.next(t, w.publisher, "targets", keys, func(s *data.Targets) { s.Version = 0 })}}, "MALFORMED_JSON", ""},
		"expired": {
			[]upload{{"targets", w.next(t, w.publisher, "targets", keys, func(s *data.Targets) { s.Expires = time.Now().Add(-time.Minute) })}}, "INVALID_UPDATE", "expired"},
		"type of another role": {
			[]upload{{"targets", w.next(t, w.publisher, "targets", keys, func(s *data.Targets) { s.Type = "Snapshot" })}}, "INVALID_UPDATE", "expected type"},
		"delegation that is null": {
			[]upload{{"targets", w.next(t, w.publisher, "targets", keys, func(s *data.Targets) { s.Delegations.Roles = []*data.Role{nil} })}}, "MALFORMED_JSON", ""},
		"delegation signed by targets": {
			[]upload{{"targets/releases", w.next(t, w.publisher, "targets/releases", keys, nil)}}, "INVALID_UPDATE", "threshold"},
		"role that nobody delegates to": {
			[]upload{{"targets/nobody", w.next(t, w.publisher, "targets/nobody", keys, nil)}}, "INVALID_UPDATE", "targets/nobody"},
		"role whose parent has no file": {
			[]upload{{"targets/releases/a", w.next(t, w.publisher, "targets/releases/a", keys, nil)}}, "INVALID_UPDATE", "targets/releases/a"},
		"good file beside a bad one": {
			[]upload{{"targets", good}, {"targets/releases", w.next(t, w.publisher, "targets/releases", keys, nil)}}, "INVALID_UPDATE", "threshold"},
		"no signed part":           {[]upload{{"targets", []byte(`{"signatures":[{"keyid":"a","method":"ecdsa","sig":"AAAA"}]}`)}}, "MALFORMED_JSON", ""},
		"signed part that is null": {[]upload{{"targets", []byte(`{"signed":null,"signatures":[]}`)}}, "MALFORMED_JSON", ""},
		"not JSON":                 {[]upload{{"targets", []byte(`<xml/>`)}}, "MALFORMED_JSON", ""},
		"deep nesting":             {[]upload{{"targets", []byte(`{"signed":{"version":2,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}`)}}, "MALFORMED_JSON", ""},
		"more bytes than allowed":  {[]upload{{"targets", make([]byte, maxTargets+1)}}, "MALFORMED_UPLOAD", "larger"},
		"the same role twice":      {[]upload{{"targets", good}, {"targets", good}}, "INVALID_ROLE", ""},
		"timestamp":                {[]upload{{"timestamp", good}}, "INVALID_ROLE", ""},
		"no such role":             {[]upload{{"mirrors", good}}, "INVALID_ROLE", ""},
		"upper case":               {[]upload{{"targets/Releases", good}}, "INVALID_ROLE", ""},
		"path traversal":           {[]upload{{"targets/../root", good}}, "INVALID_ROLE", ""},
		"absolute path":            {[]upload{{"/targets", good}}, "INVALID_ROLE", ""},
		"no name":                  {[]upload{{"", good}}, "NO_FILENAME", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.state()
			status, body := w.post(t, testGUN, test.files...)
			w.expectRefusal(t, before, status, body, test.code, test.detail)
		})
	}
	if status, body := w.post(t, testGUN, upload{"targets.json", good}); status != http.StatusOK {
		t.Errorf("the good file: got %d %s", status, body)
	}
}

func TestUploadBelowTheThresholdIsRefused(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	keys := w.delegationKeys(t, "targets/releases")
	if len(keys) != 2 {
		t.Fatalf("the role has %d keys, want 2", len(keys))
	}
	raiseThreshold := func(s *data.Targets) { s.Delegations.Roles[0].Threshold = 2 }
	status, body := w.post(t, testGUN, upload{"targets", w.next(t, w.publisher, "targets", w.keysOf(t, "targets"), raiseThreshold)})
	if status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	before := w.state()
	status, body = w.post(t, testGUN, upload{"targets/releases", w.next(t, w.publisher, "targets/releases", keys[:1], nil)})
	w.expectRefusal(t, before, status, body, "INVALID_UPDATE", "threshold")
	status, body = w.post(t, testGUN, upload{"targets/releases", w.next(t, w.publisher, "targets/releases", keys, nil)})
	if status != http.StatusOK {
		t.Errorf("with both signatures: got %d %s", status, body)
	}
}

// nextRoot makes the next root, edited, and signed with the keys of its root role
// that signer has.
func (w *trustWorld) nextRoot(t *testing.T, signer *Publisher, edit func(*data.Root)) []byte {
	t.Helper()
	root, err := parseRoot(w.server.File(testGUN, "root"))
	must(t, err)
	root.Signed.Version++
	edit(&root.Signed)
	base, err := root.BuildBaseRole("root")
	must(t, err)
	unsigned, err := root.ToSigned()
	must(t, err)
	unsigned.Signatures = nil
	must(t, signed.Sign(signer.keys, unsigned, base.ListKeys(), 1, nil))
	raw, err := json.Marshal(unsigned)
	must(t, err)
	return raw
}

func TestUploadOfRootIsRefused(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	// A stranger whose certificate bears this repository's name.
	elsewhere := newTrustWorld(t, TrustServerOptions{})
	usurp := func(s *data.Root) {
		key := elsewhere.keysOf(t, "root")[0]
		s.Keys[key.ID()] = key
		s.Roles["root"] = &data.RootRole{KeyIDs: []string{key.ID()}, Threshold: 1}
	}
	foreignTimestamp := func(s *data.Root) {
		key := w.keysOf(t, "targets")[0]
		s.Roles["timestamp"] = &data.RootRole{KeyIDs: []string{key.ID()}, Threshold: 1}
	}
	otherTargets := func(s *data.Root) {
		s.Roles["targets"] = &data.RootRole{KeyIDs: s.Roles["timestamp"].KeyIDs, Threshold: 1}
	}
	for name, test := range map[string]struct {
		raw          []byte
		code, detail string
	}{
		"keys of a stranger":           {w.nextRoot(t, elsewhere.publisher, usurp), "INVALID_UPDATE", "ErrBadRoot"},
		"version that is published":    {w.server.File(testGUN, "root"), "INVALID_UPDATE", "does not follow"},
		"version that skips one":       {w.nextRoot(t, w.publisher, func(s *data.Root) { s.Version++ }), "INVALID_UPDATE", "does not follow"},
		"timestamp key not ours":       {w.nextRoot(t, w.publisher, foreignTimestamp), "INVALID_UPDATE", "timestamp key"},
		"expired":                      {w.nextRoot(t, w.publisher, func(s *data.Root) { s.Expires = time.Now().Add(-time.Hour) }), "INVALID_UPDATE", "expired"},
		"targets left without its key": {w.nextRoot(t, w.publisher, otherTargets), "INVALID_UPDATE", "ErrBadTargets"},
		"no snapshot role":             {w.nextRoot(t, w.publisher, func(s *data.Root) { delete(s.Roles, "snapshot") }), "INVALID_UPDATE", "ErrBadRoot"},
		"more bytes than allowed":      {make([]byte, maxRoot+1), "MALFORMED_UPLOAD", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.state()
			status, body := w.post(t, testGUN, upload{"root", test.raw})
			w.expectRefusal(t, before, status, body, test.code, test.detail)
		})
	}
	if status, body := w.post(t, "registry.example.com/new/app", upload{"root", w.server.File(testGUN, "root")}); status != http.StatusBadRequest {
		t.Errorf("the root of another repository: got %d %s", status, body)
	}
	if status, body := w.post(t, "registry.example.com/new/app", upload{"targets", w.server.File(testGUN, "targets")}); status != http.StatusBadRequest || !strings.Contains(body, "must hold a root") {
		t.Errorf("a first upload without a root: got %d %s", status, body)
	}
}

func TestUploadOfSnapshotIsRefused(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10, "targets/releases"))
	must(t, w.publisher.RotateKey(testGUN, "snapshot", false))
	keys := w.keysOf(t, "snapshot")
	snapshot := func(edit func(*data.Snapshot)) []byte {
		decoded, _, err := decodeSigned(w.server.File(testGUN, "snapshot"))
		must(t, err)
		parsed, err := data.SnapshotFromSigned(decoded)
		must(t, err)
		parsed.Signed.Version++
		edit(&parsed.Signed)
		unsigned, err := parsed.ToSigned()
		must(t, err)
		unsigned.Signatures = nil
		must(t, signed.Sign(w.publisher.keys, unsigned, keys, 1, nil))
		raw, err := json.Marshal(unsigned)
		must(t, err)
		return raw
	}
	newTargets := w.next(t, w.publisher, "targets", w.keysOf(t, "targets"), nil)
	same := snapshot(func(*data.Snapshot) {})
	for name, test := range map[string]struct {
		files        []upload
		code, detail string
	}{
		"role left out":             {[]upload{{"snapshot", snapshot(func(s *data.Snapshot) { delete(s.Meta, "targets/releases") })}}, "INVALID_UPDATE", "not listed"},
		"hash of another file":      {[]upload{{"snapshot", snapshot(func(s *data.Snapshot) { s.Meta["targets"] = s.Meta["root"] })}}, "INVALID_UPDATE", "ErrBadSnapshot"},
		"targets that it is not of": {[]upload{{"snapshot", same}, {"targets", newTargets}}, "INVALID_UPDATE", "ErrBadSnapshot"},
		"version that skips one":    {[]upload{{"snapshot", snapshot(func(s *data.Snapshot) { s.Version++ })}}, "INVALID_UPDATE", "does not follow"},
		"version going back":        {[]upload{{"snapshot", snapshot(func(s *data.Snapshot) { s.Version -= 2 })}}, "VERSION", ""},
		"expired":                   {[]upload{{"snapshot", snapshot(func(s *data.Snapshot) { s.Expires = time.Unix(0, 0) })}}, "INVALID_UPDATE", "expired"},
		"no snapshot at all":        {[]upload{{"targets", newTargets}}, "INVALID_UPDATE", "ErrBadHierarchy"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.state()
			status, body := w.post(t, testGUN, test.files...)
			w.expectRefusal(t, before, status, body, test.code, test.detail)
		})
	}
	if status, body := w.post(t, testGUN, upload{"snapshot", same}); status != http.StatusOK {
		t.Errorf("the good snapshot: got %d %s", status, body)
	}
}

func TestUploadThatIsNoUploadIsRefused(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	part := "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"targets\"\r\n\r\n"
	const form = "multipart/form-data; boundary=b"
	for name, test := range map[string]struct{ contentType, body string }{
		"JSON":                    {"application/json", "{}"},
		"form without a boundary": {"multipart/form-data", "{}"},
		"cut off in a file":       {form, part + "{"},
		"cut off between files":   {form, part + "{}\r\n--b"},
		"empty":                   {form, ""},
		"larger than allowed":     {form, part + strings.Repeat(" ", maxUpload)},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.state()
			status, body := w.postBody(t, testGUN, test.contentType, []byte(test.body))
			w.expectRefusal(t, before, status, body, "MALFORMED_UPLOAD", "")
		})
	}
}

func TestUploadOfTooMuchAltogetherIsRefused(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	var files []upload
	for _, role := range []string{"a", "b", "c", "d", "e"} {
		files = append(files, upload{"targets/" + role, make([]byte, maxTargets-1)})
	}
	before := w.state()
	status, body := w.post(t, testGUN, files...)
	w.expectRefusal(t, before, status, body, "MALFORMED_UPLOAD", "")
}

func TestUploadOfNothingRenewsTheTimestamp(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	if status, body := w.post(t, testGUN); status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	if got := w.version(t, "timestamp"); got != 2 {
		t.Errorf("timestamp version %d, want 2", got)
	}
	if got := w.signedTags(t); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestPathsAreRefused(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	client := newClient(w.ca)
	for _, test := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/_catalog", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/_trust/changefeed", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/changefeed", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/root", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/mirrors.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/0.root.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/01.root.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/99999999999999999999.root.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/1.root." + digestA + ".json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/root.key", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/targets.key", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/targets/../root.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/targets/%2e%2e/root.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/targets//a.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/r%6fot.json", 404, "METADATA_NOT_FOUND"},
		{"GET", "/v2//_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/../etc/_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/a/../b/_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/a/%2e%2e/b/_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/a%2fb/_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/a//b/_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/reg.example.com/UPPER/_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/" + strings.Repeat("a", 300) + "/_trust/tuf/root.json", 400, "INVALID_GUN"},
		{"GET", "/v2/" + testGUN + "/_trust/tuf/", 405, "UNSUPPORTED"},
		{"PUT", "/v2/" + testGUN + "/_trust/tuf/root.json", 405, "UNSUPPORTED"},
		{"POST", "/v2/" + testGUN + "/_trust/tuf/root.json", 405, "UNSUPPORTED"},
		{"DELETE", "/v2/" + testGUN + "/_trust/tuf/timestamp.key", 405, "UNSUPPORTED"},
	} {
		status, body := get(t, client, test.method, w.server.URL()+test.path)
		if status != test.status || !strings.Contains(body, `"`+test.code+`"`) {
			t.Errorf("%s %s: got %d %s, want %d %s", test.method, test.path, status, strings.TrimSpace(body), test.status, test.code)
		}
	}
	if held := slices.Collect(maps.Keys(w.server.repos)); len(held) != 1 {
		t.Errorf("reading brought repositories into being: %v", held)
	}
}

func TestRepositoriesAreBounded(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	w.server.mu.Lock()
	for i := range maxRepositories {
		w.server.repos[data.GUN(strconv.Itoa(i))] = nil
	}
	w.server.mu.Unlock()
	if status, body := get(t, newClient(w.ca), http.MethodGet, w.server.URL()+"/v2/one/more/_trust/tuf/timestamp.key"); status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", status, body)
	}
}

func TestStaleDelegationInAClientsSnapshotIsAccepted(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/alice"))
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10, "targets/alice"))
	must(t, w.publisher.RotateKey(testGUN, "snapshot", false))
	must(t, w.publisher.publish("remove a delegation", testGUN, func(repo client.Repository) error {
		return repo.RemoveDelegationRole("targets/alice")
	}))
	if got := w.signedTags(t); got != "" {
		t.Errorf("got %q", got)
	}
}
