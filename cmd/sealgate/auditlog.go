package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache/guard"
)

const (
	// auditQueue is how many records may wait for the disk, 3.3 MiB of them.
	auditQueue = 8192
	// auditPatience is how long the end of the process waits for them.
	auditPatience = 10 * time.Second
)

// auditLog writes a line for each request to what the configuration names,
// whatever the level of the log.
//
// A goroutine of its own writes, from a queue, so that a disk that hangs holds up
// nobody's pull: what does not fit into the queue is lost, as is what cannot be
// written, and both are counted and logged. Whoever would rather have no answer
// than one without a record does not find that here. A stop in good order waits
// for the queue.
type auditLog struct {
	log    zerolog.Logger
	failed func() // counts a record that is lost
	// panicked is told of a panic while writing; the record is lost.
	panicked func(*guard.Panic)
	lost     atomic.Int64 // records, since it was last written as it should be

	begin sync.Once
	end   sync.Once
	queue chan proxy.Entry
	stop  chan struct{} // closed by close
	done  chan struct{} // closed when all is written; nil where nothing was ever to be

	next atomic.Pointer[auditSink] // what is gone over to before the next line; nil where it is the same
	wake chan struct{}             // next has changed

	// For run alone.
	to  io.WriteCloser // nil: nowhere
	buf bytes.Buffer
}

type auditSink struct{ io.WriteCloser }

func newAuditLog(log zerolog.Logger, failed func(), panicked func(*guard.Panic)) *auditLog {
	return &auditLog{log: log, failed: failed, panicked: panicked, stop: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// use makes to, nil for nowhere, what is written to from the next line on; what was
// before is then closed. What waits goes to the new one. It does not wait for a disk
// that hangs: a reload may be how the operator gets away from that.
func (a *auditLog) use(to io.WriteCloser) {
	if to != nil {
		a.begin.Do(func() {
			a.queue, a.done = make(chan proxy.Entry, auditQueue), make(chan struct{})
			go func() {
				defer close(a.done)
				guard.Loop(context.Background(), func(context.Context) { a.run() }, a.panicked)
			}()
		})
	}
	a.next.Store(&auditSink{to}) // one that was never gone over to holds nothing open
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// goOver goes over to what use has been given.
func (a *auditLog) goOver() {
	next, before := a.next.Swap(nil), a.to
	if next == nil {
		return
	}
	a.to = next.WriteCloser
	if before == nil {
		return
	}
	if err := before.Close(); err != nil {
		a.log.Error().Err(err).Msg("the audit log cannot be closed")
	}
}

// record is for proxy.Options.Entries, once use has been given something to
// write to.
func (a *auditLog) record(e proxy.Entry) {
	select {
	case a.queue <- e:
	default:
		a.lose(errors.New("what waits to be written is too much: the disk, or the reader, is too slow"))
	}
}

func (a *auditLog) run() {
	for {
		select {
		case e := <-a.queue:
			a.write(&e)
		case <-a.wake:
			a.goOver()
		case <-a.stop:
			select {
			case e := <-a.queue:
				a.write(&e)
			default:
				return
			}
		}
	}
}

func (a *auditLog) write(e *proxy.Entry) {
	a.goOver()
	if a.to == nil {
		return
	}
	a.buf.Reset()
	line := zerolog.New(&a.buf)
	line.Log().Stringer("level", e.Level()).EmbedObject(e).Time("time", e.Time).Msg("request")
	if _, err := a.to.Write(a.buf.Bytes()); err != nil {
		a.lose(err)
		return
	}
	if a.lost.Load() > 0 && len(a.queue) < auditQueue/2 { // else the next one is lost again
		a.log.Warn().Int64("lost", a.lost.Swap(0)).Msg("the audit log is written again")
	}
}

// lose counts a record that is lost, and logs the first of a stretch.
func (a *auditLog) lose(err error) {
	a.failed()
	if a.lost.Add(1) == 1 {
		a.log.Error().Err(err).Msg("the audit log cannot be written: requests are answered and not recorded")
	}
}

// close writes what waits, for auditPatience at most. No request is served any
// more. It may be called twice.
func (a *auditLog) close() { a.end.Do(a.finish) }

func (a *auditLog) finish() {
	close(a.stop)
	if a.done == nil {
		return
	}
	select {
	case <-a.done: // and so run is
		a.use(nil)
		a.goOver()
	case <-time.After(auditPatience):
	}
	if lost := a.lost.Load() + int64(len(a.queue)); lost > 0 {
		a.log.Error().Int64("lost", lost).Msg("the audit log is not whole")
	}
}
