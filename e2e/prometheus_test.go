package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPrometheusTakesWhatIsDeployed: the rules, their own tests and the example
// of a configuration.
func TestPrometheusTakesWhatIsDeployed(t *testing.T) {
	t.Parallel()
	const dir = "../deploy/prometheus/"
	mustRun(t, nil, "promtool", "check", "rules", "--lint=all", "--lint-fatal", dir+"sealgate.rules.yaml")
	mustRun(t, nil, "promtool", "check", "config", dir+"prometheus.yaml")
	mustRun(t, nil, "promtool", "test", "rules", dir+"sealgate.rules.test.yaml")
}

// TestPrometheusWatchesSealgate: what a scrape gives has the names that
// Prometheus wants, the alerts see what happens, and the dashboard's queries
// have answers.
func TestPrometheusWatchesSealgate(t *testing.T) {
	t.Parallel()
	w, image, _, notary := outageWorld(t, func(s *settings) {
		withAdmin(t, s)
		s.credentials, s.more = "anonymous", "redirects: follow\ncache: {max-size: 1GiB}"
	})
	prometheus := startPrometheus(t, w.admin)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", "")
	wantServed(t, w.manifest(t, "team/app", image.digest), image)
	scrape := w.mustWatch(t, "/metrics").body
	if out, err := runSaying(scrape, nil, "promtool", "check", "metrics"); err != nil {
		t.Error(err)
	} else if out != "" {
		t.Errorf("promtool says of the metrics:\n%s", out)
	}

	eventually(t, 10*time.Second, func() error { return prometheus.has("sealgate_build_info") })
	notary.cut()
	eventually(t, 20*time.Second, func() error {
		w.manifest(t, "team/app", "never-signed") // a miss asks Notary
		return prometheus.has(`ALERTS{alertname="SealgateTrustStanding",alertstate="pending"}`)
	})
	w.stop(20 * time.Second)
	eventually(t, 20*time.Second, func() error {
		return prometheus.has(`ALERTS{alertname="SealgateDown",alertstate="pending"}`)
	})

	answered := 0
	for _, expr := range dashboardQueries(t) {
		found, err := prometheus.query(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		}
		if found > 0 {
			answered++
		}
	}
	t.Logf("%d of the dashboard's queries have data", answered)
	if answered < 25 {
		t.Errorf("only %d of the dashboard's queries have data", answered)
	}
}

// prometheus is a running Prometheus.
type prometheus struct{ url string }

// startPrometheus scrapes an admin listener every second, with the deployed
// configuration in all other respects.
func startPrometheus(t *testing.T, admin string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"prometheus.yaml", "sealgate.rules.yaml"} {
		text := string(must(os.ReadFile("../deploy/prometheus/" + name))(t))
		text = strings.NewReplacer("127.0.0.1:8444", admin, "scrape_interval: 15s", "scrape_interval: 1s").Replace(text)
		if name == "prometheus.yaml" {
			text = "global: {evaluation_interval: 1s}\n" + text
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := must(freeAddress())(t)
	p := must(start("prometheus", filepath.Join(dir, "log"), nil, "prometheus", "--config.file", filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address))(t)
	t.Cleanup(func() { p.stop(20 * time.Second) })
	if err := p.ready(20*time.Second, func() error {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return &prometheus{"http://" + address}
}

// query returns how many series the answer has.
func (p *prometheus) query(expr string) (int, error) {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return len(answer.Data.Result), nil
}

// has is an error while an expression has no answer.
func (p *prometheus) has(expr string) error {
	found, err := p.query(expr)
	if err == nil && found == 0 {
		err = fmt.Errorf("%s: nothing", expr)
	}
	return err
}

// dashboardQueries are the queries of the deployed dashboard as Grafana would
// send them, with all instances and registries chosen.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(must(os.ReadFile("../deploy/grafana/sealgate.json"))(t), &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$registry", ".*", "$instance", ".*", "$__rate_interval", "1m")
	var queries []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, fill.Replace(target.Expr))
		}
	}
	return queries
}
