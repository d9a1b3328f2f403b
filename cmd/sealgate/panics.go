package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache/guard"
)

// panicked logs and counts what package guard has caught. Where is one of
// admin.PanicPlaces.
func panicked(log zerolog.Logger, metrics *admin.Metrics, where string) func(*guard.Panic) {
	return func(p *guard.Panic) {
		metrics.Panicked(where)
		log.Error().Str("where", where).Str("panic", fmt.Sprint(p.Value)).Bytes("stack", p.Stack).Msg("panic caught")
	}
}

func (l lasting) panicked(where string) func(*guard.Panic) { return panicked(l.log, l.metrics, where) }

// guarded is a part of the server, for its group: a panic in it, or in a group of
// its own, ends the server as its other errors do, in good order.
func (l lasting) guarded(where string, part func() error) func() error {
	return func() error {
		err := guard.Run(part)
		if caught := (*guard.Panic)(nil); errors.As(err, &caught) {
			l.panicked(where)(caught)
		}
		return err
	}
}

// answering is next with 500 for a panic, for the handlers that are not the gate,
// which sees to its own.
func (l lasting) answering(where string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer guard.Tell(func(p *guard.Panic) {
			if p.Value == http.ErrAbortHandler {
				panic(p.Value) // net/http's own way to cut an answer off
			}
			l.panicked(where)(p)
			http.Error(w, "internal error: see the log of sealgate", http.StatusInternalServerError)
		})
		next.ServeHTTP(w, r)
	})
}
