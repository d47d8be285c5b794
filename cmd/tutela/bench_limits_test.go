package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

// BenchmarkLimits measures what the server may cost, each beside its limit, and ends with one table: see
// docs/performance.md. The server is the real binary in a process of its own, with the flags that it has when nobody
// sets any; this process is the login systems, the phones and the admins.
//
//	make bench BENCH=Limits
//	TUTELA_BENCH_PROFILE=DIR make bench BENCH=Limits/login     also writes a profile of the server to DIR
func BenchmarkLimits(b *testing.B) {
	var t table
	b.Run("start", func(b *testing.B) { benchStart(b, &t) })
	s := newLimitsBench(b, &t)
	for _, u := range s.useCases() {
		b.Run(u.short, func(b *testing.B) { s.benchCPU(b, u) })
	}
	b.Run("waits", s.benchWaits)
	t.write(os.Stdout, machine(b))
}

// limitsBench is a live server and an empty one.
type limitsBench struct {
	*loginBench
	empty *emptyServer
	table *table

	profiles string // folder; empty: none are wanted
}

func newLimitsBench(b *testing.B, t *table) *limitsBench {
	s := &limitsBench{loginBench: &loginBench{liveServer: newLive(b)}, table: t}
	log, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	s.log = log
	s.logLevel = "info"
	s.http.Transport = tap{s.http.Transport}
	s.phones = &http.Client{Transport: s.http.Transport}
	s.profile(b)
	s.open(b)
	s.empty = startEmpty(b)
	return s
}

// row is a line of the table.
type row struct {
	what, measured, floor, ratio, limit, spread string
	within                                      bool
}

// table is what BenchmarkLimits has measured.
type table struct{ rows []row }

// add adds a row. It replaces one of the same name, from an earlier run.
func (t *table) add(r row) {
	t.rows = slices.DeleteFunc(t.rows, func(old row) bool { return old.what == r.what })
	t.rows = append(t.rows, r)
}

func (t *table) write(to io.Writer, machine string) {
	if len(t.rows) == 0 {
		return
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "\n%s\n\n\tmeasured\tfloor\tratio\tlimit\t\tspread\n", machine)
	for _, r := range t.rows {
		verdict := "within"
		if !r.within {
			verdict = "OVER"
		}
		_, _ = fmt.Fprintln(w, strings.Join([]string{r.what, r.measured, r.floor, r.ratio, r.limit, verdict, r.spread}, "\t"))
	}
	_, _ = fmt.Fprintln(w)
	_ = w.Flush()
}

// Limits of a server at rest.
const (
	maxStart    = 100 * time.Millisecond
	maxResident = 30 << 20
	maxPrivate  = 12 << 20
	maxBinary   = 45_000_000
	starts      = 11
)

// benchStart measures how long the server takes from its start on an empty folder to its first answer, and how much
// memory it then holds.
func benchStart(b *testing.B, t *table) {
	took := make([]time.Duration, starts)
	var atRest memory
	for i := range took {
		s := newLive(b)
		s.logLevel = "info"
		began := time.Now()
		s.start(b)
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.public+"/healthz", nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.do(req, nil); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(began)
		atRest = s.quiet(b)
		s.kill(syscall.SIGTERM)
	}
	slices.Sort(took)
	typical := took[starts/2]
	t.add(row{
		what:     "start on an empty folder",
		measured: milliseconds(typical),
		limit:    "≤ 100 ms",
		within:   typical <= maxStart,
		spread:   fmt.Sprintf("%.0f–%.0f ms", took[0].Seconds()*1e3, took[starts-1].Seconds()*1e3),
	})
	t.add(row{
		what:     "memory at rest (RSS)",
		measured: fmt.Sprintf("%.1f MiB", float64(atRest.resident)/(1<<20)),
		limit:    "≤ 30 MiB",
		within:   atRest.resident <= maxResident,
		spread:   fmt.Sprintf("%d MiB of files", atRest.mapped>>20),
	})
	t.add(row{
		what:     "memory at rest (private)",
		measured: fmt.Sprintf("%.1f MiB", float64(atRest.private)/(1<<20)),
		limit:    "≤ 12 MiB",
		within:   atRest.private <= maxPrivate,
	})
	t.add(sizeOfBinary(b))
	b.ReportMetric(typical.Seconds()*1e3, "start-ms")
	b.ReportMetric(float64(atRest.resident)/(1<<20), "rest-MiB")
}

// sizeOfBinary is the row of the program's size, as the tests build it.
func sizeOfBinary(b *testing.B) row {
	binary, err := builtBinary()
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	return row{
		what:     "the binary",
		measured: fmt.Sprintf("%.1f MB", float64(info.Size())/1e6),
		limit:    "≤ 45 MB",
		within:   info.Size() <= maxBinary,
	}
}
