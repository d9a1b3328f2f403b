package content

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
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

// prefixes counts those that are in use.
var prefixes atomic.Int64

// emptyDriver is one that nobody else uses and that has nothing.
func emptyDriver(tb testing.TB) driver.StorageDriver {
	tb.Helper()
	if os.Getenv(testBucket) == "" {
		return inmemory.New()
	}
	parameters := map[string]any{}
	must(tb, json.Unmarshal([]byte(os.Getenv(testBucket)), &parameters))
	parameters["rootdirectory"] = fmt.Sprintf("content-%d-%d", os.Getpid(), prefixes.Add(1))
	d, err := factory.Create(context.Background(), "s3", parameters)
	must(tb, err)
	return d
}
