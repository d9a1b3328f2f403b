package trustcache

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// The reasons why a repository has no usable snapshot. A Source wraps one of
// them, with what it was looking at, into every error it returns; callers use
// errors.Is. The first two are knowledge ("nothing is signed here"), the
// others mean that nothing can be known: the two kinds must never be mixed.
var (
	// ErrNoTrustData: the source knows for certain that this repository has
	// no trust data and never had any.
	ErrNoTrustData = errors.New("remote trust data does not exist")
	// ErrNotLoaded is an ErrNoTrustData: there is nobody to ask, and nothing of
	// this repository was loaded.
	ErrNotLoaded = fmt.Errorf("%w: no bundle with it has been loaded", ErrNoTrustData)
	// ErrUnpinned: no pin covers the repository and first use is off.
	ErrUnpinned = errors.New("no pin covers the repository")

	// ErrMalicious: the answer was forged, rolled back, not signed by the keys
	// that decide, malformed or over a limit.
	ErrMalicious = errors.New("potential malicious behavior")
	// ErrRolledBack is an ErrMalicious: the answer is older than what was
	// accepted before.
	ErrRolledBack = fmt.Errorf("%w: rolled back", ErrMalicious)
	// ErrExpired: metadata that decides is past its expiry.
	ErrExpired = errors.New("trust data expired")
	// ErrVanished: the source once had trust data for this repository and now
	// says that there is none.
	ErrVanished = errors.New("trust data disappeared")
	// ErrUnreachable: the source gave no answer that can be judged.
	ErrUnreachable = errors.New("trust server unreachable")
	// ErrRefused is an ErrUnreachable: the source was reached and does not tell
	// us (401, 403, 429).
	ErrRefused = fmt.Errorf("%w: it refuses to answer", ErrUnreachable)
	// ErrStore: what is remembered, without which nothing can be judged, cannot
	// be read or written here. The source is not to blame.
	ErrStore = errors.New("trust state cannot be used")

	// ErrForgotten: what the snapshot was built on that Fetch was given has been
	// forgotten since, here or by another process on the same store. It stands
	// no longer, whatever the source would say. No caller of a Cache sees it.
	ErrForgotten = errors.New("trust data was forgotten")
)

// Absent says that err is knowledge: there is no trust data to use. Any other
// error means that it cannot be known.
func Absent(err error) bool {
	return errors.Is(err, ErrNoTrustData) || errors.Is(err, ErrUnpinned)
}

// Class returns the sentinel that err wraps, the narrowest; err itself where
// there is none.
func Class(err error) error {
	for _, class := range []error{ErrNotLoaded, ErrNoTrustData, ErrUnpinned, ErrRolledBack, ErrMalicious, ErrExpired, ErrVanished, ErrRefused, ErrUnreachable, ErrStore, ErrForgotten} {
		if errors.Is(err, class) {
			return class
		}
	}
	return err
}

// Alarming says that somebody should look at err now: it is no mere outage.
func Alarming(err error) bool {
	return errors.Is(err, ErrMalicious) || errors.Is(err, ErrVanished)
}

// PanicError is a panic that metadata caused in a verifier. It counts as
// ErrMalicious; its text leaves the stack out, since clients see it.
type PanicError struct {
	GUN   string
	Stack []byte
}

func (e *PanicError) Error() string {
	return ErrMalicious.Error() + ": metadata of " + e.GUN + " made the verifier panic"
}

// Unwrap returns ErrMalicious.
func (e *PanicError) Unwrap() error { return ErrMalicious }

// CatchPanic, deferred, turns a panic into a *PanicError in err.
func CatchPanic(gun string, err *error) {
	if recover() != nil {
		*err = &PanicError{GUN: gun, Stack: debug.Stack()}
	}
}

// WithCause returns err with the reason underneath, which is for the operator:
// it is not in its text, since clients see that.
func WithCause(err, cause error) error { return &causedError{err, cause} }

// Cause returns what WithCause was given, nil where there is none.
func Cause(err error) error {
	if caused := (*causedError)(nil); errors.As(err, &caused) {
		return caused.cause
	}
	return nil
}

type causedError struct {
	error
	cause error
}

func (e *causedError) Unwrap() error { return e.error }
