package sandbox

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
)

// BasicAuth returns a middleware that lets in only the given users (name to
// password) and answers everybody else 401 with a Basic challenge and an error
// body in the form of the OCI distribution specification (v1.1, error codes).
// No user at all lets nobody in. The map must not change afterwards.
func BasicAuth(users map[string]string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, password, ok := r.BasicAuth()
			want, known := users[name]
			if !ok || !known || subtle.ConstantTimeCompare([]byte(password), []byte(want)) != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="sandbox"`)
				w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
				writeError(w, http.StatusUnauthorized, errorBody{Code: "UNAUTHORIZED", Message: "authentication required"})
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// errorBody is one entry of the error list that registries and Notary send.
type errorBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

func writeError(w http.ResponseWriter, status int, body errorBody) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that hung up is the only way for this to fail.
	_ = json.NewEncoder(w).Encode(map[string][]errorBody{"errors": {body}})
}
