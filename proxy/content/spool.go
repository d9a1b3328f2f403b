package content

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// ErrSpool: bytes under way cannot be written to this machine's disk. Whoever logs
// it says that; its own text says only where.
var ErrSpool = errors.New("spool")

// Spool is where blobs under way are written, so that many clients read one
// fetch, each at its own speed. It is safe for concurrent use.
type Spool interface {
	// Create returns a new and empty file. An error means that there is no room.
	Create() (SpoolFile, error)
}

// SpoolFile is written by one goroutine and read by many at the same time, of
// what is written already. Close gives its room back; it is called once, when
// nobody reads any more.
type SpoolFile interface {
	// Expect is called once, before the first Write: so many bytes are to come. An
	// error means that there is no room for them.
	Expect(size int64) error
	io.Writer
	io.ReaderAt
	io.Closer
}

// Bounds of what a DirSpool leaves free.
const (
	// reserveShare of a file system stays free, and maxReserve bytes are enough.
	reserveShare = 20
	maxReserve   = 1 << 30
	// lookEvery is how many bytes are written between two looks at what is free.
	lookEvery = 16 << 20
)

// DirSpool is a Spool in a directory, in files without a name: whatever becomes
// of the process, nothing of them is left. Trust state is often on the same file
// system, so a twentieth of it, or 1 GiB where that is less, stays free.
type DirSpool struct {
	dir  string
	free func(dir string) (free, total int64, err error) // bytes

	mu      sync.Mutex
	granted int64 // bytes that files may still write
}

// NewDirSpool returns a spool in dir, which is made where it is missing, for this
// user alone.
func NewDirSpool(dir string) (*DirSpool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &DirSpool{dir: dir, free: freeBytes}, nil
}

// Create implements Spool.
func (s *DirSpool) Create() (SpoolFile, error) {
	if err := s.grant(0); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(s.dir, "blob-")
	if errors.Is(err, os.ErrNotExist) { // somebody has tidied up
		if err = os.MkdirAll(s.dir, 0o700); err == nil {
			file, err = os.CreateTemp(s.dir, "blob-")
		}
	}
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return &dirFile{File: file, spool: s}, nil
}

// grant lets a file write n more bytes. The error says that the file system would
// not have its reserve free after that and all that others may still write.
func (s *DirSpool) grant(n int64) error {
	free, total, err := s.free(s.dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reserve := min(total/reserveShare, maxReserve)
	if n > free || free-n-s.granted < reserve {
		needed := ""
		if n > 0 {
			needed = fmt.Sprintf("%d are needed, and ", n)
		}
		return fmt.Errorf("%s: %d bytes are free and others are promised %d of them; %s%d stay free", filepath.Clean(s.dir), free, s.granted, needed, reserve)
	}
	s.granted += n
	return nil
}

// take notes that n bytes of a grant were written, or will not be.
func (s *DirSpool) take(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.granted -= n
}

// dirFile writes what it was granted: all of a blob whose size is known, else a
// piece after the other. It looks every now and then whether there is still room
// for it, since others write to the file system too.
type dirFile struct {
	*os.File
	spool   *DirSpool
	granted int64 // bytes still to be written
	unseen  int64 // bytes since the last look
}

// Expect implements SpoolFile.
func (f *dirFile) Expect(size int64) error { return f.grant(size) }

func (f *dirFile) grant(n int64) error {
	if err := f.spool.grant(n); err != nil {
		return err
	}
	f.granted += n
	f.unseen = 0
	return nil
}

// Write implements io.Writer.
func (f *dirFile) Write(p []byte) (int, error) {
	more := max(int64(len(p))-f.granted, 0)
	if more > 0 {
		more = max(more, lookEvery)
	}
	if f.unseen += int64(len(p)); more > 0 || f.unseen >= lookEvery {
		if err := f.grant(more); err != nil {
			return 0, err
		}
	}
	n, err := f.File.Write(p)
	f.granted -= int64(n)
	f.spool.take(int64(n))
	return n, err
}

// Close implements io.Closer.
func (f *dirFile) Close() error {
	f.spool.take(f.granted)
	return f.File.Close()
}
