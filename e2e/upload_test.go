package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// uploader sends blobs to a gate over one connection.
type uploader struct {
	w    *world
	http *http.Client
}

func newUploader(t *testing.T, w *world) *uploader {
	t.Helper()
	transport := w.ca.transport(false)
	t.Cleanup(transport.CloseIdleConnections)
	return &uploader{w, &http.Client{Transport: transport, Timeout: time.Minute}}
}

// send makes one request of an upload and returns its answer, body read.
func (u *uploader) send(method, path string, body io.Reader, header ...string) (*http.Response, error) {
	req, err := http.NewRequest(method, u.w.url+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// must is send for a request with an answer that is certain.
func (u *uploader) must(t *testing.T, status int, method, path string, body io.Reader, header ...string) (location string) {
	t.Helper()
	resp, err := u.send(method, path, body, header...)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s %.80s: got %v, %v, want %d\n%s", method, path, resp, err, status, u.w.tail())
	}
	return resp.Header.Get("Location")
}

// cutOff gives what it has and then fails, as a client does that goes away.
type cutOff struct{ io.Reader }

var errCutOff = errors.New("the client goes away")

func (c cutOff) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		err = errCutOff
	}
	return n, err
}

// TestAnUploadGoesOnAfterACutAndARestart: against distribution v3, whose upload
// knows how far it came.
func TestAnUploadGoesOnAfterACutAndARestart(t *testing.T) {
	registry, err := sandbox.StartRegistry(t.Context(), sandbox.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	w := openToWrite(t, func(s *settings) { s.upstream = registry.URL() })
	u, blob := newUploader(t, w), bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(blob))
	location := u.must(t, http.StatusAccepted, "POST", "/v2/team/app/blobs/uploads/", nil)
	location = u.must(t, http.StatusAccepted, "PATCH", location, bytes.NewReader(blob[:1<<18]))

	w.restart(t, false, nil)
	if _, err := u.send("PATCH", location, cutOff{bytes.NewReader(blob[1<<18 : 1<<19])}); err == nil {
		t.Fatal("half a chunk was answered")
	}
	w.restart(t, true, nil)
	var came int
	eventually(t, 10*time.Second, func() error { // the registry may still be writing
		resp, err := u.send("GET", location, nil)
		if err != nil || resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("the status of the upload: %v, %v", resp, err)
		}
		if _, err := fmt.Sscanf(resp.Header.Get("Range"), "0-%d", &came); err != nil {
			return err
		}
		next := resp.Header.Get("Location")
		if resp, err = u.send("PATCH", next, bytes.NewReader(blob[came+1:])); err != nil || resp.StatusCode != http.StatusAccepted {
			return fmt.Errorf("going on from %d: %v, %v", came, resp, err)
		}
		location = resp.Header.Get("Location")
		return nil
	})
	if came+1 < 1<<18 {
		t.Errorf("the registry has %d bytes of the first chunk", came+1)
	}
	u.must(t, http.StatusCreated, "PUT", location+"?digest="+digest, nil)
	if a := w.get(t, "/v2/team/app/blobs/"+digest); a.body != string(blob) {
		t.Errorf("read back: status %d and %d bytes", a.status, len(a.body))
	}
}

// zeros are as many as are asked for.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestALargeUploadTakesLittleMemory(t *testing.T) {
	const size = 64 << 20
	w := openToWrite(t, nil)
	u := newUploader(t, w)
	u.must(t, http.StatusAccepted, "POST", "/v2/team/app/blobs/uploads/", nil)
	before := w.highWater(t)
	sum := sha256.New()
	for _, length := range []string{"known", "not known"} {
		sum.Reset()
		var body io.Reader = io.TeeReader(io.LimitReader(zeros{}, size), sum)
		location := u.must(t, http.StatusAccepted, "POST", "/v2/team/app/blobs/uploads/", nil)
		if length == "known" {
			location = u.sized(t, location, body, size)
		} else {
			location = u.must(t, http.StatusAccepted, "PATCH", location, body)
		}
		u.must(t, http.StatusCreated, "PUT", fmt.Sprintf("%s?digest=sha256:%x", location, sum.Sum(nil)), nil)
	}
	if grown := w.highWater(t) - before; grown > 24<<20 {
		t.Errorf("two uploads of %d MiB made Sealgate grow by %d MiB", size>>20, grown>>20)
	}
}

// sized is a PATCH that says how long it is.
func (u *uploader) sized(t *testing.T, path string, body io.Reader, size int64) string {
	t.Helper()
	req := must(http.NewRequest("PATCH", u.w.url+path, body))(t)
	req.ContentLength = size
	resp := must(u.http.Do(req))(t)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("got %s", resp.Status)
	}
	return resp.Header.Get("Location")
}

// highWater is the most memory that Sealgate had resident, in bytes.
func (w *world) highWater(t *testing.T) (bytes int64) {
	t.Helper()
	status := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", w.gate.cmd.Process.Pid)))(t)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(after, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}
