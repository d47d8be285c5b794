package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tutela/storage"
	"tutela/storage/bolt"
)

// fill makes a bolt file with these pairs.
func fill(t *testing.T, path string, pairs map[string]string) {
	t.Helper()
	e, err := bolt.Open(t.Context(), path, bolt.Options{Logger: quiet})
	must(t, err)
	must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for k, v := range pairs {
			ws.Put([]byte(k), []byte(v))
		}
		return ws, nil
	}))
	must(t, e.Close())
}

func openOnly(t *testing.T, path string, o storage.Options) (*storage.Store, error) {
	t.Helper()
	e, err := bolt.Open(t.Context(), path, bolt.Options{Logger: quiet})
	must(t, err)
	t.Cleanup(func() { _ = e.Close() })
	o.Logger = quiet
	s, err := storage.Open(t.Context(), e, o)
	if err != nil {
		must(t, e.Close())
	}
	return s, err
}

func TestOpen_RefusesWhatItDoesNotKnowInOneLineAndLeavesTheFileAlone(t *testing.T) {
	for name, c := range map[string]struct {
		pairs map[string]string
		says  string
	}{
		"another program's keys": {map[string]string{"hello": "world"}, "not tutela's data"},
		"another product":        {map[string]string{"mschema": `{"product":"other","version":1}`}, "not tutela's data"},
		"no version":             {map[string]string{"mschema": `{"product":"tutela"}`}, "not tutela's data"},
		"a negative version":     {map[string]string{"mschema": `{"product":"tutela","version":-1}`}, "not tutela's data"},
		"a damaged schema":       {map[string]string{"mschema": `{`}, "not tutela's data"},
		"an empty schema":        {map[string]string{"mschema": ``}, "not tutela's data"},
		"a damaged time":         {map[string]string{"mschema": `{"product":"tutela","version":1}`, "mtime": "x"}, "not tutela's data"},
		"a newer schema":         {map[string]string{"mschema": fmt.Sprintf(`{"product":"tutela","version":%d}`, storage.SchemaVersion+1), "new": "x"}, "newer tutela"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			fill(t, path, c.pairs)
			before, err := os.ReadFile(path)
			must(t, err)
			_, err = openOnly(t, path, storage.Options{})
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			is(t, err, storage.ErrForeign)
			after, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpen_InitialisesAnEmptyStoreOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	clock := storage.NewFakeClock(begin)
	o := storage.Options{Clock: clock}
	var first string
	for i := range 3 {
		s, err := openOnly(t, path, o)
		must(t, err)
		schema := meta(t, s, "schema")
		if i == 0 {
			first = schema
		}
		equal(t, schema, first)
		equal(t, schema, fmt.Sprintf(`{"product":"tutela","version":%d,"created":"2030-01-02T03:04:05.000000006Z"}`, storage.SchemaVersion))
		clock.Advance(1e9)
		must(t, s.Close())
	}
}

// meta is what the store says of itself under a name.
func meta(t *testing.T, s *storage.Store, name string) (value string) {
	t.Helper()
	must(t, s.View(t.Context(), func(tx *storage.Tx) error {
		stored, err := storage.TxGet(tx, storage.MetaKey(name))
		value = string(stored)
		return err
	}))
	return value
}

func TestOpen_OfManyAtOnceInitialisesOnce(t *testing.T) {
	e, err := bolt.Open(t.Context(), filepath.Join(t.TempDir(), "data"), bolt.Options{Logger: quiet})
	must(t, err)
	defer func() { must(t, e.Close()) }()
	var all sync.WaitGroup
	schemas := make([]string, 8)
	for i := range schemas {
		all.Go(func() {
			clock := storage.NewFakeClock(begin.AddDate(i, 0, 0))
			s, err := storage.Open(background, e, storage.Options{Clock: clock, Logger: quiet})
			if err != nil {
				t.Error(err)
				return
			}
			schemas[i] = meta(t, s, "schema")
		})
	}
	all.Wait()
	for _, schema := range schemas {
		equal(t, schema, schemas[0])
	}
}

// steps are migrations that write down that they ran; a version in fail fails, after it has written.
func steps(upTo int, fail *int) (all []storage.Migration) {
	for to := 2; to <= upTo; to++ {
		all = append(all, storage.Migration{To: to, Run: func(tx *storage.Tx) error {
			k := storage.MetaKey("ran")
			ran, err := storage.TxGet(tx, k)
			if err == nil {
				err = storage.TxPut(tx, k, fmt.Appendf(nil, "%s %d", ran, to))
			}
			if *fail == to {
				return errors.New("power cut")
			}
			return err
		}})
	}
	return all
}

// schema1 is a program that writes the first schema.
var schema1 = storage.Options{}.WithMigrations(1)

func TestMigrate_RunsEachStepOnceInOrderAndResumesAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	s, err := openOnly(t, path, schema1)
	must(t, err)
	must(t, s.Close())
	fail := 3
	o := storage.Options{}.WithMigrations(4, steps(4, &fail)...)
	for range 2 { // the step fails at each start until it is mended
		_, err = openOnly(t, path, o)
		if err == nil || !strings.Contains(err.Error(), "bring the data to schema 3: power cut") {
			t.Fatalf("got %v", err)
		}
	}
	fail = 0
	for range 2 {
		s, err = openOnly(t, path, o)
		must(t, err)
		equal(t, meta(t, s, "ran"), " 2 3 4")
		equal(t, strings.Contains(meta(t, s, "schema"), `"version":4,"created"`), true)
		must(t, s.Close())
	}
	_, err = openOnly(t, path, storage.Options{}.WithMigrations(3, steps(3, &fail)...))
	is(t, err, storage.ErrForeign) // the program of before
}

func TestMigrate_ANewStoreNeedsNone(t *testing.T) {
	fail := 2
	s, err := openOnly(t, filepath.Join(t.TempDir(), "data"), storage.Options{}.WithMigrations(2, steps(2, &fail)...))
	must(t, err)
	equal(t, meta(t, s, "ran"), "")
}

func TestMigrate_AMissingStepIsAnErrorAndNotPassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	s, err := openOnly(t, path, schema1)
	must(t, err)
	must(t, s.Close())
	fail := 0
	_, err = openOnly(t, path, storage.Options{}.WithMigrations(3, steps(3, &fail)[1:]...))
	if err == nil || !strings.Contains(err.Error(), "schema 2") {
		t.Errorf("got %v", err)
	}
}

func TestMigrate_OfManyServersAtOnceRunsEachStepOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	s, err := openOnly(t, path, schema1)
	must(t, err)
	fail := 0
	o := storage.Options{Logger: quiet}.WithMigrations(4, steps(4, &fail)...)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := storage.Open(background, s.Engine(), o); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	equal(t, meta(t, s, "ran"), " 2 3 4")
}

// TestMigrate_FromEachEarlierSchemaIsOneWay: the program of before would take the rows of this one for other rows.
func TestMigrate_FromEachEarlierSchemaIsOneWay(t *testing.T) {
	for version := 1; version < storage.SchemaVersion; version++ {
		path := filepath.Join(t.TempDir(), "data")
		earlier := storage.Options{}.WithMigrations(version)
		s, err := openOnly(t, path, earlier)
		must(t, err)
		must(t, s.Close())
		for range 2 {
			s, err = openOnly(t, path, storage.Options{})
			must(t, err)
			equal(t, strings.Contains(meta(t, s, "schema"), fmt.Sprintf(`"version":%d,`, storage.SchemaVersion)), true)
			must(t, s.Close())
		}
		_, err = openOnly(t, path, earlier)
		is(t, err, storage.ErrForeign)
	}
}
