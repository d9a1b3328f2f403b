package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// auditReport is what `sealgate report --json` prints, as far as it is looked at.
type auditReport struct {
	BadLines   int                       `json:"bad_lines"`
	Permissive struct{ Allow, Deny int } `json:"permissive"`
	Rows       []struct {
		Kind, Repository, Tag, Reason string
		Reads                         int
		Clients                       []struct{ Client string }
	}
}

// String has a word for each row.
func (r auditReport) String() string {
	var rows []string
	for _, row := range r.Rows {
		of := fmt.Sprintf("%s %s:%s %s", row.Kind, row.Repository, row.Tag, row.Reason)
		for _, c := range row.Clients {
			of += " " + c.Client
		}
		rows = append(rows, of)
	}
	return strings.Join(rows, ", ")
}

func reportOf(t *testing.T, files ...string) auditReport {
	t.Helper()
	out := must(run(nil, append([]string{suite.sealgate, "report", "--json"}, files...)...))(t)
	var r auditReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

// TestAReportNamesTheTagsThatEnforcingTakesAway, out of an audit log that has the
// requests whatever the level of the log, and all of those before a stop and
// around a crash.
func TestAReportNamesTheTagsThatEnforcingTakesAway(t *testing.T) {
	t.Parallel()
	w, image := oneSignedTag(t, registryOptions{unfiltered: true})
	unsigned := w.mustSay(t, "team/app", "unsigned", "unsigned words")
	w.mustSign(t, "team/app", "drifted", w.mustSay(t, "team/app", "drifted", "as it was signed"))
	drift := w.mustSay(t, "team/app", "drifted", "as it is now")
	log := filepath.Join(w.dir, "audit.log")
	w.mustOpen(t, func(s *settings) {
		s.mode, s.level, s.audit = "permissive", "error", fmt.Sprintf("{file: {path: %q}}", log)
	})
	crane := client{name: "crane", pull: cranePull}
	other := func(tag string) { // from another address
		t.Helper()
		must(run(nil, "curl", "-sSf", "--interface", "127.0.0.2", "--cacert", w.ca.file, "-H", "Accept: application/vnd.docker.distribution.manifest.v2+json", "-o", "/dev/null",
			w.url+"/v2/team/app/manifests/"+tag))(t)
	}
	wantPulled(t, crane, w, w.tag("team/app", "signed"), image)
	wantPulled(t, crane, w, w.tag("team/app", "unsigned"), unsigned)
	wantPulled(t, client{name: "regctl", pull: regctlCopy}, w, w.tag("team/app", "drifted"), drift)
	other("unsigned")
	w.stop(20 * time.Second) // everything is written
	if strings.Contains(w.output(), `"message":"request"`) {
		t.Errorf("the log has requests: %s", w.output())
	}
	r := reportOf(t, log)
	const want = "would-deny team/app:unsigned unsigned 127.0.0.1 127.0.0.2"
	if got := r.String(); !strings.Contains(got, want) || !strings.Contains(got, "would-change team/app:drifted signed 127.0.0.1") || r.Permissive.Allow == 0 || len(r.Rows) != 2 || r.BadLines != 0 {
		t.Errorf("the report is %s (%+v)", got, r)
	}
	out, code := sealgate("report", log)
	if code != 0 || !strings.Contains(out, w.tag("team/app", "unsigned")+" ") || !strings.Contains(out, "Mode permissive: ") {
		t.Errorf("exit %d: %s", code, out)
	}

	if err := w.comeBack(); err != nil {
		t.Fatal(err)
	}
	other("unsigned")
	eventually(t, 5*time.Second, func() error {
		if got := reportOf(t, log).Permissive.Deny; got != r.Permissive.Deny+1 {
			return fmt.Errorf("%d reads are denied, and were %d", got, r.Permissive.Deny)
		}
		return nil
	})
	w.crash()
	half := must(os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0))(t)
	_, err := half.WriteString(`{"level":"info","route":"manifest-by-tag","tag":"uns`) // as a crash may leave it
	if err := errors.Join(err, half.Close()); err != nil {
		t.Fatal(err)
	}
	if err := w.comeBack(); err != nil {
		t.Fatal(err)
	}
	other("unsigned")
	w.stop(20 * time.Second)
	if after := reportOf(t, log); after.Permissive.Deny != r.Permissive.Deny+2 || after.BadLines != 1 {
		t.Errorf("after a crash: %+v, before %+v", after, r)
	}
}

// TestAnAuditLogOnAFullDiskFailsNoPull: what is not in it is counted, and said, and
// when there is room again it goes on.
func TestAnAuditLogOnAFullDiskFailsNoPull(t *testing.T) {
	t.Parallel()
	w, image := oneSignedTag(t, registryOptions{})
	dir := filepath.Join(w.dir, "audit")
	w.tiny(t, dir)
	log := filepath.Join(dir, "audit.log")
	w.mustOpen(t, func(s *settings) {
		withAdmin(t, s)
		s.audit = fmt.Sprintf("{file: {path: %q}}", log)
	})
	said := func(words string) {
		t.Helper()
		eventually(t, 5*time.Second, func() error {
			if strings.Contains(w.output(), words) {
				return nil
			}
			return fmt.Errorf("the log has no %q: %s", words, w.output())
		})
	}
	empty := fill(t, dir)
	const pulls = 50 // the last page of the file may have room for some lines
	for range pulls {
		wantServed(t, w.manifest(t, "team/app", "signed"), image)
	}
	said("the audit log cannot be written")
	if got := number(t, w.metric(t, "sealgate_audit_failures_total")); got == 0 || got > pulls+10 {
		t.Errorf("%d requests are counted as not recorded", got)
	}
	if a := w.mustWatch(t, "/readyz"); a.status != 200 {
		t.Errorf("readiness: %d", a.status)
	}
	empty()
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))
	said("the audit log is written again")
	w.stop(20 * time.Second)
	if r := reportOf(t, log); r.BadLines > 1 || r.String() != "denied team/app:unsigned unsigned 127.0.0.1" {
		t.Errorf("the report is %s (%+v)", r, r)
	}
}

// TestAnAuditLogOnStandardOutputOutlivesItsReader: requests are answered and
// recorded there, and answered still when whoever has read it is gone.
func TestAnAuditLogOnStandardOutputOutlivesItsReader(t *testing.T) {
	t.Parallel()
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) {
		withAdmin(t, s)
		s.audit, s.level = "{stdout: {}}", "error"
	})
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	w.stop(20 * time.Second)
	if got := w.output(); strings.Count(got, `"tag":"signed","decision":"allow"`) != 1 {
		t.Errorf("it wrote %s", got)
	}
	first := filepath.Join(w.dir, "first")
	again, err := start("sealgate", filepath.Join(w.dir, "read.log"), w.env,
		"bash", "-c", `exec "${@:2}" > >(head -n 1 >"$1")`, "bash", first, suite.sealgate, "serve", "--config", w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.process = again
	if err := again.ready(20*time.Second, w.ca.answers(w.url+"/v2/")); err != nil { // with a first request
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		wantServed(t, w.manifest(t, "team/app", "signed"), image)
		if got := w.metric(t, "sealgate_audit_failures_total"); got == "0" {
			return errors.New("no request is counted as not recorded")
		}
		return nil
	})
	if got := w.output(); strings.Count(got, "the audit log cannot be written") != 1 || !strings.Contains(got, "broken pipe") {
		t.Errorf("it said %s", got)
	}
	if code := w.stop(20 * time.Second); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := must(os.ReadFile(first))(t); strings.Count(string(got), "\n") != 1 || !strings.Contains(string(got), `"message":"request"`) {
		t.Errorf("the reader got %s", got)
	}
}
