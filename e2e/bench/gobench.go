package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// goRow is one line of the table of Go benchmarks.
type goRow struct {
	what string
	pkg  string // below the module's path
	name string // without "Benchmark" and the number of processors
	unit string // of the column that counts
}

// goRows are the benchmarks that are run, in the order of the table.
var goRows = []goRow{
	{"resolve: a tag of a warm repository of 10,000", "proxy", "Resolve", "ns/op"},
	{"the same from all cores at once, per call", "proxy", "ResolveParallel", "ns/op"},
	{"trustcache.Cache.Tag, warm, from all cores at once", "trustcache", "CacheTagWarm", "ns/op"},
	{"trustcache.Snapshot.Lookup", "trustcache", "Lookup", "ns/op"},
	{"unchanged refresh of 10,000 tags", "trustcache/notary", "Unchanged10000", "ns/op"},
	{"cold verification of 10 tags", "trustcache/notary", "FirstLook/10_tags", "ns/op"},
	{"cold verification of 1,000 tags", "trustcache/notary", "FirstLook/1000_tags", "ns/op"},
	{"cold verification of 10,000 tags", "trustcache/notary", "FirstLook/10000_tags", "ns/op"},
	{"route parse: a manifest by tag", "proxy", "Parse/manifest_by_tag", "ns/op"},
	{"route parse: a manifest by digest", "proxy", "Parse/manifest_by_digest", "ns/op"},
	{"route parse: a tag list", "proxy", "Parse/tag_list", "ns/op"},
	{"tags/list: a page of 1,000 of 10,000 tags, whole handler", "proxy", "TagsPage", "ns/op"},
	{"tag read from memory, whole handler without net/http", "proxy", "TagRead", "ns/op"},
	{"memory per cached signed tag", "e2e/bench", "MemoryPerTag", "B/tag"},
	{"memory per cached repository of 10 tags", "e2e/bench", "MemoryPerRepository", "B/repository"},
}

// goResult is what one benchmark gave: every column, once for each count.
type goResult map[string][]float64 // by unit

// goResults are by package, a space, name.
type goResults map[string]goResult

func (r goRow) key() string { return r.pkg + " " + r.name }

// median is that of one column, and whether there was one.
func (g goResults) median(r goRow, unit string) (float64, bool) {
	values := g[r.key()][unit]
	return median(values), len(values) > 0
}

// runGo runs the benchmarks of goRows, count times each.
func runGo(ctx context.Context, root, benchtime string, count int) (goResults, error) {
	var packages, names []string
	seen := map[string]bool{}
	for _, row := range goRows {
		if pkg := "./" + row.pkg; !seen[pkg] {
			seen[pkg] = true
			packages = append(packages, pkg)
		}
		if name, _, _ := strings.Cut(row.name, "/"); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	argv := []string{"test", "-run", "^$", "-bench", "^Benchmark(" + strings.Join(names, "|") + ")$", "-benchmem", "-benchtime", benchtime, "-count", strconv.Itoa(count), "-timeout", "10m"}
	cmd := exec.CommandContext(ctx, "go", append(argv, packages...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the binary is built
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w: %s", err, out)
	}
	results := parseGo(string(out))
	for _, row := range goRows {
		if _, ok := results.median(row, row.unit); !ok {
			return nil, fmt.Errorf("go test -bench: no benchmark %q in ./%s, which the table has: %s", row.name, row.pkg, out)
		}
	}
	return results, nil
}

var processors = regexp.MustCompile(`-[0-9]+$`)

// parseGo reads the format of Go's benchmarks (golang.org/design/14313).
func parseGo(out string) goResults {
	results := goResults{}
	pkg := ""
	for line := range strings.Lines(out) {
		if path, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = strings.TrimPrefix(strings.TrimSpace(path), module+"/")
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		key := pkg + " " + processors.ReplaceAllString(strings.TrimPrefix(f[0], "Benchmark"), "")
		if results[key] == nil {
			results[key] = goResult{}
		}
		for i := 2; i+1 < len(f); i += 2 {
			if value, err := strconv.ParseFloat(f[i], 64); err == nil {
				results[key][f[i+1]] = append(results[key][f[i+1]], value)
			}
		}
	}
	return results
}
