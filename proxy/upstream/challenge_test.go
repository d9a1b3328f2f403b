package upstream

import (
	"reflect"
	"strings"
	"testing"
)

func TestChallengesThatAreUnderstood(t *testing.T) {
	basic := challenge{"basic", map[string]string{"realm": "r"}}
	bearer := challenge{"bearer", map[string]string{"realm": "https://a.example/t", "service": "s", "scope": "repository:a/b:pull,push"}}
	const bearerText = `Bearer realm="https://a.example/t",service="s",scope="repository:a/b:pull,push"`
	for _, tt := range []struct {
		name   string
		values []string
		want   []challenge
	}{
		{"basic", []string{`Basic realm="r"`}, []challenge{basic}},
		{"bearer", []string{bearerText}, []challenge{bearer}},
		{"scheme and names in any case", []string{`bAsIc REALM="r"`}, []challenge{basic}},
		{"a token as value", []string{`Basic realm=r`}, []challenge{basic}},
		{"blanks wherever they may be", []string{" \t,, Basic  realm \t=  \"r\" , ,"}, []challenge{basic}},
		{"two in one value", []string{bearerText + `, Basic realm="r"`}, []challenge{bearer, basic}},
		{"two in one value, the other way round", []string{`Basic realm="r", ` + bearerText}, []challenge{basic, bearer}},
		{"two values", []string{`Basic realm="r"`, bearerText}, []challenge{basic, bearer}},
		{"a scheme alone", []string{"Negotiate"}, []challenge{{"negotiate", map[string]string{}}}},
		{"a scheme alone before another", []string{`Negotiate, Basic realm="r"`}, []challenge{{"negotiate", map[string]string{}}, basic}},
		{"a token68 before another", []string{`Negotiate YII+/a==, Basic realm="r"`}, []challenge{{"negotiate", map[string]string{}}, basic}},
		{"a token68 after another", []string{`Basic realm="r", Negotiate YII=`}, []challenge{basic, {"negotiate", map[string]string{}}}},
		{"a comma and an equals sign in a quoted string", []string{`Basic realm="a, Bearer realm=b"`}, []challenge{{"basic", map[string]string{"realm": "a, Bearer realm=b"}}}},
		{"escapes in a quoted string", []string{`Basic realm="a\"b\\c"`}, []challenge{{"basic", map[string]string{"realm": `a"b\c`}}}},
		{"an empty quoted string", []string{`Basic realm=""`}, []challenge{{"basic", map[string]string{"realm": ""}}}},
		{"none", nil, nil},
		{"an empty value", []string{""}, nil},
		{"a value in bad form beside a good one", []string{`Bearer realm="`, `Basic realm="r"`}, []challenge{basic}},
		{"a good challenge in a value of bad form", []string{`Basic realm="r", Bearer realm="`}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseChallenges(tt.values); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestChallengesInBadForm(t *testing.T) {
	for _, value := range []string{
		`"Basic" realm="r"`, `=`, `Basic ="r"`, `Basic realm="r`, `Basic realm="r\`, `Basic realm="r\"`,
		"Basic realm=\"a\nb\"", "Basic realm=\"a\x00b\"", "Basic realm=\"a\\\x01\"", "Basic realm=\"\x7f\"", `Basic realm="r" x`, `Basic realm="r"Bearer realm="s"`,
		`Basic realm="a", realm="b"`, `Basic realm="a", REALM="b"`, `Basic: realm="r"`, `Basic realm="r"; x=y`, `Basic realm=r@s`, "Bäsic realm=r", `Negotiate a b`,
		"Basic " + strings.Repeat(`a="b",`, maxParams+1) + `c=d`, strings.Repeat("a,", maxChallenges+1),
	} {
		if got, err := parseChallenge(value); err == nil {
			t.Errorf("%.60q: got %q", value, got)
		}
	}
}

func TestChallengesAreBounded(t *testing.T) {
	if got := parseChallenges([]string{`Basic realm="` + strings.Repeat("x", maxChallengeBytes) + `"`, `Basic realm="r"`}); got != nil {
		t.Errorf("%d challenges of more bytes than are read", len(got))
	}
	values := make([]string, 4*maxChallenges)
	for i := range values {
		values[i] = "Basic realm=r"
	}
	if got := parseChallenges(values); len(got) != maxChallenges {
		t.Errorf("got %d challenges", len(got))
	}
}

// Whatever a server sends, what is made of it says the same when it is written
// in the plainest form and read again.
func FuzzChallenge(f *testing.F) {
	for _, value := range []string{`Basic realm="r"`, `Bearer realm="https://a/t",scope="repository:a:pull", Basic realm=x`, `Negotiate a==, B c="\"\\"`, "=,\"\\"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		first, err := parseChallenge(value)
		if err != nil {
			return
		}
		var plain []string
		for _, c := range first {
			var params []string
			for name, value := range c.params {
				params = append(params, name+`="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)+`"`)
			}
			plain = append(plain, c.scheme+" "+strings.Join(params, ", "))
		}
		second, err := parseChallenge(strings.Join(plain, ", "))
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%q became %q, and that %q, %v", value, first, second, err)
		}
	})
}
