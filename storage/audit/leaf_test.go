package audit_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/storage"
	"tutela/storage/audit"
)

// at returns the key in the store, and the value, of what lies in a space ('l' or 'u'), in a log or table, under a key.
func (h *house) at(space byte, name, key string) (k, value []byte) {
	h.t.Helper()
	for _, p := range h.content() {
		if p[0][0] == space && bytes.Contains(p[0], []byte(name+"\x00")) && bytes.HasSuffix(p[0], []byte(key)) {
			k = p[0]
			value = p[1]
		}
	}
	return k, value
}

// put writes bytes into the store past all tables.
func (h *house) put(k, value []byte) {
	h.t.Helper()
	must(h.t, h.Engine().Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put(k, value)
		return ws, nil
	}))
}

// newest is the newest event.
func (h *house) newest() audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.Store, audit.Query{Take: 1}, false)
	must(h.t, err)
	if len(entries) != 1 {
		h.t.Fatal("there is no event")
	}
	return entries[0]
}

// user makes a user, as far as the log knows one.
func (h *house) user() storage.UID {
	h.t.Helper()
	uid := storage.NewUID()
	h.ensureKey(uid)
	return uid
}

func (h *house) ensureKey(uid storage.UID) {
	h.t.Helper()
	must(h.t, h.Update(context.Background(), func(tx *storage.Tx) error { return audit.EnsureKey(tx, uid) }))
}

// logKey is a user's log key; nil when there is none.
func (h *house) logKey(uid storage.UID) (key []byte) {
	h.t.Helper()
	if uid.IsZero() {
		return nil
	}
	must(h.t, h.View(context.Background(), func(tx *storage.Tx) (err error) {
		key, err = audit.LogKeyOf(tx, uid)
		if errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		return err
	}))
	return key
}

// rowHeaderBytes is what storage writes before the record of a row without index and expiry.
const rowHeaderBytes = 10

// leafBy computes a leaf as docs/events.md says, by the standard library alone.
func leafBy(key []byte, id string, event []byte) []byte {
	opening := make([]byte, 32)
	if key != nil {
		m := hmac.New(sha256.New, key)
		m.Write([]byte("event\x00" + id))
		opening = m.Sum(nil)
	}
	leaf := sha256.Sum256(bytes.Join([][]byte{{0}, opening, event}, nil))
	return leaf[:]
}

func TestRecord_TheLeafIsOfTheBytesUnderTheUsersKey(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := h.user()
		other := h.user()
		keys := map[storage.UID][]byte{}
		leaves := map[string]bool{}
		for _, who := range []storage.UID{uid, other, {}, uid} {
			h.record(audit.Event{Type: audit.StartAuth, UID: who, Facts: named(1)}, planted)
			e := h.newest()
			_, value := h.at('l', "event", e.ID)
			event := value[33:]
			if value[0] != 1 || !bytes.HasPrefix(event, []byte(`{"v":1,"id":"`+e.ID+`",`)) {
				t.Fatalf("stored: %q", value)
			}
			key := h.logKey(who)
			if before, known := keys[who]; who.IsZero() != (key == nil) || known && !bytes.Equal(before, key) {
				t.Errorf("the log key of %q is %x, and was %x", who, key, before)
			}
			keys[who] = key
			if !bytes.Equal(value[1:33], leafBy(key, e.ID, event)) {
				t.Errorf("the leaf of %s is another", event)
			}
			leaves[string(value[1:33])] = true
		}
		if len(leaves) != 4 || bytes.Equal(keys[uid], keys[other]) {
			t.Errorf("%d leaves; log keys %x", len(leaves), keys)
		}
		for _, key := range keys {
			for _, p := range h.content() {
				if key != nil && bytes.Contains(p[1], key) {
					t.Errorf("the log key lies in the clear under %q", p[0])
				}
			}
		}
	})
}

func TestRecord_TheDigestIsOfTheDetailsBytesAndSaltedEachTime(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		digests := map[string]bool{}
		for range 3 {
			h.record(audit.Event{Type: audit.StartAuth, UID: uid}, planted)
			e := h.newest()
			_, row := h.at('u', "event_detail", e.ID)
			detail := row[rowHeaderBytes:]
			if !bytes.HasPrefix(detail, []byte(`{"salt":"`)) {
				t.Fatalf("stored: %q", detail)
			}
			sum := sha256.Sum256(append([]byte("event detail\x00"), detail...))
			if want := base64.RawURLEncoding.EncodeToString(sum[:]); e.Digest != want {
				t.Errorf("digest %s, want %s", e.Digest, want)
			}
			digests[e.Digest] = true
		}
		if len(digests) != 3 {
			t.Error("one detail has the same digest twice: whoever guesses it can check the guess")
		}
		h.record(audit.Event{Type: audit.StartAuth, UID: uid}, audit.Detail{})
		h.record(audit.Event{Type: audit.StartAuth}, planted)
		for _, e := range h.all() {
			if e.UID.IsZero() || e.Detail == (audit.Detail{}) {
				if e.Digest != "" {
					t.Errorf("%s has no detail, and its digest %s", e.ID, e.Digest)
				}
			}
		}
	})
}

// all lists every event.
func (h *house) all() []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.Store, audit.Query{}, false)
	must(h.t, err)
	return entries
}

// What lies in the log is checked as it lies there: an encoding that this version would not write is as good.
func TestList_ReadsTheBytesAsTheyWereWritten(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := h.user()
		h.record(audit.Event{Type: audit.StartAuth, UID: uid, Facts: named("a<b")}, audit.Detail{})
		e := h.newest()
		k, _ := h.at('l', "event", e.ID)
		strange := `{"later":[1,2.50], "facts":{"n":"a<b"},"uid":"` + uid.String() + `","v":1,` + "\n" + `"type":"gd_start_auth","time":"2030-01-02T03:04:05.000Z","id":"` + e.ID + `"}`
		value := audit.Seal(1, audit.OpeningOf(h.logKey(uid), e.ID), []byte(strange))
		h.put(k, value)
		got := h.newest()
		if got.Damage != "" || got.Facts["n"] != "a<b" || got.UID != uid {
			t.Errorf("read as %+v", got)
		}
		h.purge(uid, storage.MFA)
		_, err := audit.Trim(t.Context(), h.Store, begin, 100)
		must(t, err)
		if _, still := h.at('l', "event", e.ID); !bytes.Equal(still, value) {
			t.Errorf("the bytes are now %q", still)
		}
	})
}

func TestPurge_ErasesThePersonAndLeavesEveryLeafAsItWas(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := h.user()
		h.record(audit.Event{Type: audit.StartAuth, UID: uid}, planted)
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
			return audit.RecordAccount(tx, from(planted), audit.Event{Type: audit.Reset, UID: uid}, planted)
		}))
		key := h.logKey(uid)
		stored := func() (values []string) {
			for _, e := range h.all() {
				_, value := h.at('l', "event", e.ID)
				values = append(values, string(value))
				if e.Damage != "" {
					t.Errorf("%s: %s", e.Type, e.Damage)
				}
			}
			return values
		}
		before := strings.Join(stored(), "\n")

		// After a reset the events can still be proven: the key is the account's.
		h.purge(uid, storage.MFA)
		if !bytes.Equal(h.logKey(uid), key) {
			t.Error("a reset has taken the log key")
		}
		// After the deletion what is left of the key is nowhere, and nothing that is there gives the leaf.
		h.purge(uid, storage.Account)
		if h.logKey(uid) != nil {
			t.Error("the log key is left")
		}
		if after := strings.Join(stored(), "\n"); after != before {
			t.Errorf("the log was\n%q\nand is\n%q", before, after)
		}
		for _, e := range h.all() {
			_, value := h.at('l', "event", e.ID)
			if bytes.Equal(value[1:33], leafBy(nil, e.ID, value[33:])) {
				t.Error("the leaf of a user's event can be computed by anyone")
			}
			if !bytes.Equal(value[1:33], leafBy(key, e.ID, value[33:])) {
				t.Error("who kept the key cannot prove the event")
			}
		}
	})
}

func TestRecord_ADeletionLeavesNoKeyAndCanBeProven(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := h.user()
		h.record(audit.Event{Type: audit.StartAuth, UID: uid}, planted)
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := storage.Purge(tx, uid, false, storage.MFA, storage.Account)
			return errors.Join(err,
				audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.UserDelete, UID: uid}, audit.Detail{}),
				audit.RecordCall(tx, audit.ByOperator(0).In(audit.CallDeleteUser), uid))
		}))
		h.record(audit.Event{Type: audit.AuthFailed, UID: uid}, audit.Detail{}) // of a call that was on its way
		h.fold(audit.Event{Type: audit.AuthFailed, UID: uid}, audit.Detail{}, "")
		if key := h.logKey(uid); key != nil {
			t.Errorf("there is a log key again: %x", key)
		}
		seen := map[audit.Type]int{}
		for _, e := range h.all() {
			seen[e.Type]++
			_, value := h.at('l', "event", e.ID)
			if open := bytes.Equal(value[1:33], leafBy(nil, e.ID, value[33:])); open != (e.Type == audit.UserDelete) || e.Damage != "" {
				t.Errorf("%s, open to anyone: %v; %s", e.Type, open, e.Damage)
			}
		}
		if len(seen) != 4 {
			t.Errorf("recorded %v", seen)
		}
	})
}

// A uid that is no user's is made from what a stranger says, or is of a user who is older than log keys.
func TestRecord_WithoutAKeyShutsTheEventForGoodAndMakesNone(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.record(audit.Event{Type: audit.StartAuth, UID: uid, Facts: named("before")}, planted)
		if h.logKey(uid) != nil {
			t.Error("a stranger has a log key, which nobody will ever remove")
		}
		h.ensureKey(uid)
		key := h.logKey(uid)
		h.ensureKey(uid)
		if key == nil || !bytes.Equal(h.logKey(uid), key) {
			t.Errorf("the log key is %x, and was %x", h.logKey(uid), key)
		}
		h.record(audit.Event{Type: audit.StartAuth, UID: uid, Facts: named("after")}, planted)
		for _, e := range h.all() {
			_, value := h.at('l', "event", e.ID)
			format := map[audit.Word]byte{"before": 2, "after": 1}[e.Facts["n"]]
			open := bytes.Equal(value[1:33], leafBy(nil, e.ID, value[33:])) || bytes.Equal(value[1:33], leafBy(key, e.ID, value[33:]))
			if value[0] != format || open != (format == 1) || e.Damage != "" || e.Detail != planted {
				t.Errorf("%s: format %d, %+v", e.Facts["n"], value[0], e)
			}
		}
	})
}

// An event of a version before the form, as it lies in data files.
func TestList_ReadsEventsThatAreOlderThanTheForm(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.UID{0, 1, 2}
		const (
			id      = "1893553445000000000123456"
			houseID = "1893553445000000001123456"
		)
		const row = "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		owner := "u" + string(uid[:])
		for k, value := range map[string]string{
			"levent\x00\x00" + id: `{"id":"` + id + `","type":"gd_start_auth","time":"2030-01-02T03:04:05Z","uid":"` +
				uid.String() + `","client":"shop","facts":{"n":"old"}}`,
			"levent\x00\x00" + houseID:              `{"id":"` + houseID + `","type":"td_key_rotated","time":"2030-01-02T03:04:05Z","by":"operator:0"}`,
			owner + "event\x00" + id:                row,
			owner + "event_detail\x00" + id:         row + `{"ip":"192.0.2.9","device":"Pixel"}`,
			owner + "event_account_detail\x00" + id: row + `{"text":"not read, since the other one is"}`,
		} {
			h.put([]byte(k), []byte(value))
		}
		want := audit.Entry{
			Event: audit.Event{
				ID:     id,
				Type:   audit.StartAuth,
				Time:   begin,
				UID:    uid,
				Client: "shop",
				Facts:  named("old"),
			},
			Detail: audit.Detail{IP: "192.0.2.9", Device: "Pixel"},
		}
		h.clock.Advance(time.Second)
		h.record(audit.Event{Type: audit.AuthSucceed, UID: uid, Facts: named("new")}, planted)
		h.expect(audit.Query{UID: uid}, "new", "old")
		got, err := audit.Get(t.Context(), h.Store, id)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
		all := h.all()
		if len(all) != 3 || all[1].By != "operator:0" || all[1].V != 0 || all[0].V != 1 || all[0].Detail != planted {
			t.Errorf("all: %+v", all)
		}
		n, err := audit.Trim(t.Context(), h.Store, h.Now().Add(-time.Millisecond), 100)
		must(t, err)
		if n != 2 {
			t.Errorf("trimmed %d", n)
		}
		h.expect(audit.Query{}, "new")
		if k, _ := h.at('u', "event_detail", id); k != nil {
			t.Error("the old detail is left")
		}
	})
}
