package config

import (
	"fmt"
	"os"
	"strings"
	"unicode"
)

// LoadPassword reads the file that Credentials.PasswordFile names: a password,
// and one newline at its end at most, which is not part of it. It reads the file
// anew each time, so that a password can be changed while the program runs. The
// error never holds what is in the file.
func LoadPassword(file string) (string, error) {
	data, err := readFile(file)
	if err != nil {
		return "", err
	}
	password := string(data)
	if cut, found := strings.CutSuffix(password, "\n"); found {
		password = strings.TrimSuffix(cut, "\r")
	}
	switch {
	case password == "":
		return "", fmt.Errorf("%s is empty: expected a password", quote(file))
	case len(password) > maxPassword:
		return "", fmt.Errorf("%s holds %d bytes, more than a password has (%d)", quote(file), len(password), maxPassword)
	case strings.ContainsFunc(password, unicode.IsControl):
		return "", fmt.Errorf("%s holds more than one line, or control characters: expected a password and nothing else", quote(file))
	}
	return password, nil
}

// maxPassword bounds a password, in bytes. Some are tokens.
const maxPassword = 16 << 10

// readableByOthers is whether every user of this machine can read a file.
func readableByOthers(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().Perm()&0o004 != 0
}
