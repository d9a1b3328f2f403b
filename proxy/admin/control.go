package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
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
	// Refresh has the trust data of a repository looked at anew, and returns when
	// that is done. The error wraps ErrBadGUN where that is why, and otherwise says
	// why there is no good answer.
	Refresh(ctx context.Context, gun string) error
	// LogLevel is the level of the log, SetLogLevel changes it to one of
	// trace, debug, info, warn and error.
	LogLevel() zerolog.Level
	SetLogLevel(zerolog.Level)
}

// ControlHandler serves what changes or profiles the process:
//
//	POST /reload                 200 {"result":"applied"}, 409 where refused
//	POST /forget?gun=GUN         200 {"result":"forgotten"}, 400, 404
//	POST /refresh?gun=GUN        200 {"result":"refreshed"}, 400, 502 where there is no good answer
//	GET  /log-level              200 {"level":"info"}
//	PUT  /log-level              the level is the body
//	GET  /debug/pprof/…          see net/http/pprof
//
// Refusals are {"error":"…"}; another method is a 405 with Allow. It asks nobody
// who they are: the mode of the socket (see ListenControl) is what decides who
// may talk to it, so serve it nowhere else. A server's WriteTimeout would cut
// profiles short.
func ControlHandler(c Control) http.Handler {
	h := &control{c}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", h.reload)
	mux.HandleFunc("POST /forget", h.forget)
	mux.HandleFunc("POST /refresh", h.refresh)
	mux.HandleFunc("GET /log-level", h.level)
	mux.HandleFunc("PUT /log-level", h.setLevel)
	// pprof.Index expects to be there. Importing pprof also puts all of it on
	// http.DefaultServeMux, which nothing here serves.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/reload", path == "/forget", path == "/refresh", path == "/log-level", strings.HasPrefix(path, "/debug/pprof/"):
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			mux.ServeHTTP(w, r)
		default:
			refuse(w, http.StatusNotFound, fmt.Errorf("there is no %.100q: there is /reload, /forget, /refresh, /log-level and /debug/pprof/", path))
		}
	})
}

type control struct{ c Control }

func (h *control) reload(w http.ResponseWriter, r *http.Request) {
	if err := h.c.Reload(r.Context()); err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"result": "applied"})
}

func (h *control) forget(w http.ResponseWriter, r *http.Request) {
	gun, ok := oneGUN(w, r)
	if !ok {
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

func (h *control) refresh(w http.ResponseWriter, r *http.Request) {
	gun, ok := oneGUN(w, r)
	if !ok {
		return
	}
	switch err := h.c.Refresh(r.Context(), gun); {
	case err == nil:
		answer(w, http.StatusOK, map[string]string{"result": "refreshed", "gun": gun})
	case errors.Is(err, ErrBadGUN):
		refuse(w, http.StatusBadRequest, err)
	default:
		refuse(w, http.StatusBadGateway, err)
	}
}

// oneGUN is that of the query; where there is not exactly one the request is
// refused.
func oneGUN(w http.ResponseWriter, r *http.Request) (gun string, ok bool) {
	guns := r.URL.Query()["gun"]
	if len(guns) != 1 || guns[0] == "" {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%d values of gun in the query: exactly one registry/repository is expected", len(guns)))
		return "", false
	}
	return guns[0], true
}

func (h *control) level(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"level": h.c.LogLevel().String()})
}

func (h *control) setLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
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
