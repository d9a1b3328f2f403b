package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path"
	"testing"
)

// FuzzBundle reads any bytes as an archive: no panic; every file that it finds
// lies within the archive and has a name of a bundle's; and what is read and
// believed under the name of a sha256 has it.
func FuzzBundle(f *testing.F) {
	small := mustRead(f, archived(f, saved(f, map[string]made{"v1": image(f, "one")})))
	f.Add(small)
	f.Add(small[:len(small)/2])
	f.Add(bytes.Repeat([]byte{0}, 1024))
	f.Fuzz(func(t *testing.T, raw []byte) {
		files, err := indexTar(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		from := &tarFiles{from: bytes.NewReader(raw), files: files}
		for name, s := range files {
			if !ours(name) || s.offset < 0 || s.size < 0 || s.offset+s.size > int64(len(raw)) {
				t.Fatalf("%q at %+v of %d bytes", name, s, len(raw))
			}
			base := path.Base(name)
			if !isSum(base) || verifyFile(t.Context(), from, name, nil) != nil {
				continue
			}
			r, _, err := from.open(name)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if sum := sha256.Sum256(body); err != nil || hex.EncodeToString(sum[:]) != base {
				t.Fatalf("%s was believed: %x, %v", name, sum, err)
			}
		}
		b := &Bundle{from: from}
		if b.read() != nil {
			return
		}
		for _, r := range b.Catalog.Repositories {
			for _, tag := range r.Tags {
				if m, err := readManifest(from, tag.descriptor()); err == nil && m.Digest != string(tag.Digest) {
					t.Fatalf("%s was believed to be %s", m.Digest, tag.Digest)
				}
			}
		}
	})
}
