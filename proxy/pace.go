package proxy

import "time"

// pace is how long somebody may keep us waiting in the middle of a body: patience,
// less by what each wait takes and more by what then moves, at the slowest rate
// that is borne, and never more than patience at once. So a pause is forgiven,
// also that of a client whose kernel takes megabytes at a time, and whoever
// trickles is cut soon after patience is used up. It is for one goroutine.
type pace struct {
	patience time.Duration
	minRate  int64 // bytes a second; 0: only standing still counts
	left     time.Duration
}

func newPace(patience time.Duration, minRate int64) pace { return pace{patience, minRate, patience} }

// wait is how long the next read or write may take.
func (p *pace) wait() time.Duration { return max(p.left, 0) }

// moved says that n bytes took that long.
func (p *pace) moved(n int, took time.Duration) {
	if p.minRate > 0 {
		p.left = min(p.left-took+time.Duration(n)*time.Second/time.Duration(p.minRate), p.patience)
	}
}
