package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	cryptosha256 "crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	stdlog "log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// registryName is what publishers typed when they signed.
const registryName = "registry.example.com"

const releases = "targets/releases"

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// arrival is a request as it reached an upstream, every header of it.
type arrival struct {
	Method, Target string
	Header         http.Header
	Body           int // bytes
	Chunked        bool
	Trailer        bool
}

// spy is a middleware that writes down what arrives and may answer itself.
type spy struct {
	mu       sync.Mutex
	arrivals []arrival
	answer   http.HandlerFunc // nil: the registry answers
}

func (s *spy) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		header := r.Header.Clone()
		s.mu.Lock()
		s.arrivals = append(s.arrivals, arrival{r.Method, r.RequestURI, header, len(body), len(r.TransferEncoding) > 0, len(r.Trailer) > 0})
		answer := s.answer
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// lie makes h answer from now on; nil makes the registry honest again.
func (s *spy) lie(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

func (s *spy) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals = nil
}

func (s *spy) list() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.arrivals)
}

// image is a manifest in the registry.
type image struct {
	digest string
	size   int64
	body   []byte
	blob   string // digest of one of its layers; "" for an index
}

// world is a real registry, a real trust server and somebody who signs.
type world struct {
	t         testing.TB
	ca        *sandbox.CA
	registry  *sandbox.Registry
	upstream  *spy // sees what authentication let in
	notary    *sandbox.TrustServer
	notarySpy *spy
	publisher *sandbox.Publisher
	images    map[string]image // by repository:tag as pushed last
}

// newWorld starts an empty world; with users the registry is private.
func newWorld(t testing.TB, users map[string]string) *world {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: ca, upstream: &spy{}, notarySpy: &spy{}, images: map[string]image{}}
	ctx := context.Background()
	if w.registry, err = sandbox.StartRegistry(ctx, sandbox.RegistryOptions{CA: ca, Users: users, Middleware: w.upstream.around}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, w.registry) })
	if w.notary, err = sandbox.StartTrustServer(ctx, sandbox.TrustServerOptions{CA: ca, Middleware: w.notarySpy.around}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, w.notary) })
	if w.publisher, err = sandbox.NewPublisher(w.notary.URL(), ca.Pool(), ""); err != nil {
		t.Fatal(err)
	}
	return w
}

func closed(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// push uploads a small image made from seed; with index a two-platform index.
func (w *world) push(repository, tag, seed string) image {
	w.t.Helper()
	var thing remote.Taggable
	var err error
	if strings.HasPrefix(seed, "index") {
		thing, err = sandbox.Index(seed)
	} else {
		thing, err = sandbox.Image(seed)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	digest, size, err := w.registry.Push(context.Background(), repository, tag, thing)
	if err != nil {
		w.t.Fatal(err)
	}
	im := image{digest: digest, size: size}
	if im.body, err = thing.RawManifest(); err != nil {
		w.t.Fatal(err)
	}
	if single, ok := thing.(v1.Image); ok {
		layers, err := single.Layers()
		if err != nil {
			w.t.Fatal(err)
		}
		hash, err := layers[0].Digest()
		if err != nil {
			w.t.Fatal(err)
		}
		im.blob = hash.String()
	}
	w.images[repository+":"+tag] = im
	return im
}

// init publishes trust data for the repository, delegations included.
func (w *world) init(repository string, delegations ...string) {
	w.t.Helper()
	if _, err := w.publisher.Init(gun(repository)); err != nil {
		w.t.Fatal(err)
	}
	for _, role := range delegations {
		if err := w.publisher.AddDelegation(gun(repository), role); err != nil {
			w.t.Fatal(err)
		}
	}
}

func gun(repository string) string { return registryName + "/" + repository }

func (w *world) sign(repository, tag string, im image, roles ...string) {
	w.t.Helper()
	if err := w.publisher.Sign(gun(repository), tag, strings.TrimPrefix(im.digest, "sha256:"), im.size, roles...); err != nil {
		w.t.Fatal(err)
	}
}

// quiet forgets what reached the servers so far.
func (w *world) quiet() {
	w.registry.ResetRequests()
	w.notary.ResetRequests()
	w.upstream.reset()
	w.notarySpy.reset()
}

// heardNothing fails when anything reached the registry.
func (w *world) heardNothing(t testing.TB) {
	t.Helper()
	for _, r := range w.registry.Requests() {
		t.Errorf("the registry was asked %s %s", r.Method, r.Target)
	}
}

// heardNoTag fails when the registry was asked for a tag, a list of tags or
// the catalog, as distribution's own router reads what arrived.
func (w *world) heardNoTag(t testing.TB) {
	t.Helper()
	router := distributionRouter()
	for _, r := range w.registry.Requests() {
		for _, read := range readings(router, r.Target) {
			if read.tag() || read.tagsOrCatalog() {
				t.Errorf("the registry was asked %s %s, which it reads as %+v", r.Method, r.Target, read)
			}
		}
	}
}

// asked are the requests that reached the registry as "METHOD target", before
// authentication.
func (w *world) asked() []string {
	var lines []string
	for _, r := range w.registry.Requests() {
		lines = append(lines, r.Method+" "+r.Target)
	}
	return lines
}

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// transport is the real one, closed when the test ends.
func transport(t testing.TB, pool *x509.CertPool) *upstream.Transport {
	tr := upstream.NewTransport(upstream.Options{RootCAs: pool})
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// trust is the real trust cache over the real verifier, believing the first
// root it sees of a repository.
func (w *world) trust(t testing.TB, change ...func(*trustcache.Options, *notary.Options)) *trustcache.Cache {
	t.Helper()
	source := notary.Options{URL: mustURL(t, w.notary.URL()), Transport: transport(t, w.ca.Pool()), TrustOnFirstUse: true}
	opts := trustcache.Options{}
	for _, f := range change {
		f(&opts, &source)
	}
	opts.Source = notary.New(source)
	c := trustcache.New(opts)
	t.Cleanup(c.Close)
	return c
}

// front is how the gate stands in front of the world, anonymous and enforced.
func (w *world) front(t testing.TB) proxy.Registry {
	t.Helper()
	return proxy.Registry{
		Name: registryName, Hosts: []string{registryName},
		URL: mustURL(t, w.registry.URL()), Upstream: transport(t, w.ca.Pool()),
		Trust:     w.trust(t),
		NotaryURL: mustURL(t, w.notary.URL()), Notary: transport(t, w.ca.Pool()),
	}
}

// logBuffer collects what the gate logs.
type logBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed at the next write
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// wait returns when text has been logged.
func (b *logBuffer) wait(t testing.TB, text string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		if strings.Contains(b.buf.String(), text) {
			b.mu.Unlock()
			return
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("%q was never logged", text)
		}
	}
}

// gate is our handler on a real server, and clients for it.
type gate struct {
	t    testing.TB
	addr string
	pool *x509.CertPool
	http *http.Client // HTTP/2
	log  *logBuffer
	stop func()
}

// startGate starts a gate that logs into memory.
func startGate(t testing.TB, opts proxy.Options) *gate {
	t.Helper()
	log := &logBuffer{}
	opts.Log = zerolog.New(log)
	g := serveGate(t, proxy.New(opts))
	g.log = log
	return g
}

// serveGate serves as cmd/sealgate does: TLS with HTTP/2, the same limits.
func serveGate(t testing.TB, handler http.Handler) *gate {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("127.0.0.1", registryName)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, pool: ca.Pool()}
	server := &http.Server{
		Handler:                      handler,
		TLSConfig:                    &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
		ReadHeaderTimeout:            10 * time.Second,
		ReadTimeout:                  60 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		ErrorLog:                     stdlog.New(io.Discard, "", 0),
		DisableGeneralOptionsHandler: true,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = listener.Addr().String()
	var served sync.WaitGroup
	served.Go(func() { _ = server.ServeTLS(listener, "", "") })
	g.stop = sync.OnceFunc(func() {
		_ = server.Close()
		served.Wait()
	})
	t.Cleanup(g.stop)
	g.http = g.client()
	return g
}

// client returns a client that keeps to one connection of HTTP/2 and follows
// no redirect.
func (g *gate) client() *http.Client {
	tr := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: g.pool},
		ForceAttemptHTTP2:  true,
		HTTP2:              &http.HTTP2Config{StrictMaxConcurrentRequests: true},
		DisableCompression: true,
	}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// gateFor starts a gate in front of one registry.
func gateFor(t testing.TB, reg proxy.Registry) *gate {
	t.Helper()
	return startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: 30 * time.Second})
}

// answer is a whole answer of the gate.
type answer struct {
	status int
	header http.Header
	body   []byte
	cut    error // the body ended before its end
}

// code and message are those of the error body.
func (a answer) code() string { c, _ := a.refusal(); return c }

func (a answer) message() string { _, m := a.refusal(); return m }

func (a answer) refusal() (code, message string) {
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &body) != nil || len(body.Errors) != 1 {
		return "", ""
	}
	return body.Errors[0].Code, body.Errors[0].Message
}

func (a answer) String() string {
	if code, message := a.refusal(); code != "" {
		return fmt.Sprintf("%d %s %s", a.status, code, message)
	}
	return fmt.Sprintf("%d with %d bytes %.200q", a.status, len(a.body), a.body)
}

// differs lists what tells two answers apart, without the two
// that are of the moment.
func (a answer) differs(b answer) (what []string) {
	if a.status != b.status {
		what = append(what, fmt.Sprintf("status %d and %d", a.status, b.status))
	}
	if !bytes.Equal(a.body, b.body) {
		what = append(what, fmt.Sprintf("body %.300q and %.300q", a.body, b.body))
	}
	return append(what, differentHeaders(a.header, b.header)...)
}

func differentHeaders(a, b http.Header) (what []string) {
	names := slices.Collect(maps.Keys(a))
	names = append(names, slices.Collect(maps.Keys(b))...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name != "Date" && name != "X-Request-Id" && !slices.Equal(a[name], b[name]) {
			what = append(what, fmt.Sprintf("%s: %q and %q", name, a[name], b[name]))
		}
	}
	return what
}

// get asks for a target over HTTP/2; header is names and values in turn.
func (g *gate) get(target string, header ...string) answer {
	g.t.Helper()
	return g.do(http.MethodGet, target, header...)
}

func (g *gate) do(method, target string, header ...string) answer {
	g.t.Helper()
	a, err := g.try(method, target, header...)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

func (g *gate) try(method, target string, header ...string) (answer, error) {
	return g.by(g.http, method, target, header...)
}

func (g *gate) by(client *http.Client, method, target string, header ...string) (answer, error) {
	path, query, _ := strings.Cut(target, "?")
	req := &http.Request{
		Method: method,
		URL:    &url.URL{Scheme: "https", Host: g.addr, Opaque: path, RawQuery: query},
		Host:   registryName,
		Header: http.Header{"User-Agent": nil},
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	return whole(resp), nil
}

func whole(resp *http.Response) answer {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err}
}

// dial opens a connection that speaks protocol ("h2" or "http/1.1").
func (g *gate) dial(protocol string) net.Conn {
	g.t.Helper()
	conn, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: g.pool, NextProtos: []string{protocol}})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	return conn
}

// raw writes text on a connection of HTTP/1.1, and after it a request that asks
// for the end of the connection. It returns every answer until then, in order:
// the first is that to text, the last may be that to the second request.
func (g *gate) raw(text string) (answers []answer) {
	g.t.Helper()
	conn := g.dial("http/1.1")
	defer conn.Close()
	if _, err := io.WriteString(conn, text+"GET /end HTTP/1.1\r\nHost: "+registryName+"\r\nConnection: close\r\n\r\n"); err != nil {
		g.t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	method, _, _ := strings.Cut(text, " ")
	for {
		resp, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			return answers
		}
		answers = append(answers, whole(resp))
		if resp.Close {
			return answers
		}
		method = http.MethodGet
	}
}

// rawGet sends one GET with the target as it is, over HTTP/1.1.
func (g *gate) rawGet(method, target string, headers ...string) answer {
	g.t.Helper()
	text := method + " " + target + " HTTP/1.1\r\n"
	if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Host:") || h == "no host" }) {
		text += "Host: " + registryName + "\r\n"
	}
	for _, h := range headers {
		if h != "no host" {
			text += h + "\r\n"
		}
	}
	answers := g.raw(text + "\r\n")
	if len(answers) == 0 {
		g.t.Fatalf("%s %q: no answer", method, target)
	}
	return answers[0]
}

// frames sends one request of HTTP/2 made of fields in order and returns the
// answer; reset is true where the server broke off the stream instead.
func (g *gate) frames(fields ...string) (a answer, reset bool) {
	g.t.Helper()
	conn := g.dial("h2")
	defer conn.Close()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			g.t.Fatal(err)
		}
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		g.t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		g.t.Fatal(err)
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
		g.t.Fatal(err)
	}
	a.header = http.Header{}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return a, true
		}
		switch f := frame.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return a, true
		case *http2.MetaHeadersFrame:
			fmt.Sscan(f.PseudoValue("status"), &a.status)
			for _, h := range f.RegularFields() {
				a.header.Add(h.Name, h.Value)
			}
		case *http2.DataFrame:
			a.body = append(a.body, f.Data()...)
		}
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return a, false
		}
	}
}

// framesGet sends one GET with the target as it is, over HTTP/2.
func (g *gate) framesGet(target string, fields ...string) (answer, bool) {
	g.t.Helper()
	return g.frames(append([]string{":method", "GET", ":scheme", "https", ":authority", registryName, ":path", target}, fields...)...)
}

// pretend is a Trust that says what it is told.
type pretend struct {
	mu    sync.Mutex
	views map[string]trustcache.View
	errs  map[string]error
	asked []string
	panic any
}

func (p *pretend) Repository(_ context.Context, gun string) (trustcache.View, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, gun)
	if p.panic != nil {
		panic(p.panic)
	}
	if err := p.errs[gun]; err != nil {
		return trustcache.View{}, err
	}
	view, ok := p.views[gun]
	if !ok {
		return view, fmt.Errorf("%w: %s", trustcache.ErrNoTrustData, gun)
	}
	return view, nil
}

func (p *pretend) Tag(ctx context.Context, gun, _ string) (trustcache.View, error) {
	return p.Repository(ctx, gun)
}

// fail makes err the answer about the repository.
func (p *pretend) fail(repository string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.errs == nil {
		p.errs = map[string]error{}
	}
	p.errs[gun(repository)] = err
}

// sign makes the targets what is signed in the repository.
func (p *pretend) sign(repository string, targets ...trustcache.Target) {
	p.signGUN(gun(repository), targets...)
}

// signGUN is sign for a repository of any registry.
func (p *pretend) signGUN(gun string, targets ...trustcache.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.views == nil {
		p.views = map[string]trustcache.View{}
	}
	p.views[gun] = trustcache.View{Snapshot: trustcache.NewSnapshot(trustcache.Contents{GUN: gun, Targets: targets})}
}

// stale makes the view of the repository stale for the reason err.
func (p *pretend) stale(repository string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.views[gun(repository)]
	v.Stale = err
	p.views[gun(repository)] = v
}

// target is a signed tag.
func target(tag string, im image) trustcache.Target {
	return trustcache.Target{Tag: tag, Digest: digestOf(im.digest), Length: im.size, Role: releases, Signers: []string{releases}}
}

func digestOf(text string) (d trustcache.Digest) {
	if n, err := hex.Decode(d[:], []byte(strings.TrimPrefix(text, "sha256:"))); n != len(d) || err != nil {
		panic("not a digest: " + text)
	}
	return d
}

// imageOf is the image that body is the manifest of.
func imageOf(body []byte) image {
	return image{digest: fmt.Sprintf("sha256:%x", cryptosha256.Sum256(body)), size: int64(len(body)), body: body}
}

// always is one policy for every repository.
func always(p proxy.Policy) func(string) *proxy.Policy {
	return func(string) *proxy.Policy { return &p }
}
