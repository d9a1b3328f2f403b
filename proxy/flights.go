package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/sealgate/sealgate/trustcache/guard"
	"golang.org/x/sync/singleflight"
)

// join does something once for all callers with the same key at the same time.
// It goes on without them, timeout long at most, so that one who hangs up does
// not fail the others. The error is do's, or ctx's.
func join[T any](ctx context.Context, flights *singleflight.Group, key string, timeout time.Duration, do func(context.Context) (T, error)) (T, error) {
	shared := flights.DoChan(key, func() (result any, err error) {
		defer guard.Catch(&err)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		return do(ctx)
	})
	var none T
	select {
	case landed := <-shared:
		if caught := (*guard.Panic)(nil); errors.As(landed.Err, &caught) {
			return none, errInternal.because(caught)
		}
		if landed.Err != nil {
			return none, landed.Err
		}
		return landed.Val.(T), nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// share is join for what a client asks the registry, where what it was let see
// is remembered for a while; else each request is put to the registry.
func share[T any](ctx context.Context, g *gate, flights *singleflight.Group, r repo, what, authorization string, timeout time.Duration, do func(context.Context) (T, error)) (T, error) {
	if g.Passthrough && g.auth.ttl <= 0 {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return do(ctx)
	}
	return join(ctx, flights, g.flight(r, what, authorization), timeout, do)
}

// flight names what is done for one client by a hash, so that no credential is
// kept.
func (g *gate) flight(r repo, what, authorization string) string {
	key := g.auth.key(g.origin, r.gun+"@"+what, authorization)
	return string(key[:])
}
