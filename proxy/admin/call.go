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

// maxAnswer bounds what Call reads, in bytes; profiles are the largest.
const maxAnswer = 64 << 20

// ErrNotRunning: no Sealgate listens on the control socket.
var ErrNotRunning = errors.New("no sealgate is running")

// A CallError is a refusal by the Sealgate that was called.
type CallError struct {
	Status  int    // of the HTTP answer; see ControlHandler
	Message string // why
}

func (e *CallError) Error() string { return e.Message }

// Call asks the Sealgate whose control socket is path, and returns the body of
// its answer. target is a path of ControlHandler with its query; body may be
// nil. The error wraps ErrNotRunning where nobody listens, and is a *CallError
// where Sealgate refused. How long to wait is ctx's business.
func Call(ctx context.Context, path, method, target string, body io.Reader) ([]byte, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sealgate"+target, body)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w with the control socket %q: start it, or name the configuration that it runs with", ErrNotRunning, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("control socket %q: permission denied: become the user that sealgate runs as", path)
	case err != nil:
		return nil, fmt.Errorf("control socket %q: %w", path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("control socket %q: %w", path, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("control socket %q: the answer has more than %d bytes", path, maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return nil, &CallError{Status: resp.StatusCode, Message: reason(resp.Status, answer)}
	}
	return answer, nil
}

// reason finds what the server said in a refusal.
func reason(status string, answer []byte) string {
	var p problem
	if json.Unmarshal(answer, &p) == nil && p.Error != "" {
		return p.Error
	}
	return strings.TrimSpace(fmt.Sprintf("%s %.200s", status, answer))
}
