package admin

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxPages bounds the pages and API answers being made at once: each walks what
// is in memory.
const maxPages = 4

// PagesOptions are what the status page is made from. All are required.
type PagesOptions struct {
	Watched Watched
	Recent  *Recent
	Metrics *Metrics
	// Ready is as for Handler.
	Ready func() error
}

// pages serves the status page and its API.
type pages struct {
	viewer
	templates *template.Template
	running   chan struct{} // a place for each answer being made
	comparing chan struct{}
}

// NewPages serves the status page, for people, and the same as JSON:
//
//	GET  /                              what to look at now; with q a search
//	GET  /repositories[/GUN]  /denials  /changes
//	POST /compare/GUN                   signed tags beside what the registry has
//	GET  /api/v1/…                      see docs/status.md
//	GET  /assets/…                      stylesheet, script and icon
//
// Nothing but the comparison asks anybody, and nothing at all is changed. Whoever
// can reach it can read it: see docs/operations.md.
func NewPages(o PagesOptions) (http.Handler, error) {
	templates, err := parseTemplates(func() time.Time { return o.Watched.Process().Now })
	if err != nil {
		return nil, err
	}
	return &pages{
		viewer:    viewer{watched: o.Watched, recent: o.Recent, metrics: o.Metrics, ready: o.Ready},
		templates: templates,
		running:   make(chan struct{}, maxPages),
		comparing: make(chan struct{}, 1),
	}, nil
}

// apiPrefix is what all of the API is below.
const apiPrefix = "/api/v1/"

// ServeHTTP implements http.Handler.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range securityHeaders {
		w.Header().Set(name, value)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if err := refuseOtherSites(r, p.watched.Hosts()); err != nil {
		p.fail(w, r, err)
		return
	}
	if asset, ok := strings.CutPrefix(r.URL.Path, "/assets/"); ok && reading(r) {
		serveAsset(w, r, asset)
		return
	}
	select {
	case p.running <- struct{}{}:
		defer func() { <-p.running }()
	default:
		p.fail(w, r, refusal{http.StatusServiceUnavailable, errors.New("too many pages are being made at once: try again in a moment")})
		return
	}
	v, err := p.view(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if isAPI(r) {
		answer(w, http.StatusOK, v.data)
		return
	}
	p.render(w, http.StatusOK, v)
}

func isAPI(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, strings.TrimSuffix(apiPrefix, "/"))
}

func reading(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// view is what an answer shows: data as JSON, or by a template.
type view struct {
	template string
	title    string
	data     any
	query    query
}

// query is what may stand in the query of a request. What does not apply to a
// path is ignored.
type query struct {
	Q, After string
	Limit    int
}

// The bounds of limit.
const (
	pageLimit    = 50
	apiLimit     = 100
	maxPageLimit = 1000
)

func parseQuery(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, refusal{http.StatusBadRequest, errors.New("the query is malformed")}
	}
	q := query{Q: strings.TrimSpace(values.Get("q")), After: values.Get("after"), Limit: pageLimit}
	if isAPI(r) {
		q.Limit = apiLimit
	}
	if len(q.Q) > maxQuery || len(q.After) > maxQuery {
		return q, refusal{http.StatusBadRequest, fmt.Errorf("q and after have at most %d bytes", maxQuery)}
	}
	if limit := values.Get("limit"); limit != "" {
		q.Limit, err = strconv.Atoi(limit)
		if err != nil || q.Limit < 1 || q.Limit > maxPageLimit {
			return q, refusal{http.StatusBadRequest, fmt.Errorf("limit is a number from 1 to %d", maxPageLimit)}
		}
	}
	return q, nil
}

// view finds what a request asks for.
func (p *pages) view(r *http.Request) (view, error) {
	q, err := parseQuery(r)
	if err != nil {
		return view{}, err
	}
	path := r.URL.Path
	if isAPI(r) {
		path = "/" + strings.TrimPrefix(path, apiPrefix)
	}
	compare, comparing := strings.CutPrefix(path, "/compare/")
	switch {
	case comparing && r.Method == http.MethodPost:
		return p.comparison(r, compare, q)
	case comparing:
		return view{}, refusal{http.StatusMethodNotAllowed, errors.New("a comparison asks the registry: POST it")}
	case !reading(r):
		return view{}, refusal{http.StatusMethodNotAllowed, errors.New("GET and HEAD are served")}
	}
	var v view
	if isAPI(r) {
		v, err = p.apiView(path, q)
	} else {
		v, err = p.pageView(path, q)
	}
	v.query = q
	return v, err
}

// errNoPage is the answer to any other path.
var errNoPage = refusal{http.StatusNotFound, errors.New("there is /, /repositories, /denials, /changes, /api/v1/, /healthz, /readyz and /metrics")}

// apiView is what is at a path below apiPrefix.
func (p *pages) apiView(path string, q query) (v view, err error) {
	gun, one := strings.CutPrefix(path, "/repositories/")
	switch {
	case one:
		v.data, err = p.repository(gun, page{Match: q.Q, After: q.After, Limit: q.Limit})
	case path == "/status":
		v.data = p.status()
	case path == "/registries":
		v.data = map[string]any{"registries": p.status().Registries}
	case path == "/repositories":
		list, all := p.summaries(q.Q, q.Limit)
		v.data = map[string]any{"repositories": list, "total": all}
	case path == "/denials":
		v.data = map[string]any{"denials": p.denials(q.Q)}
	case path == "/alarms":
		v.data = map[string]any{"alarms": p.recent.Alarms()}
	case path == "/changes":
		v.data = map[string]any{"changes": p.changes(q.Q)}
	case path == "/certificates":
		v.data = map[string]any{"certificates": p.certificates()}
	case path == "/search" && q.Q != "":
		v.data = p.search(q.Q)
	case path == "/search":
		err = refusal{http.StatusBadRequest, errors.New("q says what to look for")}
	default:
		err = refusal{http.StatusNotFound, errors.New("there is " + strings.Join(apiPaths, ", "))}
	}
	return v, err
}

// apiPaths are those of the API, as its errors name them. Read only.
var apiPaths = []string{
	"/api/v1/status", "/api/v1/registries", "/api/v1/repositories", "/api/v1/repositories/GUN", "/api/v1/compare/GUN (POST)",
	"/api/v1/denials", "/api/v1/alarms", "/api/v1/changes", "/api/v1/certificates", "/api/v1/search",
}

// pageView is what is at any other path.
func (p *pages) pageView(path string, q query) (v view, err error) {
	gun, one := strings.CutPrefix(path, "/repositories/")
	switch {
	case one:
		v.template, v.title = "repository", gun
		v.data, err = p.repositoryPage(gun, q, nil)
	case path == "/" && q.Q != "":
		v.template, v.title, v.data = "search", "Search: "+q.Q, p.search(q.Q)
	case path == "/":
		v.template, v.title, v.data = "overview", "Overview", p.overview()
	case path == "/repositories":
		list, all := p.summaries(q.Q, maxPageLimit)
		v.template, v.title, v.data = "repositories", "Repositories", listed[Summary]{list, all}
	case path == "/denials":
		list := p.denials(q.Q)
		v.template, v.title, v.data = "denials", "Hidden from clients", listed[Denial]{list, len(list)}
	case path == "/changes":
		list := p.changes(q.Q)
		v.template, v.title, v.data = "changes", "Changes", listed[Change]{list, len(list)}
	default:
		err = errNoPage
	}
	return v, err
}
