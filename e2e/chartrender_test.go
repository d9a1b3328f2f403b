package e2e

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// chartDir is the Helm chart.
const chartDir = "../deploy/helm/sealgate"

// helm runs helm on the chart, without a cluster: as `helm install` would for the
// oldest Kubernetes that the chart is for.
func helm(command string, arguments ...string) (string, error) {
	argv := []string{"helm", command}
	if command == "template" {
		argv = append(argv, "gate", "--namespace", "sealgate", "--kube-version", "1.30.0")
	}
	return run(nil, append(append(argv, chartDir), arguments...)...)
}

// valuesFiles are the files of values that come with the chart.
func valuesFiles(t *testing.T) []string {
	t.Helper()
	files := must(filepath.Glob(chartDir + "/ci/*-values.yaml"))(t)
	if len(files) < 4 {
		t.Fatalf("there are only %q", files)
	}
	return files
}

// object is what the tests read of a rendered manifest.
type object struct {
	Kind     string
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Data map[string]string
	Spec struct {
		Template struct{ Spec pod }
		Ports    []struct {
			Name       string
			TargetPort string `yaml:"targetPort"`
		}
	}
}

type pod struct {
	TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext               struct {
		RunAsUser  int `yaml:"runAsUser"`
		RunAsGroup int `yaml:"runAsGroup"`
		FSGroup    int `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	Containers []container
	Volumes    []volume
}

type container struct {
	Args  []string
	Env   []struct{ Name, Value string }
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	Startup      probe `yaml:"startupProbe"`
	Liveness     probe `yaml:"livenessProbe"`
	Readiness    probe `yaml:"readinessProbe"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

type volume struct {
	Name      string
	ConfigMap *struct{ Name string } `yaml:"configMap"`
	Secret    *struct{}
}

// rendered is what the chart makes of values.
type rendered struct {
	text    string
	objects []object
}

func render(t *testing.T, arguments ...string) rendered {
	t.Helper()
	// Before the manifests helm says that it has followed the link to the alerts.
	_, text, _ := strings.Cut(must(helm("template", arguments...))(t), "---\n")
	r := rendered{text: text}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(r.text)))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return r
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, r.text)
		}
		r.objects = append(r.objects, o)
	}
}

// the is the object of a kind, found by the end of its name where there are several.
func (r rendered) the(t *testing.T, kind, suffix string) object {
	t.Helper()
	i := slices.IndexFunc(r.objects, func(o object) bool { return o.Kind == kind && strings.HasSuffix(o.Metadata.Name, suffix) })
	if i < 0 {
		t.Fatalf("there is no %s …%s in\n%s", kind, suffix, r.text)
	}
	return r.objects[i]
}

// kinds are those of all objects.
func (r rendered) kinds() (kinds []string) {
	for _, o := range r.objects {
		kinds = append(kinds, o.Kind)
	}
	slices.Sort(kinds)
	return kinds
}
