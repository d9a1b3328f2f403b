package state_test

import (
	"context"
	"errors"
	"sync"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// watched calls do before each operation, counted from 1; an error of do is
// what the operation returns, undone.
type watched struct {
	driver.StorageDriver
	mu    sync.Mutex
	count int
	do    func(n int, operation, path string) error
}

func (w *watched) step(operation, path string) error {
	w.mu.Lock()
	w.count++
	n := w.count
	w.mu.Unlock()
	return w.do(n, operation, path)
}

func (w *watched) GetContent(ctx context.Context, path string) ([]byte, error) {
	if err := w.step("get", path); err != nil {
		return nil, err
	}
	return w.StorageDriver.GetContent(ctx, path)
}

func (w *watched) PutContent(ctx context.Context, path string, content []byte) error {
	if err := w.step("put", path); err != nil {
		return errors.Join(err, w.left(ctx, path, content, err))
	}
	return w.StorageDriver.PutContent(ctx, path, content)
}

func (w *watched) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := w.step("stat", path); err != nil {
		return nil, err
	}
	return w.StorageDriver.Stat(ctx, path)
}

func (w *watched) List(ctx context.Context, path string) ([]string, error) {
	if err := w.step("list", path); err != nil {
		return nil, err
	}
	return w.StorageDriver.List(ctx, path)
}

func (w *watched) Delete(ctx context.Context, path string) error {
	if err := w.step("delete", path); err != nil {
		if errors.Is(err, errDone) {
			err = errors.Join(err, w.StorageDriver.Delete(ctx, path))
		}
		return err
	}
	return w.StorageDriver.Delete(ctx, path)
}

// How an operation can fail.
var (
	errUndone = errors.New("killed before the operation")
	errDone   = errors.New("killed after the operation")
	errTorn   = errors.New("killed while it was writing") // by a driver that is not atomic
)

// left is what a put that fails leaves behind.
func (w *watched) left(ctx context.Context, path string, content []byte, err error) error {
	switch {
	case errors.Is(err, errDone):
		return w.StorageDriver.PutContent(ctx, path, content)
	case errors.Is(err, errTorn):
		return w.StorageDriver.PutContent(ctx, path, content[:len(content)/2])
	}
	return nil
}

// dying is a driver that fails in the given way at the n-th operation, and
// does nothing any more after it.
func dying(d driver.StorageDriver, at int, how error) *watched {
	return &watched{StorageDriver: d, do: func(n int, _, _ string) error {
		switch {
		case n < at:
			return nil
		case n == at:
			return how
		}
		return errUndone
	}}
}

// interrupted calls do once, before the n-th operation.
func interrupted(d driver.StorageDriver, at int, do func()) *watched {
	return &watched{StorageDriver: d, do: func(n int, _, _ string) error {
		if n == at {
			do()
		}
		return nil
	}}
}
