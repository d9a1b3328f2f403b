package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// survey is what a walk of the store has found. It takes about 200 bytes for
// each link with an object of its own.
type survey struct {
	links   []usedLink
	objects map[sum]*object
	total   int64    // bytes of the objects
	uploads []string // directories of uploads, one for each repository
	stale   []string // half-written files of the filesystem driver, old ones
	empty   []string // directories that nothing is in, old ones

	names map[string]string // of repositories, so that each is held once
}

type sum = [sha256.Size]byte

// object is the bytes of a digest.
type object struct {
	size    int64
	written time.Time
	links   int // to it
}

// usedLink is a link, small.
type usedLink struct {
	used       int64 // nanoseconds of Unix time
	repository string
	kind       kind
	sum        sum
}

func (l usedLink) link() link {
	return link{l.kind, l.repository, l.digest()}
}

func (l usedLink) digest() digest.Digest { return asDigest(l.sum) }

func asDigest(s sum) digest.Digest {
	return digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(s[:]))
}

func asSum(d digest.Digest) sum {
	var s sum
	_, _ = hex.Decode(s[:], []byte(d.Encoded()))
	return s
}

// look walks the store: links first, so that what is written meanwhile can
// only be an object without a link, never a link without its object. What is
// older than before is old.
func (s *Store) look(ctx context.Context, before time.Time) (*survey, error) {
	v := &survey{objects: map[sum]*object{}, names: map[string]string{}}
	err := s.walk(ctx, v, repositories, before, func(info driver.FileInfo) {
		if l, ok := parseLink(info.Path()); ok {
			used := info.ModTime()
			if last := s.uses.last(l); last.After(used) {
				used = last
			}
			v.links = append(v.links, usedLink{used.UnixNano(), v.name(l.repository), l.kind, asSum(l.digest)})
		}
	})
	if err != nil {
		return nil, err
	}
	err = s.walk(ctx, v, blobs, before, func(info driver.FileInfo) {
		if d, ok := parseData(info.Path()); ok {
			v.objects[asSum(d)] = &object{size: info.Size(), written: info.ModTime()}
			v.total += info.Size()
		}
	})
	for _, l := range v.links {
		if o := v.objects[l.sum]; o != nil {
			o.links++
		}
	}
	return v, err
}

func (v *survey) name(repository string) string {
	if known, ok := v.names[repository]; ok {
		return known
	}
	repository = strings.Clone(repository)
	v.names[repository] = repository
	return repository
}

// walk calls do for each object below from, and notes uploads and what has
// been left. Nothing below from is no error, a part that vanishes meanwhile is.
func (s *Store) walk(ctx context.Context, v *survey, from string, before time.Time, do func(driver.FileInfo)) error {
	if _, err := s.o.Driver.Stat(ctx, from); absent(err) {
		return nil
	}
	var last driver.FileInfo // the directory that was reported last, while nothing below it was
	isEmpty := func() {
		if last != nil && last.ModTime().Before(before) {
			v.empty = append(v.empty, last.Path())
		}
	}
	err := s.o.Driver.Walk(ctx, from, func(info driver.FileInfo) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if last != nil && !strings.HasPrefix(info.Path(), last.Path()+"/") {
			isEmpty()
		}
		last = nil
		switch {
		case info.IsDir() && path.Base(info.Path()) == uploads:
			v.uploads = append(v.uploads, info.Path())
			return driver.ErrSkipDir
		case info.IsDir():
			last = info
		case strings.HasSuffix(info.Path(), ".tmp") && info.ModTime().Before(before):
			v.stale = append(v.stale, info.Path())
		default:
			do(info)
		}
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("cannot walk %s: %w", from, err)
	}
	isEmpty()
	return nil
}
