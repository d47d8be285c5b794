package storage_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tutela/storage"
)

// grown is a record that was flat once: {"id","secret"}.
type grown struct {
	Shape int    `json:"shape"`
	ID    string `json:"id"`
	In    struct {
		Secret []byte `json:"secret"`
	} `json:"in"`
}

var (
	growns = storage.Declare(storage.Spec[grown]{
		Name:   "grown",
		Class:  storage.MFA,
		Sealed: func(r *grown) []storage.Field { return []storage.Field{{Name: "secret", Value: &r.In.Secret}} },
		Upgrade: func(r *grown, stored []byte) error {
			if r.Shape == 2 {
				return nil
			}
			var flat struct {
				Secret []byte `json:"secret"`
			}
			if err := json.Unmarshal(stored, &flat); err != nil {
				return err
			}
			if r.ID == "bad" {
				return errors.New("nobody wrote this")
			}
			r.Shape = 2
			r.In.Secret = flat.Secret
			return nil
		},
	})
	grownByID = growns.Unique("id", func(r *grown) []string { return []string{r.ID} })
)

// putFlat writes a row as it was written before the record grew.
func (h *house) putFlat(uid storage.UID, key, id string) {
	h.t.Helper()
	r := &grown{Shape: 2, ID: id}
	r.In.Secret = []byte("s3cret")
	h.update(func(tx *storage.Tx) error { return growns.Put(tx, uid, key, r) })
	h.update(func(tx *storage.Tx) error {
		k := storage.RowKey(uid, "grown", key)
		stored, err := storage.TxGet(tx, k)
		must(h.t, err)
		flat := strings.NewReplacer(`"shape":2,`, ``, `"in":{`, ``, `}}`, `}`).Replace(string(stored))
		return storage.TxPut(tx, k, []byte(flat))
	})
}

func (h *house) storedShape(uid storage.UID, key string) string {
	h.t.Helper()
	var record []byte
	h.view(func(tx *storage.Tx) error {
		stored, err := storage.TxGet(tx, storage.RowKey(uid, "grown", key))
		must(h.t, err)
		r, err := storage.DecodeRow(stored)
		must(h.t, err)
		_, _, record = r.Parts()
		return nil
	})
	if strings.HasPrefix(string(record), `{"shape":2,"id":`) {
		return "present"
	}
	return "earlier"
}

func TestUpgrade_ReadsARowOfAnEarlierShapeWithItsSealedField(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.putFlat(uid, "k", "1")
	equal(t, h.storedShape(uid, "k"), "earlier")
	expect := func(what string, r *grown) {
		t.Helper()
		if r.Shape != 2 || r.ID != "1" || string(r.In.Secret) != "s3cret" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	h.view(func(tx *storage.Tx) error {
		got, err := growns.Get(tx, uid, "k")
		must(t, err)
		expect("Get", got)
		all, err := growns.All(tx, uid)
		must(t, err)
		expect("All", all[0].Record)
		found, err := grownByID.Find(tx, "1")
		must(t, err)
		expect("Find", found.Record)
		return nil
	})
	equal(t, h.storedShape(uid, "k"), "earlier") // reading writes nothing
}

func TestUpgrade_WritesThePresentShape(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.putFlat(uid, "k", "1")
	h.update(func(tx *storage.Tx) error {
		r, err := growns.Get(tx, uid, "k")
		must(t, err)
		return growns.Put(tx, uid, "k", r)
	})
	equal(t, h.storedShape(uid, "k"), "present")
	h.view(func(tx *storage.Tx) error {
		found, err := grownByID.Find(tx, "1")
		must(t, err)
		equal(t, string(found.Record.In.Secret), "s3cret")
		return nil
	})
}

func TestUpgrade_ThatFailsIsADamagedRow(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.putFlat(uid, "k", "bad")
	h.view(func(tx *storage.Tx) error {
		_, err := growns.Get(tx, uid, "k")
		if err == nil || !strings.Contains(err.Error(), "nobody wrote this") || !strings.Contains(err.Error(), `grown "k"`) {
			t.Errorf("got %v", err)
		}
		return nil
	})
}
