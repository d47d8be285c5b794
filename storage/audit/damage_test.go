package audit_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// Damage in one place is told there, and all else is read as ever.
func TestList_StepsPastWhatIsDamagedAndSaysSo(t *testing.T) {
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		space       byte
		table       string
		bend        func([]byte) []byte
		unreadable  bool
		detail      bool // is still shown
		damage      string
		othersKnown bool // that the user's other events cannot be checked is said too
	}{
		"no form":       {'l', "event", func([]byte) []byte { return []byte{7, 7} }, true, false, "cannot be read", false},
		"nothing":       {'l', "event", func([]byte) []byte { return nil }, true, false, "cannot be read", false},
		"cut":           {'l', "event", func(b []byte) []byte { return b[:len(b)-1] }, true, false, "cannot be read", false},
		"of another id": {'l', "event", func(b []byte) []byte { return bytes.Replace(b, []byte(`"id":"1`), []byte(`"id":"2`), 1) }, true, false, "cannot be read", false},
		"changed":       {'l', "event", func(b []byte) []byte { return bytes.Replace(b, []byte("gd_auth_failed"), []byte("gd_auth_failet"), 1) }, false, true, "leaf", false},
		"leaf":          {'l', "event", func(b []byte) []byte { return flip(b, 5) }, false, true, "leaf", false},
		"leaf of nobody": {'l', "event", func(b []byte) []byte {
			return append(append([]byte{1}, leafBy(nil, "", b[33:])...), b[33:]...)
		}, false, true, "leaf", false},
		"detail changed": {'u', "event_detail", func(b []byte) []byte { return bytes.Replace(b, []byte("203.0"), []byte("203.1"), 1) }, false, false, "detail", false},
		"detail's row":   {'u', "event_detail", func(b []byte) []byte { return []byte("x") }, false, false, "detail", false},
		"pointer's row":  {'u', "event", func(b []byte) []byte { return []byte("x") }, false, true, "", false},
		"log key":        {'u', "log_key", func(b []byte) []byte { return flip(b, len(b)-1) }, false, true, "log key", true},
		"log key's row":  {'u', "log_key", func(b []byte) []byte { return []byte("x") }, false, true, "log key", true},
	} {
		t.Run(name, func(t *testing.T) {
			onEngines(t, func(t *testing.T, h *house) {
				uid := storage.UID{3, 9} // in a shard that is not the house's
				h.ensureKey(uid)
				for _, kind := range []audit.Type{audit.StartAuth, audit.AuthFailed, audit.AuthSucceed} {
					h.record(audit.Event{Type: kind, UID: uid, Facts: named(kind)}, planted)
					h.clock.Advance(time.Second)
				}
				h.record(audit.Event{Type: audit.KeyRotated, Facts: named("house")}, audit.Detail{})
				before := h.all()
				bad := before[2]
				key := bad.ID
				if c.table == "log_key" {
					key = ""
				}
				k, value := h.at(c.space, c.table, key)
				h.put(k, c.bend(value))

				after := h.all()
				if len(after) != len(before) {
					t.Fatalf("%d events, were %d", len(after), len(before))
				}
				for i, e := range after {
					want := before[i]
					if i != 2 {
						if told := e.Damage != ""; told != (c.othersKnown && !e.UID.IsZero()) || e.Type != want.Type || e.Detail != want.Detail {
							t.Errorf("%s is read as %+v", want.Type, e)
						}
						continue
					}
					if (c.damage == "") != (e.Damage == "") || !strings.Contains(e.Damage, c.damage) || e.ID != want.ID || e.Time.Sub(want.Time).Abs() > time.Millisecond {
						t.Errorf("the damaged one is read as %+v", e)
					}
					if (e.Type == audit.Damaged) != c.unreadable || (e.Detail != audit.Detail{}) != c.detail {
						t.Errorf("the damaged one is read as %+v", e)
					}
					alone, err := audit.Get(t.Context(), h.Store, bad.ID)
					must(t, err)
					if alone.Damage != e.Damage || alone.Type != e.Type {
						t.Errorf("by itself it is %+v", alone)
					}
				}
				mine, count, err := audit.List(t.Context(), h.Store, audit.Query{UID: uid, Oldest: true}, true)
				must(t, err)
				if len(mine) != 3 || count != 3 || mine[1].ID != bad.ID || mine[1].UID != uid {
					t.Errorf("of the user: %+v", mine)
				}
				// Life goes on: her next event is recorded, and the old ones are trimmed.
				h.record(audit.Event{Type: audit.StartAuth, UID: uid, Facts: named("next")}, planted)
				h.clock.Advance(time.Hour)
				if n, err := audit.Trim(t.Context(), h.Store, h.Now(), 100); n != 5 || err != nil {
					t.Errorf("trimmed %d, %v", n, err)
				}
				if left := h.all(); len(left) != 0 {
					t.Errorf("left: %+v", left)
				}
			})
		})
	}
}

func TestRecord_UnderADamagedKeyShutsTheEventAndLeavesTheKey(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := h.user()
		h.record(audit.Event{Type: audit.StartAuth, UID: uid}, planted)
		k, good := h.at('u', "log_key", "")
		for _, bad := range [][]byte{[]byte("x"), good[:len(good)-1]} {
			h.put(k, bad)
			h.ensureKey(uid)
			if _, left := h.at('u', "log_key", ""); !bytes.Equal(left, bad) {
				t.Errorf("the damaged key %q has become %q", bad, left)
			}
		}
		h.put(k, append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1))
		h.record(audit.Event{Type: audit.AuthSucceed, UID: uid, Facts: named("then")}, planted)
		e := h.newest()
		_, value := h.at('l', "event", e.ID)
		if bytes.Equal(value[1:33], leafBy(nil, e.ID, value[33:])) || e.Detail != planted {
			t.Errorf("recorded as %+v, open to anyone", e)
		}
		h.put(k, good)
		for _, e := range h.all() {
			if e.Damage != "" {
				t.Errorf("after the repair: %+v", e)
			}
		}
	})
}

// Whatever lies in the log, a reader has an event of it, with the id under which it lies.
func FuzzDecode(f *testing.F) {
	f.Add("1893553445000000000123456", []byte(`{"id":"1893553445000000000123456","type":"x"}`))
	f.Add("1893553445000000000123456", audit.Seal(1, [32]byte{}, []byte(`{"v":1,"id":"1893553445000000000123456"}`)))
	f.Add("", []byte{1})
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		e, damage := audit.Decode(storage.House, id, value)
		if e.ID != strings.ToValidUTF8(id, "?") || (e.Type == audit.Damaged) && damage == "" && !bytes.Contains(value, []byte(audit.Damaged)) {
			t.Errorf("%+v, %q", e, damage)
		}
	})
}

func TestList_ReturnsTheEnginesErrorAndNoDamage(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		h.record(audit.Event{Type: audit.StartAuth, UID: storage.NewUID()}, planted)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := audit.List(ctx, h.Store, audit.Query{}, false); !errors.Is(err, ctx.Err()) || err == nil {
			t.Errorf("got %v", err)
		}
	})
}
