package rewrite_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/rewrite"
)

func TestTags(t *testing.T) {
	tests := map[string]struct {
		tags []string
		want string
	}{
		"no tags are an empty list and not null": {nil, `{"name":"acme/app","tags":[]}` + "\n"},
		"an empty slice is an empty list":        {[]string{}, `{"name":"acme/app","tags":[]}` + "\n"},
		"one tag":                                {[]string{"1.0"}, `{"name":"acme/app","tags":["1.0"]}` + "\n"},
		"the order is the caller's":              {[]string{"b", "a"}, `{"name":"acme/app","tags":["b","a"]}` + "\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := string(rewrite.Tags("acme/app", tt.tags)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNextTags(t *testing.T) {
	tests := map[string]struct {
		n    int
		last string
		want string
	}{
		"a plain tag":             {2, "1.0", `</v2/acme/app/tags/list?last=1.0&n=2>; rel="next"`},
		"the largest page":        {1000, "v9", `</v2/acme/app/tags/list?last=v9&n=1000>; rel="next"`},
		"a tag in need of escape": {1, `a"><b`, `</v2/acme/app/tags/list?last=a%22%3E%3Cb&n=1>; rel="next"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rewrite.NextTags("acme/app", tt.n, tt.last); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzTags(f *testing.F) {
	f.Add("acme/app", "a\nb")
	f.Add("acme/app", "")
	f.Add("a", "\xff\n\"\n</script>")
	f.Fuzz(func(t *testing.T, repository, joined string) {
		tags := strings.Split(joined, "\n")
		var got struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(rewrite.Tags(repository, tags), &got); err != nil {
			t.Fatal(err)
		}
		for i := range tags {
			tags[i] = strings.ToValidUTF8(tags[i], "�")
		}
		if len(got.Tags) != len(tags) {
			t.Fatalf("%d tags became %d", len(tags), len(got.Tags))
		}
		if valid := strings.ToValidUTF8(joined, "�"); valid == joined && !slices.Equal(got.Tags, tags) {
			t.Fatalf("%q became %q", tags, got.Tags)
		}
		link := rewrite.NextTags("acme/app", 1, joined)
		target, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		if !ok || strings.ContainsAny(target, "<>\"\r\n ") {
			t.Fatalf("link %q", link)
		}
		if u, err := url.Parse(target); err != nil || u.Query().Get("last") != joined {
			t.Fatalf("link %q does not name %q", link, joined)
		}
	})
}
