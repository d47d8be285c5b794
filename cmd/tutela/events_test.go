package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/bolt"
)

// edit opens the installation as a server would, while none runs, and changes its store.
func (c *commandLine) edit(change func(s *storage.Store)) {
	c.t.Helper()
	h, err := openHouse(c.t.Context(), houseOptions{
		dataFlags:  dataIn(c.data),
		PublicURLs: []string{localServer},
		Issuer:     "tutela",
		Log:        slog.New(slog.DiscardHandler),
	})
	must(c.t, err)
	change(h.store)
	must(c.t, h.Close())
}

func TestEvents_ShowADamagedOneAmongTheOthers(t *testing.T) {
	c := newCommandLine(t)
	for _, id := range []string{"maria", "paul", "zoe"} {
		c.run("ticket", id)
	}
	ofPaul := decode(t, c.run("events", "--user", "paul", "--json"))["id"].(string)
	c.edit(func(s *storage.Store) {
		must(t, s.Engine().Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			ws.Put([]byte("levent\x00\x00"+ofPaul), []byte("nothing that is known"))
			return ws, nil
		}))
	})
	look := func(how string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(c.run("events", "--last", "3")), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "maria") || !strings.Contains(lines[2], "zoe") ||
			!strings.Contains(lines[1], "td_damaged") || !strings.Contains(lines[1], `damage="the event cannot be read"`) {
			t.Errorf("%s:\n%s", how, strings.Join(lines, "\n"))
		}
		e := decode(t, c.run("events", "--user", "paul", "--json"))
		if e["id"] != ofPaul || e["type"] != "td_damaged" || e["damage"] != "the event cannot be read" || !isInstant(e["time"]) {
			t.Errorf("%s, for scripts: %v", how, e)
		}
	}
	look("without a server")
	c.serve()
	look("with a server")
}

// A server records what was counted while another one ran, and says how often and when.
func TestEvents_ShowAFoldOfAnEarlierServer(t *testing.T) {
	c := newCommandLine(t)
	c.edit(func(s *storage.Store) {
		for range 3 {
			must(t, s.Update(t.Context(), func(tx *storage.Tx) error {
				e := audit.Event{Type: audit.ManagementFailed, Client: "shop", Facts: audit.Facts{audit.FactCall: audit.CallGetUser}}
				return audit.Fold(tx, audit.Actor{}, e, audit.Detail{}, "", time.Second)
			}))
		}
	})
	c.serve()
	cmd := exec.CommandContext(t.Context(), c.binary, "events", "--follow", "--json", "--type", "fapi", "--data", c.data)
	cmd.Env = cleanEnvironment()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var e map[string]any
	must(t, json.NewDecoder(stdout).Decode(&e))
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	folded, _ := e["folded"].(map[string]any)
	if folded["count"] != 3.0 || !isInstant(folded["first"]) || !isInstant(folded["last"]) || e["client"] != "shop" {
		t.Errorf("the event is %v", e)
	}
	if line := c.run("events", "--type", "fapi"); strings.Count(line, "\n") != 1 || !strings.Contains(line, " count=3 first=") {
		t.Errorf("printed:\n%s", line)
	}
}

// What failed calls are counted in is durable as the calls are.
func TestEvents_CountWhatFailedThroughKills(t *testing.T) {
	s := startLive(t)
	fail := func(times int) {
		for range times {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.public+"/api/v2/users", strings.NewReader(`{"user_id":"x"}`))
			must(t, err)
			req.Header.Set("Authorization", "Bearer "+s.token)
			if err := s.do(req, nil); refusal(err) != "insufficient_scope" {
				t.Fatalf("got %v", err)
			}
		}
	}
	for range 2 {
		fail(40)
		s.kill(syscall.SIGKILL)
		s.start(t)
	}
	fail(1)
	s.kill(syscall.SIGKILL)

	quiet := slog.New(slog.DiscardHandler)
	engine, err := bolt.Open(t.Context(), filepath.Join(s.data, "tutela.db"), bolt.Options{Logger: quiet})
	must(t, err)
	later := storage.NewFakeClock(time.Now().Add(time.Hour))
	store, err := storage.Open(t.Context(), engine, storage.Options{Clock: later, Logger: quiet})
	must(t, err)
	_, _, err = audit.CloseFolds(t.Context(), store)
	must(t, err)
	events, _, err := audit.List(t.Context(), store, audit.Query{Types: []audit.Type{audit.ManagementFailed}}, false)
	must(t, err)
	must(t, store.Close())
	count := 0
	for _, e := range events {
		count += max(1, e.Folded.Count) // the first of a window is an event of its own
	}
	if count != 81 || len(events) > 20 {
		t.Errorf("%d events of %d calls, of 81", len(events), count)
	}
}

// An export goes through all pages, and goes on where one ended that broke off.
func TestEventsExport_PrintsAllAndGoesOnAfterTheLast(t *testing.T) {
	c := newCommandLine(t)
	c.run("ticket", "maria")
	c.edit(func(s *storage.Store) {
		must(t, s.UpdateEach(t.Context(), 2*eventsAtOnce+1, func(tx *storage.Tx, _ int) error {
			return audit.Record(tx, audit.ByOperator(0), audit.Event{Type: audit.TenantUpdate}, audit.Detail{})
		}))
	})
	c.run("ticket", "otto")
	idsOf := func(printed string) (ids []string) {
		for line := range strings.Lines(printed) {
			ids = append(ids, decode(t, line)["id"].(string))
		}
		return ids
	}
	check := func() {
		t.Helper()
		all := idsOf(c.run("events", "export"))
		if len(all) < 2*eventsAtOnce+3 || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Fatalf("%d events, in order: %v", len(all), slices.IsSorted(all))
		}
		for _, broken := range []int{0, eventsAtOnce, len(all) - 1} {
			if rest := idsOf(c.run("events", "export", "--after", all[broken])); !slices.Equal(rest, all[broken+1:]) {
				t.Errorf("after %d: %d events, want %d", broken, len(rest), len(all)-broken-1)
			}
		}
		for _, only := range [][]string{{"--user", "otto"}, {"--type", "gd_start_enroll", "--after", all[1]}} {
			for line := range strings.Lines(c.run(append([]string{"events", "export"}, only...)...)) {
				if e := decode(t, line); e["user_id"] != "otto" || e["type"] != "gd_start_enroll" {
					t.Errorf("%v: %s", only, line)
				}
			}
		}
		for _, none := range [][]string{{"--to", "2020-01-01"}, {"--from", "2100-01-01T00:00:00Z"}, {"--client", "nobody"}} {
			if printed := c.run(append([]string{"events", "export"}, none...)...); printed != "" {
				t.Errorf("%v: %s", none, printed)
			}
		}
		if within := idsOf(c.run("events", "export", "--from", "2020-01-01", "--to", "2100-01-01")); !slices.Equal(within, all) {
			t.Errorf("within: %d events", len(within))
		}
	}
	check()
	c.serve()
	check()
	c.try("events", "export", "--from", "noon").notUnderstood(`--from "noon" is not a time: write 2026-03-01, or 2026-03-01T08:00:00Z`)
	c.try("events", "export", "--type", "gd_nothing").notUnderstood(`there is no type of event "gd_nothing"`)
}
