package state_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
)

// testBucket is the environment variable with the parameters of a bucket, in
// JSON. Where it is set, tests work there and not in memory: the end-to-end suite
// runs them so, against a real S3 server.
const testBucket = "SEALGATE_TEST_BUCKET"

// emptyDriver is one that nobody else uses and that has nothing.
func emptyDriver(tb testing.TB) driver.StorageDriver {
	tb.Helper()
	if os.Getenv(testBucket) == "" {
		return inmemory.New()
	}
	d, err := inBucket(fmt.Sprintf("%d-%d", os.Getpid(), prefixes.Add(1)))
	must(tb, err)
	return d
}

// prefixes counts those that are in use.
var prefixes atomic.Int64

// inBucket is the driver of what is under a prefix in the bucket.
func inBucket(prefix string) (driver.StorageDriver, error) {
	parameters := map[string]any{}
	if err := json.Unmarshal([]byte(os.Getenv(testBucket)), &parameters); err != nil {
		return nil, err
	}
	parameters["rootdirectory"] = prefix
	return factory.Create(context.Background(), "s3", parameters)
}

// sharedBy is the driver of several processes that are given one directory.
func sharedBy(directory string) driver.StorageDriver {
	if os.Getenv(testBucket) == "" {
		return onDisk(directory)
	}
	d, err := inBucket(strings.Trim(directory, "/"))
	if err != nil {
		panic(err) // there is no test that could fail in a child
	}
	return d
}

// each names the kinds of storage that some tests go through.
func each(t *testing.T) map[string]driver.StorageDriver {
	return map[string]driver.StorageDriver{"empty": emptyDriver(t), "filesystem": onDisk(t.TempDir())}
}

// TestNamesThatBeginAlike: what is under one prefix is out of reach of another
// that is the beginning of it, and so are repositories and files of such names.
func TestNamesThatBeginAlike(t *testing.T) {
	d := emptyDriver(t)
	for _, path := range []string{"/sub/a", "/su/a", "/sub/ab", "/s"} {
		must(t, d.PutContent(t.Context(), path, []byte(path)))
	}
	if got, err := d.List(t.Context(), "/su"); err != nil || len(got) != 1 || got[0] != "/su/a" {
		t.Errorf("listed %q, %v", got, err)
	}
	must(t, d.Delete(t.Context(), "/su"))
	must(t, d.Delete(t.Context(), "/sub/a"))
	for path, there := range map[string]bool{"/s": true, "/su/a": false, "/sub/a": false, "/sub/ab": true} {
		if _, err := d.GetContent(t.Context(), path); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestMoreNamesThanOneListHas: S3 lists a thousand at a time.
func TestMoreNamesThanOneListHas(t *testing.T) {
	const n = 1005
	d := emptyDriver(t)
	s := open(d)
	for i := range n {
		_, err := s.PutFile(t.Context(), testGUN, fmt.Sprintf("file%d", i), []byte("x"))
		must(t, err)
	}
	must(t, s.KeepFiles(t.Context(), testGUN, []string{"file7"}))
	if left := objects(t, d, "/sealgate/trust/files"); len(left) != 1 {
		t.Errorf("%d files are left, of %d", len(left), n)
	}
}
