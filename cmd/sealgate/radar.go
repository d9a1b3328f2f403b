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
	// radarWidth bounds the repositories that are looked at.
	radarWidth = 100
)

// radar says which roles of the repositories in use expire soon, once a day for
// each of them. It is used by one goroutine.
type radar struct {
	log  zerolog.Logger
	told map[radarKey]time.Time
}

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
			var uses []trustcache.Use
			for _, reg := range i.current.Load().registries {
				if reg.trust != nil {
					uses = append(uses, reg.trust.InUse(radarWidth)...)
				}
			}
			r.look(uses, i.remembered.now())
		case <-ctx.Done():
			return
		}
	}
}

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
				Int("days_left", int(math.Floor(left.Hours()/24))).Msg("trust data expires soon: its publisher has to sign anew")
		}
	}
}
