package tally_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/meter"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
	"tutela/storage/tally"
)

var cups = meter.NewCounter("tutela_test_cups_total", "Cups of tea.", meter.Words("with", "milk", "lemon"), meter.Words("size", "big", "small"))

var must = check.Must

// sums are what the days of the store hold of the cups, by date.
func sums(t *testing.T, store *storage.Store, words ...string) map[string]uint64 {
	t.Helper()
	list := map[string]uint64{}
	must(t, store.View(t.Context(), func(tx *storage.Tx) error {
		days, err := tally.Days(tx, time.Time{}, ground.Start.AddDate(10, 0, 0))
		for _, d := range days {
			list[d.Date] = d.Sum(cups, words...)
		}
		return err
	}))
	return list
}

func drink(store *storage.Store, n uint64, with, size string) { cups.Add(store.Meter(), n, with, size) }

func TestFold_AddsWhatWasCountedSinceToTheDay(t *testing.T) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		g := ground.Open(t, o)
		f := tally.NewFolder(g.Store, cups)
		drink(g.Store, 2, "milk", "big")
		must(t, f.Fold(t.Context()))
		g.Unchanged(func() { must(t, f.Fold(t.Context())) }) // nothing was counted since
		drink(g.Store, 3, "milk", "small")
		drink(g.Store, 1, "lemon", "small")
		must(t, f.Fold(t.Context()))
		g.Clock.Advance(24 * time.Hour)
		drink(g.Store, 5, "milk", "big")
		must(t, f.Fold(t.Context()))
		if got := sums(t, g.Store, "milk"); got["2026-03-01"] != 5 || got["2026-03-02"] != 5 || len(got) != 2 {
			t.Errorf("with milk: %v", got)
		}
		if got := sums(t, g.Store); got["2026-03-01"] != 6 {
			t.Errorf("in all: %v", got)
		}
		if got := sums(t, g.Store, "lemon", "small"); got["2026-03-01"] != 1 || got["2026-03-02"] != 0 {
			t.Errorf("small, with lemon: %v", got)
		}
	})
}

func TestFold_ARestartedServerAddsToTheSameDay(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	drink(g.Store, 2, "milk", "big")
	must(t, tally.NewFolder(g.Store, cups).Fold(t.Context()))
	g.Reopen(time.Minute)
	drink(g.Store, 3, "milk", "big")
	must(t, tally.NewFolder(g.Store, cups).Fold(t.Context()))
	if got := sums(t, g.Store); got["2026-03-01"] != 5 {
		t.Errorf("%v", got)
	}
}

func TestFold_ForgetsADayAfterFourHundred(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	f := tally.NewFolder(g.Store, cups)
	for range 450 {
		drink(g.Store, 1, "milk", "big")
		must(t, f.Fold(t.Context()))
		g.Clock.Advance(24 * time.Hour)
	}
	for n := 1; n > 0; {
		var err error
		n, err = g.Store.Sweep(t.Context())
		must(t, err)
	}
	if got := len(g.Rows("figure_day")); got < 395 || got > 402 {
		t.Errorf("%d days are kept", got)
	}
}

// doubtful is an engine whose commits may have been kept, and say nothing.
type doubtful struct {
	storage.Engine
	keeps  atomic.Bool // what it does not speak of
	silent atomic.Bool
}

func (e *doubtful) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	switch {
	case !e.silent.Load():
		return e.Engine.Update(ctx, fn)
	case e.keeps.Load():
		return errors.Join(e.Engine.Update(ctx, fn), storage.ErrOutcomeUnknown)
	}
	forgets := func(r storage.Reader) (*storage.WriteSet, error) {
		_, err := fn(r)
		return storage.NewWriteSet(), err
	}
	return errors.Join(e.Engine.Update(ctx, forgets), storage.ErrOutcomeUnknown)
}

func TestFold_NothingIsLostOrAddedTwiceWhenAnOutcomeIsNotKnown(t *testing.T) {
	for name, kept := range map[string][]bool{
		"kept": {true}, "lost": {false}, "lost, then kept": {false, true}, "kept, then lost": {true, false}, "kept twice": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := &doubtful{}
			g := ground.Open(t, ground.Options{Wrap: func(engine storage.Engine) storage.Engine {
				e.Engine = engine
				return e
			}})
			f := tally.NewFolder(g.Store, cups)
			drink(g.Store, 1, "milk", "big")
			must(t, f.Fold(t.Context()))
			e.silent.Store(true)
			total := uint64(1)
			for _, keeps := range kept {
				e.keeps.Store(keeps)
				drink(g.Store, 10, "milk", "big")
				total += 10
				if err := f.Fold(t.Context()); storage.CodeOf(err) != storage.OutcomeUnknown {
					t.Fatal(err)
				}
			}
			e.silent.Store(false)
			must(t, f.Fold(t.Context()))
			drink(g.Store, 100, "milk", "big")
			must(t, f.Fold(t.Context()))
			if got := sums(t, g.Store); got["2026-03-01"] != total+100 {
				t.Errorf("%v, want %d", got, total+100)
			}
		})
	}
}
