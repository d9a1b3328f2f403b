package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sealgate/sealgate/e2e/sandbox"
)

const (
	registryName = "registry.example.com" // what was typed when signing
	repository   = "bench/app"
	tag          = "1.0"
	tagPath      = "/v2/" + repository + "/manifests/" + tag

	blobs    = 4 // of blobSize
	blobSize = 64 << 20
)

// lab is everything that a run starts. close ends all of it.
type lab struct {
	root    string // of the module
	dir     string // temporary
	ca      *sandbox.CA
	caFile  string
	cert    string // of all servers, one kind of key for all
	key     string
	binary  string // Sealgate
	client  *http.Client
	closers []func()

	registry string // URL
	notary   string // URL
	rootKey  string
	manifest *image
	blobs    []string // paths

	contestants []*contestant
}

// contestant is a server that is measured.
type contestant struct {
	name string // for the tables
	url  string
	*process
}

// The contestants' names.
const (
	sealgate  = "Sealgate"
	nginx     = "nginx"
	bareHTTP  = "net/http, the same bytes"
	bareQuiet = "net/http, without an access log"
	bareRepo  = "docker-registry"
	mirror    = "docker-registry, pull-through mirror"
	nginxFull = "nginx, caching all"
)

func newLab(root, binary string) (l *lab, err error) {
	l = &lab{root: root, binary: binary}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.dir, err = os.MkdirTemp("", "sealgate-bench-"); err != nil {
		return l, err
	}
	l.atEnd(func() { _ = os.RemoveAll(l.dir) })
	if l.ca, err = sandbox.NewCA(); err != nil {
		return l, err
	}
	l.caFile, l.cert, l.key = filepath.Join(l.dir, "ca.crt"), filepath.Join(l.dir, "tls.crt"), filepath.Join(l.dir, "tls.key")
	cert, err := l.ca.Issue("127.0.0.1")
	if err != nil {
		return l, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return l, err
	}
	l.client = &http.Client{
		Timeout: 30 * time.Second,
		// HTTP/1.1, as wrk speaks.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: l.ca.Pool()}, DisableCompression: true, MaxIdleConnsPerHost: 64},
	}
	l.atEnd(l.client.CloseIdleConnections)
	return l, errors.Join(
		os.WriteFile(l.caFile, l.ca.PEM(), 0o600),
		os.WriteFile(l.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(l.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	)
}

func (l *lab) atEnd(f func()) { l.closers = append(l.closers, f) }

func (l *lab) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
	l.closers = nil
}

// build builds Sealgate as `make build` does, unless a binary was given.
func (l *lab) build(ctx context.Context) error {
	if l.binary != "" {
		return nil
	}
	l.binary = filepath.Join(l.dir, "sealgate")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", l.binary, "./cmd/sealgate")
	cmd.Dir = l.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Sealgate: %w: %s", err, out)
	}
	return nil
}

// furnish starts the registry and the trust server, puts an image and blobs
// into the one and signs the image's tag in the other, and starts the
// contestants, each warm.
func (l *lab) furnish(ctx context.Context) error {
	for _, step := range []func(context.Context) error{l.startRegistry, l.push, l.sign, l.startGate, l.startNginx, l.startBare, l.startMirror} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, c := range l.contestants {
		if err := l.check(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// launch starts a contestant and waits until it answers.
func (l *lab) launch(ctx context.Context, name, file, addr string, env []string, argv ...string) (*contestant, error) {
	p, err := start(l.dir, file, env, argv...)
	if err != nil {
		return nil, err
	}
	l.atEnd(p.stop)
	c := &contestant{name: name, url: "https://" + addr, process: p}
	return c, p.ready(ctx, func() error {
		_, _, err := l.get(ctx, c.url+"/v2/")
		return err
	})
}

func (l *lab) compete(ctx context.Context, name, file, addr string, argv ...string) error {
	c, err := l.launch(ctx, name, file, addr, nil, argv...)
	if err == nil {
		l.contestants = append(l.contestants, c)
	}
	return err
}

// config writes a configuration file and returns its path.
func (l *lab) config(name, format string, values ...any) (string, error) {
	path := filepath.Join(l.dir, name)
	return path, os.WriteFile(path, fmt.Appendf(nil, format, values...), 0o600)
}

// registryConfig is that of Debian's package, with TLS and the access log on.
const registryConfig = `version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage: {cache: {blobdescriptor: inmemory}, filesystem: {rootdirectory: %s}}
http: {addr: %s, secret: bench, tls: {certificate: %s, key: %s}}
`

func (l *lab) startRegistry(ctx context.Context) error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	file, err := l.config("registry.yml", registryConfig, filepath.Join(l.dir, "registry"), addr, l.cert, l.key)
	if err != nil {
		return err
	}
	l.registry = "https://" + addr
	return l.compete(ctx, bareRepo, "registry", addr, "docker-registry", "serve", file)
}

func (l *lab) startMirror(ctx context.Context) error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	file, err := l.config("mirror.yml", registryConfig+"proxy: {remoteurl: %s}\n", filepath.Join(l.dir, "mirror"), addr, l.cert, l.key, l.registry)
	if err != nil {
		return err
	}
	c, err := l.launch(ctx, mirror, "mirror", addr, []string{"SSL_CERT_FILE=" + l.caFile}, "docker-registry", "serve", file)
	if err == nil {
		l.contestants = append(l.contestants, c)
	}
	return err
}

// push uploads an image of eight layers, whose manifest has the usual size,
// and one whose layers are the blobs.
func (l *lab) push(ctx context.Context) error {
	app, err := random.Image(1<<10, 8)
	if err != nil {
		return err
	}
	if _, _, err = sandbox.Push(ctx, l.registry, l.ca.Pool(), repository, tag, app); err != nil {
		return err
	}
	raw, err := app.RawManifest()
	if err != nil {
		return err
	}
	mediaType, err := app.MediaType()
	if err != nil {
		return err
	}
	l.manifest = newImage(raw, string(mediaType))

	large := empty.Image
	for range blobs {
		content := make([]byte, blobSize)
		rand.Read(content)
		layer := static.NewLayer(content, types.DockerLayer)
		if large, err = mutate.AppendLayers(large, layer); err != nil {
			return err
		}
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		l.blobs = append(l.blobs, "/v2/"+repository+"/blobs/"+digest.String())
	}
	_, _, err = sandbox.Push(ctx, l.registry, l.ca.Pool(), repository, "blobs", v1.Image(large))
	return err
}

// sign starts a trust server and signs the tag as `docker trust` does.
func (l *lab) sign(ctx context.Context) error {
	server, err := sandbox.StartTrustServer(ctx, sandbox.TrustServerOptions{CA: l.ca})
	if err != nil {
		return err
	}
	l.atEnd(func() { _ = server.Close() })
	l.notary = server.URL()
	publisher, err := sandbox.NewPublisher(l.notary, l.ca.Pool(), "")
	if err != nil {
		return err
	}
	gun := registryName + "/" + repository
	if l.rootKey, err = publisher.Init(gun); err != nil {
		return err
	}
	if err := publisher.AddDelegation(gun, releases); err != nil {
		return err
	}
	return publisher.Sign(gun, tag, strings.TrimPrefix(l.manifest.String(), "sha256:"), int64(len(l.manifest.body)), releases)
}

// gateOptions is what differs between the Sealgates of a run.
type gateOptions struct {
	name     string // of its files
	upstream string
	notary   string
	rootKey  string
	// asleep: nothing that was learned once is asked again during the run.
	asleep bool
	// cached: everything is kept, and nobody is asked who they are.
	cached bool
}

// openGate starts a Sealgate with the defaults of every key that is not here.
func (l *lab) openGate(ctx context.Context, o gateOptions) (*contestant, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	var durations string
	if o.asleep {
		durations = "  refresh: 12h\n  authorisation-ttl: 12h\n"
	}
	access := "credentials: passthrough"
	if o.cached {
		access = "credentials: anonymous\n    redirects: follow\n    cache: {max-size: 200GiB, ttl: 168h}"
	}
	file, err := l.config(o.name+".yaml", `listen: %s
tls: {files: {cert: %s, key: %s}}
state-dir: %s
storage: {filesystem: {rootdirectory: %s}}
registries:
  - name: %s
    hosts: [127.0.0.1]
    upstream: %s
    upstream-ca-file: %s
    %s
    notary: {url: %q, ca-file: %s}
content-trust:
  mode: enforced
  trust-pinning:
    root-keys: {"%s/*": [%s]}
%s`, addr, l.cert, l.key, filepath.Join(l.dir, o.name+"-state"), filepath.Join(l.dir, o.name+"-store"), registryName,
		o.upstream, l.caFile, access, o.notary, l.caFile, registryName, o.rootKey, durations)
	if err != nil {
		return nil, err
	}
	return l.launch(ctx, sealgate, o.name, addr, nil, l.binary, "serve", "--config", file)
}

func (l *lab) startGate(ctx context.Context) error {
	c, err := l.openGate(ctx, gateOptions{name: "sealgate", upstream: l.registry, notary: l.notary, rootKey: l.rootKey})
	if err == nil {
		l.contestants = append(l.contestants, c)
	}
	return err
}

// startBare starts this program anew, twice, with what Sealgate answers.
func (l *lab) startBare(ctx context.Context) error {
	gate := l.find(sealgate)
	header, body, err := l.get(ctx, gate.url+tagPath)
	if err != nil {
		return err
	}
	header.Del("Date")
	answer, err := json.Marshal(bare{Header: header, Body: body})
	if err != nil {
		return err
	}
	file, err := l.config("answer.json", "%s", answer)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, c := range []struct{ name, file, log string }{{bareHTTP, "bare", "true"}, {bareQuiet, "bare-quiet", "false"}} {
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		err = l.compete(ctx, c.name, c.file, addr, self, bareCommand, "-listen", addr, "-cert", l.cert, "-key", l.key, "-answer", file, "-access-log="+c.log)
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) find(name string) *contestant {
	for _, c := range l.contestants {
		if c.name == name {
			return c
		}
	}
	return nil
}

// check makes sure that a contestant serves what all are measured with, over
// what all are measured over, and warms it.
func (l *lab) check(ctx context.Context, c *contestant) error {
	req, err := l.request(ctx, c.url+tagPath)
	if err != nil {
		return err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK || sha256.Sum256(body) != l.manifest.digest:
		return fmt.Errorf("it answers %s with %d bytes, not the manifest", resp.Status, len(body))
	case resp.TLS.Version != tls.VersionTLS13 || resp.TLS.CipherSuite != tls.TLS_AES_128_GCM_SHA256:
		return fmt.Errorf("it speaks %s with %s", tls.VersionName(resp.TLS.Version), tls.CipherSuiteName(resp.TLS.CipherSuite))
	}
	return nil
}

// get reads a whole answer, which has to be 200.
func (l *lab) get(ctx context.Context, url string) (http.Header, []byte, error) {
	req, err := l.request(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, body)
	}
	return resp.Header, body, err
}

func (l *lab) request(ctx context.Context, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil {
		req.Header.Set("Accept", accept)
	}
	return req, err
}
