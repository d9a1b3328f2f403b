package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	ociManifestType = "application/vnd.oci.image.manifest.v1+json"
	ociIndexType    = "application/vnd.oci.image.index.v1+json"
	ociEmptyType    = "application/vnd.oci.empty.v1+json"
)

// conformance is a client that notes what a registry does.
type conformance struct {
	t        *testing.T
	base     *url.URL
	http     *http.Client
	workflow string
	outcomes []conformanceOutcome
}

// newConformance asks at base, over transport.
func newConformance(t *testing.T, base string, transport *http.Transport) *conformance {
	t.Helper()
	t.Cleanup(transport.CloseIdleConnections)
	return &conformance{t: t, base: must(url.Parse(base))(t), http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// check notes what became of one check.
func (c *conformance) check(name string, check func() error) {
	o := conformanceOutcome{workflow: c.workflow, check: name}
	if err := check(); err != nil {
		o.failure = err.Error()
	}
	c.outcomes = append(c.outcomes, o)
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask makes a request; path may be a Location. header is names and values.
func (c *conformance) ask(method, path, body string, header ...string) reply {
	c.t.Helper()
	target, err := c.base.Parse(path)
	if err != nil {
		c.t.Fatalf("%s %q: %v", method, path, err)
	}
	var content io.Reader
	if body != "" {
		content = bytes.NewReader([]byte(body))
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, target.String(), content)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("User-Agent", publisherAgent)
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Transfer-Encoding" {
			req.Header.Del(header[i])
			req.ContentLength = -1
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	return reply{resp.StatusCode, resp.Header, string(all)}
}

// wants fails unless the status is one of these.
func (r reply) wants(statuses ...int) error {
	if !slices.Contains(statuses, r.status) {
		return fmt.Errorf("status %d", r.status)
	}
	return nil
}

// code fails unless the body is an error of this code, one of several.
func (r reply) code(codes ...string) error {
	var body struct{ Errors []ociError }
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || len(body.Errors) == 0 {
		return fmt.Errorf("no error in the body")
	}
	if !slices.Contains(codes, body.Errors[0].Code) {
		return fmt.Errorf("code %s", body.Errors[0].Code)
	}
	return nil
}

// firstOf is the first that failed.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// is fails, saying so, unless it holds.
func is(holds bool, otherwise string) error {
	if !holds {
		return fmt.Errorf("%s", otherwise)
	}
	return nil
}

// begin starts an upload.
func (c *conformance) begin(repository string) (location string) {
	return c.ask("POST", "/v2/"+repository+"/blobs/uploads/", "").header.Get("Location")
}

// addQuery adds a query to a Location.
func addQuery(location, key, value string) string {
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	return location + separator + key + "=" + url.QueryEscape(value)
}

// blob pushes one in a single PUT.
func (c *conformance) blob(repository, content string) (digest string) {
	c.t.Helper()
	digest = sha256Of(content)
	if r := c.ask("PUT", addQuery(c.begin(repository), "digest", digest), content, "Content-Type", "application/octet-stream"); r.status != http.StatusCreated {
		c.t.Fatalf("a blob cannot be pushed: %d %s", r.status, r.body)
	}
	return digest
}

// descriptor is one of content that was pushed.
func descriptor(mediaType, content string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, sha256Of(content), len(content))
}

// image is the manifest of one whose config and layer are given; more is further
// members of the object.
func imageManifest(configType, config, more string, layers ...string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`, ociManifestType, descriptor(configType, config), strings.Join(layers, ","), more)
}
