package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// units are the suffixes of sizes: of powers of two only, so that nobody has to
// wonder what a megabyte is.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1},
}

// parseSize reads a size such as 1048576, 64KiB or 50GiB, in bytes.
func parseSize(s string) (int64, error) {
	for _, unit := range units {
		digits, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		if digits == "" || strings.Trim(digits, "0123456789") != "" || len(digits) > 1 && digits[0] == '0' {
			break
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n > math.MaxInt64/unit.bytes {
			return 0, fmt.Errorf("%s is too large for a size", quote(s))
		}
		return n * unit.bytes, nil
	}
	return 0, fmt.Errorf("%s is not a size: write whole bytes, or a whole number with KiB, MiB, GiB or TiB, such as 64KiB", quote(s))
}

// formatSize prints bytes as parseSize reads them, in the largest unit that is
// exact.
func formatSize(n int64) string {
	best := strconv.FormatInt(n, 10)
	for _, unit := range units {
		if n != 0 && unit.bytes > 1 && n%unit.bytes == 0 {
			best = strconv.FormatInt(n/unit.bytes, 10) + unit.suffix
		}
	}
	return best
}

// decimal prints a count.
func decimal(n int64) string { return strconv.FormatInt(n, 10) }
