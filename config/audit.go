package config

import (
	"os"
	"path/filepath"
	"time"
)

const day = 24 * time.Hour

func (v *validator) audit() {
	if v.c.Audit == nil {
		return
	}
	v.exactlyOne("audit", "file and stdout", "file", "stdout")
	f := v.c.Audit.File
	if f == nil {
		return
	}
	at := func(name string) string { return child("audit.file", name) }
	v.auditPath(at("path"), f.Path)
	v.require(at("max-size"), 1<<20 <= f.MaxSize && f.MaxSize <= 1<<40 && f.MaxSize%(1<<20) == 0,
		"must be whole MiB, at least 1MiB and at most 1TiB, got %s", formatSize(f.MaxSize))
	v.require(at("max-files"), 1 <= f.MaxFiles && f.MaxFiles <= 10_000, "must be from 1 to 10000, got %d", f.MaxFiles)
	v.require(at("max-age"), 0 <= f.MaxAge && f.MaxAge <= 10_000*day && f.MaxAge%day == 0,
		"must be whole days of 24h, such as 720h, and at most 240000h, or 0 for as long as max-files says, got %s", f.MaxAge)
}

// auditPath refuses what rotation would make something else of: a renamed link
// leaves its file behind, and a renamed pipe its reader.
func (v *validator) auditPath(key, path string) {
	if path == "" {
		v.add(key, "is missing: expected the path of the file")
		return
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		v.add(key, "its directory cannot be used: %s: %s", quote(dir), reason(err))
		return
	}
	v.require(key, info.IsDir(), "%s is not a directory", quote(dir))
	info, err = os.Lstat(path)
	v.require(key, err != nil || info.Mode().IsRegular(), "%s is there and is not a regular file: name a file, or audit.stdout", quote(path))
}
