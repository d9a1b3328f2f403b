package trustcache

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Digest is the sha256 of a manifest.
type Digest [sha256.Size]byte

// String returns the digest in the form of the OCI image-spec v1.1
// ("sha256:" and 64 hexadecimal digits).
func (d Digest) String() string {
	var b [len("sha256:") + 2*sha256.Size]byte
	copy(b[:], "sha256:")
	hex.Encode(b[len("sha256:"):], d[:])
	return string(b[:])
}

// Target is what was signed for one tag.
type Target struct {
	Tag    string
	Digest Digest
	// NoDigest says that the signed entry has no sha256, so that nothing can
	// be served for it; Digest is zero.
	NoDigest bool
	// Length is the signed length in bytes. The digest decides; a length that
	// differs from the matching bytes is worth a log line, no more.
	Length int64
	// Role is the role whose word decided, Signers every role that names the
	// same digest for the tag, the deciding one first. Shared: do not modify.
	Role    string
	Signers []string
}

// HiddenTag is a tag that some role names and that is unsigned all the same.
type HiddenTag struct {
	Tag string
	// Roles are the roles that name it, sorted; none of them counts, unless
	// signers are missing.
	Roles []string
	// Missing are the required signers who did not sign the digest of the role
	// that counts; nil where no role counts.
	Missing []string
	// Doubt says why one of them may have signed all the same, in metadata that
	// could not be verified; "" where none has.
	Doubt string
}

// Why says to a human why the tag is hidden.
func (h *HiddenTag) Why() string {
	why := "signed only in " + strings.Join(h.Roles, ", ") + ", whose word does not count"
	if len(h.Missing) > 0 {
		why = "not signed by the required " + strings.Join(h.Missing, ", ")
	}
	if h.Doubt != "" {
		why += ", as far as can be known: " + h.Doubt
	}
	return why
}

// Evidence is what one verified role contributed. It is for humans: nothing
// decides by it.
type Evidence struct {
	Role    string
	Version int
	Expires time.Time
	// Decides says that the snapshot stands no longer than this role; others
	// only name signers.
	Decides bool
	KeyIDs  []string // canonical key IDs whose signatures were good
	Note    string   // what is wrong with a role that only names signers
}

// Contents is what a Source builds a Snapshot from.
type Contents struct {
	GUN      string
	Targets  []Target
	Hidden   []HiddenTag
	Evidence []Evidence
	// Expires is when the first thing that decides expires; ExpiresRole says
	// which role that is.
	Expires     time.Time
	ExpiresRole string
	// Memo belongs to the Source that built the snapshot and is handed back to
	// it at the next Fetch. MemoSize is an estimate of its size in bytes.
	Memo     any
	MemoSize int64
}

// Snapshot is the verified view of one repository. It is immutable and safe
// for concurrent use.
type Snapshot struct {
	*table
	expires     time.Time
	expiresRole string
	evidence    []Evidence
	memo        any
	size        int64
}

// table is the part that an unchanged refresh carries over. Tags and entries
// are parallel and sorted by tag, so that a page of a tag list is a slice of
// tags.
type table struct {
	gun     string
	tags    []string
	entries []entry
	index   *index // of tags; nil where there are few
	// unusable holds the signed entries without a sha256: decided, not served.
	unusable []Target
	hidden   []HiddenTag
	signers  [][]string
	roles    []string
	size     int64
}

type entry struct {
	digest  Digest
	length  int64
	role    uint32
	signers uint32
}

// NewSnapshot builds a snapshot. Where Targets names a tag twice the first
// entry counts.
func NewSnapshot(c Contents) *Snapshot {
	return newSnapshot(newTable(c), c)
}

// Renew returns a snapshot with the tags of s and the expiry, evidence and
// memo of c: what an unchanged refresh yields. It costs no copy of the tags.
func (s *Snapshot) Renew(c Contents) *Snapshot {
	return newSnapshot(s.table, c)
}

func newSnapshot(t *table, c Contents) *Snapshot {
	size := t.size + c.MemoSize
	for _, e := range c.Evidence {
		size += int64(96 + len(e.Role) + len(e.Note) + 80*len(e.KeyIDs))
	}
	return &Snapshot{table: t, expires: c.Expires, expiresRole: c.ExpiresRole, evidence: c.Evidence, memo: c.Memo, size: size}
}

func newTable(c Contents) *table {
	targets := slices.Clone(c.Targets)
	slices.SortStableFunc(targets, func(a, b Target) int { return strings.Compare(a.Tag, b.Tag) })
	targets = slices.CompactFunc(targets, func(a, b Target) bool { return a.Tag == b.Tag })

	t := &table{gun: c.GUN, hidden: slices.Clone(c.Hidden)}
	slices.SortFunc(t.hidden, func(a, b HiddenTag) int { return strings.Compare(a.Tag, b.Tag) })
	usable := 0
	for _, target := range targets {
		if !target.NoDigest {
			usable++
		}
	}
	t.tags = make([]string, 0, usable)
	t.entries = make([]entry, 0, usable)
	roles := map[string]uint32{}
	signers := map[string]uint32{}
	for _, target := range targets {
		if target.NoDigest {
			t.unusable = append(t.unusable, target)
			continue
		}
		t.tags = append(t.tags, target.Tag)
		t.entries = append(t.entries, entry{
			digest:  target.Digest,
			length:  target.Length,
			role:    intern(roles, target.Role, func() { t.roles = append(t.roles, target.Role) }),
			signers: intern(signers, strings.Join(target.Signers, "\n"), func() { t.signers = append(t.signers, target.Signers) }),
		})
		t.size += int64(len(target.Tag)) + 16 + 48
	}
	for _, s := range t.signers {
		t.size += int64(24 + 40*len(s))
	}
	for _, h := range t.hidden {
		t.size += int64(len(h.Tag) + 104 + 40*len(h.Roles) + 16*len(h.Missing))
	}
	t.index = newIndex(t.tags)
	t.size += t.index.size()
	t.size += 256 + int64(len(t.unusable))*192
	return t
}

// intern returns the index of key, calling add for a new one.
func intern(m map[string]uint32, key string, add func()) uint32 {
	i, ok := m[key]
	if !ok {
		i = uint32(len(m))
		m[key] = i
		add()
	}
	return i
}

// GUN returns the name of the repository: registry, "/", repository.
func (t *table) GUN() string { return t.gun }

// Lookup returns what was signed for tag.
func (t *table) Lookup(tag string) (Target, bool) { return t.at(t.find(tag)) }

// place is where a table has a tag: an index of tags, then, counted on, of
// unusable.
type place int

const nowhere place = -1

func (t *table) find(tag string) place {
	if i, ok := t.search(tag); ok {
		return place(i)
	}
	byTag := func(u Target, tag string) int { return strings.Compare(u.Tag, tag) }
	if i, ok := slices.BinarySearchFunc(t.unusable, tag, byTag); ok {
		return place(len(t.tags) + i)
	}
	return nowhere
}

// search finds tag among tags.
func (t *table) search(tag string) (int, bool) {
	if t.index != nil {
		return t.index.find(t.tags, tag)
	}
	return slices.BinarySearch(t.tags, tag)
}

func (t *table) at(p place) (Target, bool) {
	switch i := int(p); {
	case p == nowhere:
		return Target{}, false
	case i < len(t.tags):
		return t.target(i), true
	default:
		return t.unusable[i-len(t.tags)], true
	}
}

// At returns the i-th servable tag in sorted order, 0 ≤ i < Len.
func (t *table) At(i int) Target { return t.target(i) }

func (t *table) target(i int) Target {
	e := &t.entries[i]
	return Target{Tag: t.tags[i], Digest: e.digest, Length: e.length, Role: t.roles[e.role], Signers: t.signers[e.signers]}
}

// Len returns the number of servable tags.
func (t *table) Len() int { return len(t.tags) }

// Page returns at most n servable tags that sort after last ("" for the
// first page), and whether more follow. Shared: do not modify.
func (t *table) Page(last string, n int) (tags []string, more bool) {
	start := 0
	if last != "" {
		i, found := slices.BinarySearch(t.tags, last)
		if found {
			i++
		}
		start = i
	}
	rest := t.tags[start:]
	if len(rest) <= n {
		return rest, false
	}
	return rest[:n:n], true
}

// Hidden returns the tags that only roles name which do not count, sorted.
// Shared: do not modify.
func (t *table) Hidden() []HiddenTag { return t.hidden }

// LookupHidden returns what is known of a tag that is hidden.
func (t *table) LookupHidden(tag string) (HiddenTag, bool) {
	i, ok := slices.BinarySearchFunc(t.hidden, tag, func(h HiddenTag, tag string) int { return strings.Compare(h.Tag, tag) })
	if !ok {
		return HiddenTag{}, false
	}
	return t.hidden[i], true
}

// Doubtful says whether a tag is hidden of which it is not known whether all who
// are required have signed it.
func (t *table) Doubtful() bool {
	return slices.ContainsFunc(t.hidden, func(h HiddenTag) bool { return h.Doubt != "" })
}

// Unusable returns the signed entries that have no sha256, sorted by tag.
// Shared: do not modify.
func (t *table) Unusable() []Target { return t.unusable }

// Expires returns when the snapshot stops standing, and which role ends it.
func (s *Snapshot) Expires() (time.Time, string) { return s.expires, s.expiresRole }

// FirstExpiry returns which of the roles that decide expires first, by what it
// says itself, and when; "" where none does. It may stand for longer.
func (s *Snapshot) FirstExpiry() (role string, at time.Time) {
	for _, e := range s.evidence {
		if e.Decides && (role == "" || e.Expires.Before(at)) {
			role, at = e.Role, e.Expires
		}
	}
	return role, at
}

// Evidence returns what the verified roles contributed. Shared: do not modify.
func (s *Snapshot) Evidence() []Evidence { return s.evidence }

// Memo returns what the Source left for its next Fetch.
func (s *Snapshot) Memo() any { return s.memo }

// Size estimates the memory of the snapshot in bytes.
func (s *Snapshot) Size() int64 { return s.size }
