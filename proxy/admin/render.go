package admin

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

//go:embed web
var web embed.FS

// parseTemplates reads the templates of all pages; now is the clock that ages are
// told by.
func parseTemplates(now func() time.Time) (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"when":       func(t time.Time) string { return when(t.Sub(now())) },
		"clock":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"expiry":     func(role string, t time.Time) level { return expiry(role, t.Sub(now())) },
		"fill":       fill,
		"rate":       rate,
		"bytes":      byteText,
		"short":      short,
		"href":       func(gun string) string { return (&url.URL{Path: "/repositories/" + gun}).EscapedPath() },
		"compare":    func(gun string) string { return (&url.URL{Path: "/compare/" + gun}).EscapedPath() },
		"join":       strings.Join,
		"components": func(gun string) []string { return strings.Split(gun, "/") },
		"condition":  condition,
	}).ParseFS(web, "web/*.html")
}

// layout is what every page is rendered with.
type layout struct {
	Process
	Title string
	Path  string // of a list, for its own form
	Query query
	Live  bool // the page may be fetched again
	Page  any
}

// render writes a page, whole or not at all.
func (p *pages) render(w http.ResponseWriter, status int, v view) {
	l := layout{Process: p.watched.Process(), Title: v.title, Path: "/" + v.template, Query: v.query, Page: v.data, Live: v.template != "failure"}
	if r, ok := v.data.(repositoryPage); ok {
		l.Live = r.Comparison == nil
	}
	var body bytes.Buffer
	body.WriteString("<!doctype html>\n")
	if err := p.templates.ExecuteTemplate(&body, v.template, l); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(body.Bytes()) // a client that is gone is told nothing
}

// serveAsset serves one of the files that pages refer to.
func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	kind, known := map[string]string{
		"style.css":  "text/css; charset=utf-8",
		"refresh.js": "text/javascript; charset=utf-8",
		"icon.svg":   "image/svg+xml",
	}[name]
	body, err := fs.ReadFile(web, "web/"+name)
	if !known || err != nil {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// when says how far away a moment is.
func when(d time.Duration) string {
	far, past := d, d < 0
	if past {
		far = -d
	}
	var text string
	switch {
	case far < time.Second:
		return "now"
	case far < time.Minute:
		text = fmt.Sprintf("%d s", far/time.Second)
	case far < time.Hour:
		text = fmt.Sprintf("%d min", far/time.Minute)
	case far < 48*time.Hour:
		text = fmt.Sprintf("%d h", far/time.Hour)
	case far < 730*24*time.Hour:
		text = plural(int(far/(24*time.Hour)), "day")
	default:
		text = plural(int(far/(365*24*time.Hour)), "year")
	}
	if past {
		return text + " ago"
	}
	return "in " + text
}

// plural is a number with a noun whose plural ends in s.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// condition is the word of people for what a repository's trust data is, and its
// colour: stale data that nobody has asked for lately is no worry.
func condition(c trustcache.Condition, failure string) level {
	switch {
	case c == trustcache.Ended:
		return level{Class: "bad", Text: "ended"}
	case failure != "":
		return level{Class: "warn", Text: "standing"}
	case c == trustcache.Stale:
		return level{Class: "plain", Text: "idle"}
	}
	return level{Class: "ok", Text: "fresh"}
}

// level is a bar: how much of 100 is there, and whether that is good (ok, warn or
// bad, as words too: colour alone says nothing to some).
type level struct {
	Percent int
	Class   string
	Text    string
}

const day = 24 * time.Hour

// expiry is how much is left of a role. A full bar is a year, of a timestamp two
// weeks. A timestamp is no cause for worry while it has not expired: Notary signs
// the next one only then.
func expiry(role string, left time.Duration) level {
	full, text := 365*day, when(left)
	if role == "timestamp" {
		full = 14 * day
	}
	l := level{Percent: int(100 * max(0, min(left, full)) / full), Class: "ok", Text: text}
	switch {
	case left <= 0:
		l.Class, l.Text = "bad", "expired "+text
	case role == "timestamp":
	case left < 3*day:
		l.Class, l.Text = "bad", text+": very soon"
	case left < 14*day:
		l.Class, l.Text = "warn", text+": soon"
	}
	return l
}

// fill is how full something is; max 0 is without bound.
func fill(used, most int64) level {
	if most <= 0 {
		return level{Class: "ok", Text: byteText(used)}
	}
	l := level{Percent: int(100 * min(used, most) / most), Class: "ok"}
	l.Text = fmt.Sprintf("%s of %s (%d %%)", byteText(used), byteText(most), 100*used/most)
	return l
}

// rate is the share of hits in percent.
func rate(hits, misses uint64) string {
	if hits+misses == 0 {
		return "none asked for"
	}
	return fmt.Sprintf("%d %% of %d", 100*hits/(hits+misses), hits+misses)
}

// byteText is a size with a binary unit.
func byteText(n int64) string {
	value, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for value >= 1024 && len(units) > 1 {
		value, units = value/1024, units[1:]
	}
	if value == float64(int64(value)) {
		return fmt.Sprintf("%.0f %s", value, units[0])
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

// short cuts a digest to what tells digests apart.
func short(digest string) string {
	const enough = len("sha256:") + 12
	if strings.HasPrefix(digest, "sha256:") && len(digest) > enough {
		return digest[:enough]
	}
	return digest
}
