package admin

import (
	"sync"
	"unicode/utf8"
)

// other stands for a label value that is not known.
const other = "other"

// words are the values that one label may take. Callers pass fixed words, so
// this is the second guard: were a string of a client's ever passed by
// mistake, the number of time series would stay bounded all the same.
type words struct {
	mu   sync.Mutex
	seen map[string]bool
	room int // how many more values are learnt from use
}

// newWords knows the given values and learns room more from use.
func newWords(room int, known ...string) *words {
	w := &words{seen: map[string]bool{}, room: room}
	w.add(known...)
	return w
}

// add makes values known, whatever room there is. What is not UTF-8 stays out:
// the Prometheus client panics on it.
func (w *words) add(values ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, value := range values {
		if utf8.ValidString(value) {
			w.seen[value] = true
		}
	}
}

// label returns value where it is known or can still be learnt, else other.
func (w *words) label(value string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[value] {
		return value
	}
	if w.room == 0 || !utf8.ValidString(value) {
		return other
	}
	w.room--
	w.seen[value] = true
	return value
}
