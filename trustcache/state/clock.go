package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// jump is how far a clock may be behind without an alarm: as far as clocks are
// set right every day.
const jump = 10 * time.Minute

// Clock is the time of a machine that does not go back, not over a restart
// either, so that nothing that had expired becomes valid again. While the
// machine's time is behind the highest that was seen, Clock goes on from there
// at half the speed until it has been caught up with: it never stands still,
// for refreshes wait for it. It is safe for concurrent use.
//
// Where the machine was once far in the future, that time stays, and what
// expires before it is refused. The way out is the operator's: set the
// machine's clock, stop sealgate, remove the file, start it again.
type Clock struct {
	path  string
	now   func() time.Time
	alarm func(back time.Duration)

	mu      sync.Mutex
	highest time.Time     // ever returned or read from the file
	reading time.Time     // the last of now
	told    time.Duration // how far behind at the last alarm, or less since
}

// OpenClock returns the clock whose highest time is kept in the file at path,
// on the machine itself: a machine does not answer for the clock of another. A
// missing file means a first start; one that cannot be read as a time is an
// error. now is the machine's time; nil means time.Now. alarm is told of each
// jump of more than ten minutes back from the highest time, by how much; nil
// means that nobody is. One that happened since the last run is told before
// OpenClock returns.
func OpenClock(path string, now func() time.Time, alarm func(back time.Duration)) (*Clock, error) {
	if now == nil {
		now = time.Now
	}
	if alarm == nil {
		alarm = func(time.Duration) {}
	}
	highest, err := readTime(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	c := &Clock{path: path, now: now, alarm: alarm, highest: highest, reading: now()}
	c.Now()
	return c, c.Save() // it had better fail now than in a minute
}

// Now returns the machine's time, or a later one: never one before the highest
// that this clock has returned in this run, or had saved in an earlier one.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	reading := c.now()
	wall := reading.Round(0) // without the monotonic reading, which does not jump
	if wall.Before(c.highest) {
		c.highest = c.highest.Add(max(reading.Sub(c.reading), 0) / 2)
	} else {
		c.highest = wall
	}
	c.reading = reading
	highest, behind := c.highest, c.highest.Sub(wall)
	c.told = min(c.told, behind)
	jumped := behind-c.told > jump
	if jumped {
		c.told = behind
	}
	c.mu.Unlock()
	if jumped {
		c.alarm(behind)
	}
	return highest
}

// Save stores the highest time. Call it every minute and at the end: a crash
// forgets what was seen since the last call.
func (c *Clock) Save() error {
	highest := c.Now()
	// Another process may use the same file. That it is unreadable now is no
	// reason to keep it so.
	if saved, err := readTime(c.path); err == nil && saved.After(highest) {
		highest = saved
		c.mu.Lock()
		if saved.After(c.highest) {
			c.highest = saved
		}
		c.mu.Unlock()
	}
	if err := replace(c.path, encodeTime(highest)); err != nil {
		return fmt.Errorf("the highest time seen cannot be stored: %w", err)
	}
	return nil
}

// HighestTime returns what the file of a Clock says, without changing it; zero
// where there is none.
func HighestTime(path string) (time.Time, error) {
	highest, err := readTime(path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	return highest, err
}

func readTime(path string) (time.Time, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, fmt.Errorf("the highest time seen cannot be read: %w", err)
	}
	text, _, _ := bytes.Cut(raw, []byte(" "))
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil || !bytes.Equal(encodeTime(t), raw) {
		return time.Time{}, fmt.Errorf("%s does not say the highest time seen: it is damaged; make sure that the machine's clock is right, then remove the file", path)
	}
	return t, nil
}

// encodeTime adds a checksum: one digit that is wrong makes another time.
func encodeTime(t time.Time) []byte {
	text := t.UTC().Format(time.RFC3339Nano)
	return fmt.Appendf(nil, "%s %x\n", text, sha256.Sum256([]byte(text)))
}

// replace writes a file of mode 0600: after a crash there is the old one or
// the new one.
func replace(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
