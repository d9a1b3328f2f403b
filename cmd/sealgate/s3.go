package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws" // the driver s3
	"github.com/sealgate/sealgate/config"
)

// openS3 returns the driver of a bucket. Clients are never redirected to it.
func openS3(s config.Storage) (driver.StorageDriver, error) {
	made, err := factory.Create(context.Background(), s.Driver, maps.Clone(s.Parameters))
	bucket := discreet{made, secretsOf(s)}
	if err != nil {
		return nil, fmt.Errorf("storage.%s: %w", s.Driver, bucket.says(err))
	}
	return bucket, nil
}

// secretsOf are the parameters that nobody may read.
func secretsOf(s config.Storage) *strings.Replacer {
	var hidden []string
	for _, name := range []string{"accesskey", "secretkey"} {
		if secret, _ := s.Parameters[name].(string); secret != "" {
			hidden = append(hidden, secret, "["+name+"]")
		}
	}
	return strings.NewReplacer(hidden...)
}

// discreet is a driver whose errors, in which a server may say what it likes, are
// one line without the secrets that the driver was given.
type discreet struct {
	driver.StorageDriver
	hidden *strings.Replacer
}

// maxStorageError bounds what an error of a server says, in bytes.
const maxStorageError = 500

// discreetError has the text of an error, to be shown, and the error itself, to be
// asked what it is.
type discreetError struct {
	text string
	error
}

func (e discreetError) Error() string { return e.text }
func (e discreetError) Unwrap() error { return e.error }

// says returns err as it may be shown. What the storage library tells by its
// type, such as that nothing is there, stays of that type.
func (d discreet) says(err error) error {
	switch e := err.(type) {
	case nil, driver.PathNotFoundError, driver.InvalidPathError, driver.InvalidOffsetError, driver.ErrUnsupportedMethod:
		return err
	case driver.Error:
		e.Detail = d.says(e.Detail)
		return e
	}
	text := d.hidden.Replace(strings.Join(strings.Fields(err.Error()), " "))
	return discreetError{text[:min(len(text), maxStorageError)], err}
}

// GetContent implements driver.StorageDriver, as do the methods below.
func (d discreet) GetContent(ctx context.Context, path string) ([]byte, error) {
	content, err := d.StorageDriver.GetContent(ctx, path)
	return content, d.says(err)
}

func (d discreet) PutContent(ctx context.Context, path string, content []byte) error {
	return d.says(d.StorageDriver.PutContent(ctx, path, content))
}

func (d discreet) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	r, err := d.StorageDriver.Reader(ctx, path, offset)
	return r, d.says(err)
}

func (d discreet) Writer(ctx context.Context, path string, add bool) (driver.FileWriter, error) {
	w, err := d.StorageDriver.Writer(ctx, path, add)
	if err != nil {
		return nil, d.says(err)
	}
	return discreetWriter{w, d}, nil
}

func (d discreet) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := d.StorageDriver.Stat(ctx, path)
	return info, d.says(err)
}

func (d discreet) List(ctx context.Context, path string) ([]string, error) {
	paths, err := d.StorageDriver.List(ctx, path)
	return paths, d.says(err)
}

func (d discreet) Move(ctx context.Context, from, to string) error {
	return d.says(d.StorageDriver.Move(ctx, from, to))
}

func (d discreet) Delete(ctx context.Context, path string) error {
	return d.says(d.StorageDriver.Delete(ctx, path))
}

func (d discreet) Walk(ctx context.Context, path string, f driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	return d.says(d.StorageDriver.Walk(ctx, path, f, options...))
}

// discreetWriter is what a discreet driver writes with.
type discreetWriter struct {
	driver.FileWriter
	of discreet
}

func (w discreetWriter) Write(p []byte) (int, error) {
	n, err := w.FileWriter.Write(p)
	return n, w.of.says(err)
}

func (w discreetWriter) Close() error { return w.of.says(w.FileWriter.Close()) }

func (w discreetWriter) Cancel(ctx context.Context) error { return w.of.says(w.FileWriter.Cancel(ctx)) }

func (w discreetWriter) Commit(ctx context.Context) error { return w.of.says(w.FileWriter.Commit(ctx)) }
