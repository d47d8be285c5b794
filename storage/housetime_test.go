package storage_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/storagetest"
)

const year = 365 * 24 * time.Hour

// opened opens the data file again with a wall that is step away from begin, after an engine that was cut off.
func (h *house) opened(step time.Duration) *house {
	h.t.Helper()
	must(h.t, h.Engine().Close())
	return open(h.t, h.path, storage.NewFakeClock(begin.Add(step)), nil)
}

// marked is a house that has written the time begin down, with a row that expires in an hour.
func marked(t *testing.T) (*house, storage.UID) {
	t.Helper()
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{ID: "1", Until: begin.Add(time.Hour)})
	must(t, storage.MarkTime(h.Store, t.Context()))
	return h, uid
}

func (h *house) sweepAll() int {
	h.t.Helper()
	n, err := h.Sweep(background)
	must(h.t, err)
	return n
}

func nothingElse(*storage.Tx) error { return nil }

func (h *house) settle(how storage.Settlement) {
	h.t.Helper()
	must(h.t, h.SettleClock(background, how, nothingElse))
}

func TestClock_AStepThatIsNoStopIsNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		step     time.Duration
		believed bool
		now      time.Duration // the house's time after the opening, from begin
	}{
		"no time":                 {0, true, 0},
		"a weekend":               {72 * time.Hour, true, 72 * time.Hour},
		"half a year":             {storage.MaxStepAhead, true, storage.MaxStepAhead},
		"more than half a year":   {storage.MaxStepAhead + 1, false, 0},
		"a year typed wrong":      {10 * year, false, 0},
		"local time for UTC":      {-14 * time.Hour, true, 0},
		"a day back":              {-storage.MaxStepBack, true, 0},
		"more than a day back":    {-storage.MaxStepBack - 1, false, 0},
		"a clock without battery": {-60 * year, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := marked(t)
			h = h.opened(c.step)
			state := h.ClockState()
			equal(t, state.Open, !c.believed)
			equal(t, state.Kept, false)
			equal(t, state.Step, c.step)
			equal(t, state.Mark, begin)
			equal(t, h.Now(), begin.Add(c.now))
			equal(t, h.MayRemove(), c.believed)
			equal(t, state.Jumped(), false)
		})
	}
}

func TestClock_AStepThatIsNotBelievedRemovesNothingAndOpensNothing(t *testing.T) {
	h, uid := marked(t)
	h = h.opened(10 * year)
	equal(t, h.sweepAll(), 0)
	equal(t, h.found(uid, "a"), true)
	h.put(uid, "b", note{ID: "2", Until: h.Now().Add(time.Minute)}) // it serves
	h.clock.Advance(time.Minute)
	equal(t, h.found(uid, "b"), false)
	h.clock.Advance(time.Hour)
	equal(t, h.found(uid, "a"), false) // what passes while it runs counts
	equal(t, h.sweepAll(), 0)
	equal(t, h.rows(), 2)
	must(t, h.Close())

	// The mark has gone on by what has passed, and not to the wrong time.
	h = open(t, h.path, storage.NewFakeClock(begin.Add(2*time.Hour)), nil)
	equal(t, h.ClockState().Mark, begin.Add(time.Hour+time.Minute))
	equal(t, h.ClockState().Open, false)
	equal(t, h.sweepAll(), 2)
}

func TestClock_TheMomentOfMakingCountsWhenNoTimeWasWrittenDown(t *testing.T) {
	h := newHouse(t)
	h = h.opened(10 * year)
	equal(t, h.ClockState().Open, true)
	equal(t, h.Now(), begin)
}

func TestSettleClock_TrustWallEndsALongStop(t *testing.T) {
	h, uid := marked(t)
	h = h.opened(2 * year)
	h.settle(storage.TrustWall)
	equal(t, h.Now(), begin.Add(2*year))
	equal(t, h.ClockState().Open, false)
	equal(t, h.found(uid, "a"), false)
	equal(t, h.sweepAll(), 1)
	h = h.opened(2*year + time.Hour) // cut off: what was settled is written down
	equal(t, h.ClockState().Open, false)
	equal(t, h.Now(), begin.Add(2*year+time.Hour))
}

func TestSettleClock_TrustWallTakesBackATimeThatWasNotYet(t *testing.T) {
	h, uid := marked(t)
	h = h.opened(10 * year)
	h.settle(storage.TrustWall) // by mistake: the wall is wrong
	h.put(uid, "b", note{ID: "2", Until: h.Now().Add(time.Hour)})
	h = h.opened(time.Hour) // the wall is right
	equal(t, h.ClockState().Open, true)
	equal(t, h.Now(), begin.Add(10*year))
	equal(t, h.sweepAll(), 0)
	var stamp int64
	must(t, h.SettleClock(background, storage.TrustWall, func(tx *storage.Tx) error {
		equal(t, tx.Now(), begin.Add(time.Hour))
		stamp = tx.Stamp()
		return nil
	}))
	equal(t, stamp, begin.Add(time.Hour).UnixNano())
	equal(t, h.Now(), begin.Add(time.Hour))
	equal(t, h.MayRemove(), true)
	h = h.opened(2 * time.Hour)
	equal(t, h.ClockState().Open, false)
	equal(t, h.Now(), begin.Add(2*time.Hour))
}

func TestSettleClock_KeepMarkHoldsUntilTheWallIsBelievable(t *testing.T) {
	h, uid := marked(t)
	h = h.opened(10 * year)
	h.settle(storage.KeepMark)
	equal(t, h.ClockState().Open, false)
	equal(t, h.ClockState().Kept, true)
	equal(t, h.Now(), begin)
	h.clock.Advance(time.Hour)
	equal(t, h.found(uid, "a"), false)
	equal(t, h.sweepAll(), 1) // by the mark's time, which is right
	must(t, h.Close())

	h = open(t, h.path, storage.NewFakeClock(begin.Add(10*year)), nil) // it is still wrong, and no question again
	equal(t, h.ClockState().Open, false)
	equal(t, h.ClockState().Kept, true)
	equal(t, h.Now(), begin.Add(time.Hour))

	h.clock.Jump(-10*year + 3*time.Hour) // it is set right while the server runs
	equal(t, h.sweepAll(), 0)
	equal(t, h.ClockState().Kept, false)
	equal(t, h.ClockState().Jumped(), false)
	equal(t, h.Now(), begin.Add(3*time.Hour))
	h.put(uid, "b", note{ID: "2"})
	must(t, h.Close())

	h = open(t, h.path, storage.NewFakeClock(begin.Add(20*year)), nil) // another mistake is another question
	equal(t, h.ClockState().Open, true)
	equal(t, h.ClockState().Kept, false)
}

func TestClock_AQuestionEndsWhenTheWallIsSetRight(t *testing.T) {
	h, uid := marked(t)
	h = h.opened(-30 * year) // a machine without a battery starts
	equal(t, h.sweepAll(), 0)
	equal(t, h.ClockState().Open, true)
	h.clock.Advance(time.Minute)
	h.clock.Jump(30*year + 2*time.Hour) // and asks the network for the time
	equal(t, h.sweepAll(), 1)
	equal(t, h.ClockState().Open, false)
	equal(t, h.Now(), begin.Add(2*time.Hour+time.Minute))
	equal(t, h.found(uid, "a"), false)
}

func TestSettleClock_TrustWallTakesAJumpWithoutARestart(t *testing.T) {
	h := newHouse(t)
	h.clock.Jump(time.Hour)
	equal(t, h.MayRemove(), false)
	is(t, h.SettleClock(background, storage.KeepMark, nothingElse), storage.ErrClockAgrees)
	h.settle(storage.TrustWall)
	equal(t, h.MayRemove(), true)
	equal(t, h.Now(), begin.Add(time.Hour))
}

func TestSettleClock_RefusesWhereNothingIsInQuestion(t *testing.T) {
	h := newHouse(t)
	for _, how := range []storage.Settlement{storage.TrustWall, storage.KeepMark, "nonsense"} {
		is(t, h.SettleClock(background, how, nothingElse), storage.ErrClockAgrees)
	}
}

func TestSettleClock_IsOneTransactionWithWhatElseIsWritten(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		h.clock.Jump(time.Hour)
		refused := errors.New("refused")
		uid := storage.NewUID()
		is(t, h.SettleClock(background, storage.TrustWall, func(*storage.Tx) error { return refused }), refused)
		equal(t, h.Now(), begin)
		must(t, h.SettleClock(background, storage.TrustWall, func(tx *storage.Tx) error { return notes.Put(tx, uid, "a", &note{ID: "1"}) }))
		equal(t, h.Now(), begin.Add(time.Hour))
		equal(t, h.found(uid, "a"), true)
		equal(t, meta(t, h.Store, "time"), `"2030-01-02T04:04:05.000000006Z"`)
	})
}

// Wherever the process ends, what is written down is the question as it was, or the answer.
func TestSettleClock_HoldsWhenTheCommitIsInDoubt(t *testing.T) {
	for _, how := range []storage.Settlement{storage.TrustWall, storage.KeepMark} {
		for _, kept := range []bool{true, false} {
			t.Run(fmt.Sprint(how, " kept ", kept), func(t *testing.T) {
				h, _ := marked(t)
				must(t, h.Engine().Close())
				var engine *storagetest.DoubtEngine
				clock := storage.NewFakeClock(begin.Add(10 * year))
				h = open(t, h.path, clock, func(e storage.Engine) storage.Engine {
					engine = storagetest.Doubt(e)
					return engine
				})
				engine.Next(0, kept)
				is(t, h.SettleClock(background, how, nothingElse), storage.ErrOutcomeUnknown)
				equal(t, h.ClockState().Open, true) // it is not known yet
				equal(t, h.MayRemove(), false)

				again := h.opened(10 * year)
				equal(t, again.ClockState().Open, !kept)
				equal(t, again.ClockState().Kept, kept && how == storage.KeepMark)

				must(t, again.Engine().Close())
				h = open(t, h.path, clock, nil)
				if !kept {
					h.settle(how)
				}
				equal(t, h.ClockState().Open, false)
			})
		}
	}
}

func TestSettleClock_OfOneServerReachesTheOthers(t *testing.T) {
	h, _ := marked(t)
	must(t, h.Engine().Close())
	inner, err := bolt.Open(t.Context(), h.path, bolt.Options{Logger: quiet})
	must(t, err)
	t.Cleanup(func() { _ = inner.Close() })
	clocks := [2]*storage.FakeClock{storage.NewFakeClock(begin.Add(-10 * year)), storage.NewFakeClock(begin.Add(-10 * year))}
	var stores [2]*storage.Store
	for i := range stores {
		stores[i], err = storage.Open(t.Context(), inner, storage.Options{Clock: clocks[i], Logger: quiet})
		must(t, err)
		equal(t, stores[i].ClockState().Open, true)
	}
	must(t, stores[0].SettleClock(t.Context(), storage.TrustWall, nothingElse))
	equal(t, stores[0].Now(), begin.Add(-10*year))

	// The other has the old time still. It does not write it over what was settled, and takes what was settled.
	equal(t, stores[1].Now(), begin)
	clocks[1].Advance(time.Minute)
	must(t, storage.MarkTime(stores[1], t.Context()))
	equal(t, meta(t, stores[0], "time"), `"2020-01-05T03:04:05.000000006Z"`)
	equal(t, stores[1].Now(), begin.Add(-10*year+time.Minute))
	equal(t, stores[1].ClockState().Open, false)
	must(t, storage.MarkTime(stores[1], t.Context()))
	equal(t, meta(t, stores[0], "time"), `"2020-01-05T03:05:05.000000006Z"`)
}

func TestSettleClock_WithWritersNeverLosesTheAnswer(t *testing.T) {
	h, _ := marked(t)
	h = h.opened(10 * year)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				h.clock.Advance(time.Millisecond)
				if err := storage.MarkTime(h.Store, background); err != nil {
					t.Error(err)
				}
			}
		})
	}
	h.settle(storage.TrustWall)
	for range 20 {
		must(t, storage.MarkTime(h.Store, background))
	}
	stop()
	all.Wait()
	equal(t, h.ClockState().Open, false)
	if h.Now().Before(begin.Add(10 * year)) {
		t.Errorf("the house's time is %v", h.Now())
	}
	h = h.opened(10*year + time.Hour)
	equal(t, h.ClockState().Open, false)
}

func TestRunSweeper_WritesTheTimeDownOnceADayThoughNothingElseIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house, e *countedEngine) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { h.RunSweeper(ctx) })
		<-time.After(time.Hour)
		before := e.updates.Load()
		<-time.After(3 * 24 * time.Hour)
		equal(t, e.updates.Load()-before, 3)
		cancel()
		all.Wait()
		if mark := meta(t, h.Store, "time"); !strings.HasPrefix(mark, `"2000-01-04T00:00:`) {
			t.Errorf("the time written down is %s", mark)
		}
	})
}

func TestClock_AMachineThatIsOffForMonthsEachYearAsksNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	at := begin
	for range 3 {
		h := open(t, path, storage.NewFakeClock(at), nil)
		equal(t, h.ClockState().Open, false)
		equal(t, h.Now(), at)
		h.clock.Advance(30 * 24 * time.Hour)
		h.put(storage.NewUID(), "a", note{})
		must(t, h.Close())
		at = at.Add(180 * 24 * time.Hour)
	}
}
