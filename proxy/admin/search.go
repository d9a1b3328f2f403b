package admin

import (
	"strings"

	"github.com/sealgate/sealgate/trustcache"
)

// What one search finds at most.
const (
	maxFoundRepositories = 50
	maxFoundTags         = 100
	maxQuery             = 200 // bytes of what is looked for
)

// Found is what is in memory with a text in it, whatever the case.
type Found struct {
	Query        string     `json:"query"`
	Repositories []Summary  `json:"repositories"`
	Tags         []FoundTag `json:"tags"`
	Denials      []Denial   `json:"denials"`
	// More says that there are more repositories or tags than are listed.
	More bool `json:"more,omitempty"`
}

// FoundTag is a tag with its repository. Visible says that it is signed, by a
// digest that counts.
type FoundTag struct {
	GUN     string `json:"gun"`
	Visible bool   `json:"signed"`
	Tag
}

// search looks through all that is in memory. An image's whole name finds its tag.
func (v *viewer) search(q string) Found {
	f := Found{Query: q, Tags: []FoundTag{}, Denials: v.denials(q)}
	var all int
	f.Repositories, all = v.summaries(q, maxFoundRepositories)
	f.More = all > len(f.Repositories)
	for _, t := range v.watched.Trust() {
		for _, use := range usesOf(t) {
			if use.Snapshot != nil {
				f.tags(use)
			}
		}
	}
	return f
}

func (f *Found) tags(use trustcache.Use) {
	q := f.Query
	if rest, whole := strings.CutPrefix(q, use.GUN+":"); whole {
		q = rest
	}
	signed, all, _ := signedTags(use.Snapshot, page{Match: q, Limit: maxFoundTags})
	f.More = f.More || all > len(signed)
	for _, t := range signed {
		f.add(FoundTag{GUN: use.GUN, Visible: true, Tag: t})
	}
	r := Repository{}
	r.hiddenTags(use.Snapshot, page{Match: q})
	for _, t := range r.Hidden {
		f.add(FoundTag{GUN: use.GUN, Tag: t})
	}
}

func (f *Found) add(t FoundTag) {
	if len(f.Tags) == maxFoundTags {
		f.More = true
		return
	}
	f.Tags = append(f.Tags, t)
}

// denials are those with q in what was asked for, in why, or in who asked.
func (v *viewer) denials(q string) []Denial {
	list := []Denial{}
	for _, d := range v.recent.Denials() {
		if contains(q, append([]string{d.GUN + ":" + d.Tag, d.Digest, d.Reason, d.Message}, d.Clients...)...) {
			list = append(list, d)
		}
	}
	return list
}

// changes are those with q in the name of the tag.
func (v *viewer) changes(q string) []Change {
	list := []Change{}
	for _, c := range v.recent.Changes() {
		if contains(q, c.GUN+":"+c.Tag) {
			list = append(list, c)
		}
	}
	return list
}
