package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// podOnDisk is the chart's pod with a directory for each of its volumes.
type podOnDisk struct {
	pod
	dirs []string // each where the pod has it, followed by the directory; and likewise addresses
	env  []string
}

// newPodOnDisk makes that of a Deployment or Job, and fills the volumes: with a
// certificate for what the chart's values are about, ca.crt in a ConfigMap, and a
// password in a Secret. It listens on loopback only.
func newPodOnDisk(t *testing.T, r rendered, kind string, ca *authority) podOnDisk {
	t.Helper()
	p := podOnDisk{pod: r.the(t, kind, "").Spec.Template.Spec, dirs: []string{"listen: :", "listen: 127.0.0.1:"}}
	root := must(os.MkdirTemp(suite.dir, "pod-"))(t)
	if err := os.Chmod(root, 0o711); err != nil { // the server is another user
		t.Fatal(err)
	}
	for i, mount := range p.Containers[0].VolumeMounts {
		p.dirs = append(p.dirs, mount.MountPath, filepath.Join(root, strconv.Itoa(i)))
	}
	for _, mount := range p.Containers[0].VolumeMounts {
		files := map[string]string{}
		v := p.volume(t, mount.Name)
		switch {
		case v.Name == "config":
			files["proxy.yaml"] = p.mapped(r.the(t, "ConfigMap", v.ConfigMap.Name).Data["proxy.yaml"])[0]
		case v.Name == "tls":
			cert, key, err := ca.pairFor("gate", "registry.example.com", "127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			files["tls.crt"], files["tls.key"] = string(must(os.ReadFile(cert))(t)), string(must(os.ReadFile(key))(t))
		case v.ConfigMap != nil:
			files["ca.crt"] = string(must(os.ReadFile(ca.file))(t))
		case v.Secret != nil:
			files["password"] = "HUNTER2"
		}
		p.fill(t, p.dir(mount.MountPath), files)
	}
	for _, variable := range p.Containers[0].Env {
		p.env = append(p.env, p.mapped(variable.Name+"="+variable.Value)...)
	}
	return p
}

func (p podOnDisk) volume(t *testing.T, name string) volume {
	t.Helper()
	i := slices.IndexFunc(p.Volumes, func(v volume) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("%s is no volume: %v", name, p.Volumes)
	}
	return p.Volumes[i]
}

// fill makes a volume as the kubelet does for a pod with an fsGroup: root's, and
// that group's, who may write to what is empty, and read files of mode 0440.
func (p podOnDisk) fill(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	own := func(path string, mode os.FileMode) {
		if err := os.Chown(path, 0, p.SecurityContext.FSGroup); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	own(dir, 0o2775)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
		own(path, 0o440)
	}
}

// mapped are texts in which the pod's paths are the directories.
func (p podOnDisk) mapped(texts ...string) (mapped []string) {
	for _, text := range texts {
		mapped = append(mapped, strings.NewReplacer(p.dirs...).Replace(text))
	}
	return mapped
}

// dir is the directory of what the pod has at path.
func (p podOnDisk) dir(path string) string { return p.dirs[slices.Index(p.dirs, path)+1] }

// asPod runs a command as the pod does: nothing can be written but the first two
// directories, its user and group are the next two arguments, and it has no
// capability and gets none.
const asPod = `mount --bind "$1" "$1" && mount --bind "$2" "$2" && mount -o remount,bind,ro / && user=$3 group=$4 && shift 4 &&
exec setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"`

// run starts the server with the pod's arguments, environment, user and rights.
func (p podOnDisk) run(t *testing.T, env ...string) *process {
	t.Helper()
	s := p.SecurityContext
	argv := []string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", asPod, "sh",
		p.dir("/var/lib/sealgate"), p.dir("/tmp"), strconv.Itoa(s.RunAsUser), strconv.Itoa(s.RunAsGroup), suite.sealgate}
	env = append(append(env, "TMPDIR="+p.dir("/tmp")), p.env...)
	log := filepath.Join(must(os.MkdirTemp(suite.dir, "podlog-"))(t), "sealgate.log")
	server := must(start("sealgate", log, env, append(argv, p.mapped(p.Containers[0].Args...)...)...))(t)
	t.Cleanup(func() { server.stop(20 * time.Second) })
	return server
}

// asks tells what a probe gets.
func (p podOnDisk) asks(probe probe) error {
	for _, port := range p.Containers[0].Ports {
		if port.Name != probe.HTTPGet.Port {
			continue
		}
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port.ContainerPort, probe.HTTPGet.Path))
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", probe.HTTPGet.Path, resp.Status)
		}
		return nil
	}
	return fmt.Errorf("there is no port %q", probe.HTTPGet.Port)
}

// portOf is an address without its host, as the chart's values have it.
func portOf(address string) string { return address[strings.LastIndex(address, ":"):] }

// TestChartsPodServes: the built binary with the rendered configuration, arguments,
// environment, user and rights, and nothing but the pod's volumes to write to. What
// is left to believe is that a cluster does with the manifests what they say.
func TestChartsPodServes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		storage func(t *testing.T, w *scene) (storage map[string]any, env []string)
	}{
		{"on a volume", func(*testing.T, *scene) (map[string]any, []string) { return nil, nil }},
		{"on a bucket", func(t *testing.T, w *scene) (map[string]any, []string) {
			b := startBucket(t, must(os.MkdirTemp(suite.dir, "bucket-"))(t), w.ca)
			parameters := b.parameters(b.addr)
			delete(parameters, "accesskey")
			delete(parameters, "secretkey")
			return map[string]any{"s3": parameters}, []string{"AWS_ACCESS_KEY_ID=" + bucketAccessKey, "AWS_SECRET_ACCESS_KEY=" + bucketSecretKey}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := shared(t)
			listen, admin := must(freeAddress())(t), must(freeAddress())(t)
			const ca = "/etc/sealgate/ca/ca.crt"
			config := map[string]any{
				"listen": portOf(listen), "admin": map[string]any{"listen": portOf(admin)},
				"registries": []any{map[string]any{
					"name": w.settings.name, "hosts": []any{"*"}, "upstream": w.registry.url, "upstream-ca-file": ca,
					"notary": map[string]any{"url": w.notary.url, "ca-file": ca},
				}},
				"content-trust": map[string]any{"mode": "enforced", "trust-pinning": map[string]any{
					"root-keys": map[string]any{w.settings.name + "/*": []any{must(w.rootKey())(t)}},
				}},
			}
			storage, secrets := c.storage(t, w)
			if storage != nil {
				config["storage"] = storage
			}
			values := must(yaml.Marshal(map[string]any{
				"image": map[string]any{"repository": "images.example.com/sealgate"}, "tls": map[string]any{"existingSecret": "gate-tls"},
				"files":  []any{map[string]any{"path": "/etc/sealgate/ca", "configMap": "internal-ca"}},
				"env":    []any{map[string]any{"name": "AWS_CA_BUNDLE", "value": ca}},
				"config": config,
			}))(t)
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, values, 0o600); err != nil {
				t.Fatal(err)
			}
			p := newPodOnDisk(t, render(t, "--values", file), "Deployment", w.ca)
			server := p.run(t, secrets...)

			container := p.Containers[0]
			for _, probe := range []probe{container.Startup, container.Liveness, container.Readiness} {
				if err := server.ready(20*time.Second, func() error { return p.asks(probe) }); err != nil {
					t.Fatal(err)
				}
			}
			g := &gate{process: server, settings: settings{listen: listen}, url: "https://" + listen, ca: w.ca}
			wantServed(t, g.manifest(t, "team/app", "signed"), w.signed)
			wantRefused(t, g.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", "no trust data")

			if err := server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code := server.stop(time.Duration(p.TerminationGracePeriodSeconds) * time.Second); code != 0 {
				t.Errorf("exit code %d\n%s", code, server.tail())
			}
			if out := server.output(); strings.Contains(out, `"level":"error"`) || strings.Contains(out, "can be written by other users") {
				t.Errorf("it logs errors, or its store is not its own:\n%s", out)
			}
		})
	}
}
