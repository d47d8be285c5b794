package main

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
)

const year = 365 * 24 * time.Hour

// lastMarked writes at into the data file as the last time that it has written down.
func (c *commandLine) lastMarked(at time.Time) {
	c.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	engine, err := bolt.Open(c.t.Context(), filepath.Join(c.data, "tutela.db"), bolt.Options{Logger: quiet})
	must(c.t, err)
	s, err := storage.Open(c.t.Context(), engine, storage.Options{Clock: storage.NewFakeClock(at), Logger: quiet})
	must(c.t, err)
	must(c.t, s.SettleClock(c.t.Context(), storage.TrustWall, func(*storage.Tx) error { return nil }))
	must(c.t, s.Close())
}

// clockJSON returns what "tutela clock --json" prints.
func (c *commandLine) clockJSON() map[string]any {
	c.t.Helper()
	return decode(c.t, c.run("clock", "--json"))
}

// readyz asks the server whether it is ready.
func (s *liveServer) readyz(t *testing.T) (status int, body string) {
	t.Helper()
	resp, err := s.http.Get(s.public + "/readyz")
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(raw)
}

// wrongClocks are last times that do not fit the machine's clock.
var wrongClocks = map[string]struct {
	mark time.Duration // from now
	says string
}{
	"ten years ahead": {-10 * year, "3650 days after"},
	"ten years back":  {10 * year, "3649 days before"}, // and some seconds less
}

func TestClock_ShowsAndSettlesAWrongOneOverTheSocket(t *testing.T) {
	for name, wrong := range wrongClocks {
		for _, how := range []string{"--trust-wall", "--keep-mark"} {
			t.Run(name+how, func(t *testing.T) {
				c := newCommandLine(t)
				c.lastMarked(time.Now().Add(wrong.mark))
				s := c.serve()
				status, body := s.readyz(t)
				said := "the machine's clock is " + wrong.says + " the last time written down: nothing is removed by time until tutela clock settles which is right"
				if status != 200 || !strings.Contains(body, `"clock_step":"`+said+`"`) || !strings.Contains(body, `"status":"ready"`) {
					t.Errorf("readyz: %d %s", status, body)
				}
				c.run("ticket", "maria") // it serves
				if shown := c.run("clock"); !strings.Contains(shown, "Not settled: the machine's clock is "+wrong.says+" the mark.") {
					t.Errorf("shown:\n%s", shown)
				}
				c.run("clock", how)
				if events := c.run("events", "--type", "gd_tenant_update"); !strings.Contains(events, "change=clock clock="+strings.ReplaceAll(how[2:], "-", "_")) {
					t.Errorf("events:\n%s", events)
				}
				s.kill(syscall.SIGTERM)
				s.start(t)
				status, body = s.readyz(t)
				kept := strings.Contains(body, "as was settled: set it right")
				if status != 200 || kept != (how == "--keep-mark") || !kept && !strings.Contains(body, `"clock_step":"ok"`) {
					t.Errorf("readyz after a restart: %d %s", status, body)
				}
				if after := c.clockJSON(); after["unsettled"] != false || after["kept_mark"] != kept {
					t.Errorf("after a restart: %v", after)
				}
			})
		}
	}
}

func TestClock_SettlesWithoutAServerToo(t *testing.T) {
	c := newCommandLine(t)
	c.lastMarked(time.Now().Add(10 * year)) // a start with a clock ten years ahead, before
	before := c.clockJSON()
	if before["unsettled"] != true || !isInstant(before["house"]) || before["step_seconds"].(float64) > -9.9*year.Seconds() {
		t.Errorf("before: %v", before)
	}
	r := c.try("clock", "--trust-wall")
	if r.status != 0 || !strings.Contains(r.stderr, "The time has gone back: restart the server") || !strings.Contains(r.stdout, "the same as the house's time") {
		t.Errorf("settled: status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	if after := c.clockJSON(); after["unsettled"] != false || after["step_seconds"].(float64) > 60 {
		t.Errorf("after: %v", after)
	}
	c.try("clock", "--trust-wall").refused("the clock needs no settling")
	c.try("clock", "--keep-mark").refused("the clock needs no settling")
	if r := c.try("clock", "--keep-mark", "--trust-wall"); r.status != statusUsage {
		t.Errorf("both at once: status %d\n%s", r.status, r.stderr)
	}
	if shown := c.run("clock"); strings.Contains(shown, "settle") {
		t.Errorf("shown:\n%s", shown)
	}
}

func TestServe_SaysInTheLogThatTheClockIsNotBelieved(t *testing.T) {
	c := newCommandLine(t)
	c.lastMarked(time.Now().Add(-10 * year))
	_, log := c.served(nil)
	if !strings.Contains(log, "nothing is removed by time until tutela clock settles which is right") {
		t.Errorf("the log:\n%s", log)
	}
}

// A house that was opened while the clock was ahead refuses one-time codes when the clock is right again.
func TestClockDoubted_SaysThatTheClockIsBehindTheHouse(t *testing.T) {
	now := time.Now()
	state := storage.ClockState{House: now, Wall: now.Add(-2 * time.Hour)}
	if err := clockDoubted(state); err == nil || !strings.Contains(err.Error(), "2h0m0s before the house's time: one-time codes are refused") {
		t.Errorf("two hours behind: %v", err)
	}
	state.Wall = now.Add(-time.Minute)
	if err := clockDoubted(state); err != nil {
		t.Errorf("a minute behind: %v", err)
	}
	state.Wall = now.Add(time.Hour) // the machine has slept
	if err := clockDoubted(state); err != nil {
		t.Errorf("an hour ahead: %v", err)
	}
}

func TestClockJumped_IsNotReadyAndSaysWhatHelps(t *testing.T) {
	now := time.Now()
	state := storage.ClockState{House: now, Wall: now.Add(11 * time.Second), Jump: 11 * time.Second}
	if err := clockJumped(state); storage.CodeOf(err) != storage.Unavailable || !strings.Contains(fmt.Sprint(err), "see that it is right, then restart") {
		t.Errorf("%v", err)
	}
	state.Jump = -9 * time.Second
	if err := clockJumped(state); err != nil {
		t.Errorf("%v", err)
	}
	state.Jump = -10 * year
	state.Kept = true
	if err := clockJumped(state); err != nil {
		t.Errorf("of a wall that is known to be wrong: %v", err)
	}
}
