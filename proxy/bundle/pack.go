package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Pack makes an archive called name of the bundle in the directory dir, which is
// gone then: each file is removed as soon as the archive has it, so that a disk
// needs no room for both. The archive has its name only when it is complete, and
// takes the place of one before. progress, when not nil, is told how far it is, in
// bytes.
func Pack(ctx context.Context, dir, name string, progress func(done, total int64)) error {
	from, err := openDir(dir)
	if err != nil {
		return err
	}
	defer from.close()
	names, err := packed(dir)
	if err != nil {
		return err
	}
	total, err := from.sizes(names)
	if err != nil {
		return err
	}
	done := int64(0)
	copied := func(n int64) {
		if done += n; progress != nil {
			progress(done, total)
		}
	}
	temporary, err := createTemporary(filepath.Dir(name), "."+filepath.Base(name)+partialPrefix)
	if err != nil {
		return err
	}
	p := packer{tar.NewWriter(temporary)}
	for _, file := range names {
		if err = p.move(ctx, from, file, copied); err != nil {
			break
		}
	}
	if err == nil {
		err = p.Close()
	}
	if err := place(temporary, name, err); err != nil {
		return fmt.Errorf("%s cannot be written: %w", name, err)
	}
	return os.RemoveAll(dir)
}

// packed are the names of the files of a complete bundle, in the order in which
// they are packed: what says what else there is comes first.
func packed(dir string) ([]string, error) {
	names := []string{layoutName, indexName, catalogName}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, fmt.Errorf("%s is no complete bundle: %w", dir, err)
		}
	}
	for _, sub := range []string{trustDir, blobsDir} {
		entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(sub))) // sorted by name
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			names = append(names, sub+"/"+e.Name())
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return !ours(name) }), nil
}

// sizes is how many bytes the files have together.
func (d *dirFiles) sizes(names []string) (total int64, err error) {
	for _, name := range names {
		info, err := d.root.Lstat(name)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

// move appends a file and removes it where it was.
func (p packer) move(ctx context.Context, from *dirFiles, name string, copied func(int64)) error {
	r, size, err := from.open(name)
	if err != nil {
		return err
	}
	err = p.add(name, size, &progressReader{ctx: ctx, from: r, copied: copied})
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	return from.root.Remove(name)
}
