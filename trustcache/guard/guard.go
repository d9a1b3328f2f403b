// Package guard keeps a panic from ending the process: every goroutine of a
// server begins with it, since nobody else could catch what happens there
// (net/http does so for the goroutine of a request). It imports nothing of ours,
// so that all may use it. What it cannot catch is what the runtime ends the
// process for, such as a stack that overflows or maps written by two at once.
//
// A panic that is caught is an error like others: it goes to whoever waits, never
// into nothing, and what was being decided has not been decided.
package guard

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Panic is a panic that was caught. It is for the log: Value may be anything.
type Panic struct {
	Value any
	Stack []byte // of the goroutine, where it happened
}

func (p *Panic) Error() string { return fmt.Sprint("panic: ", p.Value) }

// Catch, deferred, makes a panic the *Panic in err. Values that the function would
// have returned beside it are what they were at that moment.
func Catch(err *error) {
	if p := recover(); p != nil {
		*err = &Panic{p, debug.Stack()}
	}
}

// Tell, deferred, tells caught of a panic: for a goroutine that nobody waits for.
func Tell(caught func(*Panic)) {
	if p := recover(); p != nil {
		caught(&Panic{p, debug.Stack()})
	}
}

// Run returns the error of f, or its panic as one.
func Run(f func() error) (err error) {
	defer Catch(&err)
	return f()
}

// How long Loop waits before it begins anew: from the first to the second, twice
// as long each time.
const firstPause, longestPause = time.Second, time.Minute

// Loop runs f until it returns or, after a panic, of which caught hears, ctx is
// done; until then it begins anew after a pause. It is for what must not silently
// end.
func Loop(ctx context.Context, f func(context.Context), caught func(*Panic)) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := Run(func() error { f(ctx); return nil })
		if err == nil {
			return
		}
		caught(err.(*Panic))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
