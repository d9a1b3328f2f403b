package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

func TestMemoryIsLimitedByTheControlGroup(t *testing.T) {
	const before = 1 << 40
	t.Cleanup(func() { debug.SetMemoryLimit(math.MaxInt64) })
	none := func(err error) memlimit.Provider { return func() (uint64, error) { return 0, err } }
	for _, test := range []struct {
		name   string
		cgroup memlimit.Provider
		environment,
		log string
		want     int64
		headroom bool
	}{
		{"nine tenths of it", memlimit.Limit(1000 << 20), "", `"available":1048576000,"limit":943718400,"message":"memory is limited"`, 900 << 20, true},
		{"with no headroom where there is little", memlimit.Limit(100 << 20), "", "memory is limited", 90 << 20, false},
		{"no limit", none(memlimit.ErrNoLimit), "", "", before, true},
		{"no control group", none(memlimit.ErrNoCgroup), "", "", before, true},
		{"a system without", none(memlimit.ErrCgroupsNotSupported), "", "", before, true},
		{"one that cannot be read", none(errors.New("permission denied")), "", "permission denied", before, true},
		{"next to nothing", memlimit.Limit(4 << 20), "", "there is too little memory", before, true},
		{"more than there are numbers", memlimit.Limit(math.MaxUint64), "", "", before, true},
		{"GOMEMLIMIT says", memlimit.Limit(1000 << 20), "500MiB", "", before, false},
		{"GOMEMLIMIT says that there is none", memlimit.Limit(1000 << 20), "off", "", before, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", test.environment)
			if test.environment == "" {
				os.Unsetenv("GOMEMLIMIT")
			}
			debug.SetMemoryLimit(before)
			var log bytes.Buffer
			limitMemory(zerolog.New(&log), test.cgroup)
			if got := debug.SetMemoryLimit(-1); got != test.want {
				t.Errorf("the limit is %d, want %d", got, test.want)
			}
			if got := log.String(); !strings.Contains(got, test.log) || (got == "") != (test.log == "") {
				t.Errorf("the log has %q, want %q", got, test.log)
			}
			if got := headroom() != nil; got != test.headroom {
				t.Errorf("headroom %v, want %v", got, test.headroom)
			}
		})
	}
}

func TestWhatThisMachineDoesNotSufficeForIsWarnedOf(t *testing.T) {
	cfg := &config.Config{ContentTrust: config.ContentTrust{Limits: config.DefaultLimits()}, Limits: config.DefaultClientLimits()}
	if got := machineWarnings(cfg, math.MaxInt64, 20_000); got != nil {
		t.Errorf("got %q", got)
	}
	cfg.Limits.Connections = 16_000
	got := machineWarnings(cfg, 100<<20, 20_000)
	if len(got) != 2 || !strings.HasPrefix(got[0], "content-trust.limits.memory: 32 MiB of metadata") || !strings.HasPrefix(got[1], "limits.connections: 16000 connections leave too few of the 20000 files") {
		t.Errorf("got %q", got)
	}
}
