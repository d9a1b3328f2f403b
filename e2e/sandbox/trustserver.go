package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/notary"
	"github.com/theupdateframework/notary/tuf/data"
)

const (
	maxRepositories = 10_000
	maxUpload       = 32 << 20
	maxUploadFiles  = 1000
	maxRoot         = 1 << 20
	maxSnapshot     = 4 << 20
	maxTargets      = 8 << 20
)

// TrustServerOptions says what kind of trust server to start. The zero value is
// an open server over plain http on a free port of 127.0.0.1.
type TrustServerOptions struct {
	// CA issues the server's certificate; nil means plain http.
	CA *CA
	// Listen is the address to listen on; empty means a free port of 127.0.0.1.
	Listen string
	// TimestampExpiry is how long a timestamp is valid; zero means Notary's 14
	// days. One is signed anew when somebody asks for it in the last tenth.
	TimestampExpiry time.Duration
	// SnapshotExpiry is the same for the snapshots that the server signs; zero
	// means Notary's three years.
	SnapshotExpiry time.Duration
	// Clock tells the time for the server's own signatures and for the expiry of
	// what is uploaded; nil means time.Now. It is called from any goroutine.
	Clock func() time.Time
	// Middleware stands around the server: it sees every request and may answer
	// it, spoil the answer, or pass it on. Nil means none.
	Middleware func(http.Handler) http.Handler
}

// TrustServer is a running trust server that speaks Notary v1's HTTP interface
// for any number of GUNs and keeps everything in memory. It holds the timestamp
// keys, and the snapshot keys where a publisher asks for that. Anybody may
// publish. It has no change feed. Its methods are safe for concurrent use.
type TrustServer struct {
	*server
	clock    func() time.Time
	validity expiries

	mu    sync.Mutex // guards repos and everything in them
	repos map[data.GUN]*trustRepository
}

// StartTrustServer starts a trust server that runs until ctx is done or Close
// is called.
func StartTrustServer(ctx context.Context, opts TrustServerOptions) (*TrustServer, error) {
	t := &TrustServer{
		clock:    opts.Clock,
		validity: expiries{timestamp: opts.TimestampExpiry, snapshot: opts.SnapshotExpiry},
		repos:    map[data.GUN]*trustRepository{},
	}
	if t.clock == nil {
		t.clock = time.Now
	}
	if t.validity.timestamp == 0 {
		t.validity.timestamp = notary.NotaryTimestampExpiry
	}
	if t.validity.snapshot == 0 {
		t.validity.snapshot = notary.NotarySnapshotExpiry
	}
	var handler http.Handler = http.HandlerFunc(t.handle)
	if opts.Middleware != nil {
		handler = opts.Middleware(handler)
	}
	server, err := listen(ctx, opts.CA, opts.Listen, handler)
	if err != nil {
		return nil, fmt.Errorf("start the trust server: %w", err)
	}
	t.server = server
	return t, nil
}

// File returns the current metadata of role in gun, byte for byte, or nil where
// there is none. It signs nothing anew. The slice is the caller's.
func (t *TrustServer) File(gun, role string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	repo := t.repos[data.GUN(gun)]
	if repo == nil {
		return nil
	}
	return slices.Clone(repo.current[data.RoleName(role)].raw)
}

// handle answers one request: health and the version check first, then what
// belongs to a repository.
func (t *TrustServer) handle(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if path == healthPath || path == "/v2/" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
		return
	}
	route, refused := parseTrustPath(path)
	if refused == nil && !slices.Contains(route.methods(), r.Method) {
		refused = errMethod
	}
	if refused != nil {
		refused.write(w)
		return
	}
	if err := t.serveRoute(w, r, route); err != nil {
		publicError(err).write(w)
	}
}

func (t *TrustServer) serveRoute(w http.ResponseWriter, r *http.Request, route trustRoute) error {
	switch {
	case route.kind == trustMetadata:
		return t.serveMetadata(w, route)
	case route.kind == trustKey:
		return t.serveKey(w, route, r.Method == http.MethodPost)
	case r.Method == http.MethodDelete:
		t.delete(route.gun)
		return nil
	default:
		return t.accept(w, r, route.gun)
	}
}

func (t *TrustServer) serveMetadata(w http.ResponseWriter, route trustRoute) error {
	file, err := t.metadata(route)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Last-Modified", file.modified.UTC().Format(http.TimeFormat))
	caching := "public, max-age=0, must-revalidate"
	if route.sha256 != "" {
		caching = "public, max-age=2592000"
	}
	w.Header().Set("Cache-Control", caching)
	_, _ = w.Write(file.raw)
	return nil
}

func (t *TrustServer) metadata(route trustRoute) (metadataFile, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	repo := t.repos[route.gun]
	if repo == nil {
		return metadataFile{}, errNotFound
	}
	if serverHeld(route.role) {
		if err := repo.refresh(t.clock(), t.validity); err != nil {
			return metadataFile{}, errServerKey
		}
	}
	file, ok := repo.find(route)
	if !ok {
		return metadataFile{}, errNotFound
	}
	return file, nil
}

func (t *TrustServer) serveKey(w http.ResponseWriter, route trustRoute, rotate bool) error {
	key, err := t.key(route, rotate)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(key)
}

func (t *TrustServer) key(route trustRoute, rotate bool) (data.PublicKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	repo, err := t.repository(route.gun)
	if err != nil {
		return nil, err
	}
	produce := repo.key
	if rotate {
		produce = repo.newKey
	}
	key, err := produce(route.role)
	if err != nil {
		return nil, errServerKey
	}
	return key, nil
}

// repository finds gun or begins it. The caller holds the lock.
func (t *TrustServer) repository(gun data.GUN) (*trustRepository, error) {
	repo := t.repos[gun]
	if repo == nil {
		if len(t.repos) >= maxRepositories {
			return nil, errFull
		}
		repo = newTrustRepository(gun)
		t.repos[gun] = repo
	}
	return repo, nil
}

// delete drops what is published. Notary answers 200 whether or not there was
// something, and so do we.
func (t *TrustServer) delete(gun data.GUN) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if repo := t.repos[gun]; repo != nil {
		repo.forget()
	}
}

// accept reads an upload, outside the lock, and publishes it.
func (t *TrustServer) accept(w http.ResponseWriter, r *http.Request, gun data.GUN) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxUpload)
	reader, err := r.MultipartReader()
	if err != nil {
		return errUpload
	}
	uploads, err := readUploads(reader)
	if err != nil {
		// Read to the end of what is allowed: a connection that is closed on a
		// client that still writes loses the answer.
		_, _ = io.Copy(io.Discard, r.Body)
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	repo, err := t.repository(gun)
	if err != nil {
		return err
	}
	return repo.publish(uploads, t.clock(), t.validity)
}

// readUploads reads the files of an upload by role. There may be none: a client
// that has nothing new to say still publishes, and gets a new timestamp.
func readUploads(reader *multipart.Reader) (map[data.RoleName][]byte, error) {
	uploads := map[data.RoleName][]byte{}
	for {
		part, err := reader.NextRawPart()
		// Compared, not unwrapped: an upload that was cut off wraps io.EOF.
		if err == io.EOF { //nolint:errorlint // see above
			return uploads, nil
		}
		if err != nil || len(uploads) == maxUploadFiles {
			return nil, errUpload
		}
		role, err := uploadRole(part)
		if err != nil {
			return nil, err
		}
		if _, twice := uploads[role]; twice {
			return nil, errRole
		}
		limit := uploadLimit(role)
		raw, err := io.ReadAll(io.LimitReader(part, limit+1))
		if err != nil {
			return nil, errUpload
		}
		if int64(len(raw)) > limit {
			return nil, errTooLarge
		}
		uploads[role] = raw
	}
}

// uploadRole reads the role from a part's file name. Part.FileName is no help:
// since Go 1.17 it cuts a delegation down to what follows its last slash.
func uploadRole(part *multipart.Part) (data.RoleName, error) {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil || params["filename"] == "" {
		return "", errNoName
	}
	role := data.RoleName(strings.TrimSuffix(params["filename"], ".json"))
	// The timestamp is the server's alone.
	if !data.ValidRole(role) || role == data.CanonicalTimestampRole {
		return "", errRole
	}
	return role, nil
}

func uploadLimit(role data.RoleName) int64 {
	switch role {
	case data.CanonicalRootRole:
		return maxRoot
	case data.CanonicalSnapshotRole:
		return maxSnapshot
	default:
		return maxTargets
	}
}
