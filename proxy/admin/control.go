package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"

	"github.com/rs/zerolog"
)

// maxBody bounds what a control request carries, in bytes.
const maxBody = 4 << 10

// What Control.Forget may wrap. Any other error is a failure of the server's.
var (
	// ErrBadGUN: the text names no repository of a configured registry.
	ErrBadGUN = errors.New("not a repository of a configured registry")
	// ErrUnknownGUN: nothing is remembered of the repository.
	ErrUnknownGUN = errors.New("nothing is remembered of the repository")
)

// Control is what the control socket steers. Methods are called concurrently;
// their errors are shown to the caller.
type Control interface {
	// Reload reads the configuration again and applies it, whole or not at
	// all. An error says why nothing has changed.
	Reload(ctx context.Context) error
	// Forget drops the remembered trust of a repository. The error wraps
	// ErrBadGUN or ErrUnknownGUN where that is why.
	Forget(ctx context.Context, gun string) error
	// LogLevel is the level of the log, SetLogLevel changes it to one of
	// trace, debug, info, warn and error.
	LogLevel() zerolog.Level
	SetLogLevel(zerolog.Level)
}

// ControlHandler serves what changes or profiles the process:
//
//	POST /reload                 200 {"result":"applied"}, 409 where refused
//	POST /forget?gun=GUN         200 {"result":"forgotten"}, 400, 404; gun may
//	                             also stand in a form or a JSON object
//	GET  /log-level              200 {"level":"info"}
//	PUT  /log-level              the level is the body
//	GET  /debug/pprof/…          see net/http/pprof
//
// Refusals are {"error":"…"}. It asks nobody who they are: the mode of the
// socket (see ListenControl) is what decides who may talk to it, so serve it
// nowhere else. A server's WriteTimeout would cut profiles short.
func ControlHandler(c Control) http.Handler {
	h := &control{c: c}
	h.verbs = map[string]map[string]http.HandlerFunc{
		"/reload":             {http.MethodPost: h.reload},
		"/forget":             {http.MethodPost: h.forget},
		"/log-level":          {http.MethodGet: h.level, http.MethodPut: h.setLevel},
		pprofPath:             {http.MethodGet: pprof.Index},
		pprofPath + "cmdline": {http.MethodGet: pprof.Cmdline},
		pprofPath + "profile": {http.MethodGet: pprof.Profile},
		pprofPath + "symbol":  {http.MethodGet: pprof.Symbol, http.MethodPost: pprof.Symbol},
		pprofPath + "trace":   {http.MethodGet: pprof.Trace},
	}
	return h
}

// pprofPath is where pprof.Index expects to be. Importing pprof also puts it
// on http.DefaultServeMux, which nothing here serves.
const pprofPath = "/debug/pprof/"

type control struct {
	c     Control
	verbs map[string]map[string]http.HandlerFunc // by path, then method
}

// ServeHTTP implements http.Handler.
func (h *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	methods := h.verbs[path]
	if methods == nil && strings.HasPrefix(path, pprofPath) {
		methods = h.verbs[pprofPath] // the index also serves the named profiles
	}
	if methods == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %.100q: there is %s", path, strings.Join(slices.Sorted(maps.Keys(h.verbs)), ", ")))
		return
	}
	serve := methods[r.Method]
	if serve == nil {
		allowed := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
		w.Header().Set("Allow", allowed)
		refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%s takes %s", path, allowed))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	serve(w, r)
}

func (h *control) reload(w http.ResponseWriter, r *http.Request) {
	if err := h.c.Reload(r.Context()); err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"result": "applied"})
}

func (h *control) forget(w http.ResponseWriter, r *http.Request) {
	gun, err := readGUN(r)
	if err != nil {
		refuse(w, badRequest(err), err)
		return
	}
	switch err := h.c.Forget(r.Context(), gun); {
	case err == nil:
		answer(w, http.StatusOK, map[string]string{"result": "forgotten", "gun": gun})
	case errors.Is(err, ErrBadGUN):
		refuse(w, http.StatusBadRequest, err)
	case errors.Is(err, ErrUnknownGUN):
		refuse(w, http.StatusNotFound, err)
	default:
		refuse(w, http.StatusInternalServerError, err)
	}
}

// readGUN finds the one gun of a request: in its query, its form or its JSON.
func readGUN(r *http.Request) (string, error) {
	if err := r.ParseForm(); err != nil {
		return "", err
	}
	guns := r.Form["gun"]
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var body struct {
			GUN string `json:"gun"`
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(raw, &body); err != nil {
			return "", fmt.Errorf("{\"gun\":\"registry/repository\"} is expected: %w", err)
		}
		guns = append(guns, body.GUN)
	}
	if len(guns) != 1 || guns[0] == "" {
		return "", fmt.Errorf("%d values of gun: exactly one registry/repository is expected, in the query, a form or a JSON object", len(guns))
	}
	return guns[0], nil
}

func (h *control) level(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"level": h.c.LogLevel().String()})
}

func (h *control) setLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, badRequest(err), err)
		return
	}
	name := strings.TrimSpace(string(body))
	for level := zerolog.TraceLevel; level <= zerolog.ErrorLevel; level++ {
		if level.String() == name {
			h.c.SetLogLevel(level)
			h.level(w, r)
			return
		}
	}
	refuse(w, http.StatusBadRequest, fmt.Errorf("%.100q is no level: trace, debug, info, warn or error is expected", name))
}

// badRequest is the status for a request that could not be read.
func badRequest(err error) int {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// problem is the answer that refuses; Call reads it.
type problem struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, problem{err.Error()})
}

func answer(w http.ResponseWriter, status int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(what) // a client that is gone is told nothing
}
