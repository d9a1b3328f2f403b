package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
)

// metadataOf says which metadata of gun the path of a request to a Notary server
// means.
func metadataOf(gun, path string) (name string, ok bool) {
	_, name, ok = strings.Cut(path, "/v2/"+gun+"/_trust/tuf/")
	return name, ok && protocolName.MatchString(name)
}

// replay is a Notary server of one repository that has what a bundle has.
type replay struct {
	b    *Bundle
	repo *Repository
	root string // what it offers as root.json
	// offered says that it did: who knows a root of the repository does not ask.
	offered atomic.Bool
}

// RoundTrip implements http.RoundTripper. What is not there is Notary's own 404.
func (p *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	name, ok := metadataOf(p.repo.GUN, req.URL.Path)
	if name == "root.json" {
		p.offered.Store(true)
		name = p.root
	}
	sum := p.repo.Files[name]
	if !ok || sum == "" {
		return answer(req, http.StatusNotFound, []byte(`{"errors":[{"code":"METADATA_NOT_FOUND"}]}`)), nil
	}
	body, size, err := p.b.from.open(trustName(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, malformed("%s is missing", trustName(sum))
	}
	if err != nil {
		return nil, err
	}
	resp := answer(req, http.StatusOK, nil)
	resp.Body, resp.ContentLength = body, size
	return resp, nil
}

func answer(req *http.Request, status int, body []byte) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// maxRoots is how many versions of the root a bundle can have; as many as a
// client follows.
const maxRoots = 128

// rootName is what the n-th version of the root is called.
func rootName(n int) string { return fmt.Sprintf("%d.root.json", n) }
