package server_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"tutela/server"
	"tutela/storage"
)

func TestHealth_SaysWhetherAllIsWell(t *testing.T) {
	ok := func(context.Context) error { return nil }
	r := start(t, server.Config{Checks: []server.Check{{Name: "store", Run: ok}, {Name: "clock", Run: ok}}}, nil)
	wantJSON(t, r.ask("GET", "/healthz", "").body, `{"status":"ok"}`)
	got := r.ask("GET", "/readyz", "")
	if got.status != 200 {
		t.Errorf("status %d", got.status)
	}
	wantJSON(t, got.body, `{"status":"ready","checks":{"store":"ok","clock":"ok"}}`)
	if head := r.ask("HEAD", "/healthz", ""); head.status != 200 || head.body != "" {
		t.Errorf("HEAD: %d %q", head.status, head.body)
	}
}

func TestHealth_NamesTheVersion(t *testing.T) {
	r := start(t, server.Config{Version: "1.2.3"}, nil)
	wantJSON(t, r.ask("GET", "/healthz", "").body, `{"status":"ok","version":"1.2.3"}`)
	wantJSON(t, r.ask("GET", "/readyz", "").body, `{"status":"ready","version":"1.2.3","checks":{}}`)
}

func TestHealth_NamesWhatIsWrongAndNoMore(t *testing.T) {
	t.Parallel() // it waits for the two seconds of a round of checks
	r := start(t, server.Config{Checks: []server.Check{
		{Name: "store", Run: func(context.Context) error { return storage.ErrUnavailable }},
		{Name: "disk", Run: func(context.Context) error { return errors.New("open /planted/path: read-only") }},
		{Name: "clock", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}},
	}}, nil)
	got := r.ask("GET", "/readyz", "")
	if got.status != 503 {
		t.Errorf("status %d", got.status)
	}
	wantJSON(t, got.body, `{"status":"not_ready","checks":{"store":"the store is not available; try again later","disk":"failed","clock":"no answer in time"}}`)
	if got := r.ask("GET", "/healthz", ""); got.status != 200 {
		t.Errorf("healthz: %d", got.status)
	}
}

func TestHealth_AdvisoryCheckIsShownAndLeavesTheServerReady(t *testing.T) {
	r := start(t, server.Config{Checks: []server.Check{
		{Name: "store", Run: func(context.Context) error { return nil }},
		{Name: "outbox", Advisory: true, Run: func(context.Context) error {
			return storage.NewError(storage.Unavailable, "1 destination does not answer")
		}},
	}}, nil)
	got := r.ask("GET", "/readyz", "")
	if got.status != 200 {
		t.Errorf("status %d", got.status)
	}
	wantJSON(t, got.body, `{"status":"ready","checks":{"store":"ok","outbox":"1 destination does not answer"}}`)
	if strings.Contains(r.log.String(), "not ready") {
		t.Errorf("logged: %s", r.log.String())
	}
}

func TestHealth_ManyWhoAskShareOneRound(t *testing.T) {
	var rounds atomic.Int32
	entered := make(chan struct{})
	release := make(chan struct{})
	r := start(t, server.Config{Checks: []server.Check{{Name: "store", Run: func(context.Context) error {
		if rounds.Add(1) == 1 {
			close(entered)
		}
		<-release
		return nil
	}}}}, nil)
	answers := make(chan int)
	for range 8 {
		go func() { answers <- r.ask("GET", "/readyz", "").status }()
	}
	<-entered
	close(release)
	for range 8 {
		if status := <-answers; status != 200 {
			t.Errorf("status %d", status)
		}
	}
	if n := rounds.Load(); n > 2 { // a second only when a machine is so slow that the first grew old
		t.Errorf("%d rounds of checks", n)
	}
}
