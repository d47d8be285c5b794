package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"tutela/storage/meter"
)

// The list of metrics in docs/operating.md.
const (
	metricsBegin = "<!-- The metrics are written by make book. -->\n"
	metricsEnd   = "<!-- The end of the metrics. -->\n"
	metricsHead  = "| metric | labels | what it says |\n|---|---|---|\n"
)

// ownFigures are the figures of this program; tests declare others.
func ownFigures() []*meter.Figure {
	return slices.DeleteFunc(meter.Figures(), func(f *meter.Figure) bool { return strings.HasPrefix(f.Name, "tutela_test_") })
}

// maxListedWords is how many words of a label the list shows.
const maxListedWords = 12

func listOfMetrics() string {
	var list strings.Builder
	list.WriteString(metricsHead)
	for _, f := range ownFigures() {
		var labels []string
		for _, l := range f.Labels {
			text := "`" + l.Name + "`"
			if words := l.Values; len(words) > 0 && len(words) <= maxListedWords {
				text += " (" + strings.Join(words, ", ") + ")"
			}
			labels = append(labels, text)
		}
		fmt.Fprintf(&list, "| `%s`, a %s | %s | %s |\n", f.Name, f.Kind, strings.Join(labels, "; "), f.Help)
	}
	return list.String()
}

func TestBookMetrics_ListIsFresh(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "operating.md")
	content, err := os.ReadFile(page)
	must(t, err)
	before, rest, begins := bytes.Cut(content, []byte(metricsBegin))
	listed, after, ends := bytes.Cut(rest, []byte(metricsEnd))
	if !begins || !ends {
		t.Fatalf("%s has no list of metrics", page)
	}
	fresh := listOfMetrics()
	if *updateBook {
		must(t, os.WriteFile(page, slices.Concat(before, []byte(metricsBegin), []byte(fresh), []byte(metricsEnd), after), 0o644))
		return
	}
	if string(listed) != fresh {
		t.Errorf("the list of metrics in %s is not that of the source: run make book", page)
	}
}

// alertRules is a file of rules as Prometheus reads it.
type alertRules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

var (
	metricName = regexp.MustCompile(`tutela_[a-z_]+`)
	wordsOf    = regexp.MustCompile(`([a-z]+)=~?"([^"]*)"`)
)

// TestBook_AlertsUseMetricsThatThereAre reads the example of alerts: each names metrics, labels and words that this program has.
func TestBook_AlertsUseMetricsThatThereAre(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "alerts.yml"))
	must(t, err)
	var rules alertRules
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	must(t, decoder.Decode(&rules))
	figures := map[string]*meter.Figure{}
	for _, f := range ownFigures() {
		figures[f.Name] = f
	}
	alerts := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			alerts++
			if rule.Alert == "" || rule.Expr == "" || rule.Annotations["summary"] == "" {
				t.Errorf("%+v lacks something", rule)
			}
			named := metricName.FindAllString(rule.Expr, -1)
			if len(named) == 0 && !strings.HasPrefix(rule.Expr, "up{") {
				t.Errorf("%s names no metric", rule.Alert)
			}
			for _, name := range named {
				f := figures[strings.TrimSuffix(name, "_bucket")]
				if f == nil {
					t.Errorf("%s: there is no %s", rule.Alert, name)
					continue
				}
				checkWords(t, rule.Alert, rule.Expr, f)
			}
		}
	}
	if alerts != 5 {
		t.Errorf("%d alerts, and docs/operating.md says five", alerts)
	}
}

// checkWords checks the labels that an expression selects by.
func checkWords(t *testing.T, alert, expr string, f *meter.Figure) {
	t.Helper()
	for _, selected := range wordsOf.FindAllStringSubmatch(expr, -1) {
		at := slices.IndexFunc(f.Labels, func(l meter.Label) bool { return l.Name == selected[1] })
		if at < 0 {
			t.Errorf("%s: %s has no label %s", alert, f.Name, selected[1])
			continue
		}
		for _, word := range strings.Split(selected[2], "|") {
			if !slices.Contains(f.Labels[at].Values, word) {
				t.Errorf("%s: the label %s of %s is never %q", alert, selected[1], f.Name, word)
			}
		}
	}
}
