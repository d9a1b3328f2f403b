package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const referenceFile = "../docs/configuration.md"

const referenceHead = `# Configuration reference

Every key of ` + "`proxy.yaml`" + `, from the comments of the types that it is read into: ` + "`make docs`" + ` writes this page. [proxy.yaml](../proxy.yaml) is the same as a worked example, and ` + "`sealgate check`" + ` names every problem of a file with its line and key.

The file is decoded strictly: an unknown or repeated key, a value of the wrong type and a value out of its range are errors. A path that is not absolute is relative to the file. A duration has a unit (` + "`ms`, `s`, `m`, `h`" + `); a size is a number of bytes, or a whole number with ` + "`KiB`, `MiB`, `GiB` or `TiB`" + `. What is not marked *restart* is applied by a reload ([operations.md](operations.md#reload)).
`

// TestTheReferenceIsWhatTheCommentsSay compares docs/configuration.md with the
// comments of the types, and writes it where CONFIG_MD is set.
func TestTheReferenceIsWhatTheCommentsSay(t *testing.T) {
	want := newReference(t).page()
	if left := regexp.MustCompile(`\b[a-z]+[A-Z]\w*|\b[A-Z][a-z]+[A-Z]\w*`).FindAllString(regexp.MustCompile("`[^`]*`|[KMGT]iB").ReplaceAllString(want, ""), -1); len(left) > 0 {
		t.Errorf("names of Go in a page for people who write YAML: %q", left)
	}
	if os.Getenv("CONFIG_MD") != "" {
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the comments say: run make docs", referenceFile)
	}
}

// reference is what the page is made of.
type reference struct {
	comments map[string]string // by "Type" and "Type.Field"
	words    map[string]string // the values of constants that are words of the file
	paths    map[string]string // where a type stands in the file
	restart  []string          // the keys that need one
	out      strings.Builder
}

func newReference(t *testing.T) *reference {
	t.Helper()
	r := &reference{comments: map[string]string{}, words: map[string]string{}, paths: map[string]string{}}
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				r.readType(spec, group.Doc)
			case *ast.ValueSpec:
				r.readConstants(spec)
			}
		}
	}
	for _, changes := range changes(t) {
		for _, change := range changes {
			r.restart = append(r.restart, change.want...)
		}
	}
	r.place(reflect.TypeFor[Config](), "")
	return r
}

func (r *reference) readType(spec *ast.TypeSpec, doc *ast.CommentGroup) {
	r.comments[spec.Name.Name] = doc.Text()
	fields, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range fields.Fields.List {
		for _, name := range field.Names { // a comment of two is shown at the first
			r.comments[spec.Name.Name+"."+name.Name] = field.Doc.Text()
			field.Doc = nil
		}
	}
}

func (r *reference) readConstants(spec *ast.ValueSpec) {
	for i, name := range spec.Names {
		if i >= len(spec.Values) {
			continue
		}
		if value, ok := spec.Values[i].(*ast.BasicLit); ok && value.Kind == token.STRING {
			r.words[name.Name], _ = strconv.Unquote(value.Value)
		}
	}
}

// place notes where each type stands.
func (r *reference) place(typ reflect.Type, path string) {
	if _, known := r.paths[typ.Name()]; known {
		return
	}
	r.paths[typ.Name()] = path
	for i := range typ.NumField() {
		field := typ.Field(i)
		if inner, suffix := block(field.Type); inner != nil {
			r.place(inner, child(path, kebab(field.Name))+suffix)
		}
	}
}

// block is the struct of this package that a value holds, nil where it holds none,
// and what stands after its key where there are many.
func block(typ reflect.Type) (inner reflect.Type, suffix string) {
	for {
		switch typ.Kind() {
		case reflect.Pointer:
			typ = typ.Elem()
			continue
		case reflect.Slice:
			typ, suffix = typ.Elem(), "[]"
			continue
		case reflect.Map:
			typ, suffix = typ.Elem(), ".*"
			continue
		case reflect.Struct:
			if strings.HasSuffix(typ.PkgPath(), "/config") {
				return typ, suffix
			}
		}
		return nil, ""
	}
}

func (r *reference) page() string {
	r.out.WriteString(referenceHead)
	r.block(reflect.TypeFor[Config](), "", map[reflect.Type]bool{})
	return r.out.String()
}

// block writes a block and then those in it.
func (r *reference) block(typ reflect.Type, path string, seen map[reflect.Type]bool) {
	if seen[typ] {
		return
	}
	seen[typ] = true
	title := "The top level"
	if path != "" {
		title = "`" + path + "`"
	}
	fmt.Fprintf(&r.out, "\n## %s\n\n", title)
	if path != "" {
		r.out.WriteString(r.text(typ.Name(), typ) + "\n\n")
	}
	if typ == reflect.TypeFor[Storage]() { // its only key is the driver's name
		r.out.WriteString(r.text("Storage.Driver", typ) + " " + r.text("Storage.Parameters", typ) + " *Restart.*\n")
		return
	}
	r.keys(typ, path)
	for i := range typ.NumField() {
		if inner, suffix := block(typ.Field(i).Type); inner != nil && inner.NumField() > 0 {
			r.block(inner, child(path, kebab(typ.Field(i).Name))+suffix, seen)
		}
	}
}

// keys writes the keys of a block; those that share a comment stand together.
func (r *reference) keys(typ reflect.Type, path string) {
	var names []string
	restart := ""
	for i := range typ.NumField() {
		field := typ.Field(i)
		if field.Name == "Kind" {
			continue // the word itself
		}
		key := kebab(field.Name)
		names = append(names, fmt.Sprintf("**`%s`** (%s)", key, kind(field)))
		if slices.Contains(r.restart, child(path, key)) {
			restart = " *Restart.*"
		}
		if i+1 < typ.NumField() && r.comments[typ.Name()+"."+typ.Field(i+1).Name] == "" {
			continue
		}
		text := r.text(typ.Name()+"."+r.commented(typ, i), typ)
		fmt.Fprintf(&r.out, "- %s: %s%s\n", strings.Join(names, ", "), text, restart)
		names, restart = nil, ""
	}
}

// commented is the field whose comment is that of the i-th, too.
func (r *reference) commented(typ reflect.Type, i int) string {
	for i > 0 && r.comments[typ.Name()+"."+typ.Field(i).Name] == "" {
		i--
	}
	return typ.Field(i).Name
}

// kind says what is written after a key.
func kind(field reflect.StructField) string {
	if inner, suffix := block(field.Type); inner != nil {
		switch suffix {
		case "[]":
			return "a list of blocks"
		case ".*":
			return "blocks by name"
		}
		if inner == reflect.TypeFor[Credentials]() {
			return "a word, or a block"
		}
		return "a block"
	}
	switch field.Type {
	case reflect.TypeFor[time.Duration]():
		return "a duration"
	case reflect.TypeFor[int64]():
		return "a size"
	case reflect.TypeFor[int]():
		return "a number"
	case reflect.TypeFor[bool]():
		return "true or false"
	case reflect.TypeFor[*url.URL]():
		return "a URL"
	case reflect.TypeFor[[]netip.Prefix]():
		return "a list of networks"
	case reflect.TypeFor[[]string]():
		return "a list"
	case reflect.TypeFor[map[string][]string]():
		return "lists by pattern"
	case reflect.TypeFor[map[string]string]():
		return "paths by pattern"
	}
	if strings.HasSuffix(field.Name, "File") || slices.Contains([]string{"Path", "Cert", "Key", "Control", "StateDir"}, field.Name) {
		return "a path"
	}
	return "a text"
}

var (
	seeGo  = regexp.MustCompile(` \(see [A-Z]\w+\)|; see [A-Z]\w+| \(see \w+\.go\)`)
	camel  = regexp.MustCompile(`^[A-Z][a-z]+[A-Z]`)
	goName = regexp.MustCompile(`\b([A-Z]\w+)(?:\.([A-Z]\w+))?\b`)
)

// text is a comment in the words of the file: a name of Go that is a key of it or
// a word is replaced by that.
func (r *reference) text(of string, in reflect.Type) string {
	text := strings.Join(strings.Fields(r.comments[of]), " ")
	text = seeGo.ReplaceAllString(text, "")
	text = strings.NewReplacer("Nil, the default", "Absent, the default", "Nil:", "Absent:", "nil ", "absent ", "nil:", "absent:", "nil,", "absent,", "field is set", "key is set", " Never nil.", "").Replace(text)
	if rest, ok := strings.CutPrefix(text, of+" "); ok {
		text = "This " + rest // what the heading says
	}
	return goName.ReplaceAllStringFunc(text, func(name string) string {
		left, right, qualified := strings.Cut(name, ".")
		word, isWord := r.words[name]
		switch {
		case qualified:
			if path, ok := r.paths[left]; ok {
				return "`" + child(path, kebab(right)) + "`"
			}
		case isWord:
			return "`" + word + "`"
		case in != reflect.TypeFor[Storage]() && hasField(in, name):
			return "`" + kebab(name) + "`"
		case r.paths[name] != "" && (camel.MatchString(name)):
			return "`" + r.paths[name] + "`"
		}
		return name
	})
}

func hasField(typ reflect.Type, name string) bool {
	_, ok := typ.FieldByName(name)
	return ok
}
