package storage_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
)

// rows counts those of the table note that lie in the store, found or not.
func (h *house) rows() (n int) {
	h.t.Helper()
	for _, p := range h.content() {
		if _, table, _, err := storage.SplitRowKey(p.key); err == nil && table == "note" {
			n++
		}
	}
	return n
}

func TestSweep_RemovesInBatchesWhatIsPastItsExpiryAndNothingElse(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		for i := range 300 {
			n := note{ID: fmt.Sprint(i), Tags: []string{"x"}, Until: begin.Add(time.Duration(i%3) * time.Second)}
			if i%3 == 0 {
				n.Until = time.Time{}
			}
			h.put(storage.UID{byte(i % 50), 1}, fmt.Sprint(i), n)
		}
		h.clock.Advance(time.Second)
		swept := 0
		rounds := 0
		for {
			n, err := h.Sweep(t.Context())
			must(t, err)
			if swept += n; n == 0 {
				break
			}
			rounds++
		}
		equal(t, swept, 100)
		equal(t, h.rows(), 200)
		if h.Engine().Shards() == 1 {
			equal(t, rounds, 2) // of 64
		}
		h.inStep()
	})
}

func TestSweep_StopsWhileTheClockHasJumped(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{Until: begin.Add(time.Second)})
	h.clock.Advance(time.Hour)
	for _, jump := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		h.clock.Jump(jump)
		n, err := h.Sweep(t.Context())
		must(t, err)
		equal(t, n, 0)
		equal(t, h.rows(), 1)
		equal(t, h.found(uid, "a"), false) // it is not found all the same
		h.clock.Jump(-jump)                // the clock is set right
	}
	n, err := h.Sweep(t.Context())
	must(t, err)
	equal(t, n, 1)
	equal(t, h.rows(), 0)
}

func TestSweep_OfAJumpForwardRemovesNothingEarly(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{Until: begin.Add(time.Hour)})
	h.clock.Jump(50 * time.Second) // too little for a jump to be seen
	h.clock.Advance(time.Hour - time.Second)
	n, err := h.Sweep(t.Context())
	must(t, err)
	equal(t, n, 0)
	equal(t, h.found(uid, "a"), true)
}

func TestSweep_PassesOverARowThatWasPutAgain(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{ID: "1", Until: begin.Add(time.Second)})
	h.clock.Advance(time.Second)
	h.put(uid, "a", note{ID: "2", Until: begin.Add(time.Hour)})
	_, err := h.Sweep(t.Context())
	must(t, err)
	equal(t, h.found(uid, "a"), true)
	h.inStep()
}

func TestSweep_WithWritersLosesNothingThatLives(t *testing.T) {
	h := newHouse(t)
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	all.Go(func() {
		for ctx.Err() == nil {
			h.clock.Advance(time.Second)
			if _, err := h.Sweep(background); err != nil {
				t.Error(err)
			}
		}
	})
	var writers sync.WaitGroup
	for w := range byte(8) {
		writers.Go(func() {
			uid := storage.UID{w}
			uid[15] = 1
			for i := range 50 {
				must(t, h.Update(background, func(tx *storage.Tx) error {
					return notes.Put(tx, uid, fmt.Sprint(i%5), &note{
						ID: fmt.Sprint(w, i), Tags: []string{"x"}, Until: tx.Now().Add(time.Duration(i%4) * time.Second)})
				}))
			}
			must(t, h.Update(background, func(tx *storage.Tx) error { return notes.Put(tx, uid, "last", &note{ID: fmt.Sprint(w)}) }))
		})
	}
	writers.Wait()
	cancel()
	all.Wait()
	h.inStep()
	for w := range byte(8) {
		uid := storage.UID{w}
		uid[15] = 1
		equal(t, h.found(uid, "last"), true)
	}
}

// countedEngine counts Updates and can refuse them.
type countedEngine struct {
	storage.Engine
	updates atomic.Int64
	refuse  atomic.Bool
}

func (e *countedEngine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	e.updates.Add(1)
	if e.refuse.Load() {
		return storage.ErrUnavailable
	}
	return e.Engine.Update(ctx, fn)
}

// inBubble opens a store on the machine's clock, as synctest has it, and closes it at the end.
func inBubble(t *testing.T, test func(t *testing.T, h *house, e *countedEngine)) {
	path := filepath.Join(t.TempDir(), "data")
	synctest.Test(t, func(t *testing.T) {
		inner, err := bolt.Open(t.Context(), path, bolt.Options{Logger: quiet})
		must(t, err)
		e := &countedEngine{Engine: inner}
		s, err := storage.Open(t.Context(), e, storage.Options{Logger: quiet})
		must(t, err)
		test(t, &house{t: t, Store: s}, e)
		must(t, s.Close())
	})
}

func TestRunSweeper_SweepsMarksTheTimeAndStops(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house, e *countedEngine) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { h.RunSweeper(ctx) })
		for i := range 200 {
			h.put(storage.NewUID(), "a", note{ID: fmt.Sprint(i), Until: h.Now().Add(10 * time.Second)})
		}
		<-time.After(9 * time.Second)
		synctest.Wait()
		equal(t, h.rows(), 200)
		if mark := meta(t, h.Store, "time"); !strings.HasPrefix(mark, `"2000-01-01T00:00:0`) {
			t.Errorf("the time written down is %s", mark)
		}
		<-time.After(10 * time.Second)
		synctest.Wait()
		equal(t, h.rows(), 0)

		// With nothing to do it writes nothing.
		<-time.After(time.Minute)
		before := e.updates.Load()
		<-time.After(time.Hour)
		equal(t, e.updates.Load(), before)
		cancel()
		all.Wait()
	})
}

func TestRunSweeper_AsksAnIllStoreWithPauses(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house, e *countedEngine) {
		uid := storage.NewUID()
		for i := range 200 {
			h.put(uid, fmt.Sprint(i), note{Until: h.Now().Add(time.Second)})
		}
		e.refuse.Store(true)
		before := e.updates.Load()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		h.RunSweeper(ctx)
		if tries := e.updates.Load() - before; tries < 10 || tries > 100 {
			t.Errorf("%d tries in 100 s", tries)
		}
		e.refuse.Store(false)
	})
}

// parcel has parts in a table of their own, which go with it.
type parcel struct {
	Until time.Time `json:"until"`
}

var (
	parcels = storage.Declare(storage.Spec[parcel]{
		Name:    "parcel",
		Class:   storage.MFA,
		Expires: func(p *parcel) time.Time { return p.Until },
		Swept: func(tx *storage.Tx, uid storage.UID, key string) error {
			return parts.DeletePrefixed(tx, uid, key)
		},
	})
	parts = storage.Declare(storage.Spec[[]byte]{Name: "parcel_part", Class: storage.MFA, Raw: true})
)

func TestSweep_RemovesWhatBelongsToARowWithIt(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
			var err error
			for _, key := range []string{"a1", "a2", "b1"} {
				part := []byte(key)
				err = errors.Join(err, parts.Put(tx, uid, key, &part))
			}
			return errors.Join(err,
				parcels.Put(tx, uid, "a", &parcel{Until: begin.Add(time.Second)}),
				parcels.Put(tx, uid, "b", &parcel{Until: begin.Add(time.Hour)}))
		}))
		h.clock.Advance(time.Minute)
		for {
			n, err := h.Sweep(t.Context())
			must(t, err)
			if n == 0 {
				break
			}
		}
		left := ""
		must(t, h.View(t.Context(), func(tx *storage.Tx) error {
			left = ""
			return parts.Keys(tx, uid, "", func(key string) bool {
				left += key
				return true
			})
		}))
		equal(t, left, "b1")
	})
}
