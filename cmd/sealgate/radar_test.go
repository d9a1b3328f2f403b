package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/trustcache"
)

func TestTheRadarTellsOfARoleOnceADay(t *testing.T) {
	var log bytes.Buffer
	r := &radar{log: zerolog.New(&log), told: map[radarKey]time.Time{}}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	days := func(n int) time.Time { return now.AddDate(0, 0, n) }
	uses := []trustcache.Use{
		{GUN: "r/soon", Roles: []trustcache.RoleExpiry{{Role: "timestamp", Expires: days(1)}, {Role: "targets", Expires: days(20)}, {Role: "root", Expires: days(31)}}},
		{GUN: "r/past", Roles: []trustcache.RoleExpiry{{Role: "root", Expires: days(-2)}}},
		{GUN: "r/calm", Roles: []trustcache.RoleExpiry{{Role: "targets", Expires: days(400)}}},
	}
	for _, step := range []struct {
		after time.Duration
		lines []string
	}{
		{0, []string{`"gun":"r/soon","role":"targets","expires":"2026-03-21T00:00:00Z","days_left":20`, `"gun":"r/past","role":"root","expires":"2026-02-27T00:00:00Z","days_left":-2`}},
		{time.Hour, nil},
		{23 * time.Hour, []string{`"role":"targets","expires":"2026-03-21T00:00:00Z","days_left":19`, `"role":"root","expires":"2026-04-01T00:00:00Z","days_left":30`, `"days_left":-3`}},
	} {
		log.Reset()
		now = now.Add(step.after)
		r.look(uses, now)
		if got := strings.Count(log.String(), "\n"); got != len(step.lines) {
			t.Errorf("after %s: %d lines: %s", step.after, got, log.String())
		}
		for _, line := range step.lines {
			if !strings.Contains(log.String(), line) {
				t.Errorf("after %s: no line with %s in %s", step.after, line, log.String())
			}
		}
	}
	if r.look(nil, now.Add(48*time.Hour)); len(r.told) != 0 {
		t.Errorf("remembers %v", r.told)
	}
}

func TestTheRadarTellsOfTheEndOfWhatWasLoaded(t *testing.T) {
	var log bytes.Buffer
	r := &radar{log: zerolog.New(&log), told: map[radarKey]time.Time{}}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	use := func(gun string, ends time.Duration) trustcache.Use {
		return trustcache.Use{GUN: gun, Ends: now.Add(ends)}
	}
	loaded := []trustcache.Use{use("r/ends", 6*24*time.Hour), use("r/ended", -time.Hour), use("r/lasts", 8*24*time.Hour)}
	for _, step := range []struct {
		after time.Duration
		lines []string
	}{
		{0, []string{`"gun":"r/ends","ends":"2026-03-07T00:00:00Z","days_left":6`, `"gun":"r/ended","ends":"2026-02-28T23:00:00Z","days_left":-1`}},
		{time.Hour, nil},
		{23 * time.Hour, []string{`"gun":"r/ends","ends":"2026-03-07T00:00:00Z","days_left":5`, `"gun":"r/ended"`, `"gun":"r/lasts","ends":"2026-03-09T00:00:00Z","days_left":7`}},
	} {
		log.Reset()
		now = now.Add(step.after)
		r.look(loaded, now)
		r.lookOffline(loaded, now)
		if got := strings.Count(log.String(), "\n"); got != len(step.lines) {
			t.Errorf("after %s: %d lines: %s", step.after, got, log.String())
		}
		for _, line := range step.lines {
			if !strings.Contains(log.String(), line) {
				t.Errorf("after %s: no line with %s in %s", step.after, line, log.String())
			}
		}
	}
}
