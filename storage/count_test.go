package storage_test

import (
	"errors"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/meter"
)

var (
	written = meter.NewCounter("tutela_test_written_total", "Notes that were written.", meter.Words("kind", "a", "b"))
	lapsed  = meter.NewCounter("tutela_test_lapsed_total", "Notes that lapsed.")

	lapsing = storage.Declare(storage.Spec[note]{
		Name:    "lapsing",
		Class:   storage.MFA,
		Most:    8,
		Expires: func(n *note) time.Time { return n.Until },
		Lapsed:  func(tx *storage.Tx, n *note) { tx.CountN(lapsed, uint64(len(n.Tags))) },
	})
)

// figureOf is what a counter of this server shows, in all its series.
func figureOf(h *house, c *meter.Counter) (total float64) {
	for _, s := range c.Samples(h.Meter()) {
		total += s.Value
	}
	return total
}

func TestCount_CountsOnceWhatWasCommitted(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		refused := errors.New("refused")
		count := func(outcome error) func(tx *storage.Tx) error {
			return func(tx *storage.Tx) error {
				tx.Count(written, "a")
				must(t, rules.Put(tx, storage.House, "x", &note{}))
				return outcome
			}
		}
		must(t, h.Update(t.Context(), count(nil))) // the engine of chaos runs it more than once
		if got := figureOf(h, written); got != 1 {
			t.Fatalf("%v after a commit", got)
		}
		if err := h.Update(t.Context(), count(refused)); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if got := figureOf(h, written); got != 1 {
			t.Fatalf("%v after a refusal", got)
		}
		if err := h.Update(t.Context(), count(storage.Kept(refused))); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if got := figureOf(h, written); got != 2 {
			t.Fatalf("%v after a refusal that counts", got)
		}
		must(t, h.View(t.Context(), func(tx *storage.Tx) error {
			tx.Count(written, "b")
			return nil
		}))
		if got := figureOf(h, written); got != 2 {
			t.Fatalf("%v after a view", got)
		}
	})
}

func TestCountTry_CountsAlsoWhatWasRefused(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		refused := errors.New("refused")
		err := h.Update(t.Context(), func(tx *storage.Tx) error {
			tx.CountTry(written, "b")
			return refused
		})
		if !errors.Is(err, refused) || figureOf(h, written) != 1 {
			t.Fatalf("%v, %v", err, figureOf(h, written))
		}
	})
}

func TestSweep_TellsOfRecordsThatLapseAndOfNoOthers(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		until := h.Now().Add(time.Minute)
		put := func(key string) {
			must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
				return lapsing.Put(tx, uid, key, &note{Tags: []string{"x", "y"}, Until: until})
			}))
		}
		put("lapses")
		put("removed")
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error { return lapsing.Delete(tx, uid, "removed") }))
		h.clock.Advance(time.Hour)
		for {
			n, err := h.Sweep(t.Context())
			must(t, err)
			if n == 0 {
				break
			}
		}
		if got := figureOf(h, lapsed); got != 2 {
			t.Errorf("%v lapsed", got)
		}
	})
}
