package admin

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/sealgate/sealgate/trustcache"
)

// What Recent remembers at most. A stranger who asks for ever new names pushes
// out what was denied before, and no more than that.
const (
	maxDenials       = 200
	maxAlarms        = 50
	maxChanges       = 200
	maxChangesAtOnce = 20  // of one refresh
	maxClients       = 5   // of one denial
	maxText          = 500 // bytes of each text
)

// What the Decision of a Denial can be.
const (
	Denied      = "deny"         // trust or the registry said no
	Failed      = "error"        // it could not be answered
	WouldDeny   = "would-deny"   // mode permissive answered what enforced would have denied
	WouldChange = "would-change" // or answered with other content
)

// Denial is what clients were refused, or in mode permissive would have been:
// all requests for the same thing with the same outcome, folded.
type Denial struct {
	// GUN is the repository with the registry's name before it. Of Tag and Digest one says what
	// was asked for; neither of anything else, such as a list.
	GUN      string `json:"gun"`
	Tag      string `json:"tag,omitempty"`
	Digest   string `json:"digest,omitempty"`
	Decision string `json:"decision"`
	Reason   string `json:"reason"`            // a word of docs/log.md
	Message  string `json:"message,omitempty"` // what the client was told
	Cause    string `json:"cause,omitempty"`   // what it was not
	Status   int    `json:"status"`            // of the last answer
	Alarm    bool   `json:"alarm,omitempty"`

	Count       int       `json:"count"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Clients     []string  `json:"clients"` // addresses, the last first
	MoreClients bool      `json:"more_clients,omitempty"`
}

// Alarm is something that somebody should look at: refreshes and requests of one
// repository with the same reason, folded.
type Alarm struct {
	GUN     string    `json:"gun"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"` // of the last one
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// What the What of a Change can be.
const (
	Signed = "signed" // it was not signed before
	Moved  = "moved"  // another digest is signed for it
	Gone   = "gone"   // it is signed no longer
	More   = "more"   // Count further changes came with the same refresh
)

// Change is what became of a signed tag, as a refresh saw it.
type Change struct {
	Time  time.Time `json:"time"`
	GUN   string    `json:"gun"`
	What  string    `json:"what"`
	Tag   string    `json:"tag,omitempty"`
	From  string    `json:"from,omitempty"` // a digest
	To    string    `json:"to,omitempty"`   // a digest
	Count int       `json:"count,omitempty"`
}

// Recent remembers what happened since the process started, the last of it. It is
// safe for concurrent use and keeps its callers no longer than it takes to find an
// entry.
type Recent struct {
	mu      sync.Mutex
	denials *simplelru.LRU[denialKey, *Denial]
	alarms  *simplelru.LRU[alarmKey, *Alarm]
	changes []Change // oldest first
}

// What denials and alarms are folded by.
type (
	denialKey struct{ repository, tag, digest, decision, reason string }
	alarmKey  struct{ repository, reason string }
)

// NewRecent returns one that remembers nothing yet.
func NewRecent() *Recent {
	r := &Recent{}
	r.denials, _ = simplelru.NewLRU[denialKey, *Denial](maxDenials, nil)
	r.alarms, _ = simplelru.NewLRU[alarmKey, *Alarm](maxAlarms, nil)
	return r
}

// Deny remembers one request of a client that was refused, or would have been, at
// d.Last. Count, First and Clients are Recent's own.
func (r *Recent) Deny(d Denial, client string) {
	for _, text := range []*string{&d.GUN, &d.Tag, &d.Digest, &d.Message, &d.Cause, &client} {
		*text = bounded(*text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.Alarm {
		message := d.Message
		if d.Cause != "" {
			message = d.Cause // says more
		}
		r.alarmLocked(Alarm{GUN: d.GUN, Reason: d.Reason, Message: message, Last: d.Last})
	}
	key := denialKey{d.GUN, d.Tag, d.Digest, d.Decision, d.Reason}
	before, ok := r.denials.Get(key)
	if !ok {
		before = &Denial{First: d.Last}
	}
	d.Count, d.First = before.Count+1, before.First
	d.Clients, d.MoreClients = withClient(before.Clients, client), before.MoreClients
	if len(d.Clients) > maxClients {
		d.Clients, d.MoreClients = d.Clients[:maxClients], true
	}
	r.denials.Add(key, &d) // readers may have the one before
}

// withClient returns clients with client in front. It does not modify clients.
func withClient(clients []string, client string) []string {
	all := append(make([]string, 0, maxClients+1), client)
	for _, c := range clients {
		if c != client {
			all = append(all, c)
		}
	}
	return all
}

// Refreshed remembers what a refresh of trust data at a time has shown: the tags
// that changed, and an alarm where it is one.
func (r *Recent) Refreshed(refresh trustcache.Refresh, at time.Time) {
	gun := bounded(refresh.GUN)
	var changes []Change
	if refresh.Before != nil && refresh.After != nil {
		changes = changesOf(gun, refresh.Before, refresh.After, at)
	}
	alarm := refresh.Err != nil && trustcache.Alarming(refresh.Err)
	if changes == nil && !alarm {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if alarm {
		r.alarmLocked(Alarm{GUN: gun, Reason: refreshResult(refresh.Err), Message: bounded(refresh.Err.Error()), Last: at})
	}
	r.changes = append(r.changes, changes...)
	if surplus := len(r.changes) - maxChanges; surplus > 0 {
		r.changes = slices.Clone(r.changes[surplus:])
	}
}

func changesOf(gun string, before, after *trustcache.Snapshot, at time.Time) (list []Change) {
	first, all := trustcache.Changes(before, after, maxChangesAtOnce)
	for _, c := range first {
		change := Change{Time: at, GUN: gun, What: Moved, Tag: bounded(c.Tag)}
		if c.Before != nil {
			change.From = c.Before.String()
		} else {
			change.What = Signed
		}
		if c.After != nil {
			change.To = c.After.String()
		} else {
			change.What = Gone
		}
		list = append(list, change)
	}
	if more := all - len(first); more > 0 {
		list = append(list, Change{Time: at, GUN: gun, What: More, Count: more})
	}
	return list
}

func (r *Recent) alarmLocked(a Alarm) {
	key := alarmKey{a.GUN, a.Reason}
	a.Count, a.First = 1, a.Last
	if before, ok := r.alarms.Get(key); ok {
		a.Count, a.First = before.Count+1, before.First
	}
	r.alarms.Add(key, &a)
}

// Denials returns what was denied, the last first. Shared: do not modify Clients.
func (r *Recent) Denials() []Denial {
	r.mu.Lock()
	defer r.mu.Unlock()
	return newestFirst(r.denials.Values())
}

// Alarms returns the alarms, the last first.
func (r *Recent) Alarms() []Alarm {
	r.mu.Lock()
	defer r.mu.Unlock()
	return newestFirst(r.alarms.Values())
}

// Changes returns what changed, the last first.
func (r *Recent) Changes() []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.changes)
	slices.Reverse(list)
	return list
}

func newestFirst[T any](oldestFirst []*T) []T {
	list := make([]T, 0, len(oldestFirst))
	for _, one := range slices.Backward(oldestFirst) {
		list = append(list, *one)
	}
	return list
}

// bounded cuts a text, whole characters of it, to maxText bytes, and replaces
// what is not UTF-8.
func bounded(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText-len("…")], "") + "…"
	}
	return clean(text)
}
