package own_test

import (
	"slices"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/own"
	"tutela/recovery"
	"tutela/storage/audit"
)

// line returns the newest line of a type about an authenticator; about none for "".
func (h *house) line(token string, of audit.Type, name string) string {
	h.t.Helper()
	lines, _, err := h.Lately(ctx, token, "")
	must(h.t, err)
	for _, l := range lines {
		if l.Type == of && l.Device == name {
			return l.ID
		}
	}
	h.t.Fatalf("no line %s of %q among %+v", of, name, lines)
	return ""
}

func (h *house) notMe(token, line string) own.Denial {
	h.t.Helper()
	d, err := h.NotMe(ctx, token, line, her)
	must(h.t, err)
	return d
}

func TestNotMe_SuspendsWhatIsNewerThanTheFactorAndReportsIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		stranger := h.phone("Galaxy A56")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		h.remember()
		line := h.line(token, audit.EnrollComplete, "Galaxy A56")
		d := h.notMe(token, line)
		if len(d.Stopped) != 1 || d.Stopped[0].Name != "Galaxy A56" || len(d.Reported) != 0 {
			t.Errorf("what came of it: %+v", d)
		}
		h.expectStatus(stranger.Enrolled.ID, device.Suspended)
		h.expectStatus(p.Enrolled.ID, device.Active)
		_, err := stranger.Call()
		expect(t, "the stranger's phone calls", err, device.ErrSuspended)
		if told := h.notices(); !slices.Contains(told, recovery.NoticeNotMe) || !slices.Contains(told, recovery.NoticeDisowned) {
			t.Errorf("told %v", told)
		}
		events := h.EventsOf("ada", audit.NotMe)
		if len(events) != 1 || events[0].Facts[audit.FactStatus] != audit.NotMeSuspended || events[0].Facts[audit.FactEvent] != audit.Word(line) {
			t.Errorf("events %+v", events)
		}
		if n := h.look(token).Browsers; n != 0 {
			t.Errorf("%d browsers are remembered still", n)
		}
		// Once more is no more.
		h.notMe(token, line)
		if n := len(h.EventsOf("ada", audit.NotMe)); n != 1 {
			t.Errorf("%d events", n)
		}
		again, shown, err := h.Denial(ctx, token, line)
		must(t, err)
		if len(again.Stopped) != 1 || shown == nil || !shown.Denied {
			t.Errorf("read again: %+v, %+v", again, shown)
		}
	})
}

func TestNotMe_OfWhatIsOlderOnlyReportsIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		old := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		newer := h.phone("iPad")
		token := h.open(h.byNumber(newer))
		h.stepUp(token, newer)
		d := h.notMe(token, old.Enrolled.ID)
		if len(d.Stopped) != 0 || len(d.Reported) != 1 || d.Reported[0].Name != "Pixel 9" {
			t.Errorf("what came of it: %+v", d)
		}
		h.expectStatus(old.Enrolled.ID, device.Active)
		if !slices.Contains(h.notices(), recovery.NoticeNotMe) {
			t.Error("the phones were not told")
		}
		events := h.EventsOf("ada", audit.NotMe)
		if len(events) != 1 || events[0].Facts[audit.FactStatus] != audit.NotMeReported || events[0].Detail.Enrollment != old.Enrolled.ID {
			t.Errorf("events %+v", events)
		}
		// Nor what she has proven just now.
		if d := h.notMe(token, newer.Enrolled.ID); len(d.Stopped) != 0 {
			t.Errorf("it stopped itself: %+v", d)
		}
	})
}

func TestNotMe_OfWhatIsAWeekOldOnlyReportsIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		stranger := h.phone("Galaxy A56")
		h.Clock.Advance(7 * 24 * time.Hour)
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		if d := h.notMe(token, stranger.Enrolled.ID); len(d.Stopped) != 0 || len(d.Reported) != 1 {
			t.Errorf("what came of it: %+v", d)
		}
		h.expectStatus(stranger.Enrolled.ID, device.Active)
	})
}

func TestNotMe_ByTheRecoveryCodeCountsFromWhenTheCodeWasIssued(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		tablet := h.phone("iPad")
		h.Clock.Advance(time.Hour)
		g, next := h.byCode(recovery.Code(p.Enrolled.RecoveryCode)) // as old as the first phone
		token := h.open(g)
		if d := h.notMe(token, tablet.Enrolled.ID); len(d.Stopped) != 1 {
			t.Errorf("what came of it: %+v", d)
		}
		h.Clock.Advance(time.Hour)
		third := h.phone("Third")
		g, _ = h.byCode(next) // issued after the tablet and before the third
		token = h.open(g)
		h.expectStatus(tablet.Enrolled.ID, device.Active)
		if d := h.notMe(token, tablet.Enrolled.ID); len(d.Stopped) != 0 {
			t.Errorf("older than the code: %+v", d)
		}
		if d := h.notMe(token, third.Enrolled.ID); len(d.Stopped) != 1 {
			t.Errorf("newer than the code: %+v", d)
		}
	})
}

// A thief who has her old phone, and her password, says of her new one that it was not she.
func TestNotMe_AThiefWithTheOldPhoneDoesNotSilenceTheOwner(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		old := h.phone("old phone")
		h.Clock.Advance(time.Hour)
		hers := h.phone("new phone")
		thief := h.open(h.byNumber(old))
		h.stepUp(thief, old)
		h.notMe(thief, hers.Enrolled.ID)
		h.expectStatus(hers.Enrolled.ID, device.Suspended)

		// She logs in with her recovery code, and is back.
		h.byCode(recovery.Code(old.Enrolled.RecoveryCode))
		h.expectStatus(hers.Enrolled.ID, device.Active)
		if !slices.Contains(h.notices(), recovery.NoticeVouched) {
			t.Error("the phones were not told")
		}
		// He says it again, in another visit: that stops her phone no more.
		h.Clock.Advance(time.Minute)
		thief = h.open(h.byNumber(old))
		h.stepUp(thief, old)
		if d := h.notMe(thief, hers.Enrolled.ID); len(d.Stopped) != 0 || len(d.Reported) != 1 {
			t.Errorf("what came of it: %+v", d)
		}
		h.expectStatus(hers.Enrolled.ID, device.Active)
	})
}

func TestNotMe_AnAdminsSuspensionIsNotLiftedByTheCode(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		stranger := h.phone("Galaxy A56")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		h.notMe(token, stranger.Enrolled.ID)
		must(t, h.Admins.Suspend(ctx, stranger.Enrolled.ID, devicetest.Admin))
		h.byCode(recovery.Code(p.Enrolled.RecoveryCode))
		h.expectStatus(stranger.Enrolled.ID, device.Suspended)
	})
}

func TestNotMe_AStepUpByTheCodeLiftsNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		stranger := h.phone("Galaxy A56")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		h.notMe(token, stranger.Enrolled.ID)
		must(t, h.StepUpByCode(ctx, token, p.Enrolled.RecoveryCode, her))
		h.expectStatus(stranger.Enrolled.ID, device.Suspended)
	})
}

func TestNotMe_OfALineThatIsNotHersIsRefused(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		other := h.Enroll("otto", "otto's")
		foreign := h.EventsOf("otto", audit.EnrollComplete)[0].ID
		for _, line := range []string{"", "x", foreign, other.Enrolled.ID, "dev_", "0000000000000000000000000"} {
			_, err := h.NotMe(ctx, token, line, her)
			expect(t, "line "+line, err, own.ErrNoLine)
		}
	})
}

func TestNotMe_OfALoginByCodeStopsWhatIsNew(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		h.byCode(recovery.Code(p.Enrolled.RecoveryCode)) // the thief's
		stranger := h.phone("Galaxy A56")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		d := h.notMe(token, h.line(token, audit.RecoverySucceed, ""))
		if len(d.Stopped) != 1 || d.Stopped[0].ID != stranger.Enrolled.ID || len(d.Reported) != 1 {
			t.Errorf("what came of it: %+v", d)
		}
	})
}

func TestNotMe_OfWhatLetNobodyInStopsNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		h.Clock.Advance(time.Hour)
		h.phone("iPad")
		_, err := h.Logins.RedeemCode(ctx, h.start(), string(recovery.DrawCode()))
		expect(t, "a wrong code", err, recovery.ErrWrongCode)
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		d := h.notMe(token, h.line(token, audit.RecoveryFailed, ""))
		if len(d.Stopped)+len(d.Reported) != 0 {
			t.Errorf("what came of it: %+v", d)
		}
	})
}

func TestNotMe_IsBoundedInAVisit(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		for range 21 {
			_, err := h.Logins.RedeemCode(ctx, h.start(), string(recovery.DrawCode()))
			if err == nil {
				t.Fatal("let in")
			}
			h.Clock.Advance(2 * time.Hour)
		}
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		said := 0
		for _, e := range h.EventsOf("ada", audit.RecoveryFailed) {
			_, err := h.NotMe(ctx, token, e.ID, her)
			if said++; said > 20 {
				expect(t, "past the bound", err, own.ErrTooMuch)
				continue
			}
			must(t, err)
		}
		if said < 21 {
			t.Fatalf("only %d lines", said)
		}
	})
}
