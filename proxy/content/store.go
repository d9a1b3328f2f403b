package content

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	// ErrNotCached: the store does not have it for this repository.
	ErrNotCached = errors.New("not in the cache")
	// ErrUncacheable: it cannot be kept, whatever the state of the store: another
	// digest than sha256, or a manifest of a type that is not kept.
	ErrUncacheable = errors.New("cannot be cached")
)

// maxManifest bounds a manifest, in bytes, as distribution does.
const maxManifest = 4 << 20

// StoreOptions are what a Store is made of.
type StoreOptions struct {
	// Driver is where everything is kept, the result of Root. Several processes
	// may have stores on it.
	Driver driver.StorageDriver
	// MaxSize is how many bytes of content may stay after a sweep; 0: no bound.
	// It needs a driver whose stores are in one process at a time.
	MaxSize int64
	// TTL is how long something stays that nobody uses; 0: for ever.
	TTL time.Duration
	// Now is the time; nil: time.Now.
	Now func() time.Time
	// Swept, if not nil, hears of every sweep of Run, with its error.
	Swept func(Swept, error)
	// Damaged, if not nil, hears of a blob whose bytes were no more those of its
	// digest, and that has been removed therefore.
	Damaged func(digest.Digest)
}

// Store is the content of one registry on a storage driver: manifests and
// blobs, by repository and digest. It is safe for concurrent use.
type Store struct {
	o      StoreOptions
	reads  distribution.Namespace
	writes distribution.Namespace
	uses   *uses
	proofs *proofs
	counts counts
	wake   chan struct{} // to Run: what was added may have passed the bound
	pinned atomic.Uint64 // how often pins were written
	still  atomic.Int64  // until when nobody looks, in nanoseconds of Unix time

	sweeping sync.Mutex // held by Sweep

	// The ages of sweep.go, shorter in tests.
	abandoned, margin time.Duration

	// locks order commits of a digest and its removal, by its first byte: a
	// commit reads, a removal writes. No more than one is held, but all by prune.
	locks [256]sync.RWMutex
}

// NewStore returns the store on o.Driver. It touches nothing.
func NewStore(ctx context.Context, o StoreOptions) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	reads, err := storage.NewRegistry(ctx, o.Driver)
	if err != nil {
		return nil, err
	}
	writes, err := storage.NewRegistry(ctx, anew{o.Driver}, storage.DisableDigestResumption)
	if err != nil {
		return nil, err
	}
	return &Store{
		o: o, reads: reads, writes: writes, uses: newUses(), proofs: newProofs(),
		wake: make(chan struct{}, 1), abandoned: abandoned, margin: margin,
	}, nil
}

// lock is that of a digest.
func (s *Store) lock(d digest.Digest) *sync.RWMutex {
	var b [1]byte
	_, _ = hex.Decode(b[:], []byte(d.Encoded()[:2]))
	return &s.locks[b[0]]
}

// Manifest returns a manifest of the repository, verified against d. The error
// wraps ErrNotCached where the store does not have it; any other says why what
// is there cannot be served, ErrDigest that its bytes are not those of d.
func (s *Store) Manifest(ctx context.Context, repository string, d digest.Digest) (*Manifest, error) {
	m, err := look(ctx, s, func(ctx context.Context) (*Manifest, error) { return s.manifest(ctx, repository, d) })
	s.counts.read(err)
	if err != nil {
		return nil, fmt.Errorf("manifest %s of %q: %w", d, repository, err)
	}
	s.use(ctx, link{manifests, repository, d})
	return m, nil
}

func (s *Store) manifest(ctx context.Context, repository string, d digest.Digest) (*Manifest, error) {
	repo, err := s.open(ctx, s.reads, repository, d)
	if err != nil {
		return nil, missing(err)
	}
	service, err := repo.Manifests(ctx)
	if err != nil {
		return nil, err
	}
	// Its Get would parse bytes that nobody has verified since they were stored,
	// and panics on some of them.
	if exists, err := service.Exists(ctx, d); err != nil || !exists {
		return nil, errors.Join(err, missingIf(!exists && err == nil))
	}
	body, err := s.read(ctx, dataPath(d), maxManifest)
	if err != nil {
		return nil, missing(err)
	}
	sum, _ := hex.DecodeString(d.Encoded())
	if _, err := Check([32]byte(sum), body, ""); err != nil {
		return nil, err
	}
	mediaType, err := mediaType(body)
	if err != nil {
		return nil, err
	}
	return Check([32]byte(sum), body, mediaType)
}

// read returns the object at path, which has at most so many bytes.
func (s *Store) read(ctx context.Context, path string, most int64) ([]byte, error) {
	r, err := s.o.Driver.Reader(ctx, path, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(body)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return body, err
}

// PutManifest keeps a manifest for the repository. When it returns nil a read
// finds it, after a crash too. The error wraps ErrUncacheable for what is never kept.
func (s *Store) PutManifest(ctx context.Context, repository string, m *Manifest) error {
	if err := s.putManifest(ctx, repository, m); err != nil {
		s.counts.failed(err)
		return fmt.Errorf("manifest %s of %q: %w", m.Digest, repository, err)
	}
	return nil
}

func (s *Store) putManifest(ctx context.Context, repository string, m *Manifest) error {
	d := digest.Digest(m.Digest)
	repo, err := s.open(ctx, s.writes, repository, d)
	if err != nil {
		return err
	}
	if of, err := mediaType(m.Body); err != nil || of != m.MediaType || len(m.Body) > maxManifest {
		return errors.Join(err, fmt.Errorf("%w: manifest of %d bytes, sent as %q", ErrUncacheable, len(m.Body), m.MediaType))
	}
	parsed, _, err := distribution.UnmarshalManifest(m.MediaType, m.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUncacheable, err)
	}
	service, err := repo.Manifests(ctx, storage.SkipLayerVerification())
	if err != nil {
		return err
	}
	lock := s.lock(d)
	lock.RLock()
	defer lock.RUnlock()
	stored, err := service.Put(ctx, parsed)
	if err != nil {
		return err
	}
	if stored != d {
		return fmt.Errorf("%w: stored as %s", ErrDigest, stored)
	}
	s.added(int64(len(m.Body)))
	return nil
}

// Blob returns a blob of the repository. The error wraps ErrNotCached where the
// store does not have it; any other says why it cannot be served. That its
// bytes are those of d was checked when they were stored, and is not here (Open).
func (s *Store) Blob(ctx context.Context, repository string, d digest.Digest) (*Blob, error) {
	b, err := look(ctx, s, func(ctx context.Context) (*Blob, error) { return s.blob(ctx, repository, d) })
	s.counts.read(err)
	if err != nil {
		return nil, fmt.Errorf("blob %s of %q: %w", d, repository, err)
	}
	s.use(ctx, link{layers, repository, d})
	return b, nil
}

func (s *Store) blob(ctx context.Context, repository string, d digest.Digest) (*Blob, error) {
	repo, err := s.open(ctx, s.reads, repository, d)
	if err != nil {
		return nil, missing(err)
	}
	is, err := repo.Blobs(ctx).Stat(ctx, d)
	if err != nil {
		return nil, missing(err)
	}
	if is.Digest != d { // the library follows a link wherever it points
		return nil, fmt.Errorf("%w: the link is to %s", ErrDigest, is.Digest)
	}
	return &Blob{Digest: d, Size: is.Size, store: s}, nil
}

// Has says whether the repository has d, as a manifest or as a blob. It is no
// use, and reads no content.
func (s *Store) Has(ctx context.Context, repository string, d digest.Digest) (bool, error) {
	if _, err := s.open(ctx, s.reads, repository, d); err != nil {
		return false, ignore(err, ErrUncacheable)
	}
	if _, err := s.o.Driver.Stat(ctx, dataPath(d)); err != nil {
		return false, gone(err)
	}
	for _, k := range []kind{manifests, layers} {
		if _, err := s.o.Driver.Stat(ctx, link{k, repository, d}.path()); err == nil || !absent(err) {
			return err == nil, err
		}
	}
	return false, nil
}

// PutBlob keeps what r has until its end as blob d of the repository. When it
// returns nil a read finds it, after a crash too; before, nothing is there. The
// error wraps ErrDigest where the bytes are not those of d, ErrUncacheable
// where d is of no kind that is kept. r is read to its end or an error.
func (s *Store) PutBlob(ctx context.Context, repository string, d digest.Digest, r io.Reader) error {
	from := &source{Reader: r}
	if err := s.putBlob(ctx, repository, d, from); err != nil {
		if from.err == nil {
			s.counts.failed(err)
		}
		return fmt.Errorf("blob %s of %q: %w", d, repository, err)
	}
	return nil
}

func (s *Store) putBlob(ctx context.Context, repository string, d digest.Digest, r io.Reader) error {
	repo, err := s.open(ctx, s.writes, repository, d)
	if err != nil {
		return err
	}
	w, err := s.create(ctx, repo, d)
	if err != nil {
		return err
	}
	n, err := w.ReadFrom(r)
	if err == nil {
		err = s.commit(ctx, w, d)
	}
	if err != nil {
		s.abandon(ctx, repository, w)
		return err
	}
	s.proofs.done(d, s.o.Now())
	s.added(n)
	return nil
}

// source remembers that it failed: that is no failure of the store.
type source struct {
	io.Reader
	err error
}

// Read implements io.Reader.
func (r *source) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// create begins an upload. The lock keeps its directory from being removed as
// an empty one.
func (s *Store) create(ctx context.Context, repo distribution.Repository, d digest.Digest) (distribution.BlobWriter, error) {
	lock := s.lock(d)
	lock.RLock()
	defer lock.RUnlock()
	return repo.Blobs(ctx).Create(ctx)
}

// commit ends an upload, whose bytes the library has hashed.
func (s *Store) commit(ctx context.Context, w distribution.BlobWriter, d digest.Digest) error {
	lock := s.lock(d)
	lock.RLock()
	defer lock.RUnlock()
	_, err := w.Commit(ctx, v1.Descriptor{Digest: d})
	if errors.As(err, new(distribution.ErrBlobInvalidDigest)) {
		return ErrDigest
	}
	return err
}

// abandon removes what an upload has left, also where ctx has ended. What
// cannot be removed goes with a sweep.
func (s *Store) abandon(ctx context.Context, repository string, w distribution.BlobWriter) {
	ctx = context.WithoutCancel(ctx)
	_ = w.Cancel(ctx) // removes nothing where the upload was closed before
	_ = s.o.Driver.Delete(ctx, uploadDirectory(repository, w.ID()))
}

// open returns the repository for something of digest d.
func (s *Store) open(ctx context.Context, in distribution.Namespace, repository string, d digest.Digest) (distribution.Repository, error) {
	if err := cacheable(d); err != nil {
		return nil, err
	}
	name, err := parseRepository(repository)
	if err != nil {
		return nil, err
	}
	return in.Repository(ctx, name)
}

// Drop forgets that the repository has d, as a manifest or as a blob: it was
// deleted at the registry. Its bytes go with a sweep.
func (s *Store) Drop(ctx context.Context, repository string, d digest.Digest) error {
	if _, err := s.open(ctx, s.reads, repository, d); err != nil {
		return ignore(err, ErrUncacheable)
	}
	lock := s.lock(d)
	lock.Lock()
	defer lock.Unlock()
	for _, k := range []kind{manifests, layers} {
		if err := s.o.Driver.Delete(ctx, link{k, repository, d}.directory()); err != nil && !absent(err) {
			return fmt.Errorf("%s of %q: %w", d, repository, err)
		}
	}
	return nil
}

// missing makes ErrNotCached of the errors that mean that nothing is there.
func missing(err error) error {
	if absent(err) || errors.Is(err, distribution.ErrBlobUnknown) || errors.Is(err, ErrUncacheable) {
		return ErrNotCached
	}
	return err
}

func missingIf(is bool) error {
	if is {
		return ErrNotCached
	}
	return nil
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// anew is a driver that says of no content that it is there already. The
// library would leave what is there: damage would stay for ever, and a sweep,
// which spares what was just written, could remove what has just been linked.
type anew struct{ driver.StorageDriver }

// Stat implements driver.StorageDriver.
func (d anew) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if _, ok := parseData(path); ok {
		return nil, driver.PathNotFoundError{Path: path, DriverName: d.Name()}
	}
	return d.StorageDriver.Stat(ctx, path)
}
