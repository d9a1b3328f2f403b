package bundle

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// dirFiles are the files of a directory. A link in it leads nowhere.
type dirFiles struct{ root *os.Root }

func openDir(name string) (*dirFiles, error) {
	root, err := os.OpenRoot(name)
	return &dirFiles{root}, err
}

func (d *dirFiles) open(name string) (io.ReadCloser, int64, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, malformed("%s is no file", name)
	}
	file, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	// It may be another by now.
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = malformed("%s is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

func (d *dirFiles) close() error { return d.root.Close() }

// openSource opens a file as an archive and a directory as what it is.
func openSource(name string) (source, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no such file or directory")
	case err != nil:
		return nil, err
	case info.IsDir():
		return openDir(name)
	case info.Mode().IsRegular():
		return openTar(name)
	}
	return nil, errors.New("neither a file nor a directory: a bundle is read more than once")
}
