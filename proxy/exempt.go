package proxy

import (
	"context"
	"encoding/json"
	"io"
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

const (
	// maxListPages bounds how many pages of a registry's tag list are read for
	// one of ours, maxListPage one page in bytes.
	maxListPages = 100
	maxListPage  = 4 << 20
)

// exemptTags reads the registry's list of tags as the client and returns those
// that are exempt, sorted. That the registry answers admits the client to the
// list; found is false where it does not have the repository. The error is an
// *Error.
func (g *gate) exemptTags(ctx context.Context, r repo, policy *Policy, authorization string) (tags []string, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.manifestTimeout)
	defer cancel()
	route := Route{Kind: Tags, Repository: r.name, Limit: maxPage}
	for range maxListPages {
		listed, more, found, err := g.listUpstream(ctx, route, authorization)
		if err != nil || !found {
			return nil, false, err
		}
		for _, tag := range listed {
			if validTag(tag) && policy.Exempts(tag) {
				tags = append(tags, tag)
			}
		}
		if !more {
			slices.Sort(tags)
			return slices.Compact(tags), true, nil
		}
		last := listed[len(listed)-1]
		if last == route.Last {
			return nil, false, badGateway("upstream-protocol", "the registry's list of tags does not end")
		}
		route.Last = last
	}
	return nil, false, badGateway("upstream-oversize", "the registry's list of tags has more than %d pages", maxListPages)
}

// listUpstream reads one page of the registry's tags. more says that another
// one follows, after the last tag of this one, which is one that can be named.
func (g *gate) listUpstream(ctx context.Context, route Route, authorization string) (tags []string, more, found bool, err error) {
	resp, err := g.ask(ctx, g.Upstream, http.MethodGet, route, authorization)
	if err != nil {
		return nil, false, false, errUpstream(err)
	}
	defer upstream.Discard(resp)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, false, false, nil
	default:
		return nil, false, false, g.refused(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxListPage+1))
	if err != nil {
		return nil, false, false, errUpstream(err)
	}
	var page struct{ Tags []string }
	if len(body) > maxListPage || json.Unmarshal(body, &page) != nil {
		return nil, false, false, badGateway("upstream-protocol", "the registry's list of tags cannot be read")
	}
	more = resp.Header.Get("Link") != "" && len(page.Tags) > 0 && validTag(page.Tags[len(page.Tags)-1])
	return page.Tags, more, true, nil
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
