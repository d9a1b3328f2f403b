package trustcache

import "errors"

// The reasons why a repository has no usable snapshot. A Source wraps one of
// them, with what it was looking at, into every error it returns; callers use
// errors.Is. The first two are knowledge ("nothing is signed here"), the
// others mean that nothing can be known: the two kinds must never be mixed.
var (
	// ErrNoTrustData: the source knows for certain that this repository has
	// no trust data and never had any.
	ErrNoTrustData = errors.New("remote trust data does not exist")
	// ErrUnpinned: no pin covers the repository and first use is off.
	ErrUnpinned = errors.New("no pin covers the repository")

	// ErrMalicious: the answer was forged, rolled back, not signed by the keys
	// that decide, malformed or over a limit.
	ErrMalicious = errors.New("potential malicious behavior")
	// ErrExpired: metadata that decides is past its expiry.
	ErrExpired = errors.New("trust data expired")
	// ErrVanished: the source once had trust data for this repository and now
	// says that there is none.
	ErrVanished = errors.New("trust data disappeared")
	// ErrUnreachable: the source gave no answer that can be judged.
	ErrUnreachable = errors.New("trust server unreachable")
)
