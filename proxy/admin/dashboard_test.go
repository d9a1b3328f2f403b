package admin_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// dashboard is what Grafana needs of deploy/grafana/sealgate.json.
type dashboard struct {
	UID           string
	Title         string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type string }
	}
	Panels []dashboardPanel
}

type dashboardPanel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct{ Unit string }
	}
	Targets []struct{ RefID, Expr string }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/sealgate.json")
	must(t, err)
	var d dashboard
	must(t, json.Unmarshal(text, &d))
	return d
}

func TestTheDashboardIsWhatGrafanaNeeds(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("uid %q, title %q, schema version %d", d.UID, d.Title, d.SchemaVersion)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name+" "+v.Type)
	}
	if got := strings.Join(variables, ", "); got != "datasource datasource, instance query, registry query" {
		t.Errorf("the variables are %s", got)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%q has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		at := p.GridPos
		if at.W < 1 || at.H < 1 || at.X < 0 || at.Y < 0 || at.X+at.W > 24 {
			t.Errorf("%q is at %v", p.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, found := taken[[2]int{x, y}]; found {
					t.Fatalf("%q lies over %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Title == "" || p.Type != "row" && (p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d, %q, has no title, description, unit or query", p.ID, p.Title)
		}
	}
}

// TestDashboardAndAlertsNameMetricsThatExist: and the dashboard all registries
// and instances that were chosen.
func TestDashboardAndAlertsNameMetricsThatExist(t *testing.T) {
	families := gather(t, everything(t))
	check := func(where, text string) (found int) {
		for _, name := range regexp.MustCompile(`\b(?:sealgate|go|process)_\w+`).FindAllString(text, -1) {
			family := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
			if families[family] == nil && name != "go_version" {
				t.Errorf("%s: there is no metric %s", where, name)
			}
			found++
		}
		return found
	}
	named := 0
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			named += check(p.Title, target.Expr)
			for _, metric := range regexp.MustCompile(`sealgate_\w+\{[^}]*\}`).FindAllString(target.Expr, -1) {
				if !strings.Contains(metric, `instance=~"$instance"`) {
					t.Errorf("%s: %s is not of the instances that were chosen", p.Title, metric)
				}
			}
		}
	}
	rules, err := os.ReadFile("../../deploy/prometheus/sealgate.rules.yaml")
	must(t, err)
	for _, expr := range regexp.MustCompile(`(?s)expr: (.*?)\n +(?:for|labels):`).FindAllStringSubmatch(string(rules), -1) {
		named += check("sealgate.rules.yaml", expr[1])
	}
	if named < 80 {
		t.Errorf("only %d names were found", named)
	}
}
