package storage_test

import (
	"testing"

	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

type aheadRecord struct {
	Word string `json:"word"`
}

var aheadRecords = storage.Declare(storage.Spec[aheadRecord]{Name: "test_ahead", Class: storage.Settings})

func TestReadAhead_IsSeenThroughWhatIsWrittenSince(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	g.Update(func(tx *storage.Tx) error {
		return aheadRecords.Put(tx, storage.House, "there", &aheadRecord{"first"})
	})
	g.Update(func(tx *storage.Tx) error {
		there := aheadRecords.Ref(storage.House, "there")
		missing := aheadRecords.Ref(storage.House, "missing")
		check.Must(t, tx.ReadAhead(there, missing))
		check.Must(t, tx.ReadAhead(there, missing))
		expect := func(key, want string) {
			t.Helper()
			record, err := aheadRecords.Get(tx, storage.House, key)
			if err == nil && record.Word != want || err != nil && want != "" {
				t.Errorf("%s is %v, %v, not %q", key, record, err, want)
			}
		}
		expect("there", "first")
		expect("missing", "")
		check.Must(t, aheadRecords.Put(tx, storage.House, "missing", &aheadRecord{"second"}))
		check.Must(t, aheadRecords.Delete(tx, storage.House, "there"))
		expect("there", "")
		expect("missing", "second")
		return nil
	})
}
