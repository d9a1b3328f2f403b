package rewrite_test

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/rewrite"
)

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestLocation(t *testing.T) {
	const plain, prefixed = "https://origin.internal:5000", "https://origin.internal:5000/mirror"
	tests := map[string]struct {
		upstream, location string
		want               string
		refused            bool
	}{
		"absolute on the upstream becomes path-absolute":    {plain, "https://origin.internal:5000/v2/a/blobs/x", "/v2/a/blobs/x", false},
		"host names are compared without case":              {plain, "https://ORIGIN.internal:5000/v2/a", "/v2/a", false},
		"without a scheme on the upstream":                  {plain, "//origin.internal:5000/v2/a", "/v2/a", false},
		"path-absolute stays":                               {plain, "/v2/a/blobs/x", "/v2/a/blobs/x", false},
		"the query is kept":                                 {plain, "/v2/a?x=1&y=%2F", "/v2/a?x=1&y=%2F", false},
		"the fragment is not":                               {plain, "/v2/a#frag", "/v2/a", false},
		"escapes stay as they are":                          {plain, "/v2/a%2Fb", "/v2/a%2Fb", false},
		"user and password do not reach the client":         {plain, "https://u:p@origin.internal:5000/v2/a", "/v2/a", false},
		"the upstream's path prefix is taken off":           {prefixed, "https://origin.internal:5000/mirror/v2/a", "/v2/a", false},
		"the prefix is taken off a path alone":              {prefixed, "/mirror/v2/a", "/v2/a", false},
		"outside the prefix is the upstream's to serve":     {prefixed, "/v2/a", plain + "/v2/a", false},
		"a longer name is not the prefix":                   {prefixed, "/mirrored/v2/a", plain + "/mirrored/v2/a", false},
		"what is not below v2 is the upstream's to serve":   {plain, "/_storage/x?sig=1", plain + "/_storage/x?sig=1", false},
		"dots do not climb out of the prefix":               {prefixed, "/mirror/../admin", "", true},
		"escaped dots do not climb out of the prefix":       {prefixed, "/mirror/%2e%2E/admin", "", true},
		"dots after an escaped slash do not climb either":   {prefixed, "/mirror/v2%2f../%2e%2e/admin", "", true},
		"dots at the end do not climb":                      {prefixed, "/mirror/v2/..", "", true},
		"another host is left as it is":                     {plain, "https://cdn.example.com/x?sig=%2B", "https://cdn.example.com/x?sig=%2B", false},
		"another port is another host":                      {plain, "https://origin.internal:5001/x", "https://origin.internal:5001/x", false},
		"another scheme is another origin":                  {plain, "http://origin.internal:5000/x", "http://origin.internal:5000/x", false},
		"no scheme and another host is left as it is":       {plain, "//cdn.example.com/x", "//cdn.example.com/x", false},
		"two slashes do not become a host":                  {plain, "https://u:p@origin.internal:5000//evil.example/x", plain + "//evil.example/x", false},
		"two slashes after the prefix do not become a host": {prefixed, "/mirror//evil.example/x", prefixed + "//evil.example/x", false},
		"a backslash does not become a slash":               {plain, `/\evil.example/x`, plain + `/%5Cevil.example/x`, false},
		"relative is refused":                               {plain, "blobs/x", "", true},
		"a query alone is refused":                          {plain, "?x=1", "", true},
		"no path is the upstream's to serve":                {plain, plain, plain, false},
		"an opaque address is refused":                      {plain, "https:v2/a", "", true},
		"what is no address is refused":                     {plain, "https://TAG IS NOT SIGNED/", "", true},
		"control characters are refused":                    {plain, "/v2/a\r\nSet-Cookie: x", "", true},
		"empty is refused":                                  {plain, "", "", true},
		"the default port said aloud is the same origin":    {"https://origin.internal", "https://origin.internal:443/v2/a", "/v2/a", false},
		"the default port left out is the same origin":      {"https://origin.internal:443", "https://origin.internal/v2/a", "/v2/a", false},
		"the default port of http":                          {"http://origin.internal", "http://origin.internal:80/v2/a", "/v2/a", false},
		"https on port 80 is not the default port":          {"https://origin.internal", "https://origin.internal:80/v2/a", "https://origin.internal:80/v2/a", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := rewrite.Location(tt.location, mustURL(t, tt.upstream))
			if got != tt.want || ok == tt.refused {
				t.Errorf("Location(%q) = %q, %v; want %q, %v", tt.location, got, ok, tt.want, !tt.refused)
			}
		})
	}
}

// FuzzLocation: on the upstream's own origin the result is absolute, or below
// /v2/ and then, put after the upstream's path, never leaves that path, however
// a reader resolves escapes and dots.
func FuzzLocation(f *testing.F) {
	for _, seed := range []string{
		"/mirror/v2/a", "/mirror/../admin", "/mirror/%2e%2e/admin", "/mirror/%252e%252e/x", "/mirror//evil", `/mirror/\..\x`,
		"https://origin.internal:5000/mirror/v2/?a=b", "//origin.internal:5000/mirror/..", "https://evil/", "/mirror/;/../x", "/mirror?x", "https:opaque", "A:/", "//0#\x00",
	} {
		f.Add(seed)
	}
	upstream := mustURL(f, "https://origin.internal:5000/mirror")
	f.Fuzz(func(t *testing.T, location string) {
		got, ok := rewrite.Location(location, upstream)
		if !ok {
			if got != "" {
				t.Fatalf("refused %q but returned %q", location, got)
			}
			return
		}
		if strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("Location(%q) = %q", location, got)
		}
		resolved, err := upstream.Parse(location)
		if err != nil {
			t.Fatalf("accepted %q, which cannot be parsed: %v", location, err)
		}
		if resolved.Host != "" && !strings.EqualFold(resolved.Host, upstream.Host) || resolved.Scheme != upstream.Scheme {
			if got != location {
				t.Fatalf("another origin's %q became %q", location, got)
			}
			return
		}
		if strings.HasPrefix(strings.ToLower(got), "https://origin.internal:5000") {
			return
		}
		if !strings.HasPrefix(got, "/v2/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, `/\`) {
			t.Fatalf("Location(%q) = %q, which is not path-absolute", location, got)
		}
		rest, _, _ := strings.Cut(got, "?")
		for range 2 { // as it stands, and with its escapes read
			whole := path.Clean(upstream.Path + rest)
			if whole != upstream.Path && !strings.HasPrefix(whole, upstream.Path+"/") {
				t.Fatalf("Location(%q) = %q, which leaves %q for %q", location, got, upstream.Path, whole)
			}
			again, err := url.PathUnescape(rest)
			if err != nil {
				break
			}
			rest = again
		}
	})
}

func TestLink(t *testing.T) {
	const want = "/v2/acme/app/referrers/sha256:ab"
	const plain, prefixed = "https://origin.internal:5000", "https://origin.internal:5000/mirror"
	next := func(target string) string { return "<" + target + `>; rel="next"` }
	tests := map[string]struct {
		upstream, link, want string
	}{
		"path-absolute":                        {plain, next(want + "?next=2"), next(want + "?next=2")},
		"absolute on the upstream":             {plain, next("https://origin.internal:5000" + want + "?n=1"), next(want + "?n=1")},
		"a query alone is of the page itself":  {plain, next("?next=2"), next(want + "?next=2")},
		"rel without quotes":                   {plain, "<" + want + "?n=1>; rel=next", next(want + "?n=1")},
		"rel in capitals and other parameters": {plain, "<" + want + `?n=1>;title=x ; REL="NEXT"`, next(want + "?n=1")},
		"space before the target":              {plain, "  " + next(want+"?n=1"), next(want + "?n=1")},
		"the prefix is taken off":              {prefixed, next("/mirror" + want + "?n=1"), next(want + "?n=1")},
		"outside the prefix":                   {prefixed, next(want + "?n=1"), ""},
		"another host":                         {plain, next("https://evil.example" + want), ""},
		"another path":                         {plain, next("/v2/acme/app/manifests/latest"), ""},
		"another repository":                   {plain, next("/v2/acme/other/referrers/sha256:ab"), ""},
		"a longer path":                        {plain, next(want + "/../../manifests/latest"), ""},
		"dots that lead to the same path":      {plain, next("/v2/x/../acme/app/referrers/sha256:ab"), ""},
		"another relation":                     {plain, "<" + want + `?n=1>; rel="prev"`, ""},
		"no relation":                          {plain, "<" + want + "?n=1>", ""},
		"a relation that begins alike":         {plain, "<" + want + `?n=1>; rel="nextish"`, ""},
		"no angle brackets":                    {plain, want + `?n=1; rel="next"`, ""},
		"no closing bracket":                   {plain, "<" + want + `?n=1; rel="next"`, ""},
		"a quote in the query":                 {plain, next(want + `?n="1`), ""},
		"a bracket in the query":               {plain, next(want + `?n=<1`), ""},
		"a space in the query":                 {plain, next(want + "?n=1 2"), ""},
		"a line break in the query":            {plain, next("?n=1\r\nSet-Cookie: x"), ""},
		"non-ASCII in the query":               {plain, next("?n=é"), ""},
		"empty":                                {plain, "", ""},
		"an empty target":                      {plain, next(""), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rewrite.Link(tt.link, mustURL(t, tt.upstream), want); got != tt.want {
				t.Errorf("Link(%q) = %q, want %q", tt.link, got, tt.want)
			}
		})
	}
}

// FuzzLink: whatever an upstream sends, the result is empty or a next page of
// exactly the path that was asked for, with nothing in it that could end the
// target or the header.
func FuzzLink(f *testing.F) {
	const want = "/v2/acme/app/referrers/sha256:ab"
	for _, seed := range []string{
		"<" + want + `?n=1>; rel="next"`, `<?n=1>; rel="next"`, "<https://origin.internal:5000" + want + `>; rel=next`, `<//evil/>; rel="next"`,
		"<" + want + `?n=1>; rel="next", <x>; rel="last"`, "<?\r\nA: b>; rel=next", "<" + want + `/..>;rel=next`, `<?">; rel="next"`, "<?#>; rel=next",
	} {
		f.Add(seed)
	}
	upstream := mustURL(f, "https://origin.internal:5000")
	f.Fuzz(func(t *testing.T, link string) {
		got := rewrite.Link(link, upstream, want)
		if got == "" {
			return
		}
		rest, begins := strings.CutPrefix(got, "<")
		target, ends := strings.CutSuffix(rest, `>; rel="next"`)
		if !begins || !ends {
			t.Fatalf("Link(%q) = %q, which is no next page", link, got)
		}
		if strings.ContainsAny(target, "\r\n\"<> \x00") {
			t.Fatalf("Link(%q) = %q", link, got)
		}
		u, err := mustURL(t, "https://gate.example").Parse(target)
		if err != nil {
			t.Fatalf("Link(%q) = %q: %v", link, got, err)
		}
		if p, _, _ := strings.Cut(target, "?"); u.Host != "gate.example" || u.Scheme != "https" || u.EscapedPath() != want || p != want {
			t.Fatalf("Link(%q) = %q, which leads to %q", link, got, u)
		}
	})
}

func TestOwnLocation(t *testing.T) {
	for _, test := range []struct{ location, want string }{
		{"https://registry.example.com/a/b?c=d#e", "/a/b?c=d#e"},
		{"https://registry.example.com:443/a", "/a"},
		{"HTTPS://REGISTRY.example.com/a%2Fb", "/a%2Fb"},
		{"https://registry.example.com", "/"},
		{"https://registry.example.com?a", "/?a"},
		{"//registry.example.com/a", "/a"},
		{"https://registry.example.com//evil.example/", "https://registry.example.com//evil.example/"},
		{"https://user@registry.example.com/a", "https://user@registry.example.com/a"},
		{"http://registry.example.com/a", "http://registry.example.com/a"},
		{"https://registry.example.com:8443/a", "https://registry.example.com:8443/a"},
		{"https://elsewhere.example.com/a", "https://elsewhere.example.com/a"},
		{"/a", "/a"},
		{"a", "a"},
		{"https://%zz/", "https://%zz/"},
	} {
		upstream := &url.URL{Scheme: "https", Host: "registry.example.com", Path: "/below"}
		if got := rewrite.OwnLocation(test.location, upstream); got != test.want {
			t.Errorf("%s: got %s, want %s", test.location, got, test.want)
		}
	}
}
