package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadPassword(t *testing.T) {
	for _, test := range []struct{ name, file, want, problem string }{
		{"as it is", "hunter2", "hunter2", ""},
		{"one newline at the end is not of it", "hunter2\n", "hunter2", ""},
		{"nor is one of Windows", "hunter2\r\n", "hunter2", ""},
		{"blanks are of it", " hunter 2 ", " hunter 2 ", ""},
		{"other alphabets", "hünter2\n", "hünter2", ""},
		{"empty", "", "", "is empty"},
		{"a newline alone", "\n", "", "is empty"},
		{"two newlines", "hunter2\n\n", "", "more than one line"},
		{"two lines", "hunter2\nzzter2\n", "", "more than one line"},
		{"a tab", "hunter2\t", "", "control characters"},
		{"a zero byte", "hunter2\x00", "", "control characters"},
		{"a token, long as they are", strings.Repeat("x", 16<<10), strings.Repeat("x", 16<<10), ""},
		{"too long", strings.Repeat("x", 16<<10+1), "", "more than a password has"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := LoadPassword(file)
			if got != test.want || (err == nil) != (test.problem == "") {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), test.problem) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "ter2")) {
				t.Errorf("got %v", err)
			}
		})
	}
}
