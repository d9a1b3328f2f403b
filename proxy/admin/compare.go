package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxCompared bounds the tags of one comparison, compareTimeout its time.
const (
	maxCompared    = 50
	compareTimeout = 30 * time.Second
)

// What the Result of a Compared can be.
const (
	Same    = "same"
	Differs = "differs" // the registry has another digest under the tag
	Absent  = "gone"    // the registry does not have the tag
	Unclear = "unknown" // the registry does not say
)

// Comparison is signed tags beside what the registry has.
type Comparison struct {
	GUN  string     `json:"gun"`
	Tags []Compared `json:"tags"`
	Next string     `json:"next,omitempty"` // the value of after for the next tags
}

// Compared is one of them.
type Compared struct {
	Tag      string `json:"tag"`
	Signed   string `json:"signed"`             // a digest
	Registry string `json:"registry,omitempty"` // a digest
	Result   string `json:"result"`
	Error    string `json:"error,omitempty"` // why it is unknown
}

// errComparing: another comparison is under way.
var errComparing = errors.New("another comparison is under way: try again in a moment")

// compare asks the registry about a page of tags.
func (v *viewer) compare(ctx context.Context, gun string, p page) (*Comparison, error) {
	p.Limit = maxCompared
	_, use, known := peek(v.watched, gun)
	if !known || use.Snapshot == nil {
		return nil, errUnknownRepository
	}
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	signed, _, next := signedTags(use.Snapshot, p)
	names := make([]string, len(signed))
	for i, t := range signed {
		names[i] = t.Tag
	}
	found, err := v.watched.Compare(ctx, gun, names)
	if err != nil {
		return nil, err
	}
	c := &Comparison{GUN: gun, Next: next, Tags: []Compared{}}
	for i, t := range signed {
		c.Tags = append(c.Tags, compared(t, found[i]))
	}
	return c, nil
}

func compared(t Tag, has InRegistry) Compared {
	c := Compared{Tag: t.Tag, Signed: t.Digest, Registry: has.Digest}
	switch {
	case has.Err != nil:
		c.Result, c.Registry, c.Error = Unclear, "", bounded(has.Err.Error())
	case has.Digest == "":
		c.Result = Absent
	case strings.EqualFold(has.Digest, t.Digest):
		c.Result = Same
	default:
		c.Result = Differs
	}
	return c
}

// comparison asks the registry about some tags of a repository: one comparison at
// a time.
func (p *pages) comparison(r *http.Request, gun string, q query) (view, error) {
	select {
	case p.comparing <- struct{}{}:
		defer func() { <-p.comparing }()
	default:
		return view{}, refusal{http.StatusServiceUnavailable, errComparing}
	}
	c, err := p.compare(r.Context(), gun, page{Match: q.Q, After: q.After})
	if err != nil && !errors.Is(err, errUnknownRepository) {
		err = refusal{http.StatusBadGateway, err}
	}
	if err != nil || isAPI(r) {
		return view{data: c}, err
	}
	data, err := p.repositoryPage(gun, q, c)
	return view{template: "repository", title: gun, data: data, query: q}, err
}

// repositoryPage is a repository, with a comparison where one was asked for.
type repositoryPage struct {
	*Repository
	Comparable bool // with what the registry has
	Comparison *Comparison
	compared   map[string]Compared
}

func (v *viewer) repositoryPage(gun string, q query, c *Comparison) (repositoryPage, error) {
	r, err := v.repository(gun, page{Match: q.Q, After: q.After, Limit: min(q.Limit, maxCompared)})
	if err != nil {
		return repositoryPage{}, err
	}
	made := repositoryPage{Repository: r, Comparable: r.Condition != "" && v.comparable(r.Registry), Comparison: c, compared: map[string]Compared{}}
	if c != nil {
		for _, t := range c.Tags {
			made.compared[t.Tag] = t
		}
	}
	return made, nil
}

// Drift is what the comparison says of a tag; nil where it says nothing.
func (r repositoryPage) Drift(tag string) *Compared {
	if c, ok := r.compared[tag]; ok {
		return &c
	}
	return nil
}

// comparable is whether a registry can be asked what it has.
func (v *viewer) comparable(registry string) bool {
	return slices.ContainsFunc(v.watched.Registries(), func(r RegistrySettings) bool { return r.Name == registry && r.Upstream != "" })
}
