package postgres_test

import (
	"testing"
	"time"

	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// Two servers over one database are as one: what one has acknowledged the other sees.
func TestTwoEngines_HaveLinearizableHistories(t *testing.T) {
	url := pgtest.Database(t)
	storagetest.Linearizable(t, 60, open(t, url), open(t, url))
}

func TestSoakTwoEngines_HaveLinearizableHistories(t *testing.T) {
	url := pgtest.Database(t)
	one := open(t, url)
	other := open(t, url)
	histories := 0
	for end := time.Now().Add(check.Soak(t)); time.Now().Before(end) && !t.Failed(); histories++ {
		storagetest.Linearizable(t, 200, one, other)
	}
	t.Logf("%d histories", histories)
}
