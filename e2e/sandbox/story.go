package sandbox

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Story is a registry and a trust server with a few images, in every state
// that a tag can be in, and the walk through them that a demonstration makes.
type Story struct {
	Registry  *Registry
	Trust     *TrustServer
	Publisher *Publisher
	// Name is the registry's name as publishers know it; RootKey the canonical
	// ID of the key that signs, the form that trust-pinning.root-keys takes.
	Name    string
	RootKey string

	tags []storyTag
}

// Row is one step of the story: what stands behind a tag, and what a client
// got. OK says that it got what it must.
type Row struct {
	Image    string // repository:tag
	Upstream string // the tag's digest in the registry, empty without one
	Signed   string // the digest that counts, empty without one
	Got      string // a digest, or the status and code of the refusal
	Why      string
	OK       bool
}

// storyTag is a tag and what must become of it.
type storyTag struct {
	repository, tag  string
	upstream, signed string
	why              string
}

const (
	storyRepository = "demo/app"
	storyUnsigned   = "demo/never-signed"
	releases        = "targets/releases"
)

// NewStory starts the servers, with certificates from ca, and publishes the
// images under the registry name name. Close it.
func NewStory(ctx context.Context, ca *CA, name string) (*Story, error) {
	s := &Story{Name: name}
	if err := s.start(ctx, ca); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.publish(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Story) start(ctx context.Context, ca *CA) (err error) {
	if s.Registry, err = StartRegistry(ctx, RegistryOptions{CA: ca}); err != nil {
		return err
	}
	if s.Trust, err = StartTrustServer(ctx, TrustServerOptions{CA: ca}); err != nil {
		return err
	}
	s.Publisher, err = NewPublisher(s.Trust.URL(), ca.Pool(), "")
	return err
}

// Close ends both servers.
func (s *Story) Close() error {
	var errs []error
	if s.Registry != nil {
		errs = append(errs, s.Registry.Close())
	}
	if s.Trust != nil {
		errs = append(errs, s.Trust.Close())
	}
	return errors.Join(errs...)
}

func (s *Story) gun() string { return s.Name + "/" + storyRepository }

// publish pushes and signs: the delegations first, as a team would set up.
func (s *Story) publish(ctx context.Context) (err error) {
	if s.RootKey, err = s.Publisher.Init(s.gun()); err != nil {
		return err
	}
	for _, role := range []string{releases, "targets/qa"} {
		if err := s.Publisher.AddDelegation(s.gun(), role); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{s.signed, s.drifted, s.elsewhere, s.unsigned} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// push pushes an image, or with index a multi-platform index.
func (s *Story) push(ctx context.Context, repository, tag, seed string, index bool) (digest string, size int64, err error) {
	var thing remote.Taggable
	if index {
		thing, err = Index(seed)
	} else {
		thing, err = Image(seed)
	}
	if err != nil {
		return "", 0, err
	}
	return s.Registry.Push(ctx, repository, tag, thing)
}

func (s *Story) signed(ctx context.Context) error {
	for _, it := range []struct {
		tag, why string
		index    bool
	}{
		{"1.0", "signed", false},
		{"1.1", "signed, for several platforms", true},
		{"0.9", "signed", false},
	} {
		digest, size, err := s.push(ctx, storyRepository, it.tag, it.tag, it.index)
		if err != nil {
			return err
		}
		if err := s.Publisher.Sign(s.gun(), it.tag, hexOf(digest), size, releases); err != nil {
			return err
		}
		s.tags = append(s.tags, storyTag{storyRepository, it.tag, digest, digest, it.why})
	}
	return nil
}

func (s *Story) drifted(ctx context.Context) error {
	before, size, err := s.push(ctx, storyRepository, "latest", "latest, as signed", false)
	if err != nil {
		return err
	}
	if err := s.Publisher.Sign(s.gun(), "latest", hexOf(before), size, releases); err != nil {
		return err
	}
	after, _, err := s.push(ctx, storyRepository, "latest", "latest, moved on", false)
	s.tags = append(s.tags, storyTag{storyRepository, "latest", after, before, "drifted: the tag moved on, the signature did not"})
	return err
}

func (s *Story) elsewhere(ctx context.Context) error {
	digest, size, err := s.push(ctx, storyRepository, "qa-only", "qa-only", false)
	if err != nil {
		return err
	}
	s.tags = append(s.tags, storyTag{storyRepository, "qa-only", digest, "", "signed only in targets/qa, whose word does not count"})
	return s.Publisher.Sign(s.gun(), "qa-only", hexOf(digest), size, "targets/qa")
}

func (s *Story) unsigned(ctx context.Context) error {
	for _, t := range []storyTag{
		{repository: storyRepository, tag: "nightly", why: "pushed, never signed"},
		{repository: storyUnsigned, tag: "latest", why: "a repository without trust data"},
	} {
		digest, _, err := s.push(ctx, t.repository, t.tag, t.repository+t.tag, false)
		if err != nil {
			return err
		}
		t.upstream = digest
		s.tags = append(s.tags, t)
	}
	s.tags = append(s.tags, storyTag{storyRepository, "no-such-tag", "", "", "does not exist"})
	return nil
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// Perform walks through the story at the gate at gateURL, which verifies with
// pool and refreshes its trust at least every refresh. The error says what
// could not be tried; a row that is not OK, what the gate did wrong.
func (s *Story) Perform(ctx context.Context, gateURL string, pool *x509.CertPool, refresh time.Duration) ([]Row, error) {
	transport := newTransport(pool)
	defer transport.CloseIdleConnections()
	c := &storyClient{ctx: ctx, url: gateURL, http: &http.Client{Transport: transport, Timeout: time.Minute}}
	rows := make([]Row, 0, len(s.tags)+4)
	for _, t := range s.tags {
		rows = append(rows, c.pull(t))
	}
	rows = append(rows, c.list(storyRepository, s.visible()), c.digest(s.find("nightly")))
	revoked := s.find("0.9")
	if err := s.Publisher.Remove(s.gun(), revoked.tag, releases); err != nil {
		return rows, err
	}
	select {
	case <-time.After(refresh + 100*time.Millisecond):
	case <-ctx.Done():
		return rows, ctx.Err()
	}
	revoked.signed, revoked.why = "", "its signature has just been removed"
	rows = append(rows, c.pull(revoked))
	return rows, c.err
}

func (s *Story) find(tag string) storyTag {
	return s.tags[slices.IndexFunc(s.tags, func(t storyTag) bool { return t.tag == tag })]
}

func (s *Story) visible() []string {
	var tags []string
	for _, t := range s.tags {
		if t.signed != "" && t.repository == storyRepository {
			tags = append(tags, t.tag)
		}
	}
	slices.Sort(tags)
	return tags
}

// storyClient asks the gate as a registry client does; err is the first
// request that failed altogether.
type storyClient struct {
	ctx  context.Context
	url  string
	http *http.Client
	err  error
}

// get returns status, digest header and body, the body cut to 1 MiB.
func (c *storyClient) get(path string) (status int, digest string, body []byte) {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, c.url+path, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = c.http.Do(req); err == nil {
			defer resp.Body.Close()
			status, digest = resp.StatusCode, resp.Header.Get("Docker-Content-Digest")
			body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		}
	}
	if err != nil && c.err == nil {
		c.err = err
	}
	return status, digest, body
}

func (c *storyClient) pull(t storyTag) Row {
	row := Row{Image: t.repository + ":" + t.tag, Upstream: t.upstream, Signed: t.signed, Why: t.why}
	status, digest, body := c.get("/v2/" + t.repository + "/manifests/" + t.tag)
	if status == http.StatusOK {
		row.Got = digest
		row.OK = t.signed != "" && digest == t.signed && "sha256:"+sha256Hex(body) == digest
		return row
	}
	row.Got = refusal(status, body)
	row.OK = t.signed == "" && row.Got == "404 MANIFEST_UNKNOWN"
	return row
}

func (c *storyClient) digest(t storyTag) Row {
	row := Row{Image: t.repository + "@" + t.upstream, Upstream: t.upstream, Why: "a pull by digest always works"}
	status, _, body := c.get("/v2/" + t.repository + "/manifests/" + t.upstream)
	if row.Got = refusal(status, body); status == http.StatusOK {
		row.Got = "sha256:" + sha256Hex(body)
	}
	row.OK = row.Got == t.upstream
	return row
}

func (c *storyClient) list(repository string, want []string) Row {
	row := Row{Image: repository + " (tag list)", Why: "only signed tags are listed"}
	var answer struct{ Tags []string }
	status, _, body := c.get("/v2/" + repository + "/tags/list")
	if row.Got = refusal(status, body); status == http.StatusOK && json.Unmarshal(body, &answer) == nil {
		row.Got = strings.Join(answer.Tags, " ")
	}
	row.OK = status == http.StatusOK && slices.Equal(answer.Tags, want)
	return row
}

func refusal(status int, body []byte) string {
	var answer struct {
		Errors []struct{ Code string }
	}
	if json.Unmarshal(body, &answer) == nil && len(answer.Errors) == 1 {
		return fmt.Sprint(status, " ", answer.Errors[0].Code)
	}
	return fmt.Sprint(status)
}

func sha256Hex(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
