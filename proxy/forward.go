package proxy

import (
	"context"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/sealgate/sealgate/rewrite"
)

// requestHeaders are the headers of a client's request that reach an upstream;
// Authorization is added where the client's credentials are passed through.
// All others stay behind: hop-by-hop ones, whatever names another target
// (X-Original-URL, X-Forwarded-*), a method (X-HTTP-Method-Override) or a body.
var requestHeaders = []string{
	"Accept",
	"If-Match",
	"If-Modified-Since",
	"If-None-Match",
	"If-Range",
	"If-Unmodified-Since",
	"Range",
	"User-Agent",
}

// build makes the upstream request's address from a route alone.
func build(base *url.URL, route Route) *url.URL {
	return &url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path + route.Path(), RawQuery: route.RawQuery()}
}

// ask sends a request of our own to the registry: a probe or a manifest.
func (g *gate) ask(ctx context.Context, via http.RoundTripper, method string, route Route, authorization string) (*http.Response, error) {
	return via.RoundTrip(g.request(ctx, method, route, authorization))
}

// request is what ask sends.
func (g *gate) request(ctx context.Context, method string, route Route, authorization string) *http.Request {
	req := (&http.Request{
		Method: method,
		URL:    build(g.URL, route),
		Header: http.Header{"Accept": {manifestTypes}, "User-Agent": {"sealgate"}},
	}).WithContext(ctx)
	if g.Passthrough && authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return req
}

// forward passes a request on and its answer back, both by allow-list, the
// body untouched.
func (g *gate) forward(w http.ResponseWriter, r *http.Request, route Route) error {
	return g.forwardJudged(w, r, route, func(resp *http.Response) error { return g.judge(r, route, resp) })
}

// forwardTag is forward for a tag that trust is not asked about; what the
// registry had for it goes into the access line.
func (g *gate) forwardTag(w http.ResponseWriter, r *http.Request, route Route, rec *record) error {
	return g.forwardJudged(w, r, route, func(resp *http.Response) error {
		rec.upstreamDigest = answeredDigest(r, resp)
		return g.judge(r, route, resp)
	})
}

func (g *gate) forwardJudged(w http.ResponseWriter, r *http.Request, route Route, judge func(*http.Response) error) error {
	what := route.Path()
	if route.Kind == Blob || route.Kind == ManifestByDigest {
		what = route.Reference
	}
	p := passage{
		base: g.URL, via: g.Bodies, route: route, ns: g.ns,
		credentials: g.Passthrough,
		minRate:     g.minRate,
		fail:        func(err error) *Error { return asError(g.outage(errUpstream(err), what)) },
		judge:       judge,
	}
	return p.serve(w, r)
}

// judge looks at the registry's answer before it is passed back, and remembers
// a by-digest read that it let through: the client may read the repository.
func (g *gate) judge(r *http.Request, route Route, resp *http.Response) error {
	if !g.Passthrough && resp.StatusCode == http.StatusUnauthorized {
		return g.refused(resp)
	}
	if g.Passthrough && route.Kind == Base && r.Header["Authorization"] == nil {
		g.overhearRealms(resp)
	}
	byDigest := route.Kind == ManifestByDigest || route.Kind == Blob
	if g.Passthrough && byDigest && lets(resp.StatusCode) {
		g.auth.remember(g.origin, g.repo(route.Repository).gun, r.Header.Get("Authorization"))
	}
	return nil
}

// passage is one request on its way to an upstream and back.
type passage struct {
	base        *url.URL
	via         http.RoundTripper
	route       Route
	ns          string                     // that has chosen the registry; "" where none has
	credentials bool                       // pass the client's Authorization on
	judge       func(*http.Response) error // may refuse an answer with an *Error
	fail        func(error) *Error         // what it means that no answer came
	minRate     int64                      // see pace
}

// serve returns an error only when nothing was sent to the client; when the
// upstream fails in the middle of a body, it panics with http.ErrAbortHandler,
// so that the client's connection is cut too.
func (p *passage) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Header["Upgrade"] != nil {
		// It is stripped like all that is not listed, but ReverseProxy looks at
		// it before Rewrite does and refuses odd ones.
		r = r.Clone(r.Context())
		r.Header.Del("Upgrade")
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	late := time.AfterFunc(headerTimeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	var failed error
	rp := httputil.ReverseProxy{
		Rewrite:   p.rewrite,
		Transport: p.via,
		ModifyResponse: func(resp *http.Response) error {
			late.Stop()
			resp.Body = newFlowingBody(resp, p.minRate, func() { cancel(nil) })
			return p.answer(resp)
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:     silent,
		BufferPool:   copyBuffers,
	}
	rp.ServeHTTP(newFlowingWriter(w, p.minRate), r.WithContext(ctx))
	switch e := failed.(type) {
	case nil:
		return nil
	case *Error:
		return e
	}
	if err := r.Context().Err(); err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return p.fail(cause)
	}
	return p.fail(failed)
}

// rewrite builds the outgoing request from the route; of the incoming one only
// listed headers are taken, and never a body.
func (p *passage) rewrite(pr *httputil.ProxyRequest) {
	header := make(http.Header, len(requestHeaders)+1)
	for _, name := range requestHeaders {
		if values := pr.In.Header[name]; values != nil {
			header[name] = values
		}
	}
	if authorization := pr.In.Header.Get("Authorization"); p.credentials && authorization != "" {
		header["Authorization"] = []string{authorization}
	}
	if header["User-Agent"] == nil {
		header["User-Agent"] = []string{"sealgate"}
	}
	pr.Out.URL, pr.Out.Host, pr.Out.Header = build(p.base, p.route), "", header
	if p.route.Kind == TrustMetadata {
		pr.Out.Method = http.MethodGet // Notary knows no HEAD; net/http leaves the body out
	}
	pr.Out.Body, pr.Out.ContentLength, pr.Out.TransferEncoding, pr.Out.Trailer = nil, 0, nil, nil
}

func (p *passage) answer(resp *http.Response) error {
	if err := p.judge(resp); err != nil {
		return err
	}
	resp.Trailer = nil // the announcement; flowingBody sees to the rest
	resp.Header = rewrite.Headers(resp.Header)
	if !p.credentials {
		resp.Header.Del("Www-Authenticate") // no challenge to a client whose credentials stay here
	}
	if location := resp.Header.Get("Location"); location != "" {
		if to, ok := rewrite.Location(location, p.base); ok {
			resp.Header.Set("Location", keepNamespace(p.ns, to))
		} else {
			resp.Header.Del("Location")
		}
	}
	if link := resp.Header.Get("Link"); link != "" {
		if to := rewrite.Link(link, p.base, p.route.Path()); to != "" {
			resp.Header.Set("Link", keepNamespaceInLink(p.ns, to))
		} else {
			resp.Header.Del("Link")
		}
	}
	return nil
}

const (
	// headerTimeout bounds the wait for an answer to what is passed on, with
	// that for a connection.
	headerTimeout = 30 * time.Second
	// upstreamStall is how long an upstream may stand still in the middle of a
	// body, clientStall a client. A client that reads slowly looks as if it
	// stood still until the kernel has room for megabytes, so it has longer.
	upstreamStall = time.Minute
	clientStall   = 10 * time.Minute
)

// flowingBody is an upstream's body that must neither stand still nor trickle.
// Closing it forgets the trailers: they would reach the client around the list of
// headers.
type flowingBody struct {
	io.ReadCloser
	resp    *http.Response
	pace    pace
	stalled *time.Timer
}

func newFlowingBody(resp *http.Response, minRate int64, cancel func()) *flowingBody {
	return &flowingBody{ReadCloser: resp.Body, resp: resp, pace: newPace(upstreamStall, minRate), stalled: time.AfterFunc(upstreamStall, cancel)}
}

func (b *flowingBody) Read(p []byte) (int, error) {
	b.stalled.Reset(b.pace.wait())
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.stalled.Stop()
	b.pace.moved(n, time.Since(began))
	return n, err
}

func (b *flowingBody) Close() error {
	b.stalled.Stop()
	err := b.ReadCloser.Close()
	b.resp.Trailer = nil
	return err
}

// flowingWriter is a client that must go on reading, and not trickle. Its
// deadline replaces the server's WriteTimeout, which is for answers of a known
// small size and holds again for the next request.
type flowingWriter struct {
	http.ResponseWriter
	conn *http.ResponseController
	pace pace
}

func newFlowingWriter(w http.ResponseWriter, minRate int64) *flowingWriter {
	return &flowingWriter{w, http.NewResponseController(w), newPace(clientStall, minRate)}
}

func (w *flowingWriter) Write(p []byte) (int, error) {
	began := time.Now()
	w.conn.SetWriteDeadline(began.Add(w.pace.wait())) // where it cannot be set, there is no connection to hold
	n, err := w.ResponseWriter.Write(p)
	w.pace.moved(n, time.Since(began))
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *flowingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// silent: what ReverseProxy would log is returned or cuts the connection.
var silent = stdlog.New(io.Discard, "", 0)

// copyBuffers lends the buffers that bodies are copied through.
var copyBuffers = &bufferPool{pool: sync.Pool{New: func() any { return new([64 << 10]byte) }}}

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte { return b.pool.Get().(*[64 << 10]byte)[:] }

func (b *bufferPool) Put(buf []byte) { b.pool.Put((*[64 << 10]byte)(buf)) }
