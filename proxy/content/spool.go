package content

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrSpool: bytes under way cannot be written to this machine's disk.
var ErrSpool = errors.New("the spool cannot be written")

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
	if err := s.room(0); err != nil {
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

// room is an error where the file system would not have its reserve free after n
// more bytes.
func (s *DirSpool) room(n int64) error {
	free, total, err := s.free(s.dir)
	if err != nil {
		return err
	}
	if reserve := min(total/reserveShare, maxReserve); free-n < reserve {
		return fmt.Errorf("%s: %d bytes are free, %d are needed, and %d stay free", filepath.Clean(s.dir), free, n, reserve)
	}
	return nil
}

// dirFile looks every now and then whether there is still room: others write to
// the file system too.
type dirFile struct {
	*os.File
	spool    *DirSpool
	expected int64 // bytes still to come, as far as is known
	unseen   int   // bytes since the last look
}

// Expect implements SpoolFile.
func (f *dirFile) Expect(size int64) error {
	f.expected = size
	return f.spool.room(size)
}

// Write implements io.Writer.
func (f *dirFile) Write(p []byte) (int, error) {
	if f.unseen += len(p); f.unseen >= lookEvery {
		f.unseen = 0
		if err := f.spool.room(max(f.expected, int64(len(p)))); err != nil {
			return 0, err
		}
	}
	n, err := f.File.Write(p)
	f.expected = max(f.expected-int64(n), 0)
	return n, err
}
