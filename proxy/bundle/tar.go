package bundle

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

const (
	tarBlock = 512
	// tarEnd is the size of the two blocks of zeros at the end of an archive.
	tarEnd = 2 * tarBlock
)

// tarFiles are the files of an archive, wherever in it they are.
type tarFiles struct {
	from  io.ReaderAt
	shut  func() error
	files map[string]span
}

// span is where in the archive the bytes of a file are.
type span struct{ offset, size int64 }

func openTar(name string) (*tarFiles, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	t, err := newTarFiles(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	t.shut = file.Close
	return t, nil
}

func newTarFiles(file *os.File) (*tarFiles, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	files, err := indexTar(file, info.Size())
	return &tarFiles{from: file, files: files}, err
}

// indexTar finds the files of a bundle in an archive of size bytes. What an OCI
// layout may also have is passed over, except that there is only one way to name
// a file, nothing but files and directories, no file twice, and an end.
func indexTar(from io.ReaderAt, size int64) (map[string]span, error) {
	at := io.NewSectionReader(from, 0, size)
	headers := tar.NewReader(at)
	files := map[string]span{}
	end := int64(0) // of what the last entry takes
	for entries := 0; ; entries++ {
		header, err := headers.Next()
		position, _ := at.Seek(0, io.SeekCurrent) // of a section it cannot fail
		if err == io.EOF && position-end >= tarEnd {
			return files, nil
		}
		switch {
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return nil, malformed("the archive is truncated: it has no end")
		case err != nil:
			return nil, malformed("as a tar archive it cannot be read: %w", err)
		case entries == maxFiles:
			return nil, malformed("the archive has more than %d entries", maxFiles)
		}
		name, err := entryName(header)
		if err != nil {
			return nil, err
		}
		if header.Size > size-position {
			return nil, malformed("the archive is truncated within %q", name)
		}
		end = position + (header.Size+tarBlock-1)/tarBlock*tarBlock
		if !ours(name) || header.Typeflag == tar.TypeDir {
			continue
		}
		if _, twice := files[name]; twice {
			return nil, malformed("the archive has %q twice", name)
		}
		files[name] = span{position, header.Size}
	}
}

// entryName is the name of an entry that may be there, without the "./" that
// archivers put before the names of a directory's files.
func entryName(header *tar.Header) (string, error) {
	shown := header.Name[:min(len(header.Name), 200)]
	name := strings.TrimPrefix(header.Name, "./")
	switch header.Typeflag {
	case tar.TypeDir:
		if name = strings.TrimSuffix(name, "/"); name == "" {
			return "", nil
		}
	case tar.TypeReg:
	default:
		return "", malformed("the archive has %q, which is neither a file nor a directory", shown)
	}
	// Without io/fs's rules a name might be one file to us and another to whoever
	// unpacks the archive.
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
		return "", malformed("the archive has an entry called %q", shown)
	}
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", malformed("the archive has %q as a sparse file", shown)
		}
	}
	return name, nil
}

// ours says whether a file of this name belongs to a bundle.
func ours(name string) bool {
	switch name {
	case layoutName, indexName, catalogName:
		return true
	}
	dir, base := path.Split(name)
	return (dir == blobsDir+"/" || dir == trustDir+"/") && isSum(base)
}

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	s, ok := t.files[name]
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(io.NewSectionReader(t.from, s.offset, s.size)), s.size, nil
}

func (t *tarFiles) close() error {
	if t.shut == nil {
		return nil
	}
	return t.shut()
}

// packer writes an archive of which every byte follows from its files.
type packer struct {
	*tar.Writer
}

// add appends a file of size bytes.
func (p packer) add(name string, size int64, r io.Reader) error {
	err := p.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     name,
		Size:     size,
		Mode:     0o644,
		ModTime:  time.Unix(0, 0),
		// A bundle of more than 8 GiB in one layer needs more than USTAR's digits.
		Format: tarFormat(size),
	})
	if err != nil {
		return err
	}
	n, err := io.Copy(p, r)
	if err == nil && n != size {
		err = fmt.Errorf("%s has changed while it was packed", name)
	}
	return err
}

// tarFormat is the simplest that has room for the size.
func tarFormat(size int64) tar.Format {
	if size < 1<<33 {
		return tar.FormatUSTAR
	}
	return tar.FormatPAX
}
