package state

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
)

// Empty says whether no state of any repository was ever stored. Where there
// was one, everything has been lost: every repository has its first use again.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	for _, directory := range []string{indexTop, setsTop} {
		objects, err := s.list(ctx, directory)
		if err != nil || len(objects) > 0 {
			return false, err
		}
	}
	return true, nil
}

// Check writes, reads, lists and deletes an object of its own, and returns what
// fails. It costs as much as a Save; ask no more than every few seconds.
func (s *Store) Check(ctx context.Context) error {
	name := rand.Text() // replicas check at the same time
	path, content := probesTop+"/"+name, []byte(name)
	failed := func(what string, err error) error { return fmt.Errorf("trust state: %s %s: %w", what, path, err) }
	d := s.opts.Driver
	if err := d.PutContent(ctx, path, content); err != nil {
		return failed("write", err)
	}
	raw, err := d.GetContent(ctx, path)
	if err == nil && !bytes.Equal(raw, content) {
		err = fmt.Errorf("%q is there where %q was written", raw, content)
	}
	if err != nil {
		return failed("read", err)
	}
	listed, err := d.List(ctx, probesTop)
	if err == nil && !slices.Contains(listed, path) {
		err = fmt.Errorf("it is not in the list of %s", probesTop)
	}
	if err != nil {
		return failed("list", err)
	}
	if err := d.Delete(ctx, path); err != nil {
		return failed("delete", err)
	}
	for _, other := range listed {
		if other != path {
			s.sweepAbandoned(ctx, other) // of a check that could not end
		}
	}
	return nil
}
