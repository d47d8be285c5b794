package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	dto "github.com/prometheus/client_model/go"

	"tutela/server/metrics"
	"tutela/storage/meter"
	"tutela/storage/storagetest/check"
)

// gather returns what Prometheus would be shown of a house.
func gather(t *testing.T, set *meter.Set) []*dto.MetricFamily {
	t.Helper()
	families, err := metrics.Registry(set, version).Gather()
	must(t, err)
	return families
}

// seriesOf are the series of tutela's own metrics, each with its labels.
func seriesOf(families []*dto.MetricFamily) map[string]bool {
	list := map[string]bool{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if strings.HasPrefix(family.GetName(), "tutela_") {
				list[fmt.Sprint(family.GetName(), m.GetLabel())] = true
			}
		}
	}
	return list
}

// Prometheus keeps every series that it has seen. So none may come of what a caller sends.
func TestMetrics_NothingThatACallerSendsMakesASeries(t *testing.T) {
	check.WithoutRace(t)
	m := mount(t)
	storm := func(word string) {
		for i := range 50 {
			planted := fmt.Sprintf("%s%d", word, i)
			m.call("GET", "/"+planted, "")
			m.call("GET", "/api/v2/users/"+planted+"/enrollments", "", m.managing()...)
			m.call("GET", "/api/v2/"+planted, "", "Authorization", "Bearer "+planted)
			m.call(strings.ToUpper(strings.NewReplacer("1", "A", "2", "B", "3", "C").Replace(word))+"X", "/api/enroll", "")
			m.call("POST", "/bc-authorize", "client_id="+planted+"&login_hint="+planted+"&scope="+planted, "Content-Type", formType)
			m.call("POST", "/oauth/token", "grant_type="+planted+"&client_id="+planted, "Content-Type", formType)
			m.call("POST", "/api/start-restore?"+planted, `{"restore_handle":"`+planted+`"}`, "Content-Type", jsonType)
			m.call("OPTIONS", "/api/"+planted, "", "Origin", "https://"+planted+".example", "Access-Control-Request-Method", "POST")
		}
		for _, r := range m.routes() {
			for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"} {
				m.call(method, strings.ReplaceAll(r.path, ":", word), "x"+word, "Authorization", "Bearer "+word)
			}
		}
	}
	storm("planted1")
	before := seriesOf(gather(t, m.house.meter))
	storm("planted2")
	storm("planted3")
	after := seriesOf(gather(t, m.house.meter))
	for series := range after {
		if strings.Contains(strings.ToLower(series), "planted") {
			t.Errorf("a caller's word is in %s", series)
		}
		if !before[series] {
			t.Errorf("further calls have made %s", series)
		}
	}
	if most := 2500; len(after) > most || len(after) < 200 {
		t.Errorf("%d series", len(after))
	}
}

func TestMetrics_NamesAreAsPrometheusWantsThem(t *testing.T) {
	m := mount(t)
	problems, err := promlint.NewWithMetricFamilies(gather(t, m.house.meter)).Lint()
	must(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range meter.Figures() {
		if !strings.HasPrefix(f.Name, "tutela_") || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: %s", f.Name, f.Help)
		}
	}
}

// opsOf runs a server with an operators' listener until the test ends, and returns its two URLs.
func opsOf(t *testing.T, c *commandLine) (public, ops string) {
	t.Helper()
	cmd := exec.Command(c.binary, "serve", "--listen", "127.0.0.1:0", "--data", c.data)
	cmd.Env = append(cleanEnvironment(), "TUTELA_OPS_LISTEN=127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		must(t, cmd.Wait())
	})
	lines := bufio.NewScanner(out)
	for ops == "" && lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), "serves on "); found {
			public = strings.Fields(rest)[0]
		}
		if _, rest, found := strings.Cut(lines.Text(), "watch: "); found {
			ops = strings.TrimSuffix(rest, "/metrics")
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return public, ops
}

func getText(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	read, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	must(t, err)
	return resp.StatusCode, string(read)
}

func TestServe_ShowsMetricsOnTheOperatorsListenerAlone(t *testing.T) {
	c := newCommandLineOnNothing(t)
	public, ops := opsOf(t, c)
	if status, _ := getText(t, public+"/metrics"); status != http.StatusNotFound {
		t.Errorf("the public listener answers %d", status)
	}
	if status, body := getText(t, ops+"/readyz"); status != http.StatusOK || !strings.Contains(body, `"store":"ok"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	c.run("ticket", "maria")
	status, body := getText(t, ops+"/metrics")
	for _, line := range []string{
		`tutela_http_requests_total{code="404",method="GET",route="none"} 1`,
		`tutela_tickets_total{outcome="made"} 1`,
		`tutela_events_total{type="gd_start_enroll"} 1`,
		`tutela_build_info{`,
		`tutela_outbox_entries{kind="approval",provider="fcm"} 0`,
		`tutela_commit_transactions_bucket{le="1"}`,
		"tutela_data_file_bytes 1.6",
	} {
		if status != http.StatusOK || !strings.Contains(body, line) {
			t.Errorf("%d: no %s in %d bytes", status, line, len(body))
		}
	}
}

func TestServe_OperatorsPortInUseIsRefusedBeforeAnythingIsMade(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close() //nolint:errcheck // the test is over
	c := newCommandLineOnNothing(t)
	c.try("serve", "--listen", "127.0.0.1:0", "--ops-listen", taken.Addr().String(), "--data", c.data).
		refused("something else listens there already: see what by ss -ltnp, or choose another port by --ops-listen")
	if _, err := os.Stat(c.data); !os.IsNotExist(err) {
		t.Errorf("a data folder was made: %v", err)
	}
	c.try("serve", "--ops-listen", "9090", "--data", c.data).notUnderstood(`--ops-listen "9090" is not a HOST:PORT, such as localhost:9090`)
}
