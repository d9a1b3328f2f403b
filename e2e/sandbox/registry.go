package sandbox

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // registers the storage driver
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
)

// LeakedGoroutine is the function in which one goroutine of each registry
// remains after Close: distribution v3.1 starts its event broadcaster without
// a way to stop it. It waits on a channel and holds nothing but memory. Tests
// hand it to goleak.IgnoreTopFunction.
const LeakedGoroutine = "github.com/docker/go-events.(*Broadcaster).run"

// RegistryOptions says what kind of registry to start. The zero value is an
// open registry over plain http on a free port of 127.0.0.1.
type RegistryOptions struct {
	// CA issues the registry's certificate; nil means plain http.
	CA *CA
	// Listen is the address to listen on; empty means a free port of 127.0.0.1.
	Listen string
	// Users may use the registry (name to password, HTTP Basic); empty means
	// everybody may.
	Users map[string]string
	// Middleware stands around the registry and inside authentication: it sees
	// every request that was let in and may answer it, spoil the answer, or
	// pass it on. Nil means none.
	Middleware func(http.Handler) http.Handler
	// Log receives the registry's own log lines; nil discards them.
	Log io.Writer
}

// Registry is a running distribution v3 registry whose contents live in
// memory. Deleting is enabled. Its methods are safe for concurrent use.
type Registry struct {
	*server
	ca       *CA
	users    map[string]string
	shutdown func() error
}

// StartRegistry starts a registry that runs until ctx is done or Close is
// called.
func StartRegistry(ctx context.Context, opts RegistryOptions) (*Registry, error) {
	ctx = withRegistryLog(ctx, opts.Log)
	app, err := newApp(ctx)
	if err != nil {
		return nil, err
	}
	var handler http.Handler = app
	if opts.Middleware != nil {
		handler = opts.Middleware(handler)
	}
	if len(opts.Users) > 0 {
		handler = BasicAuth(opts.Users)(handler)
	}
	server, err := listen(ctx, opts.CA, opts.Listen, handler)
	if err != nil {
		_ = app.Shutdown()
		return nil, fmt.Errorf("start the registry: %w", err)
	}
	return &Registry{server: server, ca: opts.CA, users: opts.Users, shutdown: app.Shutdown}, nil
}

// Push uploads thing, an image or an index, as repo:tag, as any one of the
// registry's users, and returns the digest ("sha256:…") and the size in bytes
// of its manifest.
func (r *Registry) Push(ctx context.Context, repo, tag string, thing remote.Taggable) (digest string, size int64, err error) {
	target := r.URL()
	for name, password := range r.users {
		target = withUser(target, name, password)
		break
	}
	if r.ca == nil {
		return Push(ctx, target, nil, repo, tag, thing)
	}
	return Push(ctx, target, r.ca.Pool(), repo, tag, thing)
}

// Close stops the registry as described for its listener and drops its
// contents. Calling it again is safe.
func (r *Registry) Close() error {
	err := r.server.Close()
	if stop := r.shutdown(); err == nil {
		err = stop
	}
	return err
}

// newApp builds the registry; NewApp panics on what it does not like.
func newApp(ctx context.Context) (app *handlers.App, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("start the registry: %v", cause)
		}
	}()
	config := &configuration.Configuration{
		Version: "0.1",
		Storage: configuration.Storage{
			"inmemory":    configuration.Parameters{},
			"delete":      configuration.Parameters{"enabled": true},
			"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	return handlers.NewApp(ctx, config), nil
}

// registryLogKey is the type of the context key under which distribution v3.1
// looks for its logger. The package is internal, so the name is all there is.
const registryLogKey = "dcontext.loggerKey"

// loggingContext hands distribution a logger of this registry's own. Without
// one it writes to logrus's global logger, which is not ours to redirect. If
// the key is ever renamed, log lines appear on stderr and nothing else happens.
type loggingContext struct {
	context.Context
	logger *logrus.Entry
}

func (c loggingContext) Value(key any) any {
	if fmt.Sprintf("%T", key) == registryLogKey {
		return c.logger
	}
	return c.Context.Value(key)
}

func withRegistryLog(ctx context.Context, out io.Writer) context.Context {
	if out == nil {
		out = io.Discard
	}
	logger := logrus.New()
	logger.SetOutput(out)
	return loggingContext{Context: ctx, logger: logrus.NewEntry(logger)}
}
