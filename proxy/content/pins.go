package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// pinsTop is where pins are, one object for each tag of a repository.
const pinsTop = "/pins"

// maxPin bounds the object of a pin, in bytes: more than 100,000 digests.
const maxPin = 8 << 20

// Pinned is what is kept for one tag, whatever its age and MaxSize.
type Pinned struct {
	Repository string          `json:"repository"`
	Tag        string          `json:"tag"`
	Digests    []digest.Digest `json:"digests"`
}

func pinPath(repository, tag string) string {
	sum := sha256.Sum256([]byte(repository + "\x00" + tag))
	return pinsTop + "/" + hex.EncodeToString(sum[:])
}

// Pin keeps digests of the repository for a tag, in place of those that were
// kept for it; none: nothing is kept for it any more. Pin first, then put what
// Has does not find: so no sweep takes something between the two that was there.
func (s *Store) Pin(ctx context.Context, repository, tag string, digests []digest.Digest) error {
	if err := s.pin(ctx, repository, tag, digests); err != nil {
		return fmt.Errorf("pin %q of %q: %w", tag, repository, err)
	}
	return nil
}

func (s *Store) pin(ctx context.Context, repository, tag string, digests []digest.Digest) error {
	defer s.pinned.Add(1)
	if _, err := parseRepository(repository); err != nil {
		return err
	}
	for _, d := range digests {
		if err := cacheable(d); err != nil {
			return err
		}
	}
	if len(digests) == 0 {
		if err := s.o.Driver.Delete(ctx, pinPath(repository, tag)); !absent(err) {
			return err
		}
		return nil
	}
	digests = slices.Compact(slices.Sorted(slices.Values(digests)))
	raw, err := json.Marshal(Pinned{repository, tag, digests})
	if err == nil && len(raw) > maxPin {
		err = fmt.Errorf("more than %d bytes", maxPin)
	}
	if err != nil {
		return err
	}
	if err := s.o.Driver.PutContent(ctx, pinPath(repository, tag), raw); err != nil {
		return err
	}
	return s.refresh(ctx, repository, digests)
}

// fresh is the age of a link that no sweep has taken for one to be removed.
const fresh = time.Minute

// refresh writes the links to digests anew, where they are: a sweep that has
// read the pins before, in another process too, sees that they are used.
func (s *Store) refresh(ctx context.Context, repository string, digests []digest.Digest) error {
	for _, d := range digests {
		for _, k := range []kind{manifests, layers} {
			if err := gone(s.write(ctx, link{k, repository, d}, fresh)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Pins returns what is pinned, sorted by repository and tag.
func (s *Store) Pins(ctx context.Context) ([]Pinned, error) {
	paths, err := s.o.Driver.List(ctx, pinsTop)
	if absent(err) {
		return nil, nil
	}
	var list []Pinned
	for _, path := range paths {
		if strings.HasSuffix(path, ".tmp") { // left by a crash of the filesystem driver
			continue
		}
		p, readErr := s.readPin(ctx, path)
		if readErr != nil {
			return nil, readErr
		}
		if p != nil {
			list = append(list, *p)
		}
	}
	slices.SortFunc(list, func(a, b Pinned) int {
		return strings.Compare(a.Repository+"\x00"+a.Tag, b.Repository+"\x00"+b.Tag)
	})
	return list, err
}

// readPin returns the pin at path, nil where it has been removed.
func (s *Store) readPin(ctx context.Context, path string) (*Pinned, error) {
	raw, err := s.read(ctx, path, maxPin)
	if absent(err) {
		return nil, nil
	}
	p := new(Pinned)
	if err == nil {
		err = json.Unmarshal(raw, p)
	}
	if err == nil && pinPath(p.Repository, p.Tag) != path {
		err = errors.New("it is that of another tag")
	}
	if err != nil {
		return nil, fmt.Errorf("pin %s: %w", path, err)
	}
	return p, nil
}
