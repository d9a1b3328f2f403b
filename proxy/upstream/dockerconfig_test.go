package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// dockerHome makes a docker config.json, and a credential helper called
// "docker-credential-test" that runs script.
func dockerHome(t *testing.T, config, script string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("config.json", config, 0o600)
	if script != "" {
		write("docker-credential-test", "#!/bin/sh\n"+script, 0o700)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestWhatDockerKnows(t *testing.T) {
	const alicesAuth = `{"auth": "YWxpY2U6d29uZGVybGFuZA=="}`
	for _, tt := range []struct {
		name, config, script string
		names                []string
		want                 Secret
	}{
		{"in the file", `{"auths": {"registry.example.com:5000": ` + alicesAuth + `}}`, "", []string{"registry.example.com:5000"}, alice},
		{"under the second name", `{"auths": {"registry.example.com": ` + alicesAuth + `}}`, "", []string{"127.0.0.1:5000", "registry.example.com"}, alice},
		{"under the first name before the second", `{"auths": {"a.example": ` + alicesAuth + `, "b.example": {"auth": "Ym9iOmJvYg=="}}}`, "", []string{"a.example", "b.example"}, alice},
		{"Docker Hub", `{"auths": {"https://index.docker.io/v1/": ` + alicesAuth + `}}`, "", []string{"docker.io"}, alice},
		{"Docker Hub by its address", `{"auths": {"https://index.docker.io/v1/": ` + alicesAuth + `}}`, "", []string{"registry-1.docker.io"}, alice},
		{"an identity token", `{"auths": {"a.example": {"identitytoken": "identity"}}}`, "", []string{"a.example"}, Secret{IdentityToken: "identity"}},
		{"a registry token", `{"auths": {"a.example": {"registrytoken": "token"}}}`, "", []string{"a.example"}, Secret{RegistryToken: "token"}},
		{"nothing", `{"auths": {"b.example": ` + alicesAuth + `}}`, "", []string{"a.example", "c.example"}, Secret{}},
		{"from a helper", `{"credHelpers": {"a.example": "test"}}`, `read host; echo "{\"ServerURL\": \"$host\", \"Username\": \"alice\", \"Secret\": \"wonderland\"}"`, []string{"a.example"}, alice},
		{"from a helper for all", `{"credsStore": "test"}`, `echo '{"Username": "alice", "Secret": "wonderland"}'`, []string{"a.example"}, alice},
		{"an identity token from a helper", `{"credsStore": "test"}`, `echo '{"Username": "<token>", "Secret": "identity"}'`, []string{"a.example"}, Secret{IdentityToken: "identity"}},
		{"from a helper that knows nobody", `{"credHelpers": {"a.example": "test"}}`, `echo "credentials not found in native keychain"; exit 1`, []string{"a.example"}, Secret{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dockerHome(t, tt.config, tt.script)
			got, err := DockerConfig(tt.names...)(t.Context(), false)
			got.Username = strings.TrimPrefix(got.Username, "<token>")
			if got != tt.want || err != nil {
				t.Errorf("got %q %q %q %q, %v", got.Username, got.Password, got.IdentityToken, got.RegistryToken, err)
			}
		})
	}
}

func TestWhatDockerCannotTell(t *testing.T) {
	for _, tt := range []struct{ name, config, script, want string }{
		{"a helper that fails", `{"credHelpers": {"a.example": "test"}}`, `echo wonderland; exit 1`, "docker-config: no credentials for a.example could be read: the credential helper that config.json names failed"},
		{"a helper that prints something else", `{"credHelpers": {"a.example": "test"}}`, `echo wonderland`, "docker-config: no credentials for a.example could be read"},
		{"a helper that is not there", `{"credHelpers": {"a.example": "none"}}`, "", "is not installed"},
		{"a file in bad form", `{"auths": "wonderland"`, "", "docker-config: no credentials for a.example could be read"},
		{"an entry in bad form", `{"auths": {"a.example": {"auth": "wonderland"}}}`, "", "docker-config: no credentials for a.example could be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dockerHome(t, tt.config, tt.script)
			got, err := DockerConfig("a.example")(t.Context(), false)
			if got != (Secret{}) || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "wonderland") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// keychain counts how often it is asked.
type keychain struct {
	asked atomic.Int32
	do    func(n int32) (authn.Authenticator, error)
}

func (k *keychain) Resolve(authn.Resource) (authn.Authenticator, error) { return k.do(k.asked.Add(1)) }

func password(n int32) (authn.Authenticator, error) {
	return &authn.Basic{Username: "alice", Password: fmt.Sprint(n)}, nil
}

func TestWhatWasLookedUpIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDockerConfig(&keychain{do: password}, []string{"a.example"})
		start := time.Now()
		for _, tt := range []struct {
			at    time.Duration
			again bool
			want  string
		}{
			{0, false, "1"},
			{lookupLife - time.Second, false, "1"},
			{lookupLife, false, "2"},
			{lookupLife, true, "2"}, // it is new already
			{lookupLife + lookupPause, false, "2"},
			{lookupLife + lookupPause, true, "3"},
		} {
			time.Sleep(time.Until(start.Add(tt.at)))
			if got, err := d.secret(t.Context(), tt.again); got.Password != tt.want || err != nil {
				t.Errorf("at %s, again %t: got %q, %v, want %q", tt.at, tt.again, got.Password, err, tt.want)
			}
		}
	})
}

func TestAFailureIsKeptForAShortWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keychain{do: func(n int32) (authn.Authenticator, error) {
			if n == 1 {
				return nil, errors.New("out of order")
			}
			return password(n)
		}}
		d := newDockerConfig(k, []string{"a.example"})
		for range 3 {
			if _, err := d.secret(t.Context(), false); err == nil {
				t.Error("no error")
			}
		}
		time.Sleep(lookupPause)
		if got, err := d.secret(t.Context(), false); got.Password != "2" || err != nil || k.asked.Load() != 2 {
			t.Errorf("got %v after %d questions", err, k.asked.Load())
		}
	})
}

func TestAHelperThatHangsIsWaitedForOnceAndNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		k := &keychain{do: func(n int32) (authn.Authenticator, error) { <-hang; return password(n) }}
		d := newDockerConfig(k, []string{"a.example"})
		start := time.Now()
		for range 3 {
			if _, err := d.secret(t.Context(), false); err == nil || !strings.Contains(err.Error(), "a.example gave no answer within") {
				t.Errorf("got %v", err)
			}
		}
		hungUp, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.secret(hungUp, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one who hangs up got %v", err)
		}
		if took := time.Since(start); took != 3*lookupTimeout+time.Second || k.asked.Load() != 1 {
			t.Errorf("%d questions took %s", k.asked.Load(), took)
		}
		close(hang)
		synctest.Wait()
		if got, err := d.secret(t.Context(), false); got.Password != "1" || err != nil {
			t.Errorf("at last got %v", err)
		}
	})
}

func TestAPanicOfAKeychainIsAnError(t *testing.T) {
	d := newDockerConfig(&keychain{do: func(int32) (authn.Authenticator, error) { panic("wonderland") }}, []string{"a.example"})
	if _, err := d.secret(t.Context(), false); err == nil || strings.Contains(err.Error(), "wonderland") {
		t.Errorf("got %v", err)
	}
}
