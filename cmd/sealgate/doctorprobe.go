package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/upstream"
)

// prober asks registries as a client without credentials does. It is safe for
// concurrent use.
type prober struct {
	transport http.RoundTripper
}

// outcome is what came of asking a registry for a tag.
type outcome struct {
	err    error  // nobody answered; nil otherwise
	status int    // of the last answer
	digest string // of what was served; empty where nothing was
	body   string // of a refusal
}

// served is whether the tag can be had there.
func (o outcome) served() bool { return o.err == nil && o.digest != "" }

// undecided is whether the answer tells neither that the tag is there nor that it
// is not: credentials are wanted, or the server cannot say.
func (o outcome) undecided() bool {
	return o.err != nil || o.status == http.StatusUnauthorized || o.status == http.StatusTooManyRequests || o.status >= 500
}

// refused is whether the server said that it does not serve the tag.
func (o outcome) refused() bool {
	return !o.served() && !o.undecided() && o.status != http.StatusMisdirectedRequest
}

// sameRefusal is whether two servers refused in the same words, which name the
// tag and the repository as Notary knows it: then they are one Sealgate.
func (o outcome) sameRefusal(other outcome) bool {
	return o.err == nil && other.err == nil && !o.served() && o.status == other.status && o.body != "" && o.body == other.body
}

func (o outcome) String() string {
	switch {
	case o.err != nil:
		return o.err.Error()
	case o.served():
		return "served as " + o.digest
	}
	return fmt.Sprintf("refused with status %d", o.status)
}

// gate asks Sealgate for the canary. Where it has no registry for its address alone
// (mirror-hosts), it is asked from then on as containerd does, by ns.
func (p prober) gate(ctx context.Context, of *patient) outcome {
	o := p.tag(ctx, of.gate, of.repository, of.tag)
	if o.status != http.StatusMisdirectedRequest {
		return o
	}
	named := *of.gate
	named.RawQuery = url.Values{"ns": {of.registry}}.Encode()
	chosen := p.tag(ctx, &named, of.repository, of.tag)
	if chosen.err != nil || chosen.status == http.StatusMisdirectedRequest {
		return o
	}
	of.gate = &named
	return chosen
}

// isSealgate is whether the server at base answers as Sealgate does to a path
// that it serves nobody. Any other server refuses a tag that it does not have,
// which proves nothing.
func (p prober) isSealgate(ctx context.Context, base *url.URL) bool {
	resp, body, err := p.ask(ctx, http.MethodGet, base, "/v2/_catalog")
	return err == nil && resp.StatusCode == http.StatusNotFound && bytes.Contains(body, []byte(proxy.NoRouteMessage))
}

// tag asks base for repository:tag: HEAD, and GET where that gave no digest, since
// HEAD can say yes to a client that GET then refuses (denial: strict-mirror).
func (p prober) tag(ctx context.Context, base *url.URL, repository, tag string) outcome {
	path := "/v2/" + repository + "/manifests/" + tag
	resp, _, err := p.ask(ctx, http.MethodHead, base, path)
	if err != nil {
		return outcome{err: err}
	}
	if digest := resp.Header.Get("Docker-Content-Digest"); resp.StatusCode == http.StatusOK && digest != "" {
		return outcome{status: resp.StatusCode, digest: digest}
	}
	resp, body, err := p.ask(ctx, http.MethodGet, base, path)
	if err != nil {
		return outcome{err: err}
	}
	if resp.StatusCode == http.StatusOK {
		return outcome{status: resp.StatusCode, digest: fmt.Sprintf("sha256:%x", sha256.Sum256(body))}
	}
	return outcome{status: resp.StatusCode, body: string(body)}
}

// tags lists those of a repository, at most a thousand.
func (p prober) tags(ctx context.Context, base *url.URL, repository string) ([]string, error) {
	resp, body, err := p.ask(ctx, http.MethodGet, base, "/v2/"+repository+"/tags/list?n=1000")
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the list of tags: status %d", resp.StatusCode)
	}
	var list struct{ Tags []string }
	err = json.Unmarshal(body, &list)
	return list.Tags, err
}

// ask sends one request, with a token where one is wanted that anybody can have.
// Redirects are not followed. The query of base goes with each target.
func (p prober) ask(ctx context.Context, method string, base *url.URL, path string) (*http.Response, []byte, error) {
	target := base.Scheme + "://" + base.Host + base.Path + path
	if base.RawQuery != "" {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		target += separator + base.RawQuery
	}
	resp, body, err := p.once(ctx, method, target, "")
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, body, err
	}
	realm := upstream.TokenURL(base, resp.Header)
	if realm == nil {
		return resp, body, nil
	}
	answer, text, err := p.once(ctx, http.MethodGet, realm.String(), "")
	if err != nil {
		return nil, nil, fmt.Errorf("ask for a token: %w", err)
	}
	token, _, err := upstream.ReadToken(bytes.NewReader(text))
	if answer.StatusCode != http.StatusOK || err != nil {
		return resp, body, nil // none for us: the 401 stands
	}
	return p.once(ctx, method, target, token)
}

// probeLimit is how long one answer may take, largestAnswer how long it may be.
const (
	probeLimit    = 20 * time.Second
	largestAnswer = 4 << 20
)

// once goes round http.Client, which fails on a Location that is no URL before
// anybody can see the answer.
func (p prober) once(ctx context.Context, method, target, token string) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", proxy.ManifestTypes)
	req.Header.Set("User-Agent", "sealgate-doctor")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer+1))
	if err == nil && len(body) > largestAnswer {
		err = errors.New("the answer has no end")
	}
	return resp, body, err
}

// signedDigests are those of all the tags that base shows of a repository.
func (p prober) signedDigests(ctx context.Context, base *url.URL, repository string) ([]string, error) {
	tags, err := p.tags(ctx, base, repository)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, tag := range tags {
		o := p.tag(ctx, base, repository, tag)
		if o.undecided() {
			return nil, fmt.Errorf("tag %q: %s", tag, o)
		}
		if o.served() && !slices.Contains(digests, o.digest) {
			digests = append(digests, o.digest)
		}
	}
	return digests, nil
}
