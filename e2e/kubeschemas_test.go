package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// kubeSchemas is a directory of JSON schemas for kubeconform, one for each kind:
// made of the API that Kubernetes publishes, and of the Prometheus operator's
// CRDs. They are strict: a field that the API does not have is an error, where a
// cluster would drop it with a warning.
var kubeSchemas = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(suite.dir, "kubeschemas")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := apiSchemas(dir); err != nil {
		return "", err
	}
	return dir, resourceSchemas(dir)
})

// moduleFile is a file in the sources of a module that .ci/setup has fetched.
func moduleFile(name ...string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".cache", "modules"}, name...)...))
	if err != nil {
		return nil, fmt.Errorf("%w: `make setup` fetches it", err)
	}
	return text, nil
}

// apiSchemas are those of Kubernetes' own kinds. They refer to one file of definitions.
func apiSchemas(dir string) error {
	text, err := moduleFile("kubernetes", "api", "openapi-spec", "swagger.json")
	if err != nil {
		return err
	}
	var api struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(text, &api); err != nil {
		return err
	}
	for name, definition := range api.Definitions {
		strict(definition)
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 { // of several, as DeleteOptions: nothing that one applies
			continue
		}
		kind, _ := kinds[0].(map[string]any)
		reference := map[string]any{"$ref": "definitions.json#/definitions/" + name}
		if err := writeSchema(dir, kind["kind"], kind["group"], kind["version"], reference); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, "definitions.json"), api)
}

// resourceSchemas are those of the custom resources that the chart has.
func resourceSchemas(dir string) error {
	for _, resource := range []string{"servicemonitors", "prometheusrules"} {
		text, err := moduleFile("prometheus-operator", "example", "prometheus-operator-crd", "monitoring.coreos.com_"+resource+".yaml")
		if err != nil {
			return err
		}
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema map[string]any `yaml:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return err
		}
		for _, version := range crd.Spec.Versions {
			schema := version.Schema.OpenAPIV3Schema
			strict(schema)
			schema["properties"].(map[string]any)["metadata"] = map[string]any{
				"$ref": "definitions.json#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
			}
			if err := writeSchema(dir, crd.Spec.Names.Kind, crd.Spec.Group, version.Name, schema); err != nil {
				return err
			}
		}
	}
	return nil
}

// strict changes a schema of OpenAPI, and all in it, to one of JSON Schema in which
// an object has no other properties than those that are listed.
func strict(schema map[string]any) {
	if schema["format"] == "int-or-string" || schema["x-kubernetes-int-or-string"] == true {
		maps.DeleteFunc(schema, func(string, any) bool { return true })
		schema["type"] = []any{"integer", "string"}
		return
	}
	delete(schema, "format") // kubeconform knows few of OpenAPI's
	properties, listed := schema["properties"].(map[string]any)
	if _, open := schema["additionalProperties"]; listed && !open && schema["x-kubernetes-preserve-unknown-fields"] != true {
		schema["additionalProperties"] = false
	}
	for _, nested := range properties {
		strict(nested.(map[string]any))
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if nested, ok := schema[key].(map[string]any); ok {
			strict(nested)
		}
	}
}

// writeSchema writes a schema where kubeconform looks for it: KindSuffix is the first
// label of the group, where there is one, and the version.
func writeSchema(dir string, kind, group, version any, schema map[string]any) error {
	suffix := fmt.Sprint(version)
	if first, _, _ := strings.Cut(fmt.Sprint(group), "."); first != "" {
		suffix = first + "-" + suffix
	}
	return writeJSON(filepath.Join(dir, strings.ToLower(fmt.Sprintf("%v-%s.json", kind, suffix))), schema)
}

func writeJSON(file string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// kubeconform validates manifests and returns what it says.
func kubeconform(t *testing.T, manifests string) (string, error) {
	t.Helper()
	dir := must(kubeSchemas())(t)
	return runSaying(manifests, nil, "kubeconform", "-strict", "-summary", "-schema-location", filepath.Join(dir, "{{.ResourceKind}}{{.KindSuffix}}.json"))
}

// TestSchemasOfKubernetesAreStrict is about the harness: what they are to find.
func TestSchemasOfKubernetesAreStrict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, manifest, says string }{
		{"all is well", "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1, targetPort: name}]}}", "Valid: 1"},
		{"a field that is not there", "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {prots: []}}", "'prots' not allowed"},
		{"one deep down", "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1, prot: 2}]}}", "'prot' not allowed"},
		{"a wrong type", "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: http}]}}", "got string, want integer"},
		{"a field twice", "{apiVersion: v1, kind: Service, metadata: {name: a, name: b}}", `key "name" already set`},
		{"one of the operator's", "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}, spec: {selector: {}, endpoints: [{prot: a}]}}", "'prot' not allowed"},
		{"a kind that is not there", "{apiVersion: apps/v1, kind: Deploymant, metadata: {name: a}}", "could not find schema"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := kubeconform(t, c.manifest)
			if !strings.Contains(out, c.says) || (err == nil) != (c.says == "Valid: 1") {
				t.Errorf("want %q, got %v\n%s", c.says, err, out)
			}
		})
	}
}
