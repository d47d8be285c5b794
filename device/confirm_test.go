package device_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

func (h *house) confirm(ticket, code string) (*device.Enrolled, error) {
	return h.ConfirmOTP(h.t.Context(), ticket, code, devicetest.ByPhone)
}

func TestConfirmOTP_BindsAnAppThatOnlyShowsCodes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		app := h.home.NewCodeApp(ticket)
		enrolled, err := h.confirm(ticket, app.Code(0))
		must(h.t, err)
		if enrolled.UserID != "ada" || enrolled.Token != "" || enrolled.TOTP != nil || len(enrolled.RecoveryCode) != 24 {
			h.t.Errorf("%+v", enrolled)
		}
		h.expectState("ada", user.Enrolled)
		h.view(func(tx *storage.Tx) error {
			_, e, err := device.Find(tx, enrolled.ID)
			if err == nil && (e.Type != device.TypeOTP || e.Status != device.Active || e.Via != device.ViaTicket) {
				h.t.Errorf("%+v", e)
			}
			return err
		})
		if n := len(h.events("ada", audit.EnrollComplete)); n != 1 {
			h.t.Errorf("%d events", n)
		}
		if h.holds(app.Secret) {
			h.t.Error("the secret lies in the store in plain form")
		}
		uid := h.uid("ada")
		_, err = h.spendOTP(uid, app.Code(0))
		expect(h.t, "the code that confirmed it, for a login", err, device.ErrWrongOTP)
		_, err = h.spendOTP(uid, app.Code(30*time.Second))
		expect(h.t, "the next one", err, nil)
	})
}

func TestConfirmOTP_AWrongCodeSpendsNothingAndCountsNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		app := h.home.NewCodeApp(ticket)
		for range 30 {
			_, err := h.confirm(ticket, h.home.OtherOTP(app.Secret))
			expect(h.t, "a wrong code", err, device.ErrWrongOTP)
			_, err = h.confirm(ticket, "12345")
			expect(h.t, "a typo", err, otp.ErrTypo)
		}
		h.expectState("ada", user.New)
		_, err := h.confirm(ticket, app.Code(0))
		expect(h.t, "the code", err, nil)
	})
}

func TestConfirmOTP_SameAgainGetsTheSameAnswerWithoutTheRecoveryCode(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		app := h.home.NewCodeApp(ticket)
		code := app.Code(0)
		first, err := h.confirm(ticket, code)
		must(h.t, err)
		again, err := h.confirm(ticket, code)
		must(h.t, err)
		if again.ID != first.ID || again.UserID != first.UserID || again.RecoveryCode != "" {
			h.t.Errorf("again %+v, first %+v", again, first)
		}
		for name, typed := range map[string]string{"another code": app.Code(30 * time.Second), "a typo": "1"} {
			_, err := h.confirm(ticket, typed)
			expect(h.t, name, err, device.ErrTicket)
		}
		p := h.newPhone("a")
		expect(h.t, "a phone", p.Enroll(ticket), device.ErrTicket)
		h.clock.Advance(recovery.ReplyLife)
		_, err = h.confirm(ticket, code)
		expect(h.t, "past the kept reply", err, device.ErrTicket)
	})
}

func TestConfirmOTP_OfATicketThatAPhoneHasSpentOrThatIsOver(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		app := h.home.NewCodeApp(ticket)
		must(h.t, h.newPhone("a").Enroll(ticket))
		_, err := h.confirm(ticket, app.Code(0))
		expect(h.t, "spent by a phone", err, device.ErrTicket)
		late := h.ticket("ada")
		app = h.home.NewCodeApp(late)
		h.clock.Advance(5 * 24 * time.Hour)
		_, err = h.confirm(late, app.Code(0))
		expect(h.t, "expired", err, device.ErrTicket)
		blocked := h.ticket("ben")
		app = h.home.NewCodeApp(blocked)
		h.block("ben", true)
		_, err = h.confirm(blocked, app.Code(0))
		expect(h.t, "of a blocked user", err, device.ErrTicket)
		onlyPush, err := h.home.Admins.NewTicket(h.t.Context(), admin.TicketRequest{
			User:   user.User{ID: "cid"},
			Factor: "push-notification",
		}, devicetest.Admin)
		must(h.t, err)
		app = h.home.NewCodeApp(onlyPush)
		_, err = h.confirm(onlyPush, app.Code(0))
		expect(h.t, "for phones", err, device.ErrTicket)
	})
}

func TestConfirmOTP_APhoneAndACodeRaceAndOneWins(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		app := h.home.NewCodeApp(ticket)
		code := app.Code(0)
		var confirmed, enrolled atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, err := h.confirm(ticket, code)
				if err == nil {
					confirmed.Add(1)
				} else if !errors.Is(err, device.ErrTicket) {
					h.t.Error(err)
				}
			})
			p := h.newPhone("a")
			all.Go(func() {
				err := p.Enroll(ticket)
				if err == nil {
					enrolled.Add(1)
				} else if !errors.Is(err, device.ErrTicket) {
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		// Who repeats the code gets the same answer; of the phones, each with its own key, at most one is let in.
		byPhone := enrolled.Load()
		if byCode := confirmed.Load() > 0; byPhone > 1 || byCode == (byPhone == 1) {
			h.t.Errorf("by code %d, by phone %d", confirmed.Load(), byPhone)
		}
		h.view(func(tx *storage.Tx) error {
			set, err := device.All(tx, h.uid("ada"))
			if len(set) != 1 {
				h.t.Errorf("%d enrollments", len(set))
			}
			return err
		})
	})
}

func TestConfirmOTP_OnAPageShowsTheRecoveryCodeThere(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		ticket := h.ticket("ada")
		started, err := h.StartTicket(ctx, ticket, "", "session")
		must(h.t, err)
		secret := h.home.Param(started.URI, "secret")
		enrolled, err := h.confirm(started.TxID, h.home.OTPOf(secret, 0))
		must(h.t, err)
		page, err := h.OpenTicket(ctx, ticket, "session")
		must(h.t, err)
		if !page.Started.Enrolled || !page.Started.CodeKept || page.Started.Phone == "" {
			h.t.Errorf("%+v", page.Started)
		}
		code, err := h.ShowCode(ctx, ticket, "session")
		if err != nil || string(code) != enrolled.RecoveryCode {
			h.t.Errorf("%v: %q, want %q", err, code, enrolled.RecoveryCode)
		}
	})
}

func TestConfirmOTP_TellsTheOtherPhonesAndTakesThePlaceOfOne(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		old := h.enroll("ada", "old")
		h.enroll("ada", "other")
		h.deliver()
		ticket, err := h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "ada"}, Replaces: old.Enrolled.ID}, devicetest.Admin)
		must(h.t, err)
		app := h.home.NewCodeApp(ticket)
		_, err = h.confirm(ticket, app.Code(0))
		must(h.t, err)
		old.ExpectStatus(device.Retired)
		told := map[string]string{}
		for _, d := range h.deliver() {
			told[d.To.Token] = d.Notice
		}
		if told["push of old"] != string(recovery.NoticeReplaced) || told["push of other"] != string(recovery.NoticeDeviceAdded) {
			h.t.Errorf("told %v", told)
		}
	})
}

func TestConfirmOTP_AnAppOfCodesIsSuspendedResumedAndRemoved(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		ticket := h.ticket("ada")
		app := h.home.NewCodeApp(ticket)
		enrolled, err := h.confirm(ticket, app.Code(0))
		must(h.t, err)
		uid := h.uid("ada")
		must(h.t, h.home.Admins.Suspend(ctx, enrolled.ID, devicetest.Admin))
		h.expectState("ada", user.RecoveryOnly)
		_, err = h.spendOTP(uid, app.Code(30*time.Second))
		expect(h.t, "suspended", err, device.ErrWrongOTP)
		must(h.t, h.home.Admins.Resume(ctx, enrolled.ID, devicetest.Admin))
		_, err = h.spendOTP(uid, app.Code(30*time.Second))
		expect(h.t, "resumed", err, nil)
		must(h.t, h.home.Admins.RemoveEnrollment(ctx, enrolled.ID, devicetest.Admin)) // the last one: a reset
		h.expectState("ada", user.New)
	})
}
