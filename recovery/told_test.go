package recovery_test

import (
	"testing"
	"time"

	"tutela/recovery"
	"tutela/storage"
)

func (h *house) tell(uid storage.UID, n recovery.NoticePayload) {
	h.t.Helper()
	must(h.t, h.update(func(tx *storage.Tx) error { return recovery.Notify(tx, uid, n) }))
}

func (h *house) told(uid storage.UID, since time.Time) (list []recovery.NoticePayload) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) (err error) {
		list, err = recovery.Notices(tx, uid, since)
		return err
	})
	return list
}

func TestNotices_LieInOrderEachWithATimeOfItsOwn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		for range 3 { // the clock stands still
			h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		}
		h.clock.Advance(time.Second)
		h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticeRestored})
		all := h.told(uid, time.Time{})
		if len(all) != 4 || all[3].Notice != recovery.NoticeRestored {
			h.t.Fatalf("told %+v", all)
		}
		for i, n := range all {
			if rest := h.told(uid, n.At); len(rest) != 3-i {
				h.t.Errorf("after %v: %d, want %d", n.At, len(rest), 3-i)
			}
		}
	})
}

func TestNotices_AreKeptThirtyDaysOrAsLongAsTheirCauserSays(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticeRestoreStarted, Life: time.Minute})
		h.clock.Advance(time.Minute)
		if all := h.told(uid, time.Time{}); len(all) != 1 || all[0].Notice != recovery.NoticeCodeChanged {
			h.t.Errorf("after a minute: %+v", all)
		}
		h.clock.Advance(30*24*time.Hour - time.Minute)
		if all := h.told(uid, time.Time{}); len(all) != 0 {
			h.t.Errorf("after thirty days: %+v", all)
		}
	})
}

func TestNotices_FloodOfOneWordDisplacesItsOwnAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticePushTokenChanged})
		must(h.t, h.update(func(tx *storage.Tx) error {
			for range 300 {
				if err := recovery.Notify(tx, uid, recovery.NoticePayload{Notice: recovery.NoticeRestoreStarted}); err != nil {
					return err
				}
			}
			return nil
		}))
		h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		all := h.told(uid, time.Time{})
		if len(all) != 200 || all[0].Notice != recovery.NoticePushTokenChanged || all[199].Notice != recovery.NoticeCodeChanged {
			h.t.Errorf("%d are kept, from %s to %s", len(all), all[0].Notice, all[len(all)-1].Notice)
		}
	})
}

func TestNotices_AResetTakesThem(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		h.reset("ada", false)
		if all := h.told(uid, time.Time{}); len(all) != 0 {
			h.t.Errorf("after the reset: %+v", all)
		}
	})
}

func TestNotices_WakeWhoWaitsWithTheCommit(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		woken, stop := h.store.Watch(uid)
		defer stop()
		h.tell(uid, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		<-woken
	})
}
