// Package metrics shows the figures of a server to Prometheus. It is the only package that knows Prometheus: those that
// count use storage/meter.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tutela/storage/meter"
)

// How much those who ask for the metrics may make the server do.
const (
	scrapesAtOnce = 2
	scrapeTime    = 10 * time.Second // until a scrape is answered with 503
	readTime      = 5 * time.Second  // for the gauges that read the store
)

// Registry returns the figures of a set as Prometheus gathers them, with those of the process, of the Go runtime and of the
// build.
func Registry(set *meter.Set, version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		exporter{set},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version))
	return r
}

// buildInfo is always 1; its labels say what runs.
func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "tutela_build_info",
		Help:        "Always 1; its labels say which version of tutela runs, and which Go has built it.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": goVersion()},
	})
	info.Set(1)
	return info
}

// handler answers a scrape.
func handler(registry *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            failures{log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             scrapeTime,
		EnableOpenMetrics:   true,
	})
}

// failures logs what a scrape could not gather.
type failures struct{ log *slog.Logger }

// Println logs a failure.
func (f failures) Println(v ...any) { f.log.Warn("metrics: a scrape failed", "err", v) }

// exporter makes Prometheus' metrics of a set.
type exporter struct{ set *meter.Set }

// Describe sends nothing: which series there are is known when they are gathered.
func (e exporter) Describe(chan<- *prometheus.Desc) {}

// Collect sends every series as it is now.
func (e exporter) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	for _, s := range e.set.Samples(ctx) {
		out <- metric(s)
	}
}

// metric is a series as Prometheus has it. A series that does not fit its figure becomes an error of the scrape.
func metric(s meter.Sample) prometheus.Metric {
	f := s.Figure
	desc := prometheus.NewDesc(f.Name, f.Help, f.LabelNames(), nil)
	var m prometheus.Metric
	var err error
	switch f.Kind {
	case meter.KindHistogram:
		buckets := make(map[float64]uint64, len(f.Bounds))
		for i, bound := range f.Bounds {
			buckets[bound] = s.Buckets[i]
		}
		m, err = prometheus.NewConstHistogram(desc, s.Count, s.Value, buckets, s.Words...)
	case meter.KindCounter:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, s.Words...)
	default:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, s.Words...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
