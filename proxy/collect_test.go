package proxy_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
)

// collected is a Sink in memory that refuses what has not its digest.
type collected struct {
	mu        sync.Mutex
	blobs     map[digest.Digest][]byte
	manifests map[digest.Digest]*content.Manifest
	full      digest.Digest // the blob that there is no room for
	fails     error         // what PutBlob says then
}

func newCollected() *collected {
	return &collected{blobs: map[digest.Digest][]byte{}, manifests: map[digest.Digest]*content.Manifest{}}
}

func (c *collected) Has(_ context.Context, d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.blobs[d]
	return ok
}

func (c *collected) PutManifest(_ context.Context, m *content.Manifest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.manifests[digest.Digest(m.Digest)] = m
	return nil
}

func (c *collected) PutBlob(_ context.Context, d digest.Digest, size int64, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("the sink: %w", err)
	}
	if digest.FromBytes(b) != d || int64(len(b)) != size {
		return errors.New("other bytes came to a good end")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d == c.full {
		return c.fails
	}
	c.blobs[d] = b
	return nil
}

// offlineShelf is a registry without a network: manifests and blobs by digest. Before it
// answers, each of the hooks may.
type offlineShelf struct {
	things map[digest.Digest]shelved
	hook   func(req *http.Request, d digest.Digest, b []byte) (*http.Response, error) // nil, nil: as usual

	mu    sync.Mutex
	asked []string // "manifests sha256:…", with its Range
}

type shelved struct {
	mediaType string // "" for a blob
	body      []byte
}

func newOfflineShelf() *offlineShelf { return &offlineShelf{things: map[digest.Digest]shelved{}} }

func (s *offlineShelf) add(mediaType, body string) digest.Digest {
	d := digest.FromString(body)
	s.things[d] = shelved{mediaType, []byte(body)}
	return d
}

func (s *offlineShelf) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	at := strings.Split(req.URL.Path, "/")
	kind, d := at[len(at)-2], digest.Digest(at[len(at)-1])
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(kind+" "+d.String()+" "+req.Header.Get("Range")))
	s.mu.Unlock()
	found, ok := s.things[d]
	if s.hook != nil {
		if resp, err := s.hook(req, d, found.body); resp != nil || err != nil {
			return resp, err
		}
	}
	if !ok || (kind == "manifests") != (found.mediaType != "") {
		return answered(http.StatusNotFound, nil), nil
	}
	resp := answered(http.StatusOK, found.body)
	resp.Header.Set("Content-Type", found.mediaType)
	return resp, nil
}

func answered(status int, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body))}
}

// restOf answers a Range of the form "bytes=n-".
func restOf(req *http.Request, body []byte) *http.Response {
	var from int
	if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &from); err != nil {
		return answered(http.StatusOK, body)
	}
	resp := answered(http.StatusPartialContent, body[from:])
	resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
	return resp
}

// brokenOff breaks an answer off after n bytes.
func brokenOff(resp *http.Response, n int64) *http.Response {
	resp.Body = io.NopCloser(io.MultiReader(io.LimitReader(resp.Body, n), iotest.ErrReader(io.ErrUnexpectedEOF)))
	return resp
}

// slowly has an answer come at 512 KiB in 30 s, for as long as its request stands.
func slowly(req *http.Request, resp *http.Response) *http.Response {
	resp.Body = io.NopCloser(&slowBody{req.Context(), resp.Body, 0})
	return resp
}

type slowBody struct {
	ctx  context.Context
	from io.Reader
	left int // of what has come
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		select {
		case <-time.After(30 * time.Second):
			b.left = 512 << 10
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

const (
	ociIndexType = "application/vnd.oci.image.index.v1+json"
	ociImageType = "application/vnd.oci.image.manifest.v1+json"
)

func entryOf(d digest.Digest, size int, more string) string {
	return fmt.Sprintf(`{"digest":%q,"size":%d%s}`, d, size, more)
}

// image puts an image of one layer on the shelf.
func (s *offlineShelf) image(layer string) digest.Digest {
	config, blob := s.add("", "{}"), s.add("", layer)
	return s.add(ociImageType, `{"config":`+entryOf(config, 2, "")+`,"layers":[`+entryOf(blob, len(layer), "")+`]}`)
}

// index puts an index on the shelf over manifests that are there; each of
// platforms is that of one, "" for none.
func (s *offlineShelf) index(of []digest.Digest, platforms ...string) digest.Digest {
	var entries []string
	for i, d := range of {
		more := ""
		if p, err := content.ParsePlatform(platforms[i]); err == nil {
			more = fmt.Sprintf(`,"platform":{"os":%q,"architecture":%q}`, p.OS, p.Architecture)
		}
		entries = append(entries, entryOf(d, len(s.things[d].body), more))
	}
	return s.add(ociIndexType, `{"manifests":[`+strings.Join(entries, ",")+`]}`)
}

// collect collects d from the shelf into sink.
func (s *offlineShelf) collect(ctx context.Context, t testing.TB, d digest.Digest, sink proxy.Sink, change ...func(*proxy.Collection)) (*proxy.Collected, error) {
	t.Helper()
	c := proxy.Collection{Repository: "team/app", Digest: signedDigest(t, d.String()), Into: sink}
	for _, f := range change {
		f(&c)
	}
	return proxy.Collect(ctx, proxy.Registry{Name: registryName, URL: &url.URL{Scheme: "https", Host: "registry"}, Upstream: s}, c)
}

func signedDigest(t testing.TB, text string) (d trustcache.Digest) {
	t.Helper()
	sum, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:"))
	if err != nil || len(sum) != len(d) {
		t.Fatalf("%q: %v", text, err)
	}
	return trustcache.Digest(sum)
}

func onlyFor(platforms ...string) func(*proxy.Collection) {
	return func(c *proxy.Collection) {
		for _, text := range platforms {
			p, err := content.ParsePlatform(text)
			if err != nil {
				panic(err)
			}
			c.Platforms = append(c.Platforms, p)
		}
	}
}

func TestCollectTakesAllThatAPullAsksForFromARegistry(t *testing.T) {
	w := newWorld(t, nil)
	im := w.push("team/app", "1", "index one")
	w.quiet()
	reg, sink := w.front(t), newCollected()
	var planned *proxy.Collected
	done := map[digest.Digest]int64{}
	c := proxy.Collection{Repository: "team/app", Digest: signedDigest(t, im.digest), Into: sink,
		Planned:  func(c *proxy.Collected) error { planned = c; return nil },
		Progress: func(s proxy.Step) { done[s.Digest] = s.Done },
	}
	got, err := proxy.Collect(t.Context(), reg, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Manifests) != 3 || len(sink.manifests) != 3 || got.Manifests[0].Digest.String() != im.digest || planned != got {
		t.Errorf("got %+v, planned %+v", got, planned)
	}
	if len(got.Blobs) != 3 || len(sink.blobs) != 3 { // both platforms have the same layer
		t.Errorf("got the blobs %v, %v", got.Blobs, slices.Collect(maps.Keys(sink.blobs)))
	}
	for _, blob := range got.Blobs {
		if done[blob.Digest] != blob.Size {
			t.Errorf("%s is said to be at %d of %d", blob.Digest, done[blob.Digest], blob.Size)
		}
	}
	w.heardNoTag(t)

	w.quiet()
	c.Known = func(_ context.Context, d digest.Digest) *content.Manifest { return sink.manifests[d] }
	if _, err := proxy.Collect(t.Context(), reg, c); err != nil {
		t.Fatal(err)
	}
	w.heardNothing(t)
}

func TestCollectTakesThePlatformsThatAreAskedFor(t *testing.T) {
	s := newOfflineShelf()
	amd64, arm64, other := s.image("amd64"), s.image("arm64"), s.image("other")
	inner := s.index([]digest.Digest{amd64, arm64}, "linux/amd64", "linux/arm64")
	outer := s.index([]digest.Digest{inner, other}, "", "windows/amd64")
	for _, c := range []struct {
		behaviour string
		platforms []string
		of        digest.Digest
		manifests []digest.Digest
		absent    int
		says      string
	}{
		{"all", nil, outer, []digest.Digest{outer, inner, other, amd64, arm64}, 0, ""},
		{"one in a nested index", []string{"linux/arm64"}, outer, []digest.Digest{outer, inner, arm64}, 0, ""},
		{"one that is there and one that is not", []string{"linux/s390x", "linux/amd64"}, inner, []digest.Digest{inner, amd64}, 1, ""},
		{"none that is there", []string{"linux/s390x"}, outer, nil, 0, `it has ["windows/amd64" "linux/amd64" "linux/arm64"]`},
		{"an image, whatever it is for", []string{"linux/s390x"}, amd64, []digest.Digest{amd64}, 0, ""},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			sink := newCollected()
			got, err := s.collect(t.Context(), t, c.of, sink, onlyFor(c.platforms...))
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || len(sink.blobs) > 0 {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var manifests []digest.Digest
			for _, d := range got.Manifests {
				manifests = append(manifests, d.Digest)
			}
			if !slices.Equal(manifests, c.manifests) || len(got.Absent) != c.absent {
				t.Errorf("got %v without %v, want %v", manifests, got.Absent, c.manifests)
			}
			for _, d := range got.Blobs {
				if !sink.Has(t.Context(), d.Digest) {
					t.Errorf("%s is not there", d.Digest)
				}
			}
		})
	}
}

func TestCollectNamesWhatCannotBeHad(t *testing.T) {
	s := newOfflineShelf()
	im := s.image("layer")
	index := s.index([]digest.Digest{im}, "linux/amd64")
	layer := digest.FromString("layer")
	deep := index // nested deeper than anybody does
	for range 4 {
		deep = s.index([]digest.Digest{deep}, "")
	}
	large := s.add(ociImageType, `{"config":`+entryOf(digest.FromString("large"), 1<<41, "")+`,"layers":[]}`)
	full := newCollected()
	full.full, full.fails = layer, errors.New("the disk is full")
	at := func(wanted digest.Digest, status int, body []byte) func(*http.Request, digest.Digest, []byte) (*http.Response, error) {
		return func(_ *http.Request, d digest.Digest, _ []byte) (*http.Response, error) {
			if d == wanted {
				return answered(status, body), nil
			}
			return nil, nil
		}
	}
	for _, c := range []struct {
		behaviour string
		of        digest.Digest
		hook      func(*http.Request, digest.Digest, []byte) (*http.Response, error)
		sink      *collected
		says      []string
		is        error
	}{
		{"a layer is missing", index, at(layer, 404, nil), nil, []string{layer.String(), "which " + im.String() + " names", `("linux/amd64")`}, proxy.ErrMissing},
		{"a manifest of the index is missing", index, at(im, 404, nil), nil, []string{im.String(), "which " + index.String() + " names", `for "linux/amd64"`}, proxy.ErrMissing},
		{"the signed manifest is missing", index, at(index, 404, nil), nil, []string{index.String() + ", which is signed"}, proxy.ErrMissing},
		{"the layer has other bytes", index, at(layer, 200, []byte("Layer")), nil, []string{layer.String(), "do not match the digest"}, nil},
		{"the layer has more bytes", index, at(layer, 200, []byte("layers")), nil, []string{layer.String(), "has 6 bytes where the manifest speaks of 5"}, nil},
		{"the manifest has other bytes", index, at(im, 200, []byte("{}")), nil, []string{im.String(), "do not match"}, nil},
		{"the credentials do not suffice", index, at(layer, 403, nil), nil, []string{layer.String(), "denies access"}, nil},
		{"the disk is full", index, nil, full, []string{layer.String(), "the disk is full"}, full.fails},
		{"indexes without end", deep, nil, nil, []string{"nested more than 4 deep"}, nil},
		{"a blob that nobody has room for", large, nil, nil, []string{"more than 1099511627776"}, nil},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			s.hook = c.hook
			sink := c.sink
			if sink == nil {
				sink = newCollected()
			}
			got, err := s.collect(t.Context(), t, c.of, sink)
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("got %+v, %v", got, err)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			if _, there := sink.blobs[layer]; there {
				t.Error("the layer is there")
			}
		})
	}
}

// longLayer are bytes that are no repetition.
func longLayer(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%08d", i)
	}
	return b.String()[:n]
}

func TestCollectGoesOnWhereATransferBroke(t *testing.T) {
	const size = 3 << 20
	text := longLayer(size)
	layer := digest.FromString(text)
	for _, c := range []struct {
		behaviour string
		answers   []func(*http.Request, []byte) (*http.Response, error) // of the layer, in order; then honest
		asked     []string                                              // the Ranges
		fails     string
	}{
		{"cut in the middle", []func(*http.Request, []byte) (*http.Response, error){
			func(_ *http.Request, b []byte) (*http.Response, error) { return brokenOff(answered(200, b), 1000), nil },
		}, []string{"", "bytes=1000-"}, ""},
		{"a registry without ranges", []func(*http.Request, []byte) (*http.Response, error){
			func(_ *http.Request, b []byte) (*http.Response, error) { return brokenOff(answered(200, b), 1000), nil },
			func(_ *http.Request, b []byte) (*http.Response, error) { return answered(200, b), nil },
		}, []string{"", "bytes=1000-"}, ""},
		{"a registry without ranges, that takes a minute to get there", []func(*http.Request, []byte) (*http.Response, error){
			func(_ *http.Request, b []byte) (*http.Response, error) {
				return brokenOff(answered(200, b), 1<<20), nil
			},
			func(r *http.Request, b []byte) (*http.Response, error) { return slowly(r, answered(200, b)), nil },
		}, []string{"", "bytes=1048576-"}, ""},
		{"it is not there for a while", []func(*http.Request, []byte) (*http.Response, error){
			func(*http.Request, []byte) (*http.Response, error) { return nil, errors.New("refused") },
			func(*http.Request, []byte) (*http.Response, error) { return answered(502, nil), nil },
			func(*http.Request, []byte) (*http.Response, error) { return answered(429, nil), nil },
		}, []string{"", "", "", ""}, ""},
		{"the rest is from elsewhere in the blob", []func(*http.Request, []byte) (*http.Response, error){
			func(_ *http.Request, b []byte) (*http.Response, error) { return brokenOff(answered(200, b), 1000), nil },
			func(_ *http.Request, b []byte) (*http.Response, error) {
				resp := answered(206, b[999:])
				resp.Header.Set("Content-Range", "bytes 999-")
				return resp, nil
			},
		}, []string{"", "bytes=1000-"}, "sent another part"},
		{"the rest has other bytes", []func(*http.Request, []byte) (*http.Response, error){
			func(_ *http.Request, b []byte) (*http.Response, error) { return brokenOff(answered(200, b), 1000), nil },
			func(r *http.Request, b []byte) (*http.Response, error) {
				return restOf(r, bytes.ReplaceAll(b, []byte("7"), []byte("8"))), nil
			},
		}, []string{"", "bytes=1000-"}, "do not match the digest"},
		{"cut every time", slices.Repeat([]func(*http.Request, []byte) (*http.Response, error){
			func(r *http.Request, b []byte) (*http.Response, error) { return brokenOff(restOf(r, b), 10), nil },
		}, 9), []string{"", "bytes=10-", "bytes=20-", "bytes=30-", "bytes=40-"}, "ended after 50 of"},
		{"cut every time, but getting on", slices.Repeat([]func(*http.Request, []byte) (*http.Response, error){
			func(r *http.Request, b []byte) (*http.Response, error) { return brokenOff(restOf(r, b), 10), nil },
			func(r *http.Request, b []byte) (*http.Response, error) { return brokenOff(restOf(r, b), 10), nil },
			func(r *http.Request, b []byte) (*http.Response, error) { return brokenOff(restOf(r, b), 1<<20), nil },
		}, 3), nil, ""},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, sink := newOfflineShelf(), newCollected()
				im := s.image(text)
				left := c.answers
				s.hook = func(req *http.Request, d digest.Digest, b []byte) (*http.Response, error) {
					if d != layer {
						return nil, nil
					}
					if len(left) == 0 {
						return restOf(req, b), nil
					}
					next := left[0]
					left = left[1:]
					return next(req, b)
				}
				_, err := s.collect(t.Context(), t, im, sink)
				if c.fails == "" && (err != nil || string(sink.blobs[layer]) != text) ||
					c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails) || sink.blobs[layer] != nil) {
					t.Errorf("got %v with %d bytes", err, len(sink.blobs[layer]))
				}
				var asked []string
				for _, line := range s.asked {
					if rest, ok := strings.CutPrefix(line, "blobs "+layer.String()); ok {
						asked = append(asked, strings.TrimSpace(rest))
					}
				}
				if c.asked != nil && !slices.Equal(asked, c.asked) {
					t.Errorf("asked for %q", asked)
				}
			})
		})
	}
}

func TestCollectEndsWithItsContextAndWhereTheRegistryStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sink := newOfflineShelf(), newCollected()
		im := s.image(longLayer(1000))
		still := func(req *http.Request, d digest.Digest, b []byte) (*http.Response, error) {
			if d != digest.FromBytes([]byte(longLayer(1000))) {
				return nil, nil
			}
			resp := restOf(req, b)
			resp.Body = io.NopCloser(io.MultiReader(io.LimitReader(resp.Body, 100), &silentBody{req.Context()}))
			return resp, nil
		}
		s.hook = still
		if _, err := s.collect(t.Context(), t, im, sink); err == nil || !strings.Contains(err.Error(), "ended after 500 of 1000 bytes") {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.hook = func(req *http.Request, d digest.Digest, b []byte) (*http.Response, error) {
			resp, err := still(req, d, b)
			if resp != nil {
				cancel()
			}
			return resp, err
		}
		if _, err := s.collect(ctx, t, im, sink); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// silentBody says nothing until its request ends.
type silentBody struct{ ctx context.Context }

func (s *silentBody) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
