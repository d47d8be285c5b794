package storage_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutela/storage"
)

// populate gives a user rows of every class and table, and an entry of a log.
func (h *house) populate(uid storage.UID) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error {
		large := []byte("large value")
		id := uid.String()
		return errors.Join(
			notes.Put(tx, uid, "a", &note{
				ID:     "1" + id,
				Tags:   []string{"x", "y"},
				Until:  begin.Add(time.Hour),
				Secret: []byte("s"),
			}),
			notes.Put(tx, uid, "b\x00", &note{ID: "2" + id, Until: begin.Add(time.Second)}),
			twins.Put(tx, uid, "", &note{}),
			blobs.Put(tx, uid, "c", &large),
			accounts.Put(tx, uid, "d", &note{ID: "account"}),
			traces.Put(tx, uid, "e", &note{ID: "evidence"}),
			diary.Append(tx, uid, "f"+id, nil))
	})
}

var mfaRows = []storage.Removed{
	{Table: "blob", Key: "c"}, {Table: "note", Key: "a"}, {Table: "note", Key: "b\x00"}, {Table: "note2", Key: ""},
}

func (h *house) purge(uid storage.UID, dry bool, classes ...storage.Class) (removed []storage.Removed) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) (err error) {
		removed, err = storage.Purge(tx, uid, dry, classes...)
		return err
	})
	return removed
}

func TestPurge_RemovesAllOfAUserClassByClassAndNothingOfAnother(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		// Neighbours in the order of keys, whose rows lie on either side.
		uid := storage.UID{7, 7}
		others := []storage.UID{{7, 6, 255}, {7, 7, 0, 1}, {7, 8}}
		for _, other := range others {
			h.populate(other)
		}
		without := h.content()
		h.populate(uid)

		equal(t, h.purge(uid, false, storage.MFA), mfaRows)
		h.inStep()
		h.view(func(tx *storage.Tx) error {
			_, accountErr := accounts.Get(tx, uid, "d")
			_, traceErr := traces.Get(tx, uid, "e")
			return errors.Join(accountErr, traceErr)
		})
		equal(t, h.purge(uid, false, storage.MFA), []storage.Removed{}) // a second one finds nothing
		equal(t, h.purge(uid, false, storage.MFA, storage.Account), []storage.Removed{{Table: "account", Key: "d"}})
		equal(t, h.purge(uid, false, storage.MFA, storage.Account), []storage.Removed{})

		// Of the user nothing is left anywhere but evidence: a row of its table, and an entry of a log.
		left := h.content()
		equal(t, len(left), len(without)+2)
		for _, p := range left {
			if strings.Contains(string(p.key)+string(p.value), string(uid[:])) {
				_, table, _, err := storage.SplitRowKey(p.key)
				must(t, err)
				equal(t, table, "trace")
			}
			if strings.Contains(string(p.key)+string(p.value), uid.String()) {
				equal(t, string(p.key[:6]), "ldiary")
			}
		}
		for _, other := range others {
			equal(t, h.purge(other, true, storage.MFA), mfaRows)
		}
	})
}

func TestPurge_DryRemovesNothingAndReportsTheSame(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.populate(uid)
		woken, stop := h.Watch(uid)
		defer stop()
		before := fmt.Sprint(h.content())
		equal(t, h.purge(uid, true, storage.MFA), mfaRows)
		equal(t, fmt.Sprint(h.content()), before)
		equal(t, len(woken), 0)
		equal(t, h.purge(uid, false, storage.MFA), mfaRows)
		equal(t, len(woken), 1)
	})
}

func TestPurge_TakesRowsPastTheirExpiryToo(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.populate(uid)
	h.clock.Advance(time.Minute) // "b" is over and not swept: its bytes are in the file, so it is reported
	equal(t, h.purge(uid, false, storage.MFA), mfaRows)
	equal(t, h.holds([]byte("2"+uid.String())), "")
	h.inStep()
}

func TestPurge_SeesWhatItsOwnTransactionWrote(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.populate(uid)
		h.update(func(tx *storage.Tx) error {
			must(t, notes.Put(tx, uid, "new", &note{ID: "new", Until: begin.Add(time.Hour)}))
			must(t, notes.Delete(tx, uid, "a"))
			removed, err := storage.Purge(tx, uid, false, storage.MFA)
			equal(t, removed, []storage.Removed{
				{Table: "blob", Key: "c"}, {Table: "note", Key: "b\x00"}, {Table: "note", Key: "new"}, {Table: "note2", Key: ""},
			})
			must(t, err)
			return notes.Put(tx, uid, "after", &note{ID: "after"})
		})
		h.inStep()
		equal(t, h.purge(uid, true, storage.MFA), []storage.Removed{{Table: "note", Key: "after"}})
	})
}

func TestPurge_ThatIsRolledBackRemovesNothing(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.populate(uid)
	before := fmt.Sprint(h.content())
	is(t, h.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := storage.Purge(tx, uid, false, storage.MFA)
		return errors.Join(err, errRefused)
	}), errRefused)
	equal(t, fmt.Sprint(h.content()), before)
}

func TestPurge_OfATableThatIsNotKnownIsAnError(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.populate(uid)
	h.update(func(tx *storage.Tx) error {
		return storage.TxPut(tx, storage.RowKey(uid, "of_a_later_version", "k"), storage.EncodeRow(storage.StoredRow{}))
	})
	before := fmt.Sprint(h.content())
	err := h.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := storage.Purge(tx, uid, false, storage.MFA)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), `"of_a_later_version"`) {
		t.Errorf("got %v", err)
	}
	equal(t, fmt.Sprint(h.content()), before)
	if _, err := h.Reseal(t.Context()); err == nil {
		t.Error("reseal passed over a table that it does not know")
	}
}

func TestPurge_OfTheHouseIsRefused(t *testing.T) {
	h := newHouse(t)
	if err := h.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := storage.Purge(tx, storage.House, false, storage.Settings)
		return err
	}); err == nil {
		t.Error("the house was purged")
	}
}
