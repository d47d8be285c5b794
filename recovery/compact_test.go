package recovery_test

import (
	"context"
	"testing"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// withoutFile is an engine that has no file to write anew, as a database.
type withoutFile struct{ storage.Engine }

func TestCompactionDue_IsNeverWhereThereIsNoFile(t *testing.T) {
	h := newHouse(t, ground.Options{Wrap: func(e storage.Engine) storage.Engine { return withoutFile{e} }})
	h.newFullUser("ada")
	h.reset("ada", false)
	due, err := h.CompactionDue(context.Background())
	check.Must(t, err)
	if due {
		t.Error("a compaction is due that cannot be made")
	}
	_, err = h.Compact(context.Background())
	check.Is(t, err, recovery.ErrNoFile)
}
