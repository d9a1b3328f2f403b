package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
)

// progress shows on a terminal how far a collection is, in one line that is
// written over and over; elsewhere it only counts. It is not for concurrent use.
type progress struct {
	w       io.Writer // nil: not a terminal
	name    string
	total   int64
	done    map[digest.Digest]int64
	sum     int64 // of done
	fetched int64 // of sum, what was not there already
	began   time.Time
	shown   time.Time
	width   int // of what is on the line
}

// progressEvery is how often a line is written.
const progressEvery = 100 * time.Millisecond

// newProgress is for the collection of name.
func newProgress(w io.Writer, name string) *progress {
	p := &progress{name: name, done: map[digest.Digest]int64{}, began: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// planned says what there is to do.
func (p *progress) planned(c *proxy.Collected) {
	for _, blob := range c.Blobs {
		p.total += blob.Size
	}
	p.show()
}

// at takes note of how much of all is done, where that is known.
func (p *progress) at(done, total int64) {
	p.sum, p.fetched, p.total = done, done, total
	if time.Since(p.shown) >= progressEvery {
		p.show()
	}
}

// step takes note of bytes of a blob.
func (p *progress) step(s proxy.Step) {
	more := s.Done - p.done[s.Digest]
	p.done[s.Digest] = s.Done
	p.sum += more
	if !s.Had {
		p.fetched += more
	}
	if time.Since(p.shown) >= progressEvery {
		p.show()
	}
}

const barWidth = 20

// show writes the line anew.
func (p *progress) show() {
	if p.w == nil {
		return
	}
	p.shown = time.Now()
	full, percent := barWidth, int64(100)
	if p.total > 0 {
		share := min(1, float64(p.sum)/float64(p.total))
		full, percent = int(share*barWidth), int64(share*100)
	}
	bar := strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full)
	rate := float64(p.fetched) / max(time.Since(p.began).Seconds(), 0.001)
	p.write(fmt.Sprintf("%s [%s] %3d%% of %s, %s/s", shortName(p.name), bar, percent, byteText(p.total), byteText(int64(rate))))
}

// clear takes the line away, so that another may be written.
func (p *progress) clear() {
	if p.w != nil && p.width > 0 {
		p.write("")
		io.WriteString(p.w, "\r")
	}
}

func (p *progress) write(line string) {
	fmt.Fprint(p.w, "\r", line, strings.Repeat(" ", max(0, p.width-len(line))))
	p.width = len(line)
}

// shortName leaves room for the bar on a narrow terminal.
func shortName(name string) string {
	const most = 22
	if len(name) > most {
		return "..." + name[len(name)-most+3:]
	}
	return name
}

// byteText is n bytes as people say it.
func byteText(n int64) string {
	size, unit := float64(n), "B"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, larger
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}

// numbered is so many of something.
func numbered(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sayCollected says what was collected of a tag, with done before it, and on w what
// a pull would miss.
func sayCollected(out, w io.Writer, tag selectedTag, done string, got *proxy.Collected, fetched int64) {
	fmt.Fprintf(out, "%s %s: %s%s and %s, %s, of which %s were fetched\n", tag, tag.target.Digest, done,
		numbered(len(got.Manifests), "manifest"), numbered(len(got.Blobs), "blob"), byteText(got.Bytes), byteText(fetched))
	notes(w, tag, got)
}

// notes says what a pull would miss.
func notes(w io.Writer, tag selectedTag, got *proxy.Collected) {
	if tag.stale != nil {
		fmt.Fprintf(w, "sealgate: %s: note: this is what was signed when Notary was last heard: %v\n", tag, tag.stale)
	}
	if len(got.Absent) > 0 {
		fmt.Fprintf(w, "sealgate: %s: note: there is none for %s\n", tag, joined(got.Absent))
	}
	if n := len(got.Foreign); n > 0 {
		fmt.Fprintf(w, "sealgate: %s: note: %s left out that clients fetch from elsewhere, not from the registry\n", tag, numbered(n, "layer"))
	}
}

func joined(platforms []content.Platform) string {
	var texts []string
	for _, p := range platforms {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ", ")
}
