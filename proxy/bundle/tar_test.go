package bundle

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repacked are the ways in which an archive may be put together that make no
// difference.
func TestTheOrderAndTheArchiverDoNotMatter(t *testing.T) {
	all := entries(t, archived(t, saved(t, map[string]made{"v1": image(t, "one"), "v2": image(t, "two")})))
	dotted := []entry{{Header: tar.Header{Typeflag: tar.TypeDir, Name: "./"}}, {Header: tar.Header{Typeflag: tar.TypeDir, Name: "./blobs/"}}}
	for _, e := range all {
		e.Name = "./" + e.Name
		dotted = append(dotted, e)
	}
	for name, c := range map[string][]entry{
		"shuffled":        shuffled(all),
		"by tar -C DIR .": dotted,
		"with files of others": append([]entry{
			{Header: tar.Header{Typeflag: tar.TypeReg, Name: "manifest.json"}, body: []byte("[]")},
			{Header: tar.Header{Typeflag: tar.TypeReg, Name: "manifest.json"}, body: []byte("[1]")},
		}, all...),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := open(t, rewritten(t, c))
			if err != nil {
				t.Fatal(err)
			}
			if tags := b.Catalog.Repositories[0].Tags; len(tags) != 2 {
				t.Errorf("%+v", tags)
			}
		})
	}
}

func TestAnArchiveThatCouldBeReadInAnotherWayIsRefused(t *testing.T) {
	all := entries(t, archived(t, saved(t, map[string]made{"v1": image(t, "one")})))
	with := func(e entry) []entry { return append([]entry{e}, all...) }
	file := func(name string) []entry {
		return with(entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name}, body: []byte("x")})
	}
	link := func(kind byte) []entry {
		return with(entry{Header: tar.Header{Typeflag: kind, Name: "blobs/sha256/link", Linkname: "/etc/passwd"}})
	}
	for name, c := range map[string]struct {
		entries []entry
		says    string
	}{
		"a file twice":                   {append(all, all[1]), `the archive has "index.json" twice`},
		"a file twice, once with a dot":  {file("./index.json"), `the archive has "index.json" twice`},
		"a name that leads upwards":      {file("../index.json"), `an entry called "../index.json"`},
		"a name that leads up and back":  {file("blobs/../index.json"), "an entry called"},
		"an absolute name":               {file("/index.json"), "an entry called"},
		"a doubled slash":                {file("blobs//sha256"), "an entry called"},
		"two dots before":                {file("././index.json"), "an entry called"},
		"a backslash":                    {file(`blobs\sha256`), "an entry called"},
		"a symbolic link":                {link(tar.TypeSymlink), "neither a file nor a directory"},
		"a hard link":                    {link(tar.TypeLink), "neither a file nor a directory"},
		"a device":                       {link(tar.TypeChar), "neither a file nor a directory"},
		"a named pipe":                   {link(tar.TypeFifo), "neither a file nor a directory"},
		"nothing":                        {nil, "oci-layout is missing"},
		"no catalog":                     {without(all, catalogName), "make it with \"sealgate bundle save\""},
		"no index":                       {without(all, indexName), "index.json is missing"},
		"a catalog of another format":    {edited(all, catalogName, `"format": 1`, `"format": 2`), "another version of sealgate wrote it"},
		"a catalog with an unknown key":  {edited(all, catalogName, `"format": 1`, `"format": 1, "trust": true`), `unknown field "trust"`},
		"a catalog that goes on":         {edited(all, catalogName, "\n}\n", "\n}\n{}"), "something follows"},
		"another name to containerd":     {edited(all, indexName, containerdName+`": "`+app, containerdName+`": "other/`+app), "to containerd"},
		"a catalog and an index at odds": {edited(all, indexName, refName+`": "`+app, refName+`": "other/`+app), "do not agree on what"},
		"a layout of another version":    {edited(all, layoutName, "1.0.0", "2.0.0"), "does not say that it is an OCI image layout"},
		"metadata by no name":            {edited(all, catalogName, "1.root.json", "../root.json"), "is no metadata of it"},
		"no timestamp":                   {edited(all, catalogName, "timestamp.json", "7.root.json"), "has no timestamp.json"},
		"a digest that is none":          {edited(all, catalogName, "sha256:", "sha256:../"), "is no sha256 digest"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, rewritten(t, c.entries))
			wantError(t, err, c.says)
			if !errors.Is(err, ErrFormat) {
				t.Errorf("not ErrFormat: %v", err)
			}
		})
	}
}

func without(all []entry, name string) (rest []entry) {
	for _, e := range all {
		if e.Name != name {
			rest = append(rest, e)
		}
	}
	return rest
}

// edited has old replaced in a file, at the first place.
func edited(all []entry, name, old, with string) (other []entry) {
	for _, e := range all {
		if e.Name == name {
			e.body = []byte(strings.Replace(string(e.body), old, with, 1))
		}
		other = append(other, e)
	}
	return other
}

// TestATruncatedArchiveIsRefusedWhereverItWasCut: at every block and around it,
// also where nothing is missing but the end.
func TestATruncatedArchiveIsRefusedWhereverItWasCut(t *testing.T) {
	raw := mustRead(t, archived(t, saved(t, map[string]made{"v1": image(t, "one")})))
	cut := filepath.Join(t.TempDir(), "cut.tar")
	for at := 0; at < len(raw); at += tarBlock / 2 {
		for _, n := range []int{at, at + 1, at + tarBlock/2 - 1} {
			write(t, cut, raw[:n])
			b, err := Open(cut)
			if err == nil {
				_ = b.Close()
				t.Fatalf("%d of %d bytes are taken for a bundle", n, len(raw))
			}
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%d of %d bytes: %v", n, len(raw), err)
			}
		}
	}
}

func TestALinkInADirectoryLeadsNowhere(t *testing.T) {
	for _, name := range []string{indexName, catalogName} {
		t.Run(name, func(t *testing.T) {
			dir := saved(t, map[string]made{"v1": image(t, "one")})
			file := filepath.Join(dir, name)
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			if err := os.Rename(file, elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, file); err != nil {
				t.Fatal(err)
			}
			_, err := open(t, dir)
			wantError(t, err, name+" is no file")
		})
	}
}

func TestSparseFilesAreRefused(t *testing.T) {
	for key := range map[string]string{"GNU.sparse.major": "1", "GNU.sparse.map": "0,1"} {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: indexName, PAXRecords: map[string]string{key: "1"}}
		if _, err := entryName(header); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
