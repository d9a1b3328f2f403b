package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy/admin"
)

// fakeControl knows one repository, and notes what was asked of it.
type fakeControl struct {
	reload  error
	level   zerolog.Level
	reloads int
	forgot  []string

	refreshed []string
}

const known = registry + "/team/app"

func (c *fakeControl) Reload(context.Context) error {
	c.reloads++
	return c.reload
}

func (c *fakeControl) Forget(_ context.Context, gun string) error {
	switch {
	case gun == known:
		c.forgot = append(c.forgot, gun)
		return nil
	case gun == registry+"/broken":
		return errors.New("the store cannot be written")
	case strings.HasPrefix(gun, registry+"/"):
		return fmt.Errorf("%w: %q", admin.ErrUnknownGUN, gun)
	}
	return fmt.Errorf("%w: %q", admin.ErrBadGUN, gun)
}

func (c *fakeControl) Refresh(_ context.Context, gun string) error {
	switch {
	case gun == known:
		c.refreshed = append(c.refreshed, gun)
		return nil
	case strings.HasPrefix(gun, registry+"/"):
		return errors.New("trust data expired")
	}
	return fmt.Errorf("%w: %q", admin.ErrBadGUN, gun)
}

func (c *fakeControl) LogLevel() zerolog.Level         { return c.level }
func (c *fakeControl) SetLogLevel(level zerolog.Level) { c.level = level }

func TestControlVerbs(t *testing.T) {
	const paths = `there is /reload, /forget, /refresh, /log-level and /debug/pprof/`
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name               string
		method, target, in string
		status             int
		want               string // a part of the answer
		allow              string
		after              fakeControl
	}{
		{name: "reload", method: "POST", target: "/reload", status: 200, want: `{"result":"applied"}`, after: fakeControl{reloads: 1}},
		{name: "reload is no GET", method: "GET", target: "/reload", status: 405, allow: "POST"},
		{name: "forget in the query", method: "POST", target: "/forget?gun=" + known, status: 200, want: `{"gun":"` + known + `","result":"forgotten"}`, after: fakeControl{forgot: []string{known}}},
		{name: "forget what a body names", method: "POST", target: "/forget", in: "gun=" + known, status: 400, want: "0 values of gun"},
		{name: "forget with a broken query", method: "POST", target: "/forget?gun=%zz", status: 400, want: "0 values of gun"},
		{name: "forget nothing", method: "POST", target: "/forget", status: 400, want: "0 values of gun in the query: exactly one"},
		{name: "forget the empty name", method: "POST", target: "/forget?gun=", status: 400, want: "exactly one"},
		{name: "forget two", method: "POST", target: "/forget?gun=a/b&gun=" + known, status: 400, want: "2 values of gun"},
		{name: "forget what is not known", method: "POST", target: "/forget?gun=" + registry + "/none", status: 404, want: "nothing is remembered of the repository"},
		{name: "forget in no registry of ours", method: "POST", target: "/forget?gun=elsewhere/app", status: 400, want: "not a repository of a configured registry"},
		{name: "forget and fail", method: "POST", target: "/forget?gun=" + registry + "/broken", status: 500, want: "cannot be written"},
		{name: "refresh", method: "POST", target: "/refresh?gun=" + known, status: 200, want: `{"gun":"` + known + `","result":"refreshed"}`, after: fakeControl{refreshed: []string{known}}},
		{name: "refresh nothing", method: "POST", target: "/refresh", status: 400, want: "0 values of gun in the query: exactly one"},
		{name: "refresh in no registry of ours", method: "POST", target: "/refresh?gun=elsewhere/app", status: 400, want: "not a repository of a configured registry"},
		{name: "refresh what does not stand", method: "POST", target: "/refresh?gun=" + registry + "/old", status: 502, want: "trust data expired"},
		{name: "refresh is no GET", method: "GET", target: "/refresh?gun=" + known, status: 405, allow: "POST"},
		{name: "forget is no DELETE", method: "DELETE", target: "/forget?gun=" + known, status: 405, allow: "POST"},
		{name: "log level", method: "GET", target: "/log-level", status: 200, want: `{"level":"debug"}`},
		{name: "set log level", method: "PUT", target: "/log-level", in: "warn\n", status: 200, want: `{"level":"warn"}`, after: fakeControl{level: zerolog.WarnLevel}},
		{name: "set trace", method: "PUT", target: "/log-level", in: "trace", status: 200, want: `{"level":"trace"}`, after: fakeControl{level: zerolog.TraceLevel}},
		{name: "set error", method: "PUT", target: "/log-level", in: "error", status: 200, want: `{"level":"error"}`, after: fakeControl{level: zerolog.ErrorLevel}},
		{name: "set no level", method: "PUT", target: "/log-level", status: 400, want: `\"\" is no level: trace, debug, info, warn or error is expected`},
		{name: "no log at all", method: "PUT", target: "/log-level", in: "disabled", status: 400, want: `\"disabled\" is no level`},
		{name: "fatal is no level to log at", method: "PUT", target: "/log-level", in: "fatal", status: 400, want: "is no level"},
		{name: "set a number", method: "PUT", target: "/log-level", in: "1", status: 400, want: "is no level"},
		{name: "set a huge level", method: "PUT", target: "/log-level", in: long, status: 400, want: "too large"},
		{name: "levels are not posted", method: "POST", target: "/log-level", in: "warn", status: 405, allow: "GET, HEAD, PUT"},
		{name: "profiles", method: "GET", target: "/debug/pprof/", status: 200, want: "goroutine"},
		{name: "one profile", method: "GET", target: "/debug/pprof/goroutine?debug=1", status: 200, want: "goroutine profile:"},
		{name: "command line", method: "GET", target: "/debug/pprof/cmdline", status: 200, want: "test"},
		{name: "no such profile", method: "GET", target: "/debug/pprof/none", status: 404, want: "Unknown profile"},
		{name: "profiles are not posted", method: "POST", target: "/debug/pprof/heap", status: 405, allow: "GET, HEAD"},
		{name: "unknown path", method: "GET", target: "/", status: 404, want: `{"error":"there is no \"/\": ` + paths + `"}`},
		{name: "metrics are elsewhere", method: "GET", target: "/metrics", status: 404, want: paths},
		{name: "no path below a verb", method: "POST", target: "/reload/", status: 404, want: paths},
		{name: "no path that has to be cleaned", method: "POST", target: "/x/../reload", status: 404, want: paths},
	} {
		t.Run(c.name, func(t *testing.T) {
			control := &fakeControl{}
			r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.in))
			w := httptest.NewRecorder()
			admin.ControlHandler(control).ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if !strings.HasPrefix(c.target, "/debug") && c.status != 405 {
				if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("no JSON: %q %q", w.Header().Get("Content-Type"), w.Body)
				}
			}
			if allow := w.Header().Get("Allow"); allow != c.allow {
				t.Errorf("Allow %q, expected %q", allow, c.allow)
			}
			if got, want := fmt.Sprint(*control), fmt.Sprint(c.after); c.name != "log level" && got != want {
				t.Errorf("did %s, not %s", got, want)
			}
		})
	}
}

func TestARefusedReloadSaysWhy(t *testing.T) {
	w := httptest.NewRecorder()
	control := &fakeControl{reload: errors.New("listen: a change needs a restart")}
	admin.ControlHandler(control).ServeHTTP(w, httptest.NewRequest("POST", "/reload", nil))
	if w.Code != 409 || w.Body.String() != `{"error":"listen: a change needs a restart"}`+"\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
