package e2e

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestChartRendersWhatKubernetesTakesAndSealgateTakes, for every file of values that
// comes with it.
func TestChartRendersWhatKubernetesTakesAndSealgateTakes(t *testing.T) {
	t.Parallel()
	for _, values := range valuesFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(values), "-values.yaml"), func(t *testing.T) {
			t.Parallel()
			if out, err := helm("lint", "--strict", "--values", values); err != nil {
				t.Errorf("lint: %v\n%s", err, out)
			}
			r := render(t, "--values", values)
			if out, err := kubeconform(t, r.text); err != nil {
				t.Errorf("kubeconform: %v\n%s", err, out)
			}
			// The check before an upgrade, which has no state.
			p := newPodOnDisk(t, r, "Job", must(newAuthority(t.TempDir()))(t))
			if out := mustRun(t, p.env, append([]string{suite.sealgate}, p.mapped(p.Containers[0].Args...)...)...); !strings.Contains(out, "proxy.yaml: ok") {
				t.Errorf("the check before an upgrade says\n%s", out)
			}
		})
	}
}

func TestChartRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, values, set, says string }{
		{"a key that there is not", "default", "replica=3", "additional properties 'replica' not allowed"},
		{"one that there is not in a block", "default", "image.tags=1", "additional properties 'tags' not allowed"},
		{"a word for a number", "default", "replicas=three", "got string, want null or integer"},
		{"a digest that is none", "default", "image.digest=sha256:1", "'/image/digest'"},
		{"no image", "default", "image.repository=", "image.repository is required"},
		{"no certificate", "default", "tls.existingSecret=", "tls.existingSecret is required (or config.tls)"},
		{"no registry", "default", "config.registries=null", "config.registries is required"},
		{"replicas that share nothing", "default", "replicas=2", "replicas: there can be one only where the storage is not shared"},
		{"ever more that share nothing", "default", "autoscaling.enabled=true", "autoscaling needs config.storage.s3"},
		{"a pod that hears only itself", "default", "config.listen=127.0.0.1:8443", `config.listen: nobody outside the pod reaches "127.0.0.1:8443": leave the host out, as in ":8443"`},
		{"one that no probe reaches", "default", "config.admin.listen=localhost:8444", "config.admin.listen: nobody outside the pod"},
		{"a store beside the volume", "default", "config.storage.filesystem.rootdirectory=/srv", `"/srv" is not below state-dir, "/var/lib/sealgate"`},
		{"a secret in the ConfigMap", "s3", "config.storage.s3.secretkey=HUNTER2", "config.storage.s3: accesskey and secretkey would be in a ConfigMap"},
		{"files of nothing", "default", "files[0].path=/etc/a", "'/files/0'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := helm("template", "--values", chartDir+"/ci/"+c.values+"-values.yaml", "--set", c.set)
			if err == nil || !strings.Contains(out, c.says) {
				t.Errorf("want %q, got %v\n%s", c.says, err, out)
			}
			if strings.Contains(out, "HUNTER2") {
				t.Errorf("the secret is repeated:\n%s", out)
			}
		})
	}
}

// TestChartKeepsWhatMustNotBeLost in a volume, or in the bucket.
func TestChartKeepsWhatMustNotBeLost(t *testing.T) {
	t.Parallel()
	one := render(t, "--values", chartDir+"/ci/default-values.yaml")
	claim := one.the(t, "PersistentVolumeClaim", "")
	if claim.Metadata.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("the volume goes with the release: %v", claim)
	}
	if !strings.Contains(one.text, "type: Recreate") || slices.Contains(one.kinds(), "PodDisruptionBudget") {
		t.Errorf("one replica is not replaced as one:\n%s", one.text)
	}
	several := render(t, "--values", chartDir+"/ci/s3-values.yaml")
	if !strings.Contains(several.text, "type: RollingUpdate") || !slices.Contains(several.kinds(), "PodDisruptionBudget") || slices.Contains(several.kinds(), "PersistentVolumeClaim") {
		t.Errorf("several replicas are not replaced one by one: %v", several.kinds())
	}
	if got := several.the(t, "Deployment", "").Spec.Template.Spec.TerminationGracePeriodSeconds; got != 5+90+10 {
		t.Errorf("drain-timeout is 1m30s, and a pod has %d seconds", got)
	}
}

// TestChartKeepsTheAdminListenerToItself: it is on no Service that clients reach.
func TestChartKeepsTheAdminListenerToItself(t *testing.T) {
	t.Parallel()
	for _, values := range valuesFiles(t) {
		r := render(t, "--values", values)
		for _, o := range r.objects {
			if o.Kind != "Service" || strings.HasSuffix(o.Metadata.Name, "-admin") {
				continue
			}
			if len(o.Spec.Ports) != 1 || o.Spec.Ports[0].TargetPort != "registry" {
				t.Errorf("%s: the Service of clients has %v", values, o.Spec.Ports)
			}
		}
		if admins := strings.Count(r.text, "port: admin}]"); admins != strings.Count(r.text, "app.kubernetes.io/name: prometheus") {
			t.Errorf("%s: the network policy opens the admin listener %d times", values, admins)
		}
	}
}

// TestChartsAlertsAreThoseOfPrometheus, also in a chart that was packaged, which has
// the file where the tree has a link to it.
func TestChartsAlertsAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, nil, "helm", "package", chartDir, "--destination", dir)
	packages := must(filepath.Glob(filepath.Join(dir, "*.tgz")))(t)
	if len(packages) != 1 {
		t.Fatalf("the package is %q", packages)
	}
	out := mustRun(t, nil, "helm", "template", "gate", packages[0], "--kube-version", "1.30.0", "--values", chartDir+"/ci/full-values.yaml", "--show-only", "templates/prometheusrule.yaml")
	var rule struct{ Spec any }
	if err := yaml.Unmarshal([]byte(out[strings.Index(out, "---"):]), &rule); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	var alerts any
	if err := yaml.Unmarshal(must(os.ReadFile("../deploy/prometheus/sealgate.rules.yaml"))(t), &alerts); err != nil {
		t.Fatal(err)
	}
	if alerts == nil || !reflect.DeepEqual(rule.Spec, alerts) {
		t.Errorf("want\n%v, got\n%v", alerts, rule.Spec)
	}
}
