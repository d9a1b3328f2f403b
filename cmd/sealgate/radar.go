package main

import (
	"context"
	"math"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/trustcache"
)

const (
	// radarEvery is how often expiries are looked at, radarAhead how long before
	// one it is worth a line: publishers need days to sign anew.
	radarEvery = time.Hour
	radarAhead = 30 * 24 * time.Hour
	// radarEnd is how long before its end what was loaded is worth a line: somebody
	// has to carry a newer bundle.
	radarEnd = 7 * 24 * time.Hour
	// radarWidth bounds the repositories that are looked at.
	radarWidth = 100
)

// radar says which roles of the repositories in use expire soon, once a day for
// each of them. It is used by one goroutine.
type radar struct {
	log  zerolog.Logger
	told map[radarKey]time.Time
}

// radarKey is a role of a repository; without a role, all that was loaded of it.
type radarKey struct{ gun, role string }

// watchExpiry looks every hour until ctx ends. Timestamps are left out: the
// server signs them anew by itself.
func (i *instance) watchExpiry(ctx context.Context) {
	r := &radar{log: i.log, told: map[radarKey]time.Time{}}
	every := time.NewTicker(radarEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			var uses, loaded []trustcache.Use
			for _, reg := range i.current.Load().registries {
				if reg.trust == nil {
					continue
				}
				used := reg.trust.InUse(radarWidth)
				uses = append(uses, used...)
				if reg.offline != nil {
					loaded = append(loaded, used...)
				}
			}
			now := i.remembered.now()
			r.look(uses, now)
			r.lookOffline(loaded, now)
		case <-ctx.Done():
			return
		}
	}
}

// lookOffline says of what was loaded, and of no more than look knows, which is
// served for days only unless something newer is loaded. Call it after look.
func (r *radar) lookOffline(loaded []trustcache.Use, now time.Time) {
	for _, use := range loaded {
		key := radarKey{gun: use.GUN}
		left := use.Ends.Sub(now)
		if left > radarEnd || !r.told[key].IsZero() {
			continue
		}
		r.told[key] = now
		r.log.Warn().Str("gun", use.GUN).Time("ends", use.Ends.UTC()).Int("days_left", daysLeft(left)).Msg("what was loaded is served for days only: load a newer bundle")
	}
}

// daysLeft is left in whole days, rounded down.
func daysLeft(left time.Duration) int { return int(math.Floor(left.Hours() / 24)) }

func (r *radar) look(uses []trustcache.Use, now time.Time) {
	for key, at := range r.told {
		if now.Sub(at) >= 24*time.Hour {
			delete(r.told, key)
		}
	}
	for _, use := range uses {
		for _, role := range use.Roles {
			left := role.Expires.Sub(now)
			key := radarKey{use.GUN, role.Role}
			if role.Role == "timestamp" || left > radarAhead || !r.told[key].IsZero() {
				continue
			}
			r.told[key] = now
			r.log.Warn().Str("gun", use.GUN).Str("role", role.Role).Time("expires", role.Expires.UTC()).
				Int("days_left", daysLeft(left)).Msg("trust data expires soon: its publisher has to sign anew")
		}
	}
}
