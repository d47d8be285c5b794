package postgres_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/postgres"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

func TestAlone_NobodyElseHasTheDatabaseOpen(t *testing.T) {
	url := pgtest.Database(t)
	short := postgres.Options{Logger: slog.New(slog.DiscardHandler), Patience: 200 * time.Millisecond}
	alone := short
	alone.Alone = true
	server := open(t, url)
	_, err := postgres.Open(t.Context(), url, alone)
	check.Is(t, err, postgres.ErrInUse)
	check.Must(t, server.Close())
	alone.Patience = time.Minute // that the process of its connection may end
	mover, err := postgres.Open(t.Context(), url, alone)
	check.Must(t, err)
	if _, err = postgres.Open(t.Context(), url, short); !errors.Is(err, postgres.ErrInUse) {
		t.Errorf("a server opened it: %v", err)
	}
	check.Must(t, mover.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put([]byte("k"), []byte("v"))
		return ws, nil
	}))
	check.Must(t, mover.Close())
	check.Must(t, open(t, url).Healthy())
}
