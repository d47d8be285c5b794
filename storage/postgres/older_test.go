package postgres_test

import (
	"log/slog"
	"strings"
	"testing"

	"tutela/storage"
	"tutela/storage/postgres"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

func TestOpen_RefusesTablesOfANewerProgramInOneLine(t *testing.T) {
	url := pgtest.Database(t)
	check.Must(t, open(t, url).Healthy())
	pgtest.Run(t, url, `update tutela_engine set value = 2 where name = 'layout'`)
	_, err := postgres.Open(t.Context(), url, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	check.Is(t, err, storage.ErrForeign)
	if !strings.HasSuffix(err.Error(), "start a newer one") || strings.Contains(err.Error(), "\n") {
		t.Errorf("it says %q", err)
	}
}
