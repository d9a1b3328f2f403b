package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

// Load reads the configuration in the file at path and checks it. Relative
// paths in it are relative to the file's directory. The files that it names are
// read to check them. The error is an *Error.
func Load(path string) (*Config, error) {
	unreadable := func(format string, args ...any) error {
		return &Error{Problems: []Problem{{File: path, Message: fmt.Sprintf(format, args...)}}}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable("cannot read the configuration: %s", reason(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, unreadable("is a directory: name the configuration file in it")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1)) // Parse refuses the one byte too many
	if err != nil {
		return nil, unreadable("cannot read the configuration: %s", reason(err))
	}
	return Parse(path, data, filepath.Dir(path))
}

// Parse checks a configuration that is in memory. Name stands for the file in
// problems; relative paths in data are relative to dir. The files that it names
// are read to check them. The error is an *Error.
func Parse(name string, data []byte, dir string) (*Config, error) {
	r := newReport(name)
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, &Error{Problems: []Problem{{File: name, Message: fmt.Sprintf("cannot find its directory: %s", reason(err))}}}
	}
	root := r.document(data)
	if root == nil {
		return nil, r.err()
	}
	c := defaults()
	(&decoder{report: r, dir: dir}).config(c, root)
	r.unread = maps.Clone(r.wrong)
	c.derive()
	(&validator{report: r, c: c}).config()
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// defaults is a configuration before the file has spoken.
func defaults() *Config {
	return &Config{
		Listen:       DefaultListen,
		DrainTimeout: DefaultDrainTimeout,
		Limits:       DefaultClientLimits(),
		Storage:      Storage{Driver: InMemory, Parameters: map[string]any{}},
		ContentTrust: ContentTrust{
			Refresh:          DefaultRefresh,
			MaxStale:         DefaultMaxStale,
			AuthorisationTTL: DefaultAuthorisationTTL,
			Limits:           DefaultLimits(),
		},
	}
}

// defaultRegistry is an entry of registries before the file has spoken.
func defaultRegistry() Registry {
	return Registry{
		Redirects: RedirectsPass,
		Denial:    DenialNotFound,
		Notary:    Notary{Credentials: Credentials{Kind: Anonymous}, Expose: ExposeAuto},
	}
}

// derive fills in the defaults that depend on other keys.
func (c *Config) derive() {
	if c.StateDir == "" {
		c.StateDir = c.Storage.RootDirectory()
	}
	if path := c.defaultControl(); c.Admin.Control == "" && len(path) <= maxSocketPath {
		c.Admin.Control = path
	}
	if s := c.TLS.SelfSigned; s != nil && len(s.Hosts) == 0 {
		s.Hosts = []string{"localhost", "127.0.0.1"}
	}
	if l := &c.Limits; l.RequestsPerSecond > 0 && l.Burst == 0 {
		l.Burst = max(10*l.RequestsPerSecond, 100)
	}
	for i := range c.Registries {
		r := &c.Registries[i]
		if host, err := parseHost(r.Name); err == nil && len(r.Hosts) == 0 {
			r.Hosts = []string{host}
		}
		if r.Name == dockerHub && len(r.Realms) == 0 && r.Offline == nil {
			r.Realms = []string{"auth.docker.io"}
		}
		if r.Credentials.Kind == "" {
			r.Credentials.Kind = Passthrough
			if r.Offline != nil {
				r.Credentials.Kind = Anonymous
			}
		}
		if r.SignatureTags == "" {
			r.SignatureTags = SignatureTagsHidden
			if r.Push {
				r.SignatureTags = SignatureTagsPass
			}
		}
	}
}

// dockerHub is what Docker Hub is called where tags are signed.
const dockerHub = "docker.io"

// maxSocketPath is how long the path of a unix socket may be, in bytes: what
// sockaddr_un holds on Linux, without the final zero.
const maxSocketPath = 107

// defaultControl is where the control socket is by default, however long the
// path is; empty without a StateDir.
func (c *Config) defaultControl() string {
	if c.StateDir == "" {
		return ""
	}
	return filepath.Join(c.StateDir, "control.sock")
}

// reason is an operating system's error without the operation and the path.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return err.Error()
}
