package postgres_test

import (
	"log/slog"
	"testing"

	"tutela/storage"
	"tutela/storage/postgres"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func open(t testing.TB, url string) *postgres.Engine {
	t.Helper()
	e, err := postgres.Open(t.Context(), url, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	check.Must(t, err)
	t.Cleanup(func() { check.Must(t, e.Close()) })
	return e
}

func TestEngine_PassesTheConformanceSuite(t *testing.T) {
	storagetest.Engine(t, func(t testing.TB) storage.Engine { return open(t, pgtest.Database(t)) })
}

func TestEngine_KeepsWhatItHasWhenItIsOpenedAgain(t *testing.T) {
	url := pgtest.Database(t)
	storagetest.Durable(t, func(t testing.TB) storage.Engine { return open(t, url) })
}
