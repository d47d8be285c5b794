package device_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/storagetest/ground"
)

func (h *house) notify(id string, n recovery.NoticePayload) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error { return recovery.Notify(tx, h.uidIn(tx, id), n) })
}

func TestDeliverNotice_TellsEachActivePhoneOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		a := h.enroll("ada", "a")
		b := h.enroll("ada", "b")
		suspended := h.enroll("ada", "c")
		silent := h.newPhone("d")
		silent.In.Push = push.Address{}
		must(h.t, silent.Enroll(h.ticket("ada")))
		h.suspend(suspended)
		h.enroll("ben", "e")
		h.deliver() // each phone is told of the next
		h.notify("ada", recovery.NoticePayload{Notice: "restore_started", Restore: "rst_1"})
		told := map[string]int{}
		for _, d := range h.deliver() {
			told[d.Enrollment]++
			encoded, err := json.Marshal(d.Object())
			must(h.t, err)
			want := `{"d":"2026-03-01T12:00:00.126Z","dai":"` + d.Enrollment + `","notice":"restore_started","rst":"rst_1","sh":"http://localhost:8080",` +
				`"text":"Another phone wants to take over from one of yours. Is it not you? Open this app and stop it."}`
			if string(encoded) != want {
				h.t.Errorf("the notice is %s", encoded)
			}
		}
		if len(told) != 2 || told[a.Enrolled.ID] != 1 || told[b.Enrolled.ID] != 1 {
			h.t.Errorf("told: %v", told)
		}
	})
}

func TestDeliverNotice_PhoneThatCannotBeReachedHasNoOtherToldAgain(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		broken := h.enroll("ada", "b")
		h.sent.Fail = func(to push.Address) error {
			if to == broken.In.Push {
				return errors.New("the service does not answer")
			}
			return nil
		}
		h.notify("ada", recovery.NoticePayload{Notice: "code_changed"})
		h.deliver()
		for range 5 {
			h.clock.Advance(2 * time.Minute)
			for _, d := range h.deliver() {
				if d.Enrollment != broken.Enrolled.ID {
					h.t.Errorf("%s was told again", d.Enrollment)
				}
			}
		}
		h.sent.Fail = nil
		h.clock.Advance(2 * time.Minute)
		if told := h.deliver(); len(told) != 1 || told[0].Enrollment != broken.Enrolled.ID {
			h.t.Errorf("when the service answers again: %+v", told)
		}
		if left := h.waiting(); len(left) != 0 {
			h.t.Errorf("left in the outbox: %v", left)
		}
	})
}

func TestDeliverNotice_TokenThatIsGoneIsUsedNoMore(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.sent.Fail = func(push.Address) error { return &push.Refusal{Verdict: push.Gone} }
		h.notify("ada", recovery.NoticePayload{Notice: "code_changed"})
		if told := h.deliver(); len(told) != 1 {
			h.t.Errorf("told %d times", len(told))
		}
		if e := p.Enrollment(); e.PushState() != device.PushLost || len(e.Routes()) != 0 {
			h.t.Errorf("push is %s, messages go to %+v", e.PushState(), e.Routes())
		}
		if len(h.waiting()) != 0 {
			h.t.Error("an entry is left in the outbox")
		}
		p.Proof() // the enrollment works on
	})
}

func TestNotePush_KeepsOneThatTheAppHasNamedSinceThen(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		drop := func(gone push.Address) {
			h.update(func(tx *storage.Tx) error {
				return device.NotePush(tx, h.uidIn(tx, "ada"), p.Enrolled.ID, gone, device.Said{Gone: true, AsOf: tx.Now()})
			})
		}
		drop(push.Address{Service: push.GCM, Token: "an older one"})
		drop(push.Address{Service: push.APNs, Token: p.In.Push.Token})
		if p.Enrollment().PushState() != device.PushOK {
			h.t.Fatal("the token in force was lost for another")
		}
		drop(p.In.Push)
		if p.Enrollment().PushState() != device.PushLost {
			h.t.Error("the token that is gone is used")
		}
		h.update(func(tx *storage.Tx) error {
			return device.NotePush(tx, h.uidIn(tx, "ada"), "dev_0000000000000000", p.In.Push, device.Said{Gone: true, AsOf: tx.Now()})
		})
	})
}

func TestRetire_TellsThePhoneAndThenForgetsItsAddress(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.update(func(tx *storage.Tx) error {
			return device.Retire(tx, h.uidIn(tx, "ada"), p.enrollmentIn(tx), &recovery.NoticePayload{Notice: "restored"})
		})
		if told := h.deliver(); len(told) != 1 || told[0].To != p.In.Push || told[0].Notice != "restored" {
			h.t.Errorf("told: %+v", told)
		}
		if !p.Enrollment().PushAddress().IsZero() {
			h.t.Error("the address of a retired phone that was told is kept")
		}
	})
}

func (p *phone) enrollmentIn(tx *storage.Tx) *device.Enrollment {
	_, e, err := device.Find(tx, p.Enrolled.ID)
	must(p.h.t, err)
	return e
}

func TestDeliverNotice_OfAUserWhoWasResetTellsNobody(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		h.notify("ada", recovery.NoticePayload{Notice: "code_changed"})
		h.reset("ada")
		if told := h.deliver(); len(told) != 0 {
			h.t.Errorf("told: %+v", told)
		}
	})
}

func TestDeliverNotice_OfAnInstallationWithoutAPushServiceIsDone(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.Service = device.New(h.store, h.ring, h.codes, device.Options{Bases: device.NewBases([]string{publicURL}), Issuer: "x"})
	h.enroll("ada", "a")
	h.notify("ada", recovery.NoticePayload{Notice: "code_changed"})
	h.deliver()
	if left := h.waiting(); len(left) != 0 {
		t.Errorf("left in the outbox: %v", left)
	}
}
