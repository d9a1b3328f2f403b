package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sample is what wrk measured in one run.
type sample struct {
	Requests int64
	Micros   int64 `json:"duration"`
	Bytes    int64
	P50, P99 float64 // µs
	Connect  int64   // errors, from here to Timeout
	Read     int64
	Write    int64
	Status   int64
	Timeout  int64

	cpu time.Duration // that the server used meanwhile
}

func (s sample) perSecond() float64 { return float64(s.Requests) / (float64(s.Micros) / 1e6) }

func (s sample) mibPerSecond() float64 {
	return float64(s.Bytes) / (1 << 20) / (float64(s.Micros) / 1e6)
}

// cpuPerRead is in µs.
func (s sample) cpuPerRead() float64 { return float64(s.cpu.Microseconds()) / float64(s.Requests) }

// cpuPerMiB is in µs.
func (s sample) cpuPerMiB() float64 {
	return float64(s.cpu.Microseconds()) / (float64(s.Bytes) / (1 << 20))
}

// failed says what makes the sample worthless. A connection that is cut, a
// refusal and an answer that never came are errors of the set-up.
func (s sample) failed() error {
	if s.Bytes > 0 && s.Connect+s.Read+s.Write+s.Status+s.Timeout == 0 {
		return nil
	}
	return fmt.Errorf("wrk read %d bytes and counted errors: connect %d, read %d, write %d, status %d, timeout %d", s.Bytes, s.Connect, s.Read, s.Write, s.Status, s.Timeout)
}

// marker begins the line that our scripts print.
const marker = "sealgate-bench "

// reportScript prints what wrk measured in a form that needs no guessing of
// units. It defines no request function, so that wrk sends one request from
// memory.
const reportScript = `
function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format('` + marker + `{"requests":%d,"duration":%d,"bytes":%.0f,"p50":%.1f,"p99":%.1f,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
		summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
		e.connect, e.read, e.write, e.status, e.timeout))
end
`

// walkScript asks paths in turn: those that are its arguments, with "%d" in one
// of them standing for as many numbers as the argument before it says.
const walkScript = reportScript + `
local targets, next = {}, 0
function init(args)
	local times = 1
	for _, arg in ipairs(args) do
		if tonumber(arg) then
			times = tonumber(arg)
		else
			for i = 1, times do
				targets[#targets + 1] = wrk.format("GET", string.format(arg, i - 1))
			end
		end
	end
end
function request()
	next = next % #targets + 1
	return targets[next]
end
`

// accept is what dockerd and containerd accept, without which a registry
// makes up a manifest of schema 1.
const accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"

// wrk runs wrk against the contestant with one of the scripts, for a second
// that does not count and then for as long as is asked. Without that second
// what was idle for a minute is measured as it wakes up: its memory may have
// been given to others meanwhile.
func (l *lab) wrk(ctx context.Context, c *contestant, path string, connections, seconds int, script string, args ...string) (sample, error) {
	if _, err := l.wrkOnce(ctx, c, path, connections, 1, script, args...); err != nil {
		return sample{}, err
	}
	s, err := l.wrkOnce(ctx, c, path, connections, seconds, script, args...)
	if err == nil {
		err = s.failed()
	}
	return s, err
}

func (l *lab) wrkOnce(ctx context.Context, c *contestant, path string, connections, seconds int, script string, args ...string) (sample, error) {
	file := filepath.Join(l.dir, "script.lua")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+time.Minute)
	defer cancel()
	argv := []string{"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(seconds) + "s", "--timeout", "30s", "-s", file, "-H", "Accept: " + accept, c.url + path, "--"}
	cmd := exec.CommandContext(ctx, "wrk", append(argv, args...)...)
	cmd.WaitDelay = time.Second
	before := c.cpu()
	out, err := cmd.CombinedOutput()
	used := c.cpu() - before
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	s, err := parseSample(string(out))
	s.cpu = used
	return s, err
}

func parseSample(out string) (s sample, err error) {
	_, line, ok := strings.Cut(out, marker)
	if !ok {
		return s, fmt.Errorf("wrk did not report: %s", out)
	}
	line, _, _ = strings.Cut(line, "\n")
	return s, json.Unmarshal([]byte(line), &s)
}
