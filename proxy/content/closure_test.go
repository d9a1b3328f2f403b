package content

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	ociIndex = "application/vnd.oci.image.index.v1+json"
	ociImage = "application/vnd.oci.image.manifest.v1+json"
)

// of is the digest of a text, to name something by.
func of(text string) digest.Digest { return digest.FromString(text) }

func typed(t testing.TB, mediaType, body string) *Manifest {
	t.Helper()
	m, err := Check(sha256.Sum256([]byte(body)), []byte(body), mediaType)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// entry writes a descriptor; more are further members of it.
func entry(name string, more ...string) string {
	return fmt.Sprintf(`{"digest":%q,"size":%d%s}`, of(name), len(name), strings.Join(append([]string{""}, more...), ","))
}

func named(t testing.TB, all []Descriptor, names ...string) {
	t.Helper()
	var got, want []digest.Digest
	for _, d := range all {
		got = append(got, d.Digest)
	}
	for _, name := range names {
		want = append(want, of(name))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAnImageNamesItsConfigurationAndItsLayersOnce(t *testing.T) {
	got, err := Closure(typed(t, ociImage, `{"config":`+entry("config", `"urls":["https://a.example"]`)+`,"layers":[`+
		entry("one")+","+entry("two")+","+entry("one")+","+
		entry("elsewhere", `"urls":["https://a.example/layer"]`)+","+
		entry("bound", `"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"`)+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	named(t, got.Blobs, "config", "one", "two")
	named(t, got.Foreign, "elsewhere", "bound")
	named(t, got.Manifests)
	if got.Blobs[1].Size != 3 {
		t.Errorf("size %d", got.Blobs[1].Size)
	}
}

func TestAnIndexNamesItsManifestsByPlatform(t *testing.T) {
	platform := func(text string) string {
		p, err := ParsePlatform(text)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`"platform":{"os":%q,"architecture":%q,"variant":%q}`, p.OS, p.Architecture, p.Variant)
	}
	attests := func(name string) string {
		return `"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"` + string(of(name)) + `"}`
	}
	got, err := Closure(typed(t, ociIndex, `{"manifests":[`+strings.Join([]string{
		entry("amd64", platform("linux/amd64")),
		entry("arm64", platform("linux/arm64/v8")),
		entry("v6", platform("linux/arm/v6")),
		entry("v7", platform("linux/arm/v7")),
		entry("about amd64", platform("unknown/unknown"), attests("amd64")),
		entry("about arm64", platform("unknown/unknown"), attests("arm64")),
		entry("about nothing here", platform("unknown/unknown"), attests("windows")),
		entry("any"),
	}, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		wanted string
		taken  []string
	}{
		{"", []string{"amd64", "arm64", "v6", "v7", "about amd64", "about arm64", "about nothing here", "any"}},
		{"linux/amd64", []string{"amd64", "about amd64", "any"}},
		{"linux/arm64", []string{"arm64", "about arm64", "any"}},
		{"linux/arm64/v8", []string{"arm64", "about arm64", "any"}},
		{"linux/arm", []string{"v6", "v7", "any"}},
		{"linux/arm/v7", []string{"v7", "any"}},
		{"linux/arm/v7,linux/amd64", []string{"amd64", "v7", "about amd64", "any"}},
		{"windows/amd64", []string{"any"}},
	} {
		t.Run("asked for "+c.wanted, func(t *testing.T) {
			var wanted []Platform
			for text := range strings.SplitSeq(c.wanted, ",") {
				if p, err := ParsePlatform(text); err == nil {
					wanted = append(wanted, p)
				}
			}
			taken, left := Select(got.Manifests, wanted)
			named(t, taken, c.taken...)
			if len(taken)+len(left) != len(got.Manifests) {
				t.Errorf("%d and %d of %d", len(taken), len(left), len(got.Manifests))
			}
		})
	}
}

func TestClosureRefusesWhatItCannotFollow(t *testing.T) {
	many := strings.Repeat(entry("a")+",", maxNamed) + entry("a")
	for _, c := range []struct{ behaviour, mediaType, body, says string }{
		{"another media type", "application/vnd.example", `{}`, "it is not known what it names"},
		{"a malformed media type", "a;;", `{}`, "malformed media type"},
		{"no JSON", ociImage, `{`, "cannot be read"},
		{"an image without configuration", ociImage, `{"layers":[]}`, "without a configuration"},
		{"a malformed digest", ociIndex, `{"manifests":[{"digest":"sha256:../../x","size":1}]}`, "it names"},
		{"a digest in upper case", ociIndex, `{"manifests":[{"digest":"` + "sha256:" + strings.Repeat("A", 64) + `"}]}`, "it names"},
		{"an algorithm that nothing is checked by", ociIndex, `{"manifests":[{"digest":"md5:d41d8cd98f00b204e9800998ecf8427e"}]}`, "it names"},
		{"no digest", ociIndex, `{"manifests":[{}]}`, "it names"},
		{"a negative size", ociIndex, `{"manifests":[{"digest":"` + string(of("a")) + `","size":-1}]}`, "a size of -1 bytes"},
		{"more than is bearable", ociIndex, `{"manifests":[` + many + `]}`, "it names 10001 things"},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			m := typed(t, c.mediaType, c.body)
			got, err := Closure(m)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), m.Digest) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestParsePlatformRefusesWhatIsNone(t *testing.T) {
	for _, text := range []string{"", "linux", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "linux/amd64 ", "linux/*", "linux/amd64\n"} {
		if p, err := ParsePlatform(text); err == nil {
			t.Errorf("%q: got %v", text, p)
		}
	}
	if p, err := ParsePlatform("linux/arm/v7"); err != nil || p.String() != "linux/arm/v7" || !p.Known() {
		t.Errorf("got %v, %v", p, err)
	}
}

// What a manifest names follows from bytes of the registry's.
func FuzzClosure(f *testing.F) {
	f.Add(true, []byte(`{"manifests":[`+entry("a", `"platform":{"os":"linux","architecture":"amd64"}`)+`]}`))
	f.Add(false, []byte(`{"config":`+entry("c")+`,"layers":[`+entry("a")+`]}`))
	f.Fuzz(func(t *testing.T, isIndex bool, body []byte) {
		mediaType := ociImage
		if isIndex {
			mediaType = ociIndex
		}
		got, err := Closure(typed(t, mediaType, string(body)))
		if err != nil {
			return
		}
		taken, left := Select(got.Manifests, []Platform{{OS: "linux", Architecture: "amd64"}})
		if len(taken)+len(left) != len(got.Manifests) {
			t.Errorf("%d and %d of %d", len(taken), len(left), len(got.Manifests))
		}
		seen := map[digest.Digest]bool{}
		for _, d := range append(got.Manifests, got.Blobs...) {
			if d.Digest.Validate() != nil || d.Size < 0 || seen[d.Digest] {
				t.Errorf("named %+v", d)
			}
			seen[d.Digest] = true
		}
	})
}
