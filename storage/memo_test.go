package storage_test

import (
	"fmt"
	"testing"

	"tutela/storage"
)

// price is a record without sealed fields.
type price struct {
	Pence int `json:"pence"`
}

var prices = storage.Declare(storage.Spec[price]{Name: "price", Class: storage.Settings})

func TestMemo_SeesWhatItsTransactionSees(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		memo, err := storage.NewMemo(prices, 2)
		must(t, err)
		read := func(tx *storage.Tx, key string) int {
			p, err := memo.Get(tx, storage.House, key)
			must(t, err)
			return p.Pence
		}
		for pence := range 3 {
			must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
				must(t, prices.Put(tx, storage.House, "tea", &price{Pence: pence}))
				equal(t, read(tx, "tea"), pence) // its own write
				return nil
			}))
			h.view(func(tx *storage.Tx) error {
				equal(t, read(tx, "tea"), pence)
				equal(t, read(tx, "tea"), pence)
				return nil
			})
		}
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error { return prices.Delete(tx, storage.House, "tea") }))
		h.view(func(tx *storage.Tx) error {
			_, err := memo.Get(tx, storage.House, "tea")
			is(t, err, storage.ErrNotFound)
			return nil
		})
	})
}

func TestMemo_GivesTheSameRecordWhileTheRowIsTheSame(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		memo, err := storage.NewMemo(prices, 2)
		must(t, err)
		for i := range 3 {
			must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
				return prices.Put(tx, storage.House, fmt.Sprint(i), &price{Pence: i})
			}))
		}
		h.view(func(tx *storage.Tx) error {
			first, err := memo.Get(tx, storage.House, "0")
			must(t, err)
			again, err := memo.Get(tx, storage.House, "0")
			must(t, err)
			if first != again {
				t.Error("a row that stayed the same was decoded twice")
			}
			for i := range 3 { // more than it keeps
				p, err := memo.Get(tx, storage.House, fmt.Sprint(i))
				must(t, err)
				equal(t, p.Pence, i)
			}
			return nil
		})
	})
}

func TestMemo_RefusesATableWithSealedFields(t *testing.T) {
	if _, err := storage.NewMemo(notes, 2); err == nil {
		t.Error("it would keep plain text in memory")
	}
}
