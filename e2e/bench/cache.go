package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// cacheTasks read what is kept: blobs from Sealgate's cache and from nginx's,
// and a tag from Sealgate's and from that of docker-registry's mirror.
func (l *lab) cacheTasks(ctx context.Context, r *results) ([]task, error) {
	gate, err := l.openGate(ctx, gateOptions{name: "cached", upstream: l.registry, notary: l.notary, rootKey: l.rootKey, cached: true})
	if err != nil {
		return nil, err
	}
	full, err := l.openNginx(ctx, nginxFull, "nginx-full", keepAll)
	if err != nil {
		return nil, err
	}
	for _, c := range []*contestant{gate, full} {
		if err := l.fill(ctx, c); err != nil {
			return nil, fmt.Errorf("fill the cache of %s: %w", c.name, err)
		}
	}
	// Not by the contestants' names: another Sealgate is measured besides.
	one := func(what string, c *contestant, kept map[string]series, blobs bool) task {
		t := task{
			what: what + ": " + c.name,
			measure: func(ctx context.Context) (sample, error) {
				return l.wrk(ctx, c, tagPath, tagConnections, r.settings.Seconds, reportScript)
			},
			keep:  func(s sample) { kept[c.name] = append(kept[c.name], s) },
			after: c.emptyLog,
			show:  showTags,
		}
		if blobs {
			t.show = showBlobs
			t.measure = func(ctx context.Context) (sample, error) {
				return l.wrk(ctx, c, "/", blobConnections, r.settings.Seconds, walkScript, l.blobs...)
			}
		}
		return t
	}
	return []task{
		one("cached blobs", gate, r.cachedBlobs, true),
		one("cached blobs", full, r.cachedBlobs, true),
		one("cached tags", gate, r.cachedTags, false),
		one("cached tags", l.find(mirror), r.cachedTags, false),
	}, nil
}

// fill reads everything that will be measured, and makes sure that the second
// time the registry hears nothing of it.
func (l *lab) fill(ctx context.Context, c *contestant) error {
	if err := l.check(ctx, c); err != nil {
		return err
	}
	registry := l.find(bareRepo)
	for range 2 {
		registry.emptyLog()
		for _, path := range l.blobs {
			if n, err := l.drain(ctx, l.client, c.url+path); err != nil || n != blobSize {
				return fmt.Errorf("%s: %d bytes, %w", path, n, err)
			}
		}
		time.Sleep(500 * time.Millisecond) // the log is written after the answer
	}
	log, err := os.ReadFile(registry.log)
	if err != nil {
		return err
	}
	if strings.Contains(string(log), "/blobs/") {
		return fmt.Errorf("the blobs that it has read once it reads again")
	}
	return nil
}

// drain reads an answer, which has to be 200, and keeps nothing of it.
func (l *lab) drain(ctx context.Context, client *http.Client, url string) (int64, error) {
	req, err := l.request(ctx, url)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return n, err
}
