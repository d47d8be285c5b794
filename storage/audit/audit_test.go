package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

var begin = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// house is a store with a log of events.
type house struct {
	t     *testing.T
	clock *storage.FakeClock
	*storage.Store
}

// sharded is an engine that spreads what is appended.
type sharded struct{ storage.Engine }

func (sharded) Shards() int { return 5 }

// onEngines runs a test on bolt, and on one that runs closures again and spreads what is appended.
func onEngines(t *testing.T, test func(t *testing.T, h *house)) {
	for name, o := range map[string]ground.Options{
		"bolt":              {},
		"chaos with shards": {Chaos: true, Wrap: func(e storage.Engine) storage.Engine { return sharded{e} }},
	} {
		t.Run(name, func(t *testing.T) {
			o.Clock = storage.NewFakeClock(begin)
			g := ground.Open(t, o)
			test(t, &house{t: t, clock: g.Clock, Store: g.Store})
		})
	}
}

var must = check.Must

func (h *house) record(e audit.Event, d audit.Detail) {
	h.t.Helper()
	must(h.t, h.Update(context.Background(), func(tx *storage.Tx) error { return audit.Record(tx, from(d), e, d) }))
}

// from is an actor whose calls come from where a detail says.
func from(d audit.Detail) audit.Actor { return audit.ByUser().WithOrigin(d.IP, d.UserAgent) }

// list returns the events that a query finds, as the facts by which the tests tell them apart.
func (h *house) list(q audit.Query) (names []string) {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.Store, q, false)
	must(h.t, err)
	for _, e := range entries {
		names = append(names, string(e.Facts["n"]))
	}
	return names
}

func (h *house) expect(q audit.Query, want ...string) {
	h.t.Helper()
	if got := h.list(q); !slices.Equal(got, want) {
		h.t.Errorf("%+v: got %v, want %v", q, got, want)
	}
}

func named(n any) audit.Facts { return audit.Facts{"n": audit.Word(fmt.Sprint(n))} }

func TestRecord_IdsSortAsTimeAndAreNeverTheSame(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 25 { // at one instant of the test's clock
					must(t, h.Update(context.Background(), func(tx *storage.Tx) error {
						return errors.Join(
							audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.StartAuth, UID: storage.NewUID(), Facts: named(1)}, audit.Detail{}),
							audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.SendPush, Facts: named(2)}, audit.Detail{}))
					}))
				}
			})
		}
		all.Wait()
		h.clock.Advance(time.Second)
		h.record(audit.Event{Type: audit.Reset}, audit.Detail{})
		entries, count, err := audit.List(t.Context(), h.Store, audit.Query{}, true)
		must(t, err)
		if len(entries) != 401 || count != 401 {
			t.Fatalf("%d events, count %d: some have one id", len(entries), count)
		}
		for i, e := range entries[1:] {
			if before := entries[i]; before.ID <= e.ID || before.Time.Before(e.Time) || len(e.ID) != 25 {
				t.Fatalf("%s of %s comes before %s of %s", before.ID, before.Time, e.ID, e.Time)
			}
		}
		if entries[0].Type != audit.Reset {
			t.Errorf("the newest is %s", entries[0].Type)
		}
	})
}

func TestRecord_ThoseOfATransactionAreInTheOrderOfTheCalls(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
			for i := range 5 {
				of := storage.UID{7 * byte(i%2)} // a user's and the installation's: on two shards
				if err := audit.Record(tx, audit.Actor{}, audit.Event{UID: of, Facts: named(i)}, audit.Detail{}); err != nil {
					return err
				}
			}
			return nil
		}))
		h.expect(audit.Query{}, "4", "3", "2", "1", "0")
	})
}

func TestRecord_OfARolledBackTransactionIsNot(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		refused := errors.New("refused")
		err := h.Update(t.Context(), func(tx *storage.Tx) error {
			return errors.Join(audit.Record(tx, audit.ByUser().WithOrigin("192.0.2.1", ""), audit.Event{UID: storage.NewUID()}, audit.Detail{}), refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		h.expect(audit.Query{})
	})
}

var planted = audit.Detail{
	IP:        "203.0.113.77",
	UserAgent: "PlantedBrowser/1.0",
	Device:    "Planted Phone",
	Text:      "planted reason",
}

func TestDetail_LiesOnlyInTheUsersRowsAndIsGoneWithThem(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		other := storage.NewUID()
		h.record(audit.Event{Type: audit.StartAuth, UID: uid, Facts: named("mfa")}, planted)
		h.record(audit.Event{Type: audit.StartAuth, UID: other, Facts: named("other")}, planted)
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
			return audit.RecordAccount(tx, from(planted), audit.Event{Type: audit.Reset, UID: uid, Facts: named("account")}, planted)
		}))
		h.record(audit.Event{Type: audit.ClientAdded, Facts: named("house")}, planted) // nobody's: it has none
		h.detailsAre(map[string]bool{"mfa": true, "other": true, "account": true, "house": false})
		for _, p := range h.content() {
			for _, s := range []string{planted.IP, planted.UserAgent, planted.Device, planted.Text} {
				if bytes.Contains(append(p[0], p[1]...), []byte(s)) && (p[0][0] != 'u' || !bytes.Contains(p[0], []byte("detail"))) {
					t.Errorf("%q lies under %q", s, p[0])
				}
			}
		}

		h.purge(uid, storage.MFA)
		h.detailsAre(map[string]bool{"mfa": false, "other": true, "account": true, "house": false})
		h.purge(uid, storage.MFA, storage.Account)
		h.detailsAre(map[string]bool{"mfa": false, "other": true, "account": false, "house": false})
		h.expect(audit.Query{UID: uid}, "account", "mfa") // the evidence stays
		h.purge(other, storage.MFA)
		for _, p := range h.content() {
			if bytes.Contains(p[1], []byte("lanted")) || bytes.Contains(p[1], []byte(planted.IP)) {
				t.Errorf("left under %q: %q", p[0], p[1])
			}
		}
	})
}

func (h *house) purge(uid storage.UID, classes ...storage.Class) {
	h.t.Helper()
	must(h.t, h.Update(context.Background(), func(tx *storage.Tx) error {
		_, err := storage.Purge(tx, uid, false, classes...)
		return err
	}))
}

// detailsAre sees which events still have their detail, by List and by Get.
func (h *house) detailsAre(want map[string]bool) {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.Store, audit.Query{}, false)
	must(h.t, err)
	for _, e := range entries {
		again, err := audit.Get(context.Background(), h.Store, e.ID)
		must(h.t, err)
		expected := audit.Detail{}
		if want[string(e.Facts["n"])] {
			expected = planted
		}
		if e.Detail != expected || again.Detail != expected || again.ID != e.ID {
			h.t.Errorf("%s has the detail %+v, and %+v", e.Facts["n"], e.Detail, again.Detail)
		}
	}
	if len(entries) != len(want) {
		h.t.Errorf("%d events, want %d", len(entries), len(want))
	}
}

func (h *house) content() (pairs [][2][]byte) {
	h.t.Helper()
	must(h.t, h.Engine().Peek(context.Background(), storage.Range{}, func(k, v []byte) bool {
		pairs = append(pairs, [2][]byte{k, v})
		return true
	}))
	return pairs
}

func TestList_FiltersAndPages(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		a := storage.UID{1}
		b := storage.UID{2}
		types := []audit.Type{audit.StartAuth, audit.AuthSucceed}
		clients := []string{"c1", "c2", "c1"}
		for i := range 6 { // one a second: 0 to 5
			h.record(audit.Event{
				Type:   types[i%2],
				UID:    []storage.UID{a, b, {}}[i%3],
				Client: clients[i%3],
				Facts:  named(i),
			}, audit.Detail{})
			h.clock.Advance(time.Second)
		}
		at := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second) }
		h.expect(audit.Query{}, "5", "4", "3", "2", "1", "0")
		h.expect(audit.Query{UID: a}, "3", "0")
		h.expect(audit.Query{UID: storage.NewUID()})
		h.expect(audit.Query{Types: types[:1]}, "4", "2", "0")
		h.expect(audit.Query{Types: types}, "5", "4", "3", "2", "1", "0")
		h.expect(audit.Query{Client: "c2"}, "4", "1")
		h.expect(audit.Query{Client: "c1", Types: types[1:]}, "5", "3")
		h.expect(audit.Query{Since: at(4)}, "5", "4")
		h.expect(audit.Query{Until: at(1)}, "1", "0")
		h.expect(audit.Query{Since: at(2), Until: at(3)}, "3", "2")
		h.expect(audit.Query{Since: at(2).Add(1), Until: at(4).Add(-1)}, "3")
		h.expect(audit.Query{Since: at(9)})
		h.expect(audit.Query{Until: at(-1)})
		h.expect(audit.Query{UID: a, Since: at(1)}, "3")
		h.expect(audit.Query{Take: 2}, "5", "4")
		h.expect(audit.Query{Skip: 2, Take: 2}, "3", "2")
		h.expect(audit.Query{Skip: 5, Take: 2}, "0")
		h.expect(audit.Query{Skip: 9, Take: 2})
		h.expect(audit.Query{UID: a, Skip: 1, Take: 5}, "0")

		for _, q := range []audit.Query{{Take: 2}, {Skip: 4, Take: 1}, {}, {UID: a, Take: 1}, {Client: "c2", Take: 1}} {
			entries, count, err := audit.List(t.Context(), h.Store, q, true)
			must(t, err)
			all := q
			all.Skip = 0
			all.Take = 0
			if want := len(h.list(all)); count != want || len(entries) > q.Take && q.Take > 0 {
				t.Errorf("%+v: count %d, want %d", q, count, want)
			}
		}
	})
}

func TestList_AfterAnIdIsOldestFirst(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		a := storage.UID{1}
		for i := range 6 {
			h.record(audit.Event{UID: []storage.UID{a, {9}}[i%2], Facts: named(i)}, audit.Detail{})
		}
		entries, _, err := audit.List(t.Context(), h.Store, audit.Query{}, false)
		must(t, err)
		id := entries[3].ID // of "2"
		h.expect(audit.Query{After: id}, "3", "4", "5")
		h.expect(audit.Query{After: id, Take: 2}, "3", "4")
		h.expect(audit.Query{After: id, UID: a}, "4")
		h.expect(audit.Query{After: entries[0].ID})
		h.expect(audit.Query{After: "0"}, "0", "1", "2", "3", "4", "5")
		h.expect(audit.Query{After: "\xff"})

		// From page to page each is seen once.
		var seen []string
		after := "0"
		for {
			page, _, err := audit.List(t.Context(), h.Store, audit.Query{After: after, Take: 4}, false)
			must(t, err)
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				seen = append(seen, string(e.Facts["n"]))
			}
			after = page[len(page)-1].ID
		}
		if strings.Join(seen, "") != "012345" {
			t.Errorf("seen %v", seen)
		}
	})
}

func TestGet_OfWhatIsNoIdIsNotFound(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		h.record(audit.Event{Type: audit.Reset}, audit.Detail{})
		for _, id := range []string{"", "0", strings.Repeat("0", 25), strings.Repeat("9", 25), strings.Repeat("x", 25),
			"+" + strings.Repeat("1", 24), strings.Repeat("0", 24) + "\x00", strings.Repeat("1", 26)} {
			if _, err := audit.Get(t.Context(), h.Store, id); !errors.Is(err, audit.ErrNotFound) {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

func TestTrim_RemovesTheOldestWithAllThatBelongsToThem(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		empty := len(h.content())
		for i := range 10 {
			e := audit.Event{UID: []storage.UID{uid, {}, storage.NewUID()}[i%3], Facts: named(i)}
			must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
				if i%2 == 0 {
					return audit.Record(tx, from(planted), e, planted)
				}
				return audit.RecordAccount(tx, from(planted), e, planted)
			}))
			h.clock.Advance(time.Second)
		}
		trim := func(before time.Time, limit, want int) {
			t.Helper()
			n, err := audit.Trim(t.Context(), h.Store, before, limit)
			must(t, err)
			if n != want {
				t.Errorf("trimmed %d, want %d", n, want)
			}
		}
		trim(begin, 100, 0)
		trim(begin.Add(4*time.Second), 100, 4)
		h.expect(audit.Query{}, "9", "8", "7", "6", "5", "4")
		h.expect(audit.Query{UID: uid}, "9", "6")
		trim(begin.Add(time.Hour), 2, 2)
		h.expect(audit.Query{}, "9", "8", "7", "6")
		trim(begin.Add(time.Hour), 100, 4)
		trim(begin.Add(time.Hour), 100, 0)
		if left := len(h.content()); left != empty {
			t.Errorf("%d keys are left, %d were there before", left, empty)
		}
	})
}

func TestEvent_OfTheHouseNamesNobody(t *testing.T) {
	b, err := json.Marshal(audit.Event{ID: "1", Type: audit.KeyRotated, Time: begin})
	must(t, err)
	if want := `{"id":"1","type":"td_key_rotated","time":"2030-01-02T03:04:05Z"}`; string(b) != want {
		t.Errorf("got %s", b)
	}
}

// recordHouse records an event of the installation by an operator, who comes by sudo when a name is given.
func (h *house) recordHouse(sudo string) {
	h.t.Helper()
	actor := audit.ByOperator(0).WithOrigin(planted.IP, planted.UserAgent).BySudo(sudo)
	must(h.t, h.Update(context.Background(), func(tx *storage.Tx) error {
		return audit.Record(tx, actor, audit.Event{Type: audit.TenantUpdate}, planted)
	}))
}

func TestRecord_OfTheInstallationKeepsTheNameBehindSudoAndNothingElse(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		h.recordHouse("ada")
		e := h.newest()
		if e.Detail != (audit.Detail{Sudo: "ada"}) || e.Damage != "" {
			t.Errorf("event %+v", e)
		}
		// Anybody can prove the event, and to nobody it shows the name: the digest is over a salt.
		_, value := h.at('l', "event", e.ID)
		if !bytes.Equal(value[1:33], leafBy(nil, e.ID, value[33:])) || bytes.Contains(value, []byte("ada")) {
			t.Errorf("stored: %q", value)
		}
		_, detail := h.at('u', "event_detail_house", e.ID)
		detail = detail[rowHeaderBytes:]
		if !bytes.HasPrefix(detail, []byte(`{"salt":"`)) || e.Digest != audit.DigestOf(detail) {
			t.Errorf("the digest %q is not of the detail %s", e.Digest, detail)
		}
		h.clock.Advance(time.Second)
		h.recordHouse("")
		if e := h.newest(); e.Detail != (audit.Detail{}) || e.Digest != "" {
			t.Errorf("without sudo: %+v", e)
		}
	})
}

func TestList_ShowsNoNameThatIsNotAsItWasRecorded(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		h.recordHouse("ada")
		k, value := h.at('u', "event_detail_house", h.newest().ID)
		h.put(k, bytes.Replace(value, []byte("ada"), []byte("eve"), 1))
		if e := h.newest(); e.Detail != (audit.Detail{}) || !strings.Contains(e.Damage, "detail") {
			t.Errorf("event %+v", e)
		}
	})
}

func TestTrim_TakesTheNamesBehindSudoWithTheirEvents(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		empty := len(h.content())
		for range 3 {
			h.recordHouse("ada")
		}
		// Of an event that cannot be read the name goes too, and so does one that is damaged itself.
		entries := h.all()
		k, _ := h.at('l', "event", entries[0].ID)
		h.put(k, []byte{7, 7})
		k, _ = h.at('u', "event_detail_house", entries[1].ID)
		h.put(k, []byte("x"))
		h.clock.Advance(time.Hour)
		if n, err := audit.Trim(t.Context(), h.Store, h.Now(), 100); n != 3 || err != nil {
			t.Errorf("trimmed %d, %v", n, err)
		}
		if left := len(h.content()); left != empty {
			t.Errorf("%d rows are left, there were %d", left, empty)
		}
	})
}
