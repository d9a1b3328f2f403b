package proxy

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// ClientLimits bound what one client may ask for; zero is no bound. Every request
// counts, whatever it is for and whatever becomes of it, before it is looked at:
// what a client is told of its limits tells it nothing else.
type ClientLimits struct {
	// AtOnce bounds the requests that are under way.
	AtOnce int
	// PerSecond bounds the rate of requests, of which Burst may come at once: at
	// least 1 where PerSecond is not zero.
	PerSecond, Burst int
}

// maxPaced bounds the clients whose rate is remembered. Whoever is forgotten, as
// that many others have come since, begins anew.
const maxPaced = 16 << 10

// clientUse is what clients use at the moment. Safe for concurrent use.
type clientUse struct {
	mu       sync.Mutex
	underWay map[netip.Prefix]int // never 0
	paces    *simplelru.LRU[netip.Prefix, *rate.Limiter]
}

func newClientUse() *clientUse {
	paces, err := simplelru.NewLRU[netip.Prefix, *rate.Limiter](maxPaced, nil)
	if err != nil {
		panic(err) // its size is positive
	}
	return &clientUse{underWay: map[netip.Prefix]int{}, paces: paces}
}

// enter takes on a request of a client, for leave to be called when it is over, or
// says why not. Nobody counts a client that is not valid.
func (u *clientUse) enter(client netip.Prefix, limits ClientLimits, now time.Time) *Error {
	if !client.IsValid() {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if limits.AtOnce > 0 && u.underWay[client] >= limits.AtOnce {
		return errTooMany("too-many-at-once", fmt.Sprintf("%d requests of this client are under way, as many as sealgate serves one at once", limits.AtOnce), time.Second)
	}
	if limits.PerSecond > 0 {
		if wait := u.pace(client, limits, now); wait > 0 {
			return errTooMany("too-many-requests", fmt.Sprintf("this client sends more than the %d requests a second that sealgate serves one", limits.PerSecond), wait)
		}
	}
	u.underWay[client]++
	return nil
}

// pace is how long the client has to wait until its next request, 0 for one that
// may come now and is counted. mu is held.
func (u *clientUse) pace(client netip.Prefix, limits ClientLimits, now time.Time) time.Duration {
	pace, ok := u.paces.Get(client)
	if !ok {
		pace = rate.NewLimiter(rate.Limit(limits.PerSecond), limits.Burst)
		u.paces.Add(client, pace)
	}
	if pace.Limit() != rate.Limit(limits.PerSecond) || pace.Burst() != limits.Burst { // a reload
		pace.SetLimitAt(now, rate.Limit(limits.PerSecond))
		pace.SetBurstAt(now, limits.Burst)
	}
	next := pace.ReserveN(now, 1)
	wait := next.DelayFrom(now)
	if wait > 0 {
		next.CancelAt(now)
	}
	return wait
}

func (u *clientUse) leave(client netip.Prefix) {
	if !client.IsValid() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.underWay[client]--
	if u.underWay[client] == 0 {
		delete(u.underWay, client)
	}
}

// errTooMany: the one 429 that is our own (OCI distribution-spec v1.1, "Error
// Codes": TOOMANYREQUESTS). Retry-After is in whole seconds (RFC 9110 section
// 10.2.3).
func errTooMany(reason, message string, wait time.Duration) *Error {
	seconds := max(int(math.Ceil(wait.Seconds())), 1)
	return &Error{Status: http.StatusTooManyRequests, Code: codeTooManyRequests, Reason: reason,
		Message: fmt.Sprintf("%s: try again in %d s", message, seconds),
		Header:  http.Header{"Retry-After": {strconv.Itoa(seconds)}}}
}

// form is the Denial of a request that is refused before it was looked at: a
// client of a strict mirror would go on to Docker Hub for a tag.
func (h *Handler) form(r *http.Request) Denial {
	g, target, err := h.gates.choose(r)
	if err != nil {
		return NotFound
	}
	route, err := Parse(target)
	if err == nil {
		route, err = g.official(route)
	}
	if err != nil || route.Kind != ManifestByTag {
		return NotFound
	}
	if policy := g.Policy(g.repo(route.Repository).gun); policy.Mode != Enforced || policy.Exempts(route.Reference) {
		return NotFound
	}
	return g.Denial
}
