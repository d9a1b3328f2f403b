package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// ownBill is the bill of materials of this test's own binary.
func ownBill(t *testing.T) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	bill, err := billOfMaterials(release{version: "v1.2.3", time: time.Unix(1700000000, 0).UTC()}, binary)
	if err != nil {
		t.Fatal(err)
	}
	return bill
}

func TestBillOfMaterialsIsCycloneDX(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(schemas(schemaDir(t)))
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	bill := ownBill(t)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(bill))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	wrong, err := jsonschema.UnmarshalJSON(bytes.NewReader(bytes.Replace(bill, []byte(`"library"`), []byte(`"book"`), 1)))
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(wrong) == nil {
		t.Error("the schema takes everything")
	}
}

// schemaDir is where the library has the schemas of CycloneDX.
func schemaDir(t *testing.T) string {
	t.Helper()
	dir, err := output(nil, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "schema")
}

// schemas loads schemas from a directory, whatever host they say they are on.
type schemas string

func (dir schemas) Load(url string) (any, error) {
	name := strings.Replace(path.Base(url), "jsf-0.82.schema.json", "jsf-0.82.schemax.json", 1)
	file, err := os.Open(filepath.Join(string(dir), name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	defer file.Close()
	return jsonschema.UnmarshalJSON(file)
}

func TestBillOfMaterialsNamesWhatIsLinked(t *testing.T) {
	bill := ownBill(t)
	if !bytes.Equal(bill, ownBill(t)) {
		t.Error("the same binary has two bills")
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(bill), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pkg:golang/std@1", "pkg:golang/github.com/cyclonedx/cyclonedx-go@v"} {
		linked := func(c cdx.Component) bool { return strings.HasPrefix(c.PackageURL, want) }
		if !slices.ContainsFunc(*bom.Components, linked) {
			t.Errorf("no %s in\n%s", want, bill)
		}
	}
	if got := bom.Metadata.Component.Version + " " + bom.Metadata.Timestamp; got != "v1.2.3 2023-11-14T22:13:20Z" {
		t.Errorf("got %s", got)
	}
}
