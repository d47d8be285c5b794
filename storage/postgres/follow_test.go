package postgres_test

import (
	"context"
	"log/slog"
	"testing"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

var pebbles = storage.DeclareLog("pebbles")

// A transaction that began before another and is committed after it has the lesser id: a follower that had seen the other would
// never see it.
func TestList_ServesAFollowerOnlyWhatNothingCanComeBefore(t *testing.T) {
	s, err := storage.Open(t.Context(), open(t, pgtest.Database(t)), storage.Options{Logger: slog.New(slog.DiscardHandler)})
	check.Must(t, err)
	record := func(first func(*storage.Tx) error) error {
		return s.Update(context.Background(), func(tx *storage.Tx) error {
			if err := first(tx); err != nil {
				return err
			}
			return audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.StartAuth}, audit.Detail{})
		})
	}
	followed := func() (ids []string) {
		entries, _, err := audit.List(t.Context(), s, audit.Query{After: "0"}, false)
		check.Must(t, err)
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
		return ids
	}
	begun := make(chan struct{}, 8)
	goOn := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- record(func(tx *storage.Tx) error {
			_, err := pebbles.Get(tx, storage.House, "x") // a read: the database knows of the transaction
			begun <- struct{}{}
			<-goOn
			return err
		})
	}()
	<-begun
	check.Must(t, record(func(*storage.Tx) error { return nil }))
	if early := followed(); len(early) != 0 {
		t.Errorf("a follower saw %v, and one that began before is open", early)
	}
	close(goOn)
	check.Must(t, <-ended)
	for ids := followed(); len(ids) != 2; ids = followed() {
		if t.Context().Err() != nil {
			t.Fatalf("a follower sees %v", ids)
		}
	}
}
