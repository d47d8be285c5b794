// Package storagetest is what every engine must pass ([Engine], [Durable]), an engine that makes closures with side
// effects fail ([Chaos]), and one whose commits can end without telling whether they were kept ([Doubt]).
package storagetest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"tutela/storage"
)

// Opener opens a new, empty engine. It may leave closing to t.Cleanup; the suite closes too.
type Opener func(t testing.TB) storage.Engine

// Engine runs the conformance suite, each test on an engine of its own.
func Engine(t *testing.T, open Opener) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, storage.Engine)
	}{
		{"Get_TellsEmptyFromMissing", testEmptyAndMissing},
		{"Update_PutThenDeleteDeletes", testLastOperationCounts},
		{"Update_DeletesAMissingKeyWithoutError", testDeleteMissing},
		{"Update_WithoutWritesSucceeds", testNothingWritten},
		{"Update_KeepsLargeValuesAndKeys", testLarge},
		{"Update_KeepsTheLongestKeysAndEveryByte", testLongestKeys},
		{"GetMany_AgreesWithGet", testGetMany},
		{"Scan_GoesThroughRangesInBothDirections", testRanges},
		{"Scan_StopsWhenTold", testScanStops},
		{"Scan_AgreesWithAModel", testModel},
		{"Scan_SeesWhatTheGroupDeleted", testScanAfterDelete},
		{"Update_RollsBackOnError", testRollback},
		{"Update_RollsBackOneCallerOfManyAlone", testRollbackAlone},
		{"Update_RaisesAPanicInItsCaller", testPanic},
		{"Update_SurvivesAClosureThatExits", testGoexit},
		{"Update_CountsExactlyWith256Goroutines", testCounters},
		{"Update_AllowsNoWriteSkew", testWriteSkew},
		{"Update_AllowsNoPhantoms", testPhantoms},
		{"Update_GivesOneOf64TheOnlyOne", testOnlyOne},
		{"Update_IsLinearizable", testLinearizable},
		{"Update_RefusesAnEndedContext", testEndedContext},
		{"Update_ErrorOfContextMeansNothingWritten", testContextWhileQueued},
		{"Update_OnceTakenWaitsForTheOutcome", testContextAfterTaken},
		{"View_SeesEveryAcknowledgedCommit", testViewSeesAcknowledged},
		{"View_IsStableUnderWriters", testViewStable},
		{"View_ReturnsTheErrorOfItsClosure", testViewError},
		{"Peek_ShowsEachKeyOnce", testPeekOnce},
		{"Peek_SeesWhatIsThereThroughout", testPeekUnderWriters},
		{"Peek_MayCallTheEngine", testPeekCallsEngine},
		{"Peek_StopsWhenTold", testPeekStops},
		{"Shards_IsConstantAndInBounds", testShards},
		{"Close_MakesAllCallsUnavailable", testClose},
		{"Close_WaitsForWhatWasTaken", testCloseWaits},
	} {
		t.Run(part.name, func(t *testing.T) {
			e := open(t)
			part.run(t, e)
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// Durable runs the part for engines whose content outlives them. open opens the same content each time.
func Durable(t *testing.T, open Opener) {
	e := open(t)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 4 {
				must(t, write(t, e, fmt.Sprintf("%02d/%d", i, n), fmt.Sprint(i*n)))
			}
		})
	}
	all.Wait()
	must(t, write(t, e, "empty", ""))
	must(t, remove(t, e, "00/0"))
	before := content(t, e)
	must(t, e.Close())

	e = open(t)
	equal(t, "content after a reopening", content(t, e), before)
	must(t, write(t, e, "00/0", "again"))
	must(t, e.Close())
	e = open(t)
	equal(t, "value written after a reopening", read(t, e, "00/0"), "again")
	must(t, e.Close())
}

// must fails the test, from whatever goroutine.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// update runs fn in a transaction with a write set made for it.
func update(ctx context.Context, e storage.Engine, fn func(storage.Reader, *storage.WriteSet) error) error {
	return e.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		return ws, fn(r, ws)
	})
}

// write puts pairs of key and value.
func write(t testing.TB, e storage.Engine, pairs ...string) error {
	return update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
		for i := 0; i < len(pairs); i += 2 {
			ws.Put([]byte(pairs[i]), []byte(pairs[i+1]))
		}
		return nil
	})
}

func remove(t testing.TB, e storage.Engine, keys ...string) error {
	return update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
		for _, key := range keys {
			ws.Delete([]byte(key))
		}
		return nil
	})
}

// missing is what read returns for a key that is not there.
const missing = "<missing>"

func read(t testing.TB, e storage.Engine, key string) (value string) {
	t.Helper()
	must(t, e.View(t.Context(), func(r storage.Reader) (err error) {
		value, err = get(r, key)
		return err
	}))
	return value
}

func get(r storage.Reader, key string) (string, error) {
	value, err := r.Get([]byte(key))
	if err == nil && value == nil {
		return missing, nil
	}
	return string(value), err
}

// pair is a key and its value.
type pair struct{ key, value string }

// content is the whole store.
func content(t testing.TB, e storage.Engine) (pairs []pair) {
	t.Helper()
	must(t, e.View(t.Context(), func(r storage.Reader) (err error) {
		pairs, err = scan(r, storage.Range{})
		return err
	}))
	return pairs
}

func scan(r storage.Reader, in storage.Range) (pairs []pair, err error) {
	err = r.Scan(in, func(key, value []byte) bool {
		pairs = append(pairs, pair{string(key), string(value)})
		return true
	})
	return pairs, err
}

func number(value []byte) uint64 {
	if len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// addOne adds one to a counter.
func addOne(r storage.Reader, ws *storage.WriteSet, key string) error {
	value, err := r.Get([]byte(key))
	if err != nil {
		return err
	}
	ws.Put([]byte(key), binary.BigEndian.AppendUint64(nil, number(value)+1))
	return nil
}

func count(t testing.TB, e storage.Engine, key string) (n uint64) {
	t.Helper()
	must(t, e.View(t.Context(), func(r storage.Reader) error {
		value, err := r.Get([]byte(key))
		n = number(value)
		return err
	}))
	return n
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

var errRefused = errors.New("refused by the closure")
