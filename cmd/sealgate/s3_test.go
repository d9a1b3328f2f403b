package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sealgate/sealgate/config"
)

// bucketAt is the driver of a bucket of a server that answers as handler does.
func bucketAt(t *testing.T, handler http.HandlerFunc) driver.StorageDriver {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // which is the driver's
	})
	d, err := openDriver(config.Storage{Driver: config.S3, Parameters: map[string]any{
		"bucket": "b", "region": "us-east-1", "regionendpoint": server.URL, "forcepathstyle": true, "accesskey": "AKHUNTER2", "secretkey": "zzter2",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestABucketsErrorsAreDiscreet: one line, bounded, without what the driver was
// given in confidence, whatever the server puts there.
func TestABucketsErrorsAreDiscreet(t *testing.T) {
	d := bucketAt(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><Message>AKHUNTER2 with zzter2\nmay not %s</Message></Error>", strings.Repeat("x", 1000))
	})
	ctx := t.Context()
	_, got := d.GetContent(ctx, "/a")
	_, list := d.List(ctx, "/a")
	_, stat := d.Stat(ctx, "/a")
	_, read := d.Reader(ctx, "/a", 0)
	_, write := d.Writer(ctx, "/a", false)
	for name, err := range map[string]error{
		"get": got, "list": list, "stat": stat, "read": read, "write": write,
		"put": d.PutContent(ctx, "/a", nil), "delete": d.Delete(ctx, "/a"), "move": d.Move(ctx, "/a", "/b"),
	} {
		switch {
		case err == nil:
			t.Errorf("%s: done", name)
		case strings.Contains(err.Error(), "HUNTER2"), strings.Contains(err.Error(), "zzter2"), strings.Contains(err.Error(), "\n"), len(err.Error()) > 600:
			t.Errorf("%s: %s", name, err)
		case !strings.Contains(err.Error(), "AccessDenied: [accesskey] with [secretkey] may not"):
			t.Errorf("%s says nothing: %s", name, err)
		}
	}
}

// TestWhatABucketDoesNotHave is told from what it does not tell.
func TestWhatABucketDoesNotHave(t *testing.T) {
	for code, absent := range map[string]bool{"NoSuchKey": true, "NoSuchBucket": false, "AccessDenied": false} {
		d := bucketAt(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		})
		_, err := d.GetContent(t.Context(), "/a")
		if missing := errors.As(err, new(driver.PathNotFoundError)); err == nil || missing != absent {
			t.Errorf("%s: %v", code, err)
		}
		if _, plain := err.(driver.PathNotFoundError); plain != absent {
			t.Errorf("%s: %T, which the storage library asks for its type", code, err)
		}
	}
}

// TestWhatTheDriverDoesNotTake is named with its key, before anybody is asked.
func TestWhatTheDriverDoesNotTake(t *testing.T) {
	_, err := openDriver(config.Storage{Driver: config.S3, Parameters: map[string]any{"bucket": "b", "region": "nowhere-1", "secretkey": "hunter2"}})
	if err == nil || !strings.Contains(err.Error(), "storage.s3: invalid region provided: nowhere-1") {
		t.Error(err)
	}
}

// TestABucketThatIsBusyIsAskedAgain: 503 SlowDown is how S3 says so.
func TestABucketThatIsBusyIsAskedAgain(t *testing.T) {
	var asked atomic.Int32
	d := bucketAt(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>")
		}
	})
	if err := d.PutContent(t.Context(), "/a", []byte("content")); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

// TestABucketThatHangsIsGivenUp when the caller has no more time.
func TestABucketThatHangsIsGivenUp(t *testing.T) {
	ctx, giveUp := context.WithCancel(t.Context())
	d := bucketAt(t, func(_ http.ResponseWriter, r *http.Request) {
		giveUp()
		<-r.Context().Done()
	})
	if _, err := d.List(ctx, "/a"); err == nil || errors.As(err, new(driver.PathNotFoundError)) {
		t.Errorf("a bucket that says nothing has said: %v", err)
	}
}
