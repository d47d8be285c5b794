package metrics_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"tutela/server/metrics"
	"tutela/storage/meter"
)

var (
	eaten  = meter.NewCounter("tutela_test_eaten_total", "Apples that were eaten.", meter.Words("colour", "red", "green"))
	walked = meter.NewHistogram("tutela_test_walk_duration_seconds", "How long a walk took.", []float64{1, 2})
	free   = meter.NewGauge("tutela_test_rooms", "Rooms that are free.", meter.Words("floor", "upper"))
)

// serve serves a set on a free port until the test ends, and returns the URL.
func serve(t *testing.T, set *meter.Set) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- metrics.Serve(ctx, l, metrics.Options{
			Set:     set,
			Version: "1.2.3",
			Live:    func() (int, any) { return http.StatusOK, map[string]string{"status": "ok"} },
			Ready:   func() (int, any) { return http.StatusServiceUnavailable, map[string]string{"status": "not_ready"} },
			Log:     slog.New(slog.DiscardHandler),
		})
	}()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func ask(t *testing.T, method, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(read)
}

func TestServe_ShowsTheFiguresAsPrometheusReadsThem(t *testing.T) {
	set := meter.NewSet()
	eaten.Add(set, 3, "red")
	walked.Observe(set, 1.5)
	free.Provide(set, func(context.Context) []meter.Reading { return []meter.Reading{{Value: 4, Words: []string{"upper"}}} })
	status, body := ask(t, "GET", serve(t, set)+"/metrics")
	for _, line := range []string{
		"# HELP tutela_test_eaten_total Apples that were eaten.",
		"# TYPE tutela_test_eaten_total counter",
		`tutela_test_eaten_total{colour="red"} 3`,
		`tutela_test_eaten_total{colour="green"} 0`,
		`tutela_test_walk_duration_seconds_bucket{le="1"} 0`,
		`tutela_test_walk_duration_seconds_bucket{le="2"} 1`,
		`tutela_test_walk_duration_seconds_sum 1.5`,
		`tutela_test_rooms{floor="upper"} 4`,
		`tutela_build_info{goversion="go1.`,
		`version="1.2.3"} 1`,
		"process_resident_memory_bytes ",
		"go_goroutines ",
	} {
		if status != http.StatusOK || !strings.Contains(body, line) {
			t.Errorf("%d: no %s in\n%.3000s", status, line, body)
		}
	}
}

func TestServe_AnswersHealthAndNothingElse(t *testing.T) {
	url := serve(t, meter.NewSet())
	for call, want := range map[string]int{
		"GET /healthz": 200, "GET /readyz": 503, "HEAD /metrics": 200, "POST /metrics": 405, "GET /": 404, "GET /api/v2/users": 404, "GET /debug/pprof/": 404,
	} {
		method, path, _ := strings.Cut(call, " ")
		if status, body := ask(t, method, url+path); status != want || path == "/readyz" && body != `{"status":"not_ready"}`+"\n" {
			t.Errorf("%s: %d %s", call, status, body)
		}
	}
}

// Silent connections are held off at the door: those past the bound wait in the system's queue, and are served when one ends.
func TestServe_SilentConnectionsAreBounded(t *testing.T) {
	url := serve(t, meter.NewSet())
	var silent []net.Conn
	for range 100 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	for _, c := range silent {
		_ = c.Close()
	}
	if status, _ := ask(t, "GET", url+"/healthz"); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}

// lint returns what Prometheus' linter says of a set's metrics.
func lint(t *testing.T, r *prometheus.Registry) []promlint.Problem {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	return problems
}

func TestRegistry_NamesAreAsPrometheusWantsThem(t *testing.T) {
	set := meter.NewSet()
	eaten.Add(set, 1, "red")
	for _, p := range lint(t, metrics.Registry(set, "x")) {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
