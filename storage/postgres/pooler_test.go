package postgres_test

import (
	"errors"
	"log/slog"
	"testing"

	"tutela/storage/postgres"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

func TestOpen_RefusesAPoolerInTransactionModeAndTakesOneInSessionMode(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	for _, mode := range []string{"transaction", "session"} {
		url := cluster.Pooler(t, mode)
		e, err := postgres.Open(t.Context(), url, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
		if mode == "transaction" {
			if !errors.Is(err, postgres.ErrPooler) {
				t.Errorf("a pooler in transaction mode: %v", err)
			}
			continue
		}
		check.Must(t, err)
		check.Must(t, addRow(e, "k"))
		check.Must(t, e.Close())
	}
}
