package config

import (
	"maps"
	"reflect"
)

// RestartOnly names the keys in which next differs from running and that a
// running program cannot change, in the order of proxy.yaml; nil where it can go
// over to next. Both are as Load or Parse returned them, and neither is changed.
//
// A key whose default follows from another one counts as changed along with it:
// another storage.filesystem.rootdirectory may be another state-dir, and so
// another admin.control. Everything that is not compared here can change at run
// time, of tls the certificates and where they come from.
func RestartOnly(running, next *Config) []string {
	var keys []string
	for _, k := range []struct {
		name string
		same bool
	}{
		{"listen", running.Listen == next.Listen},
		// The listener speaks TLS or does not; connections that are open go on.
		{"tls.plain-http", (running.TLS.PlainHTTP == nil) == (next.TLS.PlainHTTP == nil)},
		{"tls.acme.http-listen", running.TLS.httpListen() == next.TLS.httpListen()},
		{"limits.header-timeout", running.Limits.HeaderTimeout == next.Limits.HeaderTimeout},
		{"limits.idle-timeout", running.Limits.IdleTimeout == next.Limits.IdleTimeout},
		{"limits.max-header-bytes", running.Limits.MaxHeaderBytes == next.Limits.MaxHeaderBytes},
		{"admin.listen", running.Admin.Listen == next.Admin.Listen},
		{"admin.control", running.Admin.Control == next.Admin.Control},
		{"state-dir", running.StateDir == next.StateDir},
		{"storage", sameStorage(running.Storage, next.Storage)},
	} {
		if !k.same {
			keys = append(keys, k.name)
		}
	}
	return keys
}

func (t TLS) httpListen() string {
	if t.ACME == nil {
		return ""
	}
	return t.ACME.HTTPListen
}

// sameStorage compares parameters as they were given: two ways to write one
// directory or bucket are another storage.
func sameStorage(a, b Storage) bool {
	same := func(x, y any) bool { return reflect.DeepEqual(x, y) }
	return a.Driver == b.Driver && maps.EqualFunc(a.Parameters, b.Parameters, same)
}
