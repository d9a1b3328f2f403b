package admin

import (
	"errors"
	"slices"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// Summary is one repository among others.
type Summary struct {
	GUN      string `json:"gun"`
	Registry string `json:"registry"`
	Mode     string `json:"mode"`
	// Condition is fresh, stale or ended; see docs/operations.md,
	// sealgate_trust_snapshots.
	Condition   trustcache.Condition `json:"condition"`
	Failure     string               `json:"failure,omitempty"` // why the last refresh brought nothing
	Alarm       bool                 `json:"alarm,omitempty"`   // somebody should look at that
	LastContact time.Time            `json:"last_contact"`
	Tags        int                  `json:"tags"`   // signed
	Hidden      int                  `json:"hidden"` // named by some role, and not served
	// ExpiresFirst is the role that decides and expires first, timestamps left out
	// where there is another, at Expires.
	ExpiresFirst string    `json:"expires_first"`
	Expires      time.Time `json:"expires"`
}

// Repository is what is known of one repository, without asking anybody. The
// fields that sealgate inspect --json has are called as there.
type Repository struct {
	GUN      string `json:"gun"`
	Registry string `json:"registry"`
	Policy
	Condition   trustcache.Condition `json:"condition,omitempty"` // "" without trust data
	Error       string               `json:"error,omitempty"`     // why there is no trust data
	Stale       string               `json:"stale,omitempty"`     // why the last refresh brought nothing
	Cause       string               `json:"cause,omitempty"`     // of either; what a client is not told
	Alarm       bool                 `json:"alarm,omitempty"`
	LastContact time.Time            `json:"last_contact,omitzero"`
	Expires     time.Time            `json:"expires,omitzero"` // it stands no longer
	First       string               `json:"expires_first,omitempty"`
	Roles       []Role               `json:"roles,omitempty"`

	Signed      []Tag  `json:"signed"`         // a page of them
	SignedTotal int    `json:"signed_total"`   // those that match
	Next        string `json:"next,omitempty"` // the value of after for the next page
	Hidden      []Tag  `json:"hidden,omitempty"`
	HiddenTotal int    `json:"hidden_total"`
}

// Role is one role of a repository.
type Role struct {
	Role    string    `json:"role"`
	Version int       `json:"version,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Decides bool      `json:"decides"` // others only name signers
	KeyIDs  []string  `json:"key_ids,omitempty"`
	Note    string    `json:"note,omitempty"` // why it is not used
}

// Tag is one tag of a repository.
type Tag struct {
	Tag     string   `json:"tag"`
	Digest  string   `json:"digest,omitempty"`
	Role    string   `json:"role,omitempty"`
	Signers []string `json:"signers,omitempty"`
	Why     string   `json:"why,omitempty"` // it is hidden
}

// maxHidden bounds the hidden tags that are listed.
const maxHidden = 200

// page chooses tags of a repository: those that contain Match, after After in
// their order, at most Limit.
type page struct {
	Match, After string
	Limit        int
}

// errUnknownRepository: nothing is known of a repository.
var errUnknownRepository = errors.New("nothing is in memory of this repository: no client has asked for it lately, or it is none; sealgate inspect looks")

func (v *viewer) repository(gun string, p page) (*Repository, error) {
	from, use, known := peek(v.watched, gun)
	if !known {
		return nil, errUnknownRepository
	}
	r := &Repository{
		GUN: use.GUN, Registry: from.Registry, Policy: v.watched.Policy(use.GUN),
		Condition: use.Condition, LastContact: use.Contact, Signed: []Tag{},
	}
	if use.Failure != nil {
		if r.Stale = use.Failure.Error(); use.Snapshot == nil {
			r.Stale, r.Error = "", r.Stale
		}
		r.Alarm = trustcache.Alarming(use.Failure)
		if cause := trustcache.Cause(use.Failure); cause != nil {
			r.Cause = cause.Error()
		}
	}
	if use.Snapshot != nil {
		r.describe(use.Snapshot, p)
	}
	return r, nil
}

func (r *Repository) describe(s *trustcache.Snapshot, p page) {
	r.Expires, r.First = s.Expires()
	for _, e := range s.Evidence() {
		r.Roles = append(r.Roles, Role{Role: e.Role, Version: e.Version, Expires: e.Expires, Decides: e.Decides, KeyIDs: e.KeyIDs, Note: e.Note})
	}
	r.Signed, r.SignedTotal, r.Next = signedTags(s, p)
	r.hiddenTags(s, p)
}

func (r *Repository) hiddenTags(s *trustcache.Snapshot, p page) {
	for _, t := range s.Unusable() {
		r.hide(p, Tag{Tag: t.Tag, Role: t.Role, Why: "its signed entry has no sha256 digest"})
	}
	for _, h := range s.Hidden() {
		r.hide(p, Tag{Tag: h.Tag, Signers: h.Roles, Why: h.Why()})
	}
}

func (r *Repository) hide(p page, t Tag) {
	if !contains(p.Match, t.Tag) {
		return
	}
	if r.HiddenTotal++; len(r.Hidden) < maxHidden {
		r.Hidden = append(r.Hidden, t)
	}
}

// signedTags returns a page of the signed tags, how many match, and where the
// next page begins; "" where there is none.
func signedTags(s *trustcache.Snapshot, p page) (list []Tag, all int, next string) {
	list = []Tag{}
	for i := range s.Len() {
		t := s.At(i)
		if !contains(p.Match, t.Tag) {
			continue
		}
		all++
		switch {
		case t.Tag <= p.After && p.After != "":
		case len(list) < p.Limit:
			list = append(list, Tag{Tag: t.Tag, Digest: t.Digest.String(), Role: t.Role, Signers: t.Signers})
		case next == "":
			next = list[len(list)-1].Tag
		}
	}
	return list, all, next
}

// summaries are the repositories in use whose name has q in it, those used last
// of each registry first, and how many there are. More than limit are not
// returned.
func (v *viewer) summaries(q string, limit int) (list []Summary, all int) {
	list = []Summary{}
	trust := v.watched.Trust()
	uses := make([][]trustcache.Use, len(trust))
	for i, t := range trust {
		uses[i] = slices.DeleteFunc(usesOf(t), func(u trustcache.Use) bool { return !contains(q, u.GUN) })
		all += len(uses[i])
	}
	for i, share := range shares(uses, limit) {
		for _, use := range share {
			list = append(list, v.summary(trust[i].Registry, use))
		}
	}
	return list, all
}

func (v *viewer) summary(registry string, use trustcache.Use) Summary {
	s := Summary{
		GUN: use.GUN, Registry: registry, Mode: v.watched.Policy(use.GUN).Mode,
		Condition: use.Condition, LastContact: use.Contact,
	}
	if use.Failure != nil {
		s.Failure, s.Alarm = use.Failure.Error(), trustcache.Alarming(use.Failure)
	}
	if use.Snapshot != nil {
		s.Tags, s.Hidden = use.Snapshot.Len(), len(use.Snapshot.Hidden())+len(use.Snapshot.Unusable())
	}
	first := use.Lasting()
	if first.Role == "" && len(use.Roles) > 0 {
		first = use.Roles[0]
	}
	s.ExpiresFirst, s.Expires = first.Role, first.Expires
	return s
}
