package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

// addAsVersion01 writes an entry as tutela 0.1 did: a payload of class mfa, and a pointer whose key is when it is due
// and the id.
func (h *house) addAsVersion01(uid storage.UID, id, kind, payload string, attempts int) {
	h.t.Helper()
	now := h.store.Now()
	expires := now.Add(time.Hour).Format(time.RFC3339Nano)
	row := fmt.Sprintf(`{"id":%q,"uid":%q,"kind":%q,"payload":%q,"expires":%q,"attempts":%d}`, id, uid.String(), kind, payload, expires, attempts)
	shard := uid[0] % byte(h.engine.shards)
	h.write(map[string][]byte{
		"u" + string(uid[:]) + "outbox\x00" + id:                       []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" + row),
		fmt.Sprintf("loutbox\x00%c%019d%s", shard, now.UnixNano(), id): fmt.Appendf(nil, `{"uid":%q,"id":%q}`, uid.String(), id),
	})
}

func TestUpgrade_EntriesOfVersion01AreDone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		for i := range 100 {
			h.addAsVersion01(storage.UID{byte(i), 1}, fmt.Sprintf("%016d", i), "work", "old", 0)
		}
		h.add(storage.NewUID(), "new")
		h.send(a.succeed)
		synctest.Wait()
		if n := a.count(); n != 101 {
			t.Errorf("%d were done", n)
		}
		h.expectLeft(nothing)
	})
}

func TestUpgrade_AnEntryOfVersion01ThatFailsGoesOnInTheLineOfItsKind(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.addAsVersion01(storage.NewUID(), "0123456789abcdef", "work", "old", 3)
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			if e.Attempts != 2+a.note(e) {
				t.Errorf("%d attempts", e.Attempts)
			}
			if a.count() < 3 {
				return nil, outbox.Unreachable(errors.New("not yet"))
			}
			return nil, nil
		})
		synctest.Wait()
		pass(time.Minute)
		expect(t, &a, "old old old")
		h.expectLeft(nothing)
	})
}

func TestUpgrade_AResetTakesAnEntryOfVersion01(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		uid := storage.NewUID()
		h.addAsVersion01(uid, "0123456789abcdef", "work", "old", 0)
		h.purge(uid, storage.MFA)
		h.send(a.succeed)
		expect(t, &a, "")
		h.expectLeft(nothing)
	})
}
