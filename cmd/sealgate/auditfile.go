package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/DeRuina/timberjack"
	"github.com/sealgate/sealgate/config"
)

// openAudit finds out whether there can be an audit log where the configuration
// wants it; nil where it wants none. What it returns holds nothing open until it
// is written to. A file that was moved away is begun anew by opening it again.
func openAudit(c *config.Audit) (io.WriteCloser, error) {
	switch {
	case c == nil:
		return nil, nil
	case c.Stdout != nil:
		signal.Ignore(syscall.SIGPIPE) // a reader that has gone is an error like others, not the end of the process
		return auditStdout{os.Stdout}, nil
	}
	file, err := openAuditFile(*c.File)
	if err != nil {
		return nil, fmt.Errorf("audit.file: %w", err)
	}
	return file, nil
}

// auditStdout is never closed.
type auditStdout struct{ io.Writer }

func (auditStdout) Close() error { return nil }

// auditFile is a file of audit lines, rotated.
type auditFile struct {
	rotated io.WriteCloser
	torn    bool // the last line has no end
}

func openAuditFile(c config.AuditFile) (*auditFile, error) {
	torn, err := tornLine(c.Path)
	if err != nil {
		return nil, err
	}
	compression := "none"
	if c.Compress {
		compression = "gzip"
	}
	return &auditFile{torn: torn, rotated: &timberjack.Logger{
		Filename:    c.Path,
		FileMode:    0o600, // names of private repositories, and addresses
		MaxSize:     int(c.MaxSize >> 20),
		MaxBackups:  c.MaxFiles,
		MaxAge:      int(c.MaxAge / (24 * time.Hour)),
		Compression: compression,
	}}, nil
}

// tornLine makes the file where there is none, and says whether the one that is
// there ends in the middle of a line, as the last stop of a machine or a process
// leaves it.
func tornLine(path string) (bool, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return false, fmt.Errorf("%q is not a regular file", path)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return false, err
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, end-1); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return last[0] != '\n', nil
}

// Write writes one line. After one that was not written whole it begins a new
// one, so that a reader loses one line and not two.
func (f *auditFile) Write(line []byte) (int, error) {
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.rotated.Write(line)
	if n > 0 {
		f.torn = n < len(line)
	}
	return n, err
}

func (f *auditFile) Close() error { return f.rotated.Close() }
