package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alert is a rule of deploy/prometheus/sealgate.rules.yaml.
type alert struct {
	Alert       string
	Labels      struct{ Severity string }
	Annotations struct {
		Summary, Description string
		Runbook              string `yaml:"runbook_url"`
	}
}

func readAlerts(t *testing.T) map[string]alert {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	readYAML(t, "../../deploy/prometheus/sealgate.rules.yaml", &file)
	alerts := map[string]alert{}
	for _, group := range file.Groups {
		for _, a := range group.Rules {
			alerts[a.Alert] = a
		}
	}
	return alerts
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestTheManualExplainsEveryAlert: under its name, which the alert links to,
// with its severity; and none that does not exist.
func TestTheManualExplainsEveryAlert(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	alerts := readAlerts(t)
	explained := map[string]string{} // alert → severity
	for _, m := range regexp.MustCompile(`(?m)^### (Sealgate\w+)\n\n(Critical|Warning)\. `).FindAllStringSubmatch(string(manual), -1) {
		explained[m[1]] = strings.ToLower(m[2])
		if _, exists := alerts[m[1]]; !exists {
			t.Errorf("there is no alert %s", m[1])
		}
	}
	for name, a := range alerts {
		if explained[name] != a.Labels.Severity {
			t.Errorf("%s is %q in the manual and has the severity %q", name, explained[name], a.Labels.Severity)
		}
		if a.Annotations.Summary == "" || a.Annotations.Description == "" {
			t.Errorf("%s does not say what is the matter", name)
		}
		if !strings.HasSuffix(a.Annotations.Runbook, "/docs/operations.md#"+strings.ToLower(name)) {
			t.Errorf("%s leads to %q", name, a.Annotations.Runbook)
		}
	}
	if len(alerts) < 15 {
		t.Errorf("only %d alerts were found", len(alerts))
	}
}

// TestEveryAlertIsTriedBothWays by the tests that promtool runs in the
// end-to-end suite: it does not fire, and then it does.
func TestEveryAlertIsTriedBothWays(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "../../deploy/prometheus/sealgate.rules.test.yaml", &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Fires) > 0 {
				fires[c.Alert] = true
			} else {
				quiet[c.Alert] = true
			}
		}
	}
	for name := range readAlerts(t) {
		if !fires[name] || !quiet[name] {
			t.Errorf("%s: fires: %t, does not: %t", name, fires[name], quiet[name])
		}
	}
}
