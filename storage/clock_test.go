package storage_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"tutela/storage"
)

// found reports whether a row is there.
func (h *house) found(uid storage.UID, key string) bool {
	h.t.Helper()
	_, err := h.get(uid, key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		h.t.Fatal(err)
	}
	return err == nil
}

func TestClock_AJumpOfTheWallMovesNoWait(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": 1000 * time.Hour, "back": -1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			uid := storage.NewUID()
			h.put(uid, "a", note{ID: "1", Until: h.Now().Add(10 * time.Second)})
			h.clock.Jump(jump)
			equal(t, h.Now(), begin)
			equal(t, h.Wall(), begin.Add(jump))
			equal(t, h.ClockState().Jump, jump)
			h.clock.Advance(10*time.Second - 1)
			equal(t, h.found(uid, "a"), true)
			h.put(uid, "b", note{ID: "2", Until: h.Now().Add(time.Second)})
			h.clock.Advance(1)
			equal(t, h.found(uid, "a"), false)
			equal(t, h.found(uid, "b"), true)
			equal(t, h.ClockState().Jump, jump)
		})
	}
}

func TestClock_ATransactionHasOneTime(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.put(uid, "a", note{Until: begin.Add(time.Second)})
		h.view(func(tx *storage.Tx) error {
			h.clock.Advance(time.Second)
			equal(t, tx.Now(), begin)
			_, err := notes.Get(tx, uid, "a")
			return err
		})
		equal(t, h.found(uid, "a"), false)
		var last time.Time
		h.update(func(tx *storage.Tx) error {
			h.clock.Advance(time.Second)
			last = tx.Now()
			return nil
		})
		equal(t, last, h.Now().Add(-time.Second)) // of the run that counts
	})
}

func TestClock_AcrossARestartTheWallCountsAndAStepBackIsNoTimePassed(t *testing.T) {
	for name, c := range map[string]struct {
		wall time.Duration // at the second opening, from the first
		want time.Duration
	}{
		"time has passed":    {time.Hour, time.Hour},
		"no time has passed": {10 * time.Second, 10 * time.Second},
		"a step back":        {-time.Hour, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			uid := storage.NewUID()
			h.put(uid, "a", note{ID: "1", Until: begin.Add(11 * time.Second)})
			h.put(uid, "gone", note{ID: "2", Until: begin.Add(10 * time.Second)})
			h.clock.Advance(10 * time.Second)
			equal(t, h.found(uid, "gone"), false)
			must(t, h.Close())

			h = open(t, h.path, storage.NewFakeClock(begin.Add(c.wall)), nil)
			equal(t, h.Now(), begin.Add(c.want))
			equal(t, h.found(uid, "gone"), false)
			equal(t, h.found(uid, "a"), c.want < 11*time.Second)
			h.clock.Advance(time.Second)
			equal(t, h.Now(), begin.Add(c.want+time.Second))
			equal(t, h.found(uid, "a"), false)
		})
	}
}

func TestClock_ManyStepsBackNeverLoseTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	want := begin
	for range 5 {
		h := open(t, path, storage.NewFakeClock(begin), nil) // the wall is reset at each start
		equal(t, h.Now(), want)
		h.clock.Advance(time.Hour)
		h.put(storage.NewUID(), "a", note{})
		must(t, h.Close())
		want = want.Add(time.Hour)
	}
}

func TestClock_AfterAKillTheLastMarkCounts(t *testing.T) {
	h := newHouse(t)
	h.clock.Advance(time.Hour)
	must(t, storage.MarkTime(h.Store, t.Context()))
	h.clock.Advance(3 * time.Second)
	must(t, h.Engine().Close()) // not the store's Close, which would mark

	h = open(t, h.path, storage.NewFakeClock(begin), nil)
	equal(t, h.Now(), begin.Add(time.Hour))
}

func TestClock_AMarkNeverGoesBack(t *testing.T) {
	h := newHouse(t)
	behind, err := storage.Open(t.Context(), h.Engine(), storage.Options{Clock: storage.NewFakeClock(begin), Logger: quiet})
	must(t, err)
	h.clock.Advance(time.Hour)
	must(t, storage.MarkTime(h.Store, t.Context()))
	mark := meta(t, h.Store, "time")
	equal(t, mark, `"2030-01-02T04:04:05.000000006Z"`)
	must(t, storage.MarkTime(behind, t.Context()))
	equal(t, meta(t, h.Store, "time"), mark)
}

func TestClock_TheSystemsMovesForward(t *testing.T) {
	c := storage.SystemClock()
	wall := c.Wall()
	steady := c.Steady()
	equal(t, wall.Location() == time.UTC, true)
	if c.Steady() < steady || steady < 0 {
		t.Error("the steady clock went back")
	}
}
