package storage_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tutela/storage"
)

// TestTx_ReadsThroughItsWritesLikeAMap compares gets and scans inside a transaction with a map: over stored keys,
// puts and deletions, in any range and direction, and with writes while the scan runs, which it does not see.
func TestTx_ReadsThroughItsWritesLikeAMap(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		rapid.Check(t, func(rt *rapid.T) {
			key := rapid.StringMatching(`k[ab]{0,3}`)
			stored := rapid.MapOf(key, rapid.StringN(0, 3, -1)).Draw(rt, "stored")
			ops := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) [2]string {
				return [2]string{key.Draw(rt, "key"), rapid.StringN(0, 3, -1).Draw(rt, "value")}
			}), 0, 8).Draw(rt, "ops")
			deletions := rapid.SliceOfN(rapid.Bool(), len(ops), len(ops)).Draw(rt, "deletions")
			r := storage.Range{From: []byte(key.Draw(rt, "from")), Reverse: rapid.Bool().Draw(rt, "reverse")}
			if rapid.Bool().Draw(rt, "bounded") {
				r.To = []byte(key.Draw(rt, "to"))
			} else {
				r.To = []byte("l")
			}
			limit := rapid.IntRange(1, 10).Draw(rt, "limit")

			err := h.Update(t.Context(), func(tx *storage.Tx) error {
				rows := scanAll(rt, tx, storage.Prefix([]byte("k")), 1<<20, nil)
				for _, row := range rows {
					must(t, storage.TxDelete(tx, []byte(row[0])))
				}
				for k, v := range stored {
					must(t, storage.TxPut(tx, []byte(k), []byte(v)))
				}
				return nil
			})
			must(t, err)
			_ = h.Update(t.Context(), func(tx *storage.Tx) error {
				model := make(map[string]string, len(stored))
				for k, v := range stored {
					model[k] = v
				}
				apply := func(i int) {
					k := ops[i][0]
					v := ops[i][1]
					if deletions[i] {
						must(t, storage.TxDelete(tx, []byte(k)))
						delete(model, k)
						return
					}
					must(t, storage.TxPut(tx, []byte(k), []byte(v)))
					model[k] = v
				}
				half := len(ops) / 2
				for i := range half {
					apply(i)
				}
				want := expected(model, r, limit)
				next := half
				got := scanAll(rt, tx, r, limit, func() {
					if next < len(ops) {
						apply(next)
						next++
					}
				})
				if !slices.Equal(got, want) {
					rt.Fatalf("scan %+v: got %q, want %q", r, got, want)
				}
				for k, v := range model {
					if got, err := storage.TxGet(tx, []byte(k)); err != nil || string(got) != v || got == nil {
						rt.Fatalf("get %q: %q, %v; want %q", k, got, err, v)
					}
				}
				return errRefused
			})
		})
	})
}

// scanAll scans at most limit keys, and calls between after each.
func scanAll(t *rapid.T, tx *storage.Tx, r storage.Range, limit int, between func()) (pairs [][2]string) {
	err := storage.TxScan(tx, r, func(k, v []byte) bool {
		pairs = append(pairs, [2]string{string(k), string(v)})
		if between != nil {
			between()
		}
		return len(pairs) < limit
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

func expected(model map[string]string, r storage.Range, limit int) (pairs [][2]string) {
	for k, v := range model {
		if r.Contains([]byte(k)) {
			pairs = append(pairs, [2]string{k, v})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if (a[0] < b[0]) != r.Reverse {
			return -1
		}
		return 1
	})
	return pairs[:min(limit, len(pairs))]
}

func TestWriteSet_GivesItsOperationsInOrderAndOnce(t *testing.T) {
	ws := storage.NewWriteSet()
	each := func() (ops string) {
		must(t, ws.Each(func(k string, v []byte) error {
			ops += fmt.Sprintf("%s=%q ", k, v)
			return nil
		}))
		return ops
	}
	equal(t, each(), "")
	ws.Put([]byte("b"), []byte("1"))
	ws.Put([]byte("a"), nil)
	equal(t, each(), `a="" b="1" `)
	ws.Put([]byte("b"), []byte("2"))
	ws.Delete([]byte("0"))
	equal(t, each(), `0="" a="" b="2" `)
	equal(t, ws.Len(), 3)
	v, known := ws.Get([]byte("0"))
	equal(t, v == nil && known, true)
	v, known = ws.Get([]byte("a"))
	equal(t, v != nil && known, true)
	_, known = ws.Get([]byte("z"))
	equal(t, known, false)
	is(t, ws.Each(func(string, []byte) error { return os.ErrClosed }), os.ErrClosed)
}
