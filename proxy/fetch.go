package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache/guard"
	"go.opentelemetry.io/otel/trace"
)

// blobSource is where a flight gets a blob from: the registry, as the client whose
// Authorization this is; and whom it is given to: the cache. ctx is that of the
// request for which it is fetched, and ends none of it.
func (g *gate) blobSource(ctx context.Context, repo repo, route Route, authorization string) content.Source {
	request := trace.SpanFromContext(ctx)
	return content.Source{
		Open: fetchSpan(request, func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
			if blob, err := g.cachedBlob(ctx, repo, route); err == nil { // another flight has just landed
				if body, err := blob.Open(ctx, offset); err == nil {
					return body, blob.Size, nil
				}
			}
			return g.openBlob(ctx, repo, route, authorization, offset)
		}),
		Keep: func(ctx context.Context, blob io.Reader) {
			ctx, span := startSpan(within(ctx, request), "cache write")
			defer span.End()
			ctx, cancel := context.WithTimeout(ctx, keepBlobTimeout)
			defer cancel()
			g.logUnkept(repo, route.Reference, guard.Run(func() error {
				return g.Cache.PutBlob(ctx, repo.name, digest.Digest(route.Reference), blob)
			}))
		},
		Failed: func(err error) {
			e := g.log.Warn()
			if errors.Is(err, content.ErrDigest) {
				e = g.log.Error().Bool("alarm", true) // the registry, or something before it, has other bytes
			}
			e.Str("registry", g.Name).Str("repository", repo.name).Str("digest", route.Reference).Err(err).Msg("a blob could not be fetched whole: its clients are cut off, and nothing is kept")
		},
	}
}

// openBlob begins to read a blob of the registry at offset; size is that of all of
// it, -1 where the registry does not say. The body does not stand still for ever.
// The error is an *Error.
func (g *gate) openBlob(ctx context.Context, repo repo, route Route, authorization string, offset int64) (body io.ReadCloser, size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(headerTimeout, func() { cancel(context.DeadlineExceeded) })
	req := g.request(ctx, http.MethodGet, route, authorization)
	req.Header.Set("Accept", "*/*")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := g.Bodies.RoundTrip(req)
	late.Stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, 0, errUpstream(err)
	}
	size, err = g.blobSize(resp, route, offset)
	if err != nil {
		upstream.Discard(resp)
		cancel(nil)
		return nil, 0, err
	}
	if g.Passthrough {
		g.auth.remember(g.origin, repo.gun, authorization)
	}
	flowing := &cancelledBody{newFlowingBody(resp, g.minRate, func() { cancel(nil) }), func() { cancel(nil) }}
	if offset > 0 && resp.StatusCode == http.StatusOK { // it knows no ranges
		if n, err := io.CopyN(io.Discard, flowing, offset); err != nil {
			flowing.Close()
			return nil, 0, badGateway("upstream-cut", "the registry's answer ended after %d bytes", n).because(err)
		}
	}
	return flowing, size, nil
}

// cancelledBody ends its request when it is closed.
type cancelledBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b *cancelledBody) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

// blobSize is the size of the whole blob of an answer that begins at offset, or at
// 0 where the registry knows no ranges. The error is an *Error.
func (g *gate) blobSize(resp *http.Response, route Route, offset int64) (int64, error) {
	encoding := resp.Header.Get("Content-Encoding")
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return 0, errNoBlob(route.Reference)
	case resp.StatusCode != http.StatusOK && (resp.StatusCode != http.StatusPartialContent || offset == 0):
		return 0, g.refused(resp)
	case encoding != "" && encoding != "identity":
		return 0, badGateway("upstream-encoding", "the registry sent %s encoded", route.Reference)
	case resp.StatusCode == http.StatusOK:
		return resp.ContentLength, nil
	}
	rest, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))
	if _, total, found := strings.Cut(rest, "/"); ok && found {
		if total == "*" { // not known (RFC 9110 section 14.4)
			return -1, nil
		}
		if size, err := strconv.ParseInt(total, 10, 64); err == nil && size > offset {
			return size, nil
		}
	}
	return 0, badGateway("upstream-protocol", "the registry sent another part of %s than was asked for", route.Reference)
}
