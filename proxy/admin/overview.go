package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What the overview shows of each list; the rest is on pages of their own.
const (
	overviewDenials      = 12
	overviewChanges      = 8
	overviewRepositories = 20
)

// overview is what to look at now.
type overview struct {
	Status
	Tiles        []tile
	Denials      listed[Denial]
	Changes      listed[Change]
	Repositories listed[Summary]
}

// listed is the first part of a list, and how long that is.
type listed[T any] struct {
	List  []T
	Total int
}

// More is how many are left out.
func (l listed[T]) More() int { return l.Total - len(l.List) }

func listedOf[T any](list []T, most int) listed[T] {
	return listed[T]{list[:min(most, len(list))], len(list)}
}

// tile is one thing at a glance: good (ok, warn or bad) and in words.
type tile struct{ Label, Class, Value, Detail string }

func (v *viewer) overview() overview {
	denials := v.denials("")
	o := overview{
		Status:  v.status(),
		Denials: listedOf(denials, overviewDenials),
		Changes: listedOf(v.changes(""), overviewChanges),
	}
	all, total := v.summaries("", maxRepositories)
	o.Repositories = listed[Summary]{all[:min(overviewRepositories, len(all))], total}
	o.Tiles = []tile{
		o.readyTile(denials), o.trustTile(), o.alarmTile(), o.expiryTile(all), o.certificateTile(), o.reloadTile(),
	}
	return o
}

// failuresAreNew is how long the overview warns after an answer that was an error.
const failuresAreNew = 5 * time.Minute

// readyTile is about clients: they may be sent here, and get answers. Of denials,
// the last first, only errors count: a registry or a Notary server that is away
// shows here even where nothing of it was ever in memory.
func (o *overview) readyTile(denials []Denial) tile {
	if !o.Ready {
		return tile{"Clients", "bad", "Not ready", o.NotReady}
	}
	if i := slices.IndexFunc(denials, func(d Denial) bool { return d.Decision == Failed }); i >= 0 {
		if last := denials[i].Last.Sub(o.Now); -last < failuresAreNew {
			return tile{"Clients", "warn", "Some get errors", fmt.Sprintf("%s, the last one %s, for %s", denials[i].Reason, when(last), denials[i].GUN)}
		}
	}
	return tile{"Clients", "ok", "Ready", "up for " + strings.TrimPrefix(when(o.Now.Sub(o.Started)), "in ")}
}

func (o *overview) trustTile() tile {
	var sum Trust
	for _, r := range o.Registries {
		if r.Trust != nil {
			sum.Repositories += r.Trust.Repositories
			sum.Fresh += r.Trust.Fresh
			sum.Idle += r.Trust.Idle
			sum.Ended += r.Trust.Ended
			sum.Failing += r.Trust.Failing
		}
	}
	t := tile{"Trust data", "ok", "Good", fmt.Sprintf("%d fresh and %d idle of %d in memory", sum.Fresh, sum.Idle, sum.Repositories)}
	if sum.Failing > 0 {
		t.Class, t.Value = "warn", fmt.Sprintf("%d failing", sum.Failing)
	}
	if sum.Ended > 0 {
		t.Class, t.Value = "bad", fmt.Sprintf("%d ended", sum.Ended)
	}
	if sum.Repositories == 0 {
		t.Value, t.Detail = "None yet", "it is looked at when a client asks"
	}
	return t
}

// alarmsAreNew is how long the overview is red after an alarm.
const alarmsAreNew = day

func (o *overview) alarmTile() tile {
	recent := 0
	for _, a := range o.Alarms {
		if o.Now.Sub(a.Last) < alarmsAreNew {
			recent++
		}
	}
	switch {
	case recent > 0:
		return tile{"Alarms", "bad", plural(recent, "alarm"), "in the last 24 hours, the last one " + when(o.Alarms[0].Last.Sub(o.Now))}
	case len(o.Alarms) > 0:
		return tile{"Alarms", "ok", "None today", "the last one " + when(o.Alarms[0].Last.Sub(o.Now))}
	}
	return tile{"Alarms", "ok", "None", "since the start"}
}

func (o *overview) expiryTile(all []Summary) tile {
	first := Summary{}
	for _, s := range all {
		if first.GUN == "" || s.Expires.Before(first.Expires) {
			first = s
		}
	}
	if first.GUN == "" {
		return tile{"First to expire", "ok", "Nothing", "no trust data is in memory"}
	}
	l := expiry(first.ExpiresFirst, first.Expires.Sub(o.Now))
	return tile{"First to expire", l.Class, sentence(l.Text), first.ExpiresFirst + " of " + first.GUN}
}

func (o *overview) certificateTile() tile {
	if len(o.Certificates) == 0 {
		return tile{"Certificate", "ok", "None", "clients are served over plain HTTP"}
	}
	first := o.Certificates[0]
	left := first.NotAfter.Sub(o.Now)
	t := tile{"Certificate", "ok", "Expires " + when(left), strings.Join(first.Names, ", ")}
	switch {
	case left <= 0:
		t.Class, t.Value = "bad", "Expired "+when(left)
	case left < 7*day && first.Source != "self-signed": // which is made anew by itself
		t.Class = "warn"
	}
	return t
}

func (o *overview) reloadTile() tile {
	switch {
	case o.Reload == nil:
		return tile{"Configuration", "ok", "As started", "loaded " + when(o.Started.Sub(o.Now))}
	case o.Reload.Error != "":
		return tile{"Configuration", "warn", "Reload refused", when(o.Reload.Time.Sub(o.Now)) + ", nothing has changed: " + o.Reload.Error}
	}
	return tile{"Configuration", "ok", "Reloaded", when(o.Reload.Time.Sub(o.Now))}
}

// sentence has a capital at its beginning.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
