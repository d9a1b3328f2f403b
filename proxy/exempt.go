package proxy

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
)

// Exempts says whether trust is not consulted for a tag.
func (p *Policy) Exempts(tag string) bool {
	return slices.ContainsFunc(p.Exempt, func(pattern string) bool { return matchesTag(pattern, tag) })
}

// matchesTag says whether tag is pattern, in which "*" stands for any
// characters.
func matchesTag(pattern, tag string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == tag
	}
	tag, ok := strings.CutPrefix(tag, first)
	if !ok {
		return false
	}
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(tag, part)
		}
		i := strings.Index(tag, part)
		if i < 0 {
			return false
		}
		tag, rest = tag[i+len(part):], after
	}
}

// Bounds of what is read of a registry's list of tags for one of ours.
const (
	maxListPages = 100
	maxListPage  = 1 << 20 // bytes; a thousand tags of 128 bytes have a seventh
	maxListed    = 16 << 20
	maxExempt    = 20_000 // tags that are kept of it
	// maxLists bounds the lists that are read at once, for all clients.
	maxLists = 8
)

// exemptTags reads the registry's list of tags as the client and returns those
// that are exempt, sorted; none where the registry does not have the
// repository. Clients with the same credentials share one reading. The error is
// an *Error.
func (g *gate) exemptTags(ctx context.Context, r repo, policy *Policy, authorization string) ([]string, error) {
	return share(ctx, g, &g.fetches, r, "tags", authorization, g.manifestTimeout, func(ctx context.Context) ([]string, error) {
		if err := g.lists.Acquire(ctx, 1); err != nil {
			return nil, errUpstream(err)
		}
		defer g.lists.Release(1)
		return g.readExempt(ctx, r, policy, authorization)
	})
}

func (g *gate) readExempt(ctx context.Context, r repo, policy *Policy, authorization string) ([]string, error) {
	tags := map[string]bool{}
	route := Route{Kind: Tags, Repository: r.name, Limit: maxPage}
	left := maxListed
	for range maxListPages {
		page, err := g.listUpstream(ctx, route, authorization, min(left, maxListPage))
		if err != nil || page == nil {
			return nil, err
		}
		left -= page.size
		for _, tag := range page.tags {
			if validTag(tag) && policy.Exempts(tag) {
				tags[strings.Clone(tag)] = true // without the page around it
			}
		}
		switch {
		case len(tags) > maxExempt:
			return nil, badGateway("upstream-oversize", "the registry lists more than %d tags that are exempt", maxExempt)
		case !page.more:
			return slices.Sorted(maps.Keys(tags)), nil
		case page.tags[len(page.tags)-1] == route.Last:
			return nil, badGateway("upstream-protocol", "the registry's list of tags does not end")
		}
		route.Last = page.tags[len(page.tags)-1]
	}
	return nil, badGateway("upstream-oversize", "the registry's list of tags has more than %d pages", maxListPages)
}

// listedTags is a page of a registry's tags. more says that another one follows,
// after the last tag of this one.
type listedTags struct {
	tags []string
	more bool
	size int // bytes read
}

// listUpstream reads one page of the registry's tags of at most so many bytes;
// nil where it does not have the repository.
func (g *gate) listUpstream(ctx context.Context, route Route, authorization string, limit int) (*listedTags, error) {
	resp, err := g.ask(ctx, g.Upstream, http.MethodGet, route, authorization)
	if err != nil {
		return nil, errUpstream(err)
	}
	defer upstream.Discard(resp)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, nil
	default:
		return nil, g.refused(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return nil, errUpstream(err)
	}
	if len(body) > limit {
		return nil, badGateway("upstream-oversize", "the registry's list of tags is larger than %d bytes a page or %d in all", maxListPage, maxListed)
	}
	var page struct{ Tags []string }
	if json.Unmarshal(body, &page) != nil {
		return nil, badGateway("upstream-protocol", "the registry's list of tags cannot be read")
	}
	// A last tag that cannot be named in a request ends the list.
	more := resp.Header.Get("Link") != "" && len(page.Tags) > 0 && validTag(page.Tags[len(page.Tags)-1])
	return &listedTags{tags: page.Tags, more: more, size: len(body)}, nil
}

// listPage is a page of the signed and the exempt tags, both sorted, that sort
// after last, and whether more follow. view may be without a snapshot.
func listPage(view trustcache.View, exempt []string, last string, limit int) (page []string, more bool) {
	if view.Snapshot != nil {
		page, more = view.Page(last, limit)
	}
	at, found := slices.BinarySearch(exempt, last)
	if found {
		at++
	}
	if at == len(exempt) {
		return page, more
	}
	page = slices.Concat(page, exempt[at:])
	slices.Sort(page)
	page = slices.Compact(page)
	if len(page) > limit {
		return page[:limit], true
	}
	return page, more
}
