package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
)

// serveBlob answers a read of a blob where there is a cache: from the cache, with
// what is being fetched already, or by a fetch that others can join. A part of a
// blob that is not there is forwarded: it proves nothing of the whole. In front
// of all of it the client is admitted, so that nobody has from the cache what
// the registry would not give.
func (g *gate) serveBlob(w http.ResponseWriter, r *http.Request, repo repo, route Route, rec *record) error {
	found, err := g.admit(r.Context(), repo, g.authorization(r), route)
	switch e, _ := errors.AsType[*Error](err); {
	case e != nil && e.Reason == "upstream-status" && !e.away: // an answer that says nothing of the client, such as 302
		rec.from = fromUpstream
		return g.forward(w, r, route)
	case err != nil:
		return err
	case !found:
		return errNoBlob(route.Reference)
	}
	if g.beforePush(r) {
		rec.from = fromUpstream
		return g.headBlob(w, r, route)
	}
	blob, err := g.cachedBlob(r.Context(), repo, route)
	if err == nil {
		rec.from = fromStore
		return g.serveStored(w, r, repo, route, blob)
	}
	if g.Offline != nil {
		return errOffline(r.Context(), route, err)
	}
	return g.serveFetched(w, r, repo, route, rec)
}

// cachedBlob is a blob in the cache. The error wraps content.ErrNotCached where it is
// not there; any other says why it cannot be read.
func (g *gate) cachedBlob(ctx context.Context, repo repo, route Route) (*content.Blob, error) {
	ctx, span := startSpan(ctx, "cache read")
	defer span.End()
	patient, cancel := context.WithTimeout(ctx, g.manifestTimeout)
	defer cancel()
	blob, err := g.Cache.Blob(patient, repo.name, digest.Digest(route.Reference))
	if err != nil {
		g.logUnread(ctx, repo, route.Reference, err)
		return nil, err
	}
	return blob, nil
}

// serveStored serves a blob of the cache; where that fails, in the middle too,
// the registry's bytes follow.
func (g *gate) serveStored(w http.ResponseWriter, r *http.Request, repo repo, route Route, blob *content.Blob) error {
	return g.writeBlob(w, r, route.Reference, blob.Size, func(offset int64) (io.ReadCloser, error) {
		stored := &storedReader{at: offset, patience: g.manifestTimeout, resume: func(at int64, err error) (io.ReadCloser, error) {
			g.logUnread(r.Context(), repo, route.Reference, err)
			if g.Offline != nil {
				return nil, errOffline(r.Context(), route, err)
			}
			body, size, err := g.openBlob(r.Context(), repo, route, g.authorization(r), at)
			if err == nil && size >= 0 && size != blob.Size {
				body.Close()
				err = badGateway("upstream-mismatch", "the registry has another length for %s", route.Reference)
			}
			if err != nil {
				return nil, g.outage(err, route.Reference)
			}
			return body, nil
		}}
		var ctx context.Context
		ctx, stored.cancel = context.WithCancel(r.Context())
		stored.stalled = time.AfterFunc(g.manifestTimeout, stored.cancel)
		defer stored.stalled.Stop()
		var err error
		if stored.ReadCloser, err = blob.Open(ctx, offset); err != nil {
			err = stored.mend(err)
		}
		return stored, err
	})
}

// storedReader is a blob of the cache that is read from somewhere else once the
// cache fails, or stands still; not where the client has bytes that were damaged
// there: the rest of the right ones would not make them right, so its connection
// is cut.
type storedReader struct {
	io.ReadCloser
	at       int64
	patience time.Duration // until it counts as standing still
	stalled  *time.Timer   // calls cancel, which ends what is asked of the cache
	cancel   context.CancelFunc
	resume   func(at int64, err error) (io.ReadCloser, error) // nil when it was called
}

// mend goes on elsewhere; the error is that of resume.
func (s *storedReader) mend(err error) error {
	if s.ReadCloser != nil {
		s.ReadCloser.Close()
	}
	resume := s.resume
	s.resume = nil
	s.ReadCloser, err = resume(s.at, err)
	return err
}

// Read implements io.Reader.
func (s *storedReader) Read(p []byte) (int, error) {
	s.stalled.Reset(s.patience)
	n, err := s.ReadCloser.Read(p)
	s.stalled.Stop()
	s.at += int64(n)
	if err == nil || err == io.EOF || s.resume == nil || errors.Is(err, content.ErrDigest) && s.at > 0 {
		return n, err
	}
	return n, s.mend(err)
}

// Close implements io.Closer.
func (s *storedReader) Close() error {
	s.cancel()
	if s.ReadCloser == nil {
		return nil
	}
	return s.ReadCloser.Close()
}

// blobKey names a blob under way.
func (g *gate) blobKey(repo repo, digest string) string {
	return g.origin + "\x00" + repo.gun + "\x00" + digest
}

// serveFetched serves a blob that is not in the cache.
func (g *gate) serveFetched(w http.ResponseWriter, r *http.Request, repo repo, route Route, rec *record) error {
	key, source := g.blobKey(repo, route.Reference), g.blobSource(r.Context(), repo, route, g.authorization(r))
	rec.from = fromFlight
	if under := g.flights.Find(r.Context(), key, comesAfter(r), source); under != nil {
		return g.writeReader(w, r, route.Reference, under)
	}
	if !wantsWhole(r) {
		rec.from = fromUpstream
		return g.forward(w, r, route)
	}
	if r.Method == http.MethodHead {
		rec.from = fromUpstream
		return g.headBlob(w, r, route)
	}
	reader, led, err := g.flights.Join(r.Context(), key, digest.Digest(route.Reference), source)
	switch {
	case errors.Is(err, content.ErrSpool), err != nil && !led && g.Passthrough, unfit(err):
		// There is no room; or it was another client's refusal.
		rec.from = fromUpstream
		return g.forward(w, r, route)
	case err != nil:
		return g.outage(err, route.Reference)
	}
	return g.writeReader(w, r, route.Reference, reader)
}

// wantsWhole says whether a request is for the whole of a blob, and for nothing
// else: the range from the first byte on is what resuming clients begin with.
func wantsWhole(r *http.Request) bool {
	for _, name := range []string{"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since"} {
		if r.Header[name] != nil {
			return false
		}
	}
	return r.Header["Range"] == nil || len(r.Header["Range"]) == 1 && r.Header.Get("Range") == "bytes=0-"
}

// comesAfter is how many bytes of a blob under way have to be there so that it is
// worth waiting for what a request is for: the range may begin far ahead.
func comesAfter(r *http.Request) int64 {
	first, _, ok := parseRange(r.Header["Range"])
	switch {
	case !ok, first == 0:
		return -1
	case first < 0:
		return 1<<63 - 1
	}
	return first
}

// writeReader serves a blob under way, and closes it.
func (g *gate) writeReader(w http.ResponseWriter, r *http.Request, digest string, reader *content.Reader) error {
	defer reader.Close()
	return g.writeBlob(w, r, digest, reader.Size(), func(offset int64) (io.ReadCloser, error) {
		_, err := reader.Seek(offset, io.SeekStart)
		return io.NopCloser(reader), err
	})
}

// headBlob answers as GET would from the cache.
func (g *gate) headBlob(w http.ResponseWriter, r *http.Request, route Route) error {
	resp, err := g.ask(r.Context(), g.Bodies, http.MethodHead, route, g.authorization(r))
	if err != nil {
		return g.outage(errUpstream(err), route.Reference)
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return g.writeBlob(w, r, route.Reference, resp.ContentLength, nil)
	case http.StatusNotFound:
		return errNoBlob(route.Reference)
	}
	return g.outage(g.refused(resp), route.Reference)
}

// writeBlob answers a read of a blob of size bytes, -1 where that is not known,
// with what open returns for an offset; of a HEAD nothing is opened. It returns
// an error only when nothing was sent; when the bytes end early, it panics with
// http.ErrAbortHandler, so that the client's connection is cut too.
func (g *gate) writeBlob(w http.ResponseWriter, r *http.Request, digest string, size int64, open func(offset int64) (io.ReadCloser, error)) error {
	h := w.Header()
	part := byteRange{length: size}
	if size >= 0 {
		var err error
		if part, err = readRange(r, digest, size); err != nil {
			return err
		}
	}
	notModified := matchesETag(r.Header["If-None-Match"], digest)
	var body io.ReadCloser
	if !notModified && r.Method != http.MethodHead {
		var err error
		if body, err = open(part.start); err != nil {
			return err
		}
		defer body.Close()
	}
	h["Docker-Content-Digest"] = []string{digest}
	h["Etag"] = []string{`"` + digest + `"`}
	h["Docker-Distribution-Api-Version"] = apiVersion
	if notModified {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Type"] = octetStream
	h["X-Content-Type-Options"] = nosniff
	if size >= 0 {
		h["Accept-Ranges"] = inBytes
		h["Content-Length"] = []string{strconv.FormatInt(part.length, 10)}
	}
	if part.part {
		h["Content-Range"] = []string{part.contentRange(size)}
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.WriteHeader(http.StatusOK)
	}
	if body == nil {
		return nil
	}
	if err := pourBlob(newFlowingWriter(w, g.minRate), body, part.length); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// As apiVersion.
var (
	octetStream = []string{"application/octet-stream"}
	inBytes     = []string{"bytes"}
)

// blobBuffer is what is read and written at once of a blob, in bytes: four records
// of TLS. More is no faster, and every client of a thousand has one.
const blobBuffer = 64 << 10

var blobBuffers = sync.Pool{New: func() any { return new([blobBuffer]byte) }}

// pourBlob writes length bytes of body, all of them where it is -1, to a client
// that must go on reading. An error means that the client does not have them all.
func pourBlob(w *flowingWriter, body io.Reader, length int64) error {
	buf := blobBuffers.Get().(*[blobBuffer]byte)
	defer blobBuffers.Put(buf)
	for length != 0 {
		most := int64(blobBuffer)
		if length > 0 {
			most = min(most, length)
		}
		n, err := body.Read(buf[:most])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			length = max(length-int64(n), -1)
		}
		switch {
		case err == io.EOF && length > 0:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}
