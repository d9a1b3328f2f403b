package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/trustcache/guard"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
)

// tryTimeout bounds one try of check --online.
const tryTimeout = 15 * time.Second

// try is one thing that a gate needs to be there. Do says what came of it; its
// error says what to do, and never a secret.
type try struct {
	key string // of proxy.yaml
	do  func(context.Context) (says string, err error)
}

// tried is what came of a try. Fields are only ever added.
type tried struct {
	Key          string  `json:"key"`
	OK           bool    `json:"ok"`
	Milliseconds float64 `json:"milliseconds"`
	Says         string  `json:"says"`
}

// online tries all that cfg names, at once, in the order of proxy.yaml.
func online(ctx context.Context, cfg *config.Config) ([]tried, error) {
	made, err := newLasting(zerolog.Nop(), &remembered{store: notary.NewMemoryStore()})
	if err != nil {
		return nil, err
	}
	p := &parts{}
	defer p.close()
	tries := []try{{"state-dir", stateDirTry(cfg)}, {"storage." + cfg.Storage.Driver, storageTry(cfg.Storage)}}
	for i, reg := range cfg.Registries {
		if reg.Offline != nil {
			tries = append(tries, try{fmt.Sprintf("registries[%d].offline", i), nobodyToTry})
			continue
		}
		rp := &registryParts{name: reg.Name}
		tries = append(tries, (&wiring{lasting: made, reg: reg, parts: rp}).tries(fmt.Sprintf("registries[%d]", i))...)
		p.registries = append(p.registries, *rp)
	}
	results := make([]tried, len(tries))
	var wg sync.WaitGroup
	for i, t := range tries {
		wg.Go(func() {
			defer guard.Tell(func(p *guard.Panic) { results[i] = tried{t.key, false, 0, p.Error()} })
			results[i] = t.run(ctx)
		})
	}
	wg.Wait()
	return results, nil
}

func (t try) run(ctx context.Context) tried {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	begin := time.Now()
	says, err := t.do(ctx)
	if err != nil {
		says = err.Error()
	}
	return tried{t.key, err == nil, float64(time.Since(begin).Microseconds()) / 1000, onOneLine(says)}
}

// nobodyToTry is the try of an offline registry.
func nobodyToTry(context.Context) (string, error) {
	return "nobody to ask: what was loaded is in storage", nil
}

// stateDirTry writes a file where certificates and bodies under way are to be.
func stateDirTry(cfg *config.Config) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		if cfg.StateDir == "" {
			return "there is none, and nothing that needs one", nil
		}
		if _, err := os.Stat(cfg.StateDir); os.IsNotExist(err) {
			return "not there yet: serve makes it", nil
		}
		f, err := os.CreateTemp(cfg.StateDir, "check-*.tmp")
		if err != nil {
			return "", fmt.Errorf("%w: run this as the user that sealgate runs as, or let that user write there", err)
		}
		_, err = f.WriteString("check")
		closed, removed := f.Close(), os.Remove(f.Name())
		for _, failed := range []error{err, closed, removed} {
			if failed != nil {
				return "", failed
			}
		}
		return "a file was written and removed", nil
	}
}

// storageTry writes, reads, lists and deletes an object, as /readyz does.
func storageTry(s config.Storage) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		if s.Driver == config.InMemory {
			return "nothing to try: it is memory of the process", nil
		}
		if root := s.RootDirectory(); root != "" {
			if _, err := os.Stat(root); os.IsNotExist(err) {
				return "not there yet: serve makes it", nil
			}
			if err := checkOwner(s); err != nil {
				return "", err
			}
		}
		d, err := openDriver(s)
		if err != nil {
			return "", err
		}
		kept := state.New(state.Options{Driver: d})
		if err := doOnly(newTrustStore(kept), kept.Check); err != nil {
			return "", hinted(err, s.Driver == config.S3, "let the system trust its CA, or name that in AWS_CA_BUNDLE")
		}
		return "an object was written, read, listed and deleted", nil
	}
}

// checkOnline tries all that cfg names and prints what came of it; an error where
// something failed.
func checkOnline(ctx context.Context, stdout io.Writer, cfg *config.Config, asJSON bool) error {
	results, err := online(ctx, cfg)
	if err != nil {
		return failed(err)
	}
	failures, err := printTried(stdout, results, asJSON)
	if err != nil {
		return failed(err)
	}
	if failures > 0 {
		return &exitError{exitFailed, fmt.Errorf("%d of %d failed", failures, len(results))}
	}
	return nil
}

// printTried writes the results; failures says how many there are.
func printTried(w io.Writer, results []tried, asJSON bool) (failures int, err error) {
	for _, r := range results {
		if !r.OK {
			failures++
		}
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return failures, enc.Encode(results)
	}
	for _, r := range results {
		word := "ok"
		if !r.OK {
			word = "FAILED"
		}
		if _, err = fmt.Fprintf(w, "%-6s %7.1f ms  %s: %s\n", word, r.Milliseconds, r.Key, r.Says); err != nil {
			return failures, err
		}
	}
	return failures, nil
}
