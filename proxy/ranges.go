package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// byteRange is a part of a blob, in bytes.
type byteRange struct {
	start, length int64
	part          bool // not because it is all that there is
}

// contentRange is the header of a 206 (RFC 9110 section 14.4).
func (b byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", b.start, b.start+b.length-1, size)
}

// readRange says which part of a blob of this size and digest a request is for.
// Several ranges at once, and what is malformed, are no range, as RFC 9110
// section 14.2 allows. The error is an *Error.
func readRange(r *http.Request, digest string, size int64) (byteRange, error) {
	whole := byteRange{length: size}
	if condition := r.Header.Get("If-Range"); condition != "" && strings.Trim(condition, `"`) != digest {
		return whole, nil
	}
	first, last, ok := parseRange(r.Header["Range"])
	switch {
	case !ok:
		return whole, nil
	case first < 0: // the last so many bytes
		first = max(size-last, 0)
		if last == 0 {
			return whole, errNoRange(size)
		}
		last = size - 1
	}
	if first >= size {
		return whole, errNoRange(size)
	}
	return byteRange{start: first, length: min(last, size-1) - first + 1, part: true}, nil
}

// parseRange reads one range (RFC 9110 section 14.1.2): first is -1 where it is of
// the last so many bytes; last is the largest number where it is open.
func parseRange(values []string) (first, last int64, ok bool) {
	if len(values) != 1 {
		return 0, 0, false
	}
	unit, set, ok := strings.Cut(values[0], "=")
	from, to, dash := strings.Cut(strings.TrimSpace(set), "-")
	if !ok || !dash || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || from == "" && to == "" {
		return 0, 0, false
	}
	if first, ok = position(from, -1); !ok {
		return 0, 0, false
	}
	if last, ok = position(to, 1<<63-1); !ok || first > last {
		return 0, 0, false
	}
	return first, last, true
}

// position reads a number of digits alone; absent stands for none. One that is
// too large for any blob is the largest.
func position(digits string, absent int64) (int64, bool) {
	if digits == "" {
		return absent, true
	}
	if strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	return n, true
}
