package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/postgres"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// impatient opens an engine that gives up soon.
func impatient(t testing.TB, url string) *postgres.Engine {
	t.Helper()
	e, err := postgres.Open(t.Context(), url, postgres.Options{Logger: slog.New(slog.DiscardHandler), Patience: time.Second})
	check.Must(t, err)
	t.Cleanup(func() { check.Must(t, e.Close()) })
	return e
}

// addRow writes a row and counts it, in one transaction.
func addRow(e storage.Engine, key string) error {
	return e.Update(context.Background(), func(r storage.Reader) (*storage.WriteSet, error) {
		before, err := r.Get([]byte("count/00"))
		if err != nil {
			return nil, err
		}
		ws := storage.NewWriteSet()
		ws.Put([]byte("count/00"), append(append([]byte{}, before...), '.'))
		ws.Put([]byte(key), []byte("x"))
		return ws, nil
	})
}

// A connection dies after every message of a transaction, in either direction, and in the middle of it.
func TestUpdate_IsDoneOnceOrNotAtAllWhereverTheConnectionDies(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	proxy := cluster.Proxy(t)
	e, err := postgres.Open(t.Context(), proxy.Through(cluster.Database(t))+"&pool_max_conns=1", postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	check.Must(t, err)
	t.Cleanup(func() { check.Must(t, e.Close()) })
	l := &ledger{told: map[string]error{}}
	cuts := 0
	for _, of := range []pgtest.Direction{pgtest.FromClient, pgtest.FromServer} {
		for _, half := range []bool{false, true} {
			for messages, cut := 0, true; cut; messages++ {
				check.Must(t, e.Healthy()) // the connection stands, and has its statements
				proxy.Cut(of, messages, half)
				key := fmt.Sprintf("row/00/%d-%t-%03d", of, half, messages)
				l.note(key, addRow(e, key))
				if cut = proxy.HasCut(); cut {
					cuts++
				}
				proxy.Cut(of, 1<<30, false)
			}
		}
	}
	l.compare(t, e, 1)
	acknowledged, unknown, refused := l.count()
	t.Logf("%d cuts: %d acknowledged, %d unknown, %d refused", cuts, acknowledged, unknown, refused)
	if cuts < 20 || acknowledged < cuts/2 || refused > 0 {
		t.Error("too little was cut, or too little was done all the same")
	}
}

func TestEngine_IsUnavailableWhileTheDatabaseIsOutOfReachAndGoesOnByItself(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	proxy := cluster.Proxy(t)
	e := impatient(t, proxy.Through(cluster.Database(t)))
	const writers = 40
	l := &ledger{told: map[string]error{}}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() { l.fill(ctx, e, writer) })
	}
	l.await(t, 100)
	before := runtime.NumGoroutine()
	proxy.Pause()
	for range 3 {
		if err := e.Healthy(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("healthy while it is out of reach: %v", err)
		}
	}
	if now := runtime.NumGoroutine(); now > before+10*writers {
		t.Errorf("%d goroutines, and %d before", now, before)
	}
	proxy.Resume()
	l.await(t, 100)
	stop()
	all.Wait()
	check.Must(t, e.Healthy())
	l.compare(t, e, writers)
	acknowledged, unknown, refused := l.count()
	t.Logf("%d acknowledged, %d unknown, %d refused", acknowledged, unknown, refused)
	if refused+unknown == 0 {
		t.Error("nothing failed: that shows nothing")
	}
	for _, err := range l.told {
		if err != nil && !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Errorf("a writer was told %v", err)
		}
	}
}

// What PostgreSQL says when its disk is full comes as from a trigger here: 53100.
func TestEngine_IsUnavailableWhileTheDatabasesDiskIsFull(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	url := cluster.Database(t)
	e := impatient(t, url)
	check.Must(t, addRow(e, "before"))
	pgtest.Run(t, url, `create function disk_full() returns trigger language plpgsql as $$ begin
		raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$`)
	pgtest.Run(t, url, `create trigger disk_full before insert or update on tutela_kv for each row execute function disk_full()`)
	check.Is(t, addRow(e, "while"), storage.ErrUnavailable)
	check.Must(t, e.View(t.Context(), func(r storage.Reader) error {
		for key, there := range map[string]bool{"before": true, "while": false} {
			if value, err := r.Get([]byte(key)); err != nil || (value != nil) != there {
				t.Errorf("%s: %q %v", key, value, err)
			}
		}
		return nil
	}))
	pgtest.Run(t, url, `drop trigger disk_full on tutela_kv`)
	check.Must(t, addRow(e, "after"))
}

func TestEngine_WaitsForACommitThatIsSlow(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	url := cluster.Database(t)
	e := open(t, url)
	pgtest.Run(t, url, `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.2); return null; end $$`)
	pgtest.Run(t, url, `create constraint trigger slow after insert on tutela_kv deferrable initially deferred for each row execute function slow()`)
	const writers = 48 // twice as many as connections
	l := &ledger{told: map[string]error{}}
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() {
			key := fmt.Sprintf("row/%02d/0", writer)
			l.note(key, e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
				ws := storage.NewWriteSet()
				ws.Put([]byte(key), []byte("x"))
				return ws, nil
			}))
		})
	}
	all.Wait()
	if acknowledged, unknown, refused := l.count(); acknowledged != writers {
		t.Errorf("%d acknowledged, %d unknown, %d refused", acknowledged, unknown, refused)
	}
}
