package content

import (
	"context"
	"path"
	"time"
)

// removeLink removes a link, unless it has been used since it was looked at.
func (s *Store) removeLink(ctx context.Context, l *usedLink) (bool, error) {
	lock := s.lock(l.digest())
	lock.Lock()
	defer lock.Unlock()
	of := l.link()
	info, err := s.o.Driver.Stat(ctx, of.path())
	if absent(err) {
		return true, nil
	}
	if err != nil || info.ModTime().UnixNano() > l.used {
		return false, err
	}
	err = gone(s.o.Driver.Delete(ctx, of.directory()))
	return err == nil, err
}

// removeData removes the bytes of a digest, if the time when they were written
// is one of those that may go.
func (s *Store) removeData(ctx context.Context, sum sum, goes func(written time.Time) bool) (bool, error) {
	d := asDigest(sum)
	lock := s.lock(d)
	lock.Lock()
	defer lock.Unlock()
	info, err := s.o.Driver.Stat(ctx, dataPath(d))
	if absent(err) {
		return true, nil
	}
	if err != nil || !goes(info.ModTime()) {
		return false, err
	}
	err = gone(s.o.Driver.Delete(ctx, dataDirectory(d)))
	return err == nil, err
}

// leftovers removes what crashes have left.
func (w *sweep) leftovers(ctx context.Context) error {
	for _, path := range w.found.stale {
		if err := gone(w.store.o.Driver.Delete(ctx, path)); err != nil {
			return err
		}
		w.did.Abandoned++
	}
	for _, directory := range w.found.uploads {
		if err := w.abandonedUploads(ctx, directory); err != nil {
			return err
		}
	}
	for _, directory := range w.found.empty {
		if err := w.prune(ctx, directory); err != nil {
			return err
		}
	}
	return nil
}

// abandonedUploads removes those below directory in which nothing was written
// for long.
func (w *sweep) abandonedUploads(ctx context.Context, directory string) error {
	list, err := w.store.o.Driver.List(ctx, directory)
	if err != nil {
		return gone(err)
	}
	if len(list) == 0 {
		return w.prune(ctx, directory)
	}
	for _, upload := range list {
		old, err := w.isOld(ctx, upload, path.Join(upload, "startedat"), path.Join(upload, "data"))
		if err != nil {
			return err
		}
		if !old {
			continue
		}
		if err := gone(w.store.o.Driver.Delete(ctx, upload)); err != nil {
			return err
		}
		w.did.Abandoned++
	}
	return nil
}

// isOld says whether none of what there is at paths was written lately.
func (w *sweep) isOld(ctx context.Context, paths ...string) (bool, error) {
	for _, path := range paths {
		info, err := w.store.o.Driver.Stat(ctx, path)
		if absent(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		if !info.ModTime().Before(w.start.Add(-w.store.abandoned)) {
			return false, nil
		}
	}
	return true, nil
}

// prune removes a directory, while nothing is in it and nobody can be about to
// write there.
func (w *sweep) prune(ctx context.Context, directory string) error {
	for i := range w.store.locks {
		w.store.locks[i].Lock()
		defer w.store.locks[i].Unlock()
	}
	list, err := w.store.o.Driver.List(ctx, directory)
	if err != nil || len(list) > 0 {
		return gone(err)
	}
	if old, err := w.isOld(ctx, directory); !old || err != nil {
		return err
	}
	return gone(w.store.o.Driver.Delete(ctx, directory))
}
