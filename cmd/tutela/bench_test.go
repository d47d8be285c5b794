package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/server/access"
)

// BenchmarkLogin measures whole logins: this process is the login system and the phones, the server another process,
// and between them is HTTP on loopback. A login is four calls (bc-authorize; the phone's pull; its signed answer; the
// token request with wait) and three durable commits. Beside it, in the same run, two limits: the same number of calls
// to a handler that does nothing, and nothing but three durable commits (BenchmarkUpdate in package storage).
//
// Reported: logins/s; p50 and p99 of one login, in ms; CPU of both processes, in ms a login; what the server wrote to
// the disk, and by how much its file grew, in bytes a login.
func BenchmarkLogin(b *testing.B) {
	s := &loginBench{liveServer: startLive(b)}
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { s.benchLogins(b, callers) })
		b.Run(fmt.Sprintf("limit-http/callers=%d", callers), func(b *testing.B) { s.benchNothing(b, callers) })
	}
}

// loginsAMinute is how many logins one user may begin in a minute; the benchmark has users enough to stay below.
const loginsAMinute = 12

// loginBench is a live server with enrolled phones.
type loginBench struct {
	*liveServer
	enrolled int // so many users so far
}

// benchPhone is a phone of a user of its own.
type benchPhone struct {
	*phone.Phone
	user string
	code string // the user's recovery code

	inUse sync.Mutex // guards code
}

// enrollFor makes phones for n logins within a minute.
func (s *loginBench) enrollFor(b *testing.B, n int) []*benchPhone {
	b.Helper()
	return s.enrollMany(b, n/loginsAMinute+64)
}

// enrollMany makes n users with a phone each.
func (s *loginBench) enrollMany(b *testing.B, n int) []*benchPhone {
	b.Helper()
	first := s.enrolled
	s.enrolled += n
	made := make([]*benchPhone, n)
	eachOf(b, n, func(i int) error {
		user := fmt.Sprintf("user-%d", first+i)
		p, code, err := s.enroll(b.Context(), user)
		made[i] = &benchPhone{Phone: p, user: user, code: code}
		return err
	})
	return made
}

// eachOf does something for 0 to n-1, many at once. A failure ends the benchmark.
func eachOf(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !b.Failed(); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// benchLogins makes b.N logins by so many callers at once.
func (s *loginBench) benchLogins(b *testing.B, callers int) {
	fresh := s.enrollFor(b, b.N)
	took := make([]time.Duration, b.N)
	before := s.usage(b)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range callers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N) && !b.Failed(); i = next.Add(1) - 1 {
				began := time.Now()
				if err := s.whole(b.Context(), fresh[i%int64(len(fresh))]); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(began)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	after := s.usage(b)
	slices.Sort(took)
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "logins/s")
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
	b.ReportMetric((after.server-before.server).Seconds()*1e3/n, "server-cpu-ms/login")
	b.ReportMetric((after.load-before.load).Seconds()*1e3/n, "load-cpu-ms/login")
	b.ReportMetric(float64(after.written-before.written)/n, "disk-written-B/login")
	b.ReportMetric(float64(after.size-before.size)/n, "file-grown-B/login")
}

// whole does one whole login.
func (s *loginBench) whole(ctx context.Context, p *benchPhone) error {
	asked, err := s.ask(ctx, p.user)
	if err != nil {
		return err
	}
	collected := make(chan error, 1)
	go func() {
		var tokens struct {
			IDToken string `json:"id_token"`
		}
		err := s.form(ctx, s.bank, "/oauth/token", &tokens, "grant_type", access.GrantCIBA, "auth_req_id", asked.ID, "wait", "30")
		if err == nil && tokens.IDToken == "" {
			err = errors.New("no ID token")
		}
		collected <- err
	}()
	return errors.Join(answerOne(ctx, p.Phone, asked.Number), <-collected)
}

func answerOne(ctx context.Context, p *phone.Phone, number string) error {
	approvals, err := p.Approvals(ctx, 30*time.Second, nil)
	if err != nil {
		return err
	}
	if len(approvals) != 1 {
		return fmt.Errorf("%d approvals are pending, not 1", len(approvals))
	}
	return p.Approve(ctx, approvals[0], number)
}

// benchNothing makes as many calls as b.N logins take, to a handler that does nothing.
func (s *loginBench) benchNothing(b *testing.B, callers int) {
	const callsALogin = 4
	var next atomic.Int64
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for i := next.Add(1); i <= int64(b.N*callsALogin) && !b.Failed(); i = next.Add(1) {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.public+"/healthz", nil)
				if err != nil {
					b.Error(err)
					return
				}
				if err := s.do(req, nil); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logins/s")
}

// usage is what both processes have used.
type usage struct {
	server, load  time.Duration // of CPU
	written, size int64         // bytes
}

func (s *loginBench) usage(b *testing.B) usage {
	b.Helper()
	var u usage
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	u.load = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	// The fields after the program's name, which stands in brackets and may hold spaces: see proc_pid_stat(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const ticks = time.Second / 100 // USER_HZ, which Linux fixes at 100
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		u.server += time.Duration(n) * ticks
	}
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(io)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && name == "write_bytes" {
			if u.written, err = strconv.ParseInt(value, 10, 64); err != nil {
				b.Fatal(err)
			}
		}
	}
	info, err := os.Stat(filepath.Join(s.data, "tutela.db"))
	if err != nil {
		b.Fatal(err)
	}
	u.size = info.Size()
	return u
}
