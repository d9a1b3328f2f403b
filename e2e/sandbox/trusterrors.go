package sandbox

import (
	"errors"
	"net/http"

	"github.com/theupdateframework/notary/tuf/validation"
)

// trustError is an answer in Notary's error format. The codes are Notary's:
// its clients read the status and, on 400, the detail.
type trustError struct {
	status  int
	code    string
	message string
	detail  any
}

func (e *trustError) Error() string { return e.code + ": " + e.message }

var (
	errNotFound  = &trustError{http.StatusNotFound, "METADATA_NOT_FOUND", "there is no such metadata here", nil}
	errGUN       = &trustError{http.StatusBadRequest, "INVALID_GUN", "the name cannot be that of a repository", nil}
	errMethod    = &trustError{http.StatusMethodNotAllowed, "UNSUPPORTED", "the method is not supported here", nil}
	errUpload    = &trustError{http.StatusBadRequest, "MALFORMED_UPLOAD", "expected multipart/form-data with one file for each role", nil}
	errTooLarge  = &trustError{http.StatusBadRequest, "MALFORMED_UPLOAD", "the upload is larger than this server accepts", nil}
	errNoName    = &trustError{http.StatusBadRequest, "NO_FILENAME", "a file of the upload has no name", nil}
	errRole      = &trustError{http.StatusBadRequest, "INVALID_ROLE", "a file of the upload is named for no role that can be published", nil}
	errJSON      = &trustError{http.StatusBadRequest, "MALFORMED_JSON", "a file of the upload is not signed metadata", nil}
	errOld       = &trustError{http.StatusBadRequest, "VERSION", "this version, or a newer one, is already published", nil}
	errFull      = &trustError{http.StatusServiceUnavailable, "UPDATING", "this server holds as many repositories as it may", nil}
	errServerKey = &trustError{http.StatusInternalServerError, "UNKNOWN", "the server cannot sign", nil}
)

// maxDetail keeps an answer under the 1 KiB that Notary's client reads of one.
const maxDetail = 400

// publicError turns any error into an answer. A validation error of the Notary
// library travels in the detail, where its clients look for it.
func publicError(err error) *trustError {
	var known *trustError
	if errors.As(err, &known) {
		return known
	}
	invalid := &trustError{status: http.StatusBadRequest, code: "INVALID_UPDATE", message: "the update is not valid"}
	if detail, err := validation.NewSerializableError(err); err == nil {
		invalid.detail = detail
	}
	return invalid
}

func (e *trustError) write(w http.ResponseWriter) {
	writeError(w, e.status, errorBody{Code: e.code, Message: e.message, Detail: e.detail})
}

func short(err error) string {
	text := err.Error()
	if len(text) > maxDetail {
		text = text[:maxDetail]
	}
	return text
}

func badRoot(err error) error     { return validation.ErrBadRoot{Msg: short(err)} }
func badTargets(err error) error  { return validation.ErrBadTargets{Msg: short(err)} }
func badSnapshot(err error) error { return validation.ErrBadSnapshot{Msg: short(err)} }
