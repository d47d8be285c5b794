package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/postgres"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// ledger is what writers were told of the rows that they wrote, each of its own key.
type ledger struct {
	mu      sync.Mutex
	told    map[string]error // nil: acknowledged
	written atomic.Int64     // acknowledged
}

func (l *ledger) note(key string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[key] = err
	if err == nil {
		l.written.Add(1)
	}
}

// fill writes rows and adds to a counter of the writer, in one transaction each, until ctx ends.
func (l *ledger) fill(ctx context.Context, e storage.Engine, writer int) {
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("row/%02d/%06d", writer, n)
		count := fmt.Sprintf("count/%02d", writer)
		err := e.Update(context.Background(), func(r storage.Reader) (*storage.WriteSet, error) {
			before, err := r.Get([]byte(count))
			if err != nil {
				return nil, err
			}
			ws := storage.NewWriteSet()
			ws.Put([]byte(count), append(append([]byte{}, before...), '.'))
			ws.Put([]byte(key), []byte("x"))
			return ws, nil
		})
		l.note(key, err)
	}
}

// compare checks the rows against what the writers were told: what was acknowledged is there, what was refused is not, and each row
// was counted once.
func (l *ledger) compare(t *testing.T, e storage.Engine, writers int) {
	t.Helper()
	check.Must(t, e.View(t.Context(), func(r storage.Reader) error {
		for writer := range writers {
			rows := 0
			check.Must(t, r.Scan(storage.Prefix(fmt.Appendf(nil, "row/%02d/", writer)), func(key, _ []byte) bool {
				rows++
				if err, known := l.told[string(key)]; !known || err != nil && !errors.Is(err, storage.ErrOutcomeUnknown) {
					t.Errorf("%s is there, and its writer was told: %v", key, err)
				}
				return true
			}))
			counted, err := r.Get(fmt.Appendf(nil, "count/%02d", writer))
			check.Must(t, err)
			if len(counted) != rows {
				t.Errorf("writer %d: %d rows, counted %d times", writer, rows, len(counted))
			}
		}
		for key, err := range l.told {
			if value, failed := r.Get([]byte(key)); failed != nil || err == nil && value == nil {
				t.Errorf("%s was acknowledged and is not there (%v)", key, failed)
			}
		}
		return nil
	}))
}

// count returns how many were told what.
func (l *ledger) count() (acknowledged, unknown, refused int) {
	for _, err := range l.told {
		switch {
		case err == nil:
			acknowledged++
		case errors.Is(err, storage.ErrOutcomeUnknown):
			unknown++
		default:
			refused++
		}
	}
	return acknowledged, unknown, refused
}

// await waits until so many more were acknowledged.
func (l *ledger) await(t *testing.T, more int64) {
	t.Helper()
	for until := l.written.Load() + more; l.written.Load() < until; runtime.Gosched() {
		if t.Context().Err() != nil {
			t.Fatal("nothing more is acknowledged")
		}
	}
}

func TestFailover_LosesNothingAcknowledgedAndDoesNothingTwice(t *testing.T) {
	for round := range 2 {
		failOver(t, round)
	}
}

func TestSoakFailover_LosesNothingAcknowledgedInTwentyRounds(t *testing.T) {
	check.Soak(t)
	for round := range 20 {
		failOver(t, round)
	}
}

// failOver kills the primary under load, promotes the standby, and compares.
func failOver(t *testing.T, round int) {
	primary := pgtest.Start(t, pgtest.Options{Durable: true})
	standby := primary.Standby(t)
	e, err := postgres.Open(t.Context(), primary.Either(standby), postgres.Options{Logger: slog.New(slog.DiscardHandler), Patience: 3 * time.Second})
	check.Must(t, err)
	const writers = 12
	l := &ledger{told: map[string]error{}}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() { l.fill(ctx, e, writer) })
	}
	l.await(t, 300)
	primary.Crash(t)
	begun := time.Now()
	standby.Promote(t)
	l.await(t, 300)
	recovered := time.Since(begun)
	stop()
	all.Wait()
	l.compare(t, e, writers)
	acknowledged, unknown, refused := l.count()
	t.Logf("round %d: %d acknowledged, %d unknown, %d refused; 300 more were acknowledged %v after the crash", round, acknowledged, unknown, refused, recovered.Round(time.Millisecond))
	check.Must(t, e.Close())
}

// A commit that is ended while it waits for the standby is in the rows of the primary, and may be lost with it.
func TestUpdate_WhatTheStandbyHasNotConfirmedIsNotAcknowledged(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{Settings: []string{"synchronous_standby_names = 'nobody'", "synchronous_commit = local"}})
	database := cluster.Database(t)
	check.Must(t, open(t, database).Close()) // makes the tables, and waits for no standby
	waiting := database + "&synchronous_commit=on"
	e, err := postgres.Open(t.Context(), waiting, postgres.Options{Logger: slog.New(slog.DiscardHandler), Patience: 2 * time.Second})
	check.Must(t, err)
	t.Cleanup(func() { check.Must(t, e.Close()) })
	ended := make(chan error, 1)
	go func() {
		ended <- e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			ws.Put([]byte("k"), []byte("v"))
			return ws, nil
		})
	}()
	for {
		select {
		case err := <-ended:
			check.Is(t, err, storage.ErrOutcomeUnknown)
			return
		default:
			cluster.Run(t, `select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'`)
		}
	}
}
