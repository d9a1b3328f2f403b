package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/sealgate/sealgate/trustcache/guard"
	"golang.org/x/sync/singleflight"
)

const (
	// lookupTimeout bounds the wait for a credential helper.
	lookupTimeout = 8 * time.Second
	// lookupLife is how long what was looked up is used, lookupPause how long
	// at least, also where it was refused or nothing could be looked up.
	lookupLife  = 5 * time.Minute
	lookupPause = 5 * time.Second
)

// DockerConfig returns the secrets that docker's config.json (in
// $DOCKER_CONFIG, or .docker of the home directory; else podman's auth.json)
// holds for the first of names, host or host:port, for which it has any: in
// the file, or from the credential helper that the file names. For none the
// secret is nobody's. Docker Hub's names mean the entry that "docker login"
// makes for it.
//
// What was found is kept for a few minutes. Known gap: a credential helper
// that hangs is waited for by nobody, and not ended; while it hangs no other is
// asked.
func DockerConfig(names ...string) Secrets {
	return newDockerConfig(authn.DefaultKeychain, names).secret
}

// dockerConfig remembers what a keychain said.
type dockerConfig struct {
	keychain authn.Keychain
	names    []string
	lookup   singleflight.Group

	mu    sync.Mutex
	found Secret
	err   error
	at    time.Time
}

func newDockerConfig(keychain authn.Keychain, names []string) *dockerConfig {
	return &dockerConfig{keychain: keychain, names: names}
}

// secret implements Secrets.
func (d *dockerConfig) secret(ctx context.Context, again bool) (Secret, error) {
	d.mu.Lock()
	found, err, age := d.found, d.err, time.Since(d.at)
	known := !d.at.IsZero()
	d.mu.Unlock()
	if known && (age < lookupPause || age < lookupLife && err == nil && !again) {
		return found, err
	}
	late := time.NewTimer(lookupTimeout)
	defer late.Stop()
	select {
	case landed := <-d.lookup.DoChan("", func() (_ any, err error) { defer guard.Catch(&err); return d.look() }):
		if found, ok := landed.Val.(Secret); ok {
			return found, landed.Err
		}
		return Secret{}, landed.Err
	case <-late.C:
		return Secret{}, fmt.Errorf("docker-config: the credential helper for %s gave no answer within %s", d.names[0], lookupTimeout)
	case <-ctx.Done():
		return Secret{}, ctx.Err()
	}
}

// look asks the keychain. Its errors are not repeated: they hold what a
// credential helper printed.
func (d *dockerConfig) look() (found Secret, err error) {
	defer func() {
		if recover() != nil { // what it says may hold what a helper printed
			found, err = Secret{}, errors.New("docker-config: looking up credentials ended in a panic")
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.found, d.err, d.at = found, err, time.Now()
	}()
	for _, name := range d.names {
		if found, err = lookUp(d.keychain, name); err != nil || found != (Secret{}) {
			return found, err
		}
	}
	return Secret{}, nil
}

// lookUp finds what a keychain has for a host.
func lookUp(keychain authn.Keychain, name string) (Secret, error) {
	authenticator, err := keychain.Resolve(configKey(name))
	if err != nil {
		return Secret{}, fmt.Errorf("docker-config: no credentials for %s could be read: %s", name, lookupReason(err))
	}
	auth, err := authenticator.Authorization()
	if err != nil {
		return Secret{}, fmt.Errorf("docker-config: the credentials for %s cannot be decoded", name)
	}
	return Secret{Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken}, nil
}

// lookupReason says in our own words what went wrong.
func lookupReason(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "executable file not found"):
		return "the credential helper that config.json names is not installed, or not in PATH"
	case strings.HasPrefix(text, "error getting credentials"):
		return "the credential helper that config.json names failed; run it by hand (docker-credential-NAME get) as the user of sealgate"
	case strings.Contains(text, "config"):
		return "the configuration file of docker cannot be read or parsed"
	}
	return "the credential helper or the configuration file of docker cannot be used"
}

// configKey is the name under which credentials are kept. It implements
// authn.Resource.
type configKey string

// String is RegistryStr.
func (k configKey) String() string { return k.RegistryStr() }

// RegistryStr implements authn.Resource; the keychain turns index.docker.io
// into https://index.docker.io/v1/.
func (k configKey) RegistryStr() string {
	switch k {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return "index.docker.io"
	}
	return string(k)
}
