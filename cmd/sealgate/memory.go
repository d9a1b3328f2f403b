package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

const (
	// leastMemory is what a server needs, in bytes: with a limit below it the
	// collector would run all the time, and the process end all the same.
	leastMemory = 64 << 20
	// headroomBytes: see headroom.
	headroomBytes = 24 << 20
)

// availableMemory is how many bytes the process may have: what GOMEMLIMIT says, or
// what its control group does (cgroups v1 and v2); math.MaxInt64 where nobody says.
func availableMemory(cgroup memlimit.Provider) (int64, error) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return debug.SetMemoryLimit(-1), nil // which leaves it as the runtime has read it
	}
	bytes, err := cgroup()
	switch {
	case errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
		return math.MaxInt64, nil
	case err != nil:
		return math.MaxInt64, fmt.Errorf("the memory limit of the control group: %w", err)
	}
	return int64(min(bytes, math.MaxInt64)), nil
}

// limitMemory has the collector keep the process below nine tenths of what its
// control group lets it have, so that a burst costs time and not the process.
// Whoever sets GOMEMLIMIT decides alone.
func limitMemory(log zerolog.Logger, cgroup memlimit.Provider) {
	available, err := availableMemory(cgroup)
	if err != nil {
		log.Warn().Err(err).Msg("memory is not limited")
	}
	if os.Getenv("GOMEMLIMIT") != "" || available == math.MaxInt64 {
		return
	}
	if available < leastMemory {
		log.Warn().Int64("available", available).Int64("needed", leastMemory).Msg("there is too little memory to keep a limit")
		return
	}
	limit := available / 10 * 9
	debug.SetMemoryLimit(limit)
	log.Info().Int64("available", available).Int64("limit", limit).Msg("memory is limited")
}

// headroom is memory that is never touched, and so never taken, but counts when
// the collector decides that a collection is due: with the few megabytes that a
// gate holds it would run forty times a second under load. Whoever sets GOGC or
// GOMEMLIMIT decides alone; and where a limit is near there is none, since it
// counts there too.
func headroom() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" || debug.SetMemoryLimit(-1) < 16*headroomBytes {
		return nil
	}
	return make([]byte, headroomBytes)
}

// machineWarnings are about what this machine, or what the process may have of
// it, does not suffice for.
func machineWarnings(cfg *config.Config, available int64, descriptors int) []string {
	var all []string
	if most := cfg.ContentTrust.Limits.Memory; most > available/4 {
		all = append(all, fmt.Sprintf("content-trust.limits.memory: %d MiB of metadata may be verified at once, more than a quarter of the memory that there is, %d MiB: lower it, or give more memory", most>>20, available>>20))
	}
	if most := cfg.Limits.Connections; most > descriptors-descriptors/4 {
		all = append(all, fmt.Sprintf("limits.connections: %d connections leave too few of the %d files that the process may have open for servers and disk: lower it, or raise LimitNOFILE (ulimit -n)", most, descriptors))
	}
	return all
}

// thisMachine is machineWarnings for what the process has now.
func thisMachine(cfg *config.Config) []string {
	available, err := availableMemory(memlimit.FromCgroup)
	if err != nil {
		available = math.MaxInt64 // a start logs it
	}
	return machineWarnings(cfg, available, descriptors())
}
