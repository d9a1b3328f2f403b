package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
	"github.com/sealgate/sealgate/trustcache/state"
)

// bucket is one on versitygw, an S3 server over a directory.
type bucket struct {
	*process
	addr string
	ca   *authority
}

// The bucket, and who may use it. The secrets are looked for in what Sealgate writes.
const (
	bucketName      = "sealgate"
	bucketAccessKey = "AKE2EHUNTER2"
	bucketSecretKey = "zzter2zzter2"
)

// startBucket starts a server with an empty bucket for one test.
func startBucket(t *testing.T, dir string, ca *authority) *bucket {
	t.Helper()
	cert, key, err := ca.serverPair("s3")
	if err != nil {
		t.Fatal(err)
	}
	top := filepath.Join(dir, "s3")
	if err := os.MkdirAll(filepath.Join(top, bucketName), 0o700); err != nil {
		t.Fatal(err)
	}
	b := &bucket{addr: must(freeAddress())(t), ca: ca}
	b.process, err = start("versitygw", filepath.Join(dir, "s3.log"), []string{"ROOT_ACCESS_KEY=" + bucketAccessKey, "ROOT_SECRET_KEY=" + bucketSecretKey},
		"versitygw", "--quiet", "--keep-alive", "--cert", cert, "--key", key, "--port", b.addr, "posix", top)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop(5 * time.Second) })
	if err := b.ready(15*time.Second, ca.answers("https://"+b.addr+"/")); err != nil {
		t.Fatal(err)
	}
	return b
}

// parameters are those of the driver for the server at addr, which may be a line
// to it.
func (b *bucket) parameters(addr string) map[string]any {
	return map[string]any{
		"bucket": bucketName, "region": "us-east-1", "regionendpoint": "https://" + addr, "forcepathstyle": true,
		"accesskey": bucketAccessKey, "secretkey": bucketSecretKey,
	}
}

// storage is the block of proxy.yaml, and env what the driver has to be told beside it.
func (b *bucket) storage(addr string) string {
	block, _ := json.Marshal(map[string]any{"s3": b.parameters(addr)}) // of strings and a flag
	return string(block)
}

func (b *bucket) env() []string { return []string{"AWS_CA_BUNDLE=" + b.ca.file} }

// driver is the suite's own way into the bucket, which needs not believe its
// certificate.
func (b *bucket) driver(t *testing.T) driver.StorageDriver {
	t.Helper()
	parameters := b.parameters(b.addr)
	parameters["skipverify"] = true
	return must(factory.Create(context.Background(), "s3", parameters))(t)
}

// remembered is what the bucket knows of a repository.
func (b *bucket) remembered(t *testing.T, gun string) *state.State {
	t.Helper()
	return must(state.New(state.Options{Driver: b.driver(t)}).Load(t.Context(), gun))(t)
}

// wantNoneBack fails where a role that was remembered is at a lower version now.
func wantNoneBack(t *testing.T, before, now *state.State) {
	t.Helper()
	if before == nil || now == nil || now.Epoch < before.Epoch {
		t.Fatalf("remembered was %+v, is %+v", before, now)
	}
	for role, floors := range before.Floors {
		if after := now.Floors[role]; len(after) == 0 || after[0].Version < floors[0].Version {
			t.Errorf("%s went back from %+v to %+v", role, floors, after)
		}
	}
}

// bucketLong makes the tests of packages on an S3 server run all of them.
const bucketLong = "SEALGATE_BUCKET_LONG"

// TestTheTrustStateOnAnS3Server: the tests of package state, on a real server.
func TestTheTrustStateOnAnS3Server(t *testing.T) {
	t.Parallel()
	testOnAnS3Server(t, "trustcache/state", "DamageOfOne|MoreNames|KilledAt|Races?$|Interrupted|SaveOfOne|Fuzz|Join|Clock|Time")
}

// TestTheContentStoreOnAnS3Server: those of package content.
func TestTheContentStoreOnAnS3Server(t *testing.T) {
	t.Parallel()
	testOnAnS3Server(t, "proxy/content", "Killed|Failing|AtOnce|Fuzz|Directory|Interrupted|Flight|Spool|UseRenews|NotWritten")
}

// testOnAnS3Server runs the tests of a package on a real server, without those
// to skip where it is not to take long.
func testOnAnS3Server(t *testing.T, pkg, skip string) {
	t.Helper()
	dir := must(os.MkdirTemp(suite.dir, "bucket-"))(t)
	b := startBucket(t, dir, must(newAuthority(dir))(t))
	parameters := must(json.Marshal(b.parameters(b.addr)))(t)
	binary := filepath.Join(dir, "on-s3.test")
	mustRun(t, goEnvironment(), "go", "test", "-c", "-o", binary, "../"+pkg)
	argv := []string{binary, "-test.count", "1"}
	if os.Getenv(bucketLong) == "" {
		argv = append(argv, "-test.skip", skip)
	}
	begin := time.Now()
	// The CA as one of the system's: the tests know only that transport to hang up.
	out := mustRun(t, []string{"SEALGATE_TEST_BUCKET=" + string(parameters), "SSL_CERT_FILE=" + b.ca.file}, argv...)
	t.Logf("%s in %s", out, time.Since(begin).Round(time.Second))
	if entries, err := os.ReadDir(filepath.Join(dir, "s3", bucketName)); err != nil || len(entries) < 10 {
		t.Fatalf("the tests left %d entries in the bucket, %v: they worked elsewhere\n%s", len(entries), err, out)
	}
}
