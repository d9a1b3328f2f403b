package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// maxLogLine is the longest line of a log that is looked at, in bytes; ours are
// much shorter.
const maxLogLine = 64 << 10

// readLines calls each with every line of a log, without its end, and with nil
// for one that is longer than maxLogLine. Logs in gzip are known by how they
// begin. A line belongs to each until it returns.
func readLines(r io.Reader, each func(line []byte)) error {
	in := bufio.NewReaderSize(r, maxLogLine)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReaderSize(unzipped, maxLogLine)
	}
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			each(nil)
		} else if line = bytes.TrimSpace(line); len(line) > 0 { // after a crash there may be empty ones
			each(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// logLine is what a report needs of the line of a request: see docs/log.md.
type logLine struct {
	Message        string    `json:"message"`
	Time           time.Time `json:"time"`
	Client         string    `json:"client"`
	Certificate    string    `json:"client_certificate"`
	Registry       string    `json:"registry"`
	Route          string    `json:"route"`
	Method         string    `json:"method"`
	Repository     string    `json:"repository"`
	Tag            string    `json:"tag"`
	Decision       string    `json:"decision"`
	Reason         string    `json:"reason"`
	Would          string    `json:"would"`
	SignedDigest   string    `json:"signed_digest"`
	UpstreamDigest string    `json:"upstream_digest"`
}

// aboutTags is in the line of every request for a manifest by tag.
var aboutTags = []byte(`"manifest-by-tag"`)

// parseLine reads a line of a log. It is nil, and fine, where the line is about
// something else than a tag; fine is false where it is none of ours. What is
// about something else is not parsed: that is most of a log.
func parseLine(text []byte) (line *logLine, fine bool) {
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return nil, false
	}
	if !bytes.Contains(text, aboutTags) {
		return nil, bytes.Contains(text, []byte(`"message":`))
	}
	line = &logLine{}
	if err := json.Unmarshal(text, line); err != nil {
		return nil, false
	}
	if line.Message != "request" || line.Route != "manifest-by-tag" {
		return nil, true
	}
	return line, !line.Time.IsZero() && line.bounded()
}

// bounded says whether the texts that are kept are as short as those that
// Sealgate writes: a name has 255 bytes at most, and a tag 128 (OCI
// distribution-spec v1.1, "Pulling manifests").
func (l *logLine) bounded() bool {
	long := 0
	for _, text := range []string{l.Registry, l.Repository, l.Tag, l.Client, l.Certificate, l.Reason, l.SignedDigest, l.UpstreamDigest} {
		long = max(long, len(text))
	}
	return long <= 300
}
