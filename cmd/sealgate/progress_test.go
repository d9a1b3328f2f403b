package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
)

func TestProgressIsOneLineThatGoesAway(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	var out bytes.Buffer
	p := newProgress(&out, "registry.example.com/a-team-with-a-name/app:v1")
	p.w = &out // as if it were a terminal
	p.planned(&proxy.Collected{Blobs: []content.Descriptor{{Digest: a, Size: 3 << 20}, {Digest: b, Size: 1 << 20}}})
	p.step(proxy.Step{Digest: b, Done: 1 << 20, Total: 1 << 20, Had: true})
	p.step(proxy.Step{Digest: a, Done: 1 << 20, Total: 3 << 20})
	p.show()
	lines := strings.Split(out.String(), "\r")
	last := lines[len(lines)-1]
	if len(last) > 79 || !strings.HasPrefix(last, "...") || !strings.Contains(last, "/app:v1 [==========          ]  50% of 4.0 MiB, ") {
		t.Errorf("got %q", last)
	}
	if p.fetched != 1<<20 {
		t.Errorf("%d bytes were fetched", p.fetched)
	}
	out.Reset()
	p.clear()
	if got := out.String(); strings.Trim(got, "\r ") != "" || len(got) != len(last)+2 || !strings.HasSuffix(got, "\r") {
		t.Errorf("got %q", got)
	}
}

func TestProgressIsSilentWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "app:v1")
	p.planned(&proxy.Collected{})
	p.step(proxy.Step{Done: 1, Total: 1})
	p.clear()
	if out.Len() > 0 || p.fetched != 1 {
		t.Errorf("wrote %q, %d bytes", out.String(), p.fetched)
	}
}

func TestByteTextIsWhatPeopleSay(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 50 << 30: "50.0 GiB", 3 << 50: "3072.0 TiB"} {
		if got := byteText(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
