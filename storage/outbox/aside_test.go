package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

// ruin replaces the value of each key that is chosen.
func (h *house) ruin(value string, chosen func(k []byte) bool) {
	h.t.Helper()
	changes := map[string][]byte{}
	h.scan(func(k, _ []byte) {
		if chosen(k) {
			changes[string(k)] = []byte(value)
		}
	})
	h.write(changes)
}

func isPointer(k []byte) bool { return bytes.HasPrefix(k, []byte("loutbox\x00")) }

func (h *house) asides() []outbox.Aside {
	h.t.Helper()
	list, err := outbox.Asides(context.Background(), h.store)
	must(h.t, err)
	return list
}

func TestSender_StepsPastDamagedEntriesAndSetsThemAside(t *testing.T) {
	header := "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for name, c := range map[string]struct {
		value  string
		chosen func(k []byte) bool
	}{
		"a payload without a header":          {"damaged", isPayload},
		"a payload that is no JSON":           {header + "{damaged", isPayload},
		"a payload of another shape":          {header + `{"id":"damaged","kind":"work","payload":{"a":1},"expires":"2100-01-01T00:00:00Z"}`, isPayload},
		"an empty payload":                    {"", isPayload},
		"a pointer that is no JSON":           {"{damaged", isPointer},
		"a pointer to another entry":          {`{"id":"damaged"}`, isPointer},
		"a pointer of another shape":          {`["damaged"]`, isPointer},
		"an empty pointer":                    {"", isPointer},
		"a payload of a kind nobody declared": {header + `{"id":"x","kind":"work","payload":"damaged` + "\n" + `"}`, isPayload},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				h.addMany("FCM", 100)
				h.ruin(c.value, c.chosen)
				var a attempts
				h.send(a.succeed)
				h.addTo("FCM", storage.NewUID(), "sound")
				pass(time.Minute)
				expect(t, &a, "sound")
				asides := h.asides()
				if len(asides) != 100 {
					t.Fatalf("%d entries lie aside", len(asides))
				}
				for _, one := range asides {
					bytesKept := one.Row
					if one.Owner.IsZero() {
						bytesKept = one.Pointer
					}
					if string(bytesKept) != c.value || one.Why == "" || one.At.IsZero() || !strings.Contains(one.Key, "work/FCM") {
						t.Fatalf("aside: %+v", one)
					}
				}
				if n := h.log.count("cannot be read and was set aside"); n == 0 || n > 100 {
					t.Errorf("%d lines of the log tell of 100 entries", n)
				}
				if err := h.sender.Trouble(t.Context()); err == nil || err.Error() != "entries that cannot be read: 100" {
					t.Errorf("trouble: %v", err)
				}
			})
		})
	}
}

func TestSender_StepsPastPointersWithKeysOfNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		changes := map[string][]byte{}
		for i, key := range []string{"", "x", "0", "work\x00", "work\x00now", "WORK\x00" + strings.Repeat("0", 36), "\x00" + strings.Repeat("0", 36), "zzz"} {
			changes[fmt.Sprintf("loutbox\x00%c%s", i%h.engine.shards, key)] = []byte(`{"id":"damaged"}`)
		}
		h.write(changes)
		var a attempts
		h.send(a.succeed)
		h.add(storage.NewUID(), "sound")
		pass(time.Minute)
		expect(t, &a, "sound")
		h.expectLeft(nothing)
		if n := len(h.asides()); n != len(changes) {
			t.Errorf("%d of %d lie aside", n, len(changes))
		}
	})
}

func TestAsides_AreStillThereAfterARestartAndGoWhenTheyAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.addMany("", 2)
		h.ruin("damaged", isPayload)
		var a attempts
		h.send(a.succeed)
		synctest.Wait()
		h.stop()
		must(t, h.store.Close())
		h.open()
		h.send(a.succeed)
		pass(time.Minute)
		if status := h.status(); status.Aside != 2 {
			t.Errorf("after a restart: %+v", status)
		}
		if n := h.log.count("set aside"); n != 2 {
			t.Errorf("the log tells %d times of 2 entries", n)
		}
		for _, one := range h.asides() {
			must(t, outbox.Forget(t.Context(), h.store, one.ID))
		}
		if err := outbox.Forget(t.Context(), h.store, "obx_nobody"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("forget what is not there: %v", err)
		}
		if err := h.sender.Trouble(t.Context()); err != nil {
			t.Error(err)
		}
		expect(t, &a, "")
	})
}

// What lies aside may be what a person must not find after a reset.
func TestAsides_OfAUserGoWithAReset(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.update(func(tx *storage.Tx) error { return report.Add(tx, uid, "x", tx.Now().Add(time.Hour)) })
		h.ruin("planted", isPayload)
		var did classes
		h.sendAll(did.handlers()...)
		synctest.Wait()
		if n := len(h.asides()); n != 1 {
			t.Fatalf("%d lie aside", n)
		}
		h.purge(uid, storage.MFA)
		h.scan(func(k, v []byte) {
			if bytes.Contains(v, []byte("planted")) || bytes.Contains(v, []byte("cGxhbnRlZA")) {
				t.Errorf("left under %q", k)
			}
		})
		pass(2 * time.Minute)
		if status := h.status(); status.Aside != 0 {
			t.Errorf("counted still: %+v", status)
		}
	})
}
