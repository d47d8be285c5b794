// Package tally keeps some of a server's figures in the store, by day. A server counts in memory, and adds its counts
// to the day's row once a minute and when it stops. So no login has to write a row that all logins write. A server that
// is killed loses the counts of a minute at most. Several servers over one store add to the same row.
//
// A day is one of UTC. What is counted in the last minute of a day may be added to the next.
package tally

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tutela/storage"
	"tutela/storage/meter"
)

const (
	interval   = time.Minute // between two times that what was counted is written
	keepDays   = 400
	foldsKept  = 8 // ids of additions kept in a day's row, so that a server can look up whether a write of unknown outcome was kept
	lastMoment = 5 * time.Second
)

// dateFormat is how a day is written, in UTC.
const dateFormat = time.DateOnly

// row is what was counted on a day.
type row struct {
	Until  time.Time         `json:"until"`  // when it is forgotten
	Counts map[string]uint64 `json:"counts"` // by the name of the series
	Folds  []string          `json:"folds"`  // the last that were added, the newest at the end
}

var days = storage.Declare(storage.Spec[row]{
	Name:    "figure_day",
	Class:   storage.Settings,
	Expires: func(r *row) time.Time { return r.Until },
})

// Folder adds one server's counts to the rows of the days. Safe for concurrent use.
type Folder struct {
	store    *storage.Store
	counters []*meter.Counter

	mu     sync.Mutex        // held while a fold is written
	added  map[string]uint64 // this server's counts that are in the rows for certain
	doubts []fold            // later additions of unknown outcome
}

// fold is one addition to a day's row.
type fold struct {
	id   string
	date string
	upTo map[string]uint64 // the server's counts at that time
}

// NewFolder makes a folder for these counters of the store's server.
func NewFolder(store *storage.Store, counters ...*meter.Counter) *Folder {
	return &Folder{store: store, counters: counters, added: map[string]uint64{}}
}

// Run adds the counts every minute, and a last time when ctx is done.
func (f *Folder) Run(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
		if err := f.Fold(last); err != nil {
			log.Warn("write down the day's figures", "err", err)
		}
		cancel()
	}
}

// Fold adds what was counted since the last Fold. If that is nothing, it writes nothing.
//
// Errors: those of the store. What could not be added is added by the next Fold, and nothing is added twice.
func (f *Folder) Fold(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.counted()
	if len(f.doubts) == 0 && maps.Equal(now, f.added) {
		return nil
	}
	// Add what the rows lack. After an unknown outcome the next Fold looks up whether this one was kept.
	this := fold{id: storage.NewID("", 12), upTo: now}
	err := f.store.Update(ctx, func(tx *storage.Tx) error {
		this.date = tx.Now().UTC().Format(dateFormat)
		base, err := f.base(tx)
		if err != nil {
			return err
		}
		return add(tx, this, base)
	})
	switch {
	case err == nil:
		f.added = now
		f.doubts = nil
	case storage.CodeOf(err) == storage.OutcomeUnknown:
		f.doubts = append(f.doubts, this)
		f.doubts = f.doubts[max(0, len(f.doubts)-foldsKept):]
	}
	return err
}

// counted returns this server's counts by the names of the series, without those that are zero.
func (f *Folder) counted() map[string]uint64 {
	all := map[string]uint64{}
	for _, c := range f.counters {
		for _, s := range c.Samples(f.store.Meter()) {
			if s.Value > 0 {
				all[seriesName(c, s.Words)] = uint64(s.Value)
			}
		}
	}
	return all
}

// base returns the part of this server's counts that the rows hold: those of the newest doubtful fold that was kept, or
// else those of the last certain one.
func (f *Folder) base(tx *storage.Tx) (map[string]uint64, error) {
	base := f.added
	for _, d := range f.doubts {
		r, err := dayOf(tx, d.date)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.Folds, d.id) {
			base = d.upTo
		}
	}
	return base, nil
}

// add adds what is counted past base to the row of a day.
func add(tx *storage.Tx, this fold, base map[string]uint64) error {
	r, err := dayOf(tx, this.date)
	if err != nil {
		return err
	}
	r.Until = tx.Now().Add(keepDays * 24 * time.Hour)
	for series, n := range this.upTo {
		if more := n - base[series]; more > 0 {
			r.Counts[series] += more
		}
	}
	r.Folds = append(r.Folds, this.id)
	r.Folds = r.Folds[max(0, len(r.Folds)-foldsKept):]
	return days.Put(tx, storage.House, this.date, r)
}

// dayOf returns the row of a day; an empty one when there is none.
func dayOf(tx *storage.Tx, date string) (*row, error) {
	r, err := days.Get(tx, storage.House, date)
	if errors.Is(err, storage.ErrNotFound) {
		return &row{Counts: map[string]uint64{}}, nil
	}
	return r, err
}

func seriesName(c *meter.Counter, words []string) string {
	return strings.Join(append([]string{c.Figure().Name}, words...), " ")
}

// Day is what was counted on a day.
type Day struct {
	Date   string // 2026-03-01
	counts map[string]uint64
}

// Sum is how often a counter counted, in all series that begin with these words.
func (d Day) Sum(c *meter.Counter, words ...string) (total uint64) {
	begin := seriesName(c, words)
	for series, n := range d.counts {
		if series == begin || strings.HasPrefix(series, begin+" ") {
			total += n
		}
	}
	return total
}

// Days returns the days from one to another, both included, the oldest first. Days on which nothing was counted are left out.
func Days(tx *storage.Tx, from, to time.Time) ([]Day, error) {
	var list []Day
	first := from.UTC().Format(dateFormat)
	last := to.UTC().Format(dateFormat)
	rows, err := days.All(tx, storage.House)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if first <= r.Key && r.Key <= last {
			list = append(list, Day{Date: r.Key, counts: r.Record.Counts})
		}
	}
	slices.SortFunc(list, func(a, b Day) int { return strings.Compare(a.Date, b.Date) })
	return list, nil
}
