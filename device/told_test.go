package device_test

import (
	"context"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
)

// told are the words of the notices that the phone reads.
func (p *phone) told(since time.Time) ([]string, error) {
	p.h.t.Helper()
	proof, err := p.h.ProveReader(context.Background(), p.Enrolled.ID, p.JWT(nil))
	if err != nil {
		return nil, err
	}
	list, err := p.h.Notices(context.Background(), proof, since, 0)
	words := make([]string, 0, len(list))
	for _, m := range list {
		if m.Enrollment != p.Enrolled.ID || m.Text == "" || len(m.Text) > 120 {
			p.h.t.Errorf("told %+v", m)
		}
		words = append(words, m.Notice)
	}
	return words, err
}

// expectTold fails the test unless the phone reads these words and no other.
func (p *phone) expectTold(want ...string) {
	p.h.t.Helper()
	got, err := p.told(time.Time{})
	must(p.h.t, err)
	if len(got) != len(want) {
		p.h.t.Errorf("%s reads %q, want %q", p.In.Identifier, got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			p.h.t.Errorf("%s reads %q, want %q", p.In.Identifier, got, want)
			return
		}
	}
}

// TestNotices_AreReadByThoseWhomTheyMean: all lies in one moment of the clock, so only the order tells.
func TestNotices_AreReadByThoseWhomTheyMean(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		a := h.enroll("ada", "a")
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		silent := h.newPhone("b")
		silent.In.Push = push.Address{} // its row alone tells it
		must(h.t, silent.Enroll(h.ticket("ada")))
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeGuessed})
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeRestoreStarted, Enrollment: a.Enrolled.ID})
		ben := h.enroll("ben", "c")

		a.expectTold("code_changed", "device_added", "code_guessed", "restore_started")
		silent.expectTold("code_guessed")
		ben.expectTold()
	})
}

func TestNotices_OfARetiredPhoneAreReadForSevenDaysAndEndWithIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		same := h.newPhone("a") // the same phone, installed anew
		must(h.t, same.Enroll(h.ticket("ada")))
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeGuessed})

		p.expectTold("code_changed", "replaced")
		if _, err := p.Call(); err == nil {
			h.t.Error("the key of a retired phone opens another call")
		}
		h.clock.Advance(7*24*time.Hour - time.Second)
		p.expectTold("code_changed", "replaced")
		h.clock.Advance(time.Second)
		_, err := p.told(time.Time{})
		expect(h.t, "after seven days", err, device.ErrNoEnrollment)
	})
}

func TestNotices_OfAPhoneThatWasResetAreGone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		h.reset("ada")
		_, err := p.told(time.Time{})
		expect(h.t, "after a reset", err, device.ErrNoEnrollment)
	})
}

func TestNotices_PushAndRowHaveOneTime(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		h.clock.Advance(time.Minute) // the service was busy
		pushed := h.deliver()
		proof, err := h.ProveReader(context.Background(), p.Enrolled.ID, p.JWT(nil))
		must(h.t, err)
		read, err := h.Notices(context.Background(), proof, time.Time{}, 0)
		must(h.t, err)
		if len(pushed) != 1 || len(read) != 1 {
			h.t.Fatalf("pushed %+v, read %+v", pushed, read)
		}
		if pushed[0].Life != 24*time.Hour {
			h.t.Errorf("the service keeps it for %s", pushed[0].Life)
		}
		pushed[0].Life = 0
		if pushed[0].Message != read[0] {
			h.t.Errorf("pushed %+v, read %+v", pushed, read)
		}
	})
}

// TestNotices_OfAnEarlierReleaseThatStillWaitArePushed: such an entry of the outbox has no time.
func TestNotices_OfAnEarlierReleaseThatStillWaitArePushed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.update(func(tx *storage.Tx) error {
			return recovery.PushNotice(tx, h.uidIn(tx, "ada"), "", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		})
		if told := h.deliver(); len(told) != 1 || told[0].Enrollment != p.Enrolled.ID {
			h.t.Errorf("told %+v", told)
		}
	})
}
