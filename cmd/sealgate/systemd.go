package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// supervisor tells whoever started us, by systemd's protocol (sd_notify(3)), how
// far we are. Where NOTIFY_SOCKET is not set there is nobody to tell, and the
// methods do nothing. There is no watchdog: a timer that answers for itself would
// say that timers work; /readyz is what says whether requests can be served.
type supervisor struct {
	log zerolog.Logger
}

// ready: the listeners are open.
func (s supervisor) ready() { s.tell(daemon.SdNotifyReady, "STATUS=serving") }

// reloading performs a reload. Until it is over, "systemctl reload" waits where
// the unit has Type=notify-reload; how it ended is in "systemctl status".
func (s supervisor) reloading(reload func() error) error {
	s.tell(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
	err := reload()
	status := "STATUS=serving, configuration reloaded"
	if err != nil {
		status = "STATUS=serving, reload refused: nothing has changed, the log says why"
	}
	s.tell(daemon.SdNotifyReady, status)
	return err
}

// stopping: requests under way have this long to end. It is added to what the
// service manager allows a stop, so that it does not kill us first.
func (s supervisor) stopping(drain time.Duration) {
	s.tell(daemon.SdNotifyStopping, "STATUS=stopping",
		"EXTEND_TIMEOUT_USEC="+strconv.FormatInt((drain+stopMargin).Microseconds(), 10))
}

// stopMargin is what a stop takes beside the requests under way.
const stopMargin = 10 * time.Second

func (s supervisor) tell(lines ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		s.log.Warn().Err(err).Msg("the service manager cannot be told")
	}
}
