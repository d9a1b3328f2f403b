package config

import "time"

// clientLimits checks that no limit shuts out everybody, or is none.
func (v *validator) clientLimits() {
	l := v.c.Limits
	at := func(name string) string { return child("limits", name) }
	v.require(at("connections"), l.Connections >= 0, "must be 0, for what the open files of the process allow, or more, got %d", l.Connections)
	v.require(at("connections-per-client"), l.ConnectionsPerClient >= 0, "must be 0, for three quarters of all, or more, got %d", l.ConnectionsPerClient)
	v.require(at("connections-per-client"), l.Connections <= 0 || l.ConnectionsPerClient <= l.Connections,
		"%d is more than limits.connections, %d, which holds for all together", l.ConnectionsPerClient, l.Connections)
	v.require(at("connections-per-client"), l.ConnectionsPerClient == 0 || !v.c.behindTLSProxy(),
		"all connections come from the TLS proxy: limit them there, and leave this out")
	v.require(at("requests-per-client"), l.RequestsPerClient >= 0, "must be 0, for no bound, or more, got %d", l.RequestsPerClient)
	v.require(at("requests-per-second"), l.RequestsPerSecond >= 0, "must be 0, for no bound, or more, got %d", l.RequestsPerSecond)
	v.require(at("burst"), l.Burst >= 0, "must be 0, for ten times requests-per-second, or more, got %d", l.Burst)
	v.require(at("burst"), !v.given[at("burst")] || l.RequestsPerSecond != 0 || l.Burst == 0, "has no meaning without requests-per-second: add that, or leave it out")
	v.within(at("header-timeout"), l.HeaderTimeout, 5*time.Minute)
	v.within(at("idle-timeout"), l.IdleTimeout, time.Hour)
	v.require(at("min-rate"), 0 <= l.MinRate && l.MinRate <= 1<<20, "must be 0, for none, to 1MiB (a second), got %s", formatSize(l.MinRate))
	v.require(at("max-header-bytes"), 4<<10 <= l.MaxHeaderBytes && l.MaxHeaderBytes <= 1<<20,
		"must be 4KiB to 1MiB, got %s", formatSize(l.MaxHeaderBytes))
}

func (v *validator) within(key string, d, most time.Duration) {
	v.require(key, 0 < d && d <= most, "must be more than 0 and at most %s, got %s", most, d)
}

// behindTLSProxy says whether clients come through a proxy that ends TLS.
func (c *Config) behindTLSProxy() bool {
	return c.TLS.PlainHTTP != nil && c.TLS.PlainHTTP.BehindTLSProxy
}
