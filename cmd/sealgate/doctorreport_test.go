package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestNobodysFileWritesALineOfTheReport(t *testing.T) {
	var d diagnosis
	d.add(levelHole, "podman", "/home/x\n/registries.conf", "%s is asked for tags", "a.example\n\x1b[2Kok       podman: fine\u202e")
	var out bytes.Buffer
	if err := d.write(&out, false); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "\n") != 3 || strings.ContainsAny(text, "\x1b\u202e") || !strings.HasPrefix(text, "hole     podman: ") {
		t.Errorf("got %q", text)
	}
}
