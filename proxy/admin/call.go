package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// ErrNotRunning: no Sealgate listens on the control socket.
var ErrNotRunning = errors.New("no sealgate is running")

// A CallError is a refusal by the Sealgate that was called.
type CallError struct {
	Status  int    // of the HTTP answer; see ControlHandler
	Message string // why
}

func (e *CallError) Error() string { return e.Message }

// Call posts target, a path of ControlHandler with its query, to the Sealgate
// whose control socket is path. The error wraps ErrNotRunning where nobody
// listens, and is a *CallError where Sealgate refused. How long to wait is ctx's
// business.
func Call(ctx context.Context, path, target string) error {
	if err := checkSocketPath(path); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sealgate"+target, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}
	resp, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w with the control socket %q: start it, or name the configuration that it runs with", ErrNotRunning, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("control socket %q: permission denied: become the user that sealgate runs as", path)
	case err != nil:
		return fmt.Errorf("control socket %q: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &CallError{Status: resp.StatusCode, Message: reason(resp)}
}

// reason finds what the server said in a refusal.
func reason(resp *http.Response) string {
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what was cut off says less, and the status enough
	var p problem
	if json.Unmarshal(said, &p) == nil && p.Error != "" {
		return p.Error
	}
	return strings.TrimSpace(fmt.Sprintf("%s %.200s", resp.Status, said))
}
