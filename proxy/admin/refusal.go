package admin

import (
	"errors"
	"net/http"
	"strings"
)

// refusal is an error with the status that says it.
type refusal struct {
	status int
	error
}

// fail answers with an error, in the form that was asked for.
func (p *pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	var refused refusal
	switch {
	case errors.As(err, &refused):
		status = refused.status
	case errors.Is(err, errUnknownRepository):
		status = http.StatusNotFound
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allowed(r))
	}
	if isAPI(r) {
		refuse(w, status, err)
		return
	}
	if status == http.StatusMisdirectedRequest || status == http.StatusForbidden {
		http.Error(w, err.Error(), status) // with nothing of ours around it
		return
	}
	p.render(w, status, view{template: "failure", title: http.StatusText(status), data: err.Error()})
}

// allowed are the methods of a path.
func allowed(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/compare/") || strings.HasPrefix(r.URL.Path, apiPrefix+"compare/") {
		return http.MethodPost
	}
	return "GET, HEAD"
}
