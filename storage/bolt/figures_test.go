package bolt

import (
	"errors"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"tutela/storage"
	"tutela/storage/meter"
)

func TestFigures_CommitsAndCompactionsAreCounted(t *testing.T) {
	set := meter.NewSet()
	broken := false
	o := Options{Meter: set, commit: func(tx *bbolt.Tx) error {
		if broken {
			broken = false
			return errors.Join(errors.New("broken"), tx.Rollback())
		}
		return tx.Commit()
	}}
	e, err := Open(t.Context(), filepath.Join(t.TempDir(), "data"), o)
	must(t, err)
	defer e.Close() //nolint:errcheck // the test is over
	put := func() error {
		return e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			ws.Put([]byte("key"), []byte("value"))
			return ws, nil
		})
	}
	must(t, put())
	must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) { return storage.NewWriteSet(), nil })) // writes nothing
	_, err = e.Compact(t.Context())
	must(t, err)
	broken = true
	if put() == nil {
		t.Fatal("the commit was to fail")
	}
	got := map[string]float64{}
	for _, s := range set.Samples(t.Context()) {
		got[s.Figure.Name] += s.Value
		got[s.Figure.Name+" count"] += float64(s.Count)
	}
	for name, want := range map[string]float64{
		"tutela_commit_bytes": 8, "tutela_commit_bytes count": 1, "tutela_commit_transactions": 1, "tutela_commit_duration_seconds count": 1,
		"tutela_commit_failures_total": 1, "tutela_compactions_total": 1, "tutela_compaction_duration_seconds count": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if got["tutela_data_file_bytes"] < 8192 {
		t.Errorf("a file of %v bytes", got["tutela_data_file_bytes"])
	}
}
