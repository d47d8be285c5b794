package own_test

import (
	"slices"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/own"
	"tutela/recovery"
	"tutela/storage/audit"
)

// What asks for more proof than a number that the phone was shown for a login.
func (h *house) expectWeak(token string, id string) {
	h.t.Helper()
	_, added := h.Add(ctx, token, device.TypePush, her)
	_, denied := h.NotMe(ctx, token, id, her)
	for what, err := range map[string]error{
		"add":      added,
		"remove":   h.Remove(ctx, token, id, her),
		"new code": h.NewCode(ctx, token),
		"not me":   denied,
	} {
		expect(h.t, what+" without more proof", err, own.ErrStepUp)
	}
}

func TestStepUp_ByANumberThatThePhoneSaysIsForANewDevice(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.expectWeak(token, p.Enrolled.ID)
		rung, err := h.Ring(ctx, token, her)
		must(t, err)
		again, err := h.Ring(ctx, token, her)
		must(t, err)
		shown, err := h.Rung(ctx, token)
		must(t, err)
		if len(rung.Number) != 6 || again.Number != rung.Number || shown.Number != rung.Number || shown.State != login.Pending {
			t.Errorf("asked %+v, %+v, %+v", rung, again, shown)
		}
		list, err := h.Logins.Approvals(ctx, p.Proof(), nil, 0)
		must(t, err)
		if len(list) != 1 || list[0].Purpose != string(login.ToAddDevice) {
			t.Errorf("the phone is not told what it is for: %+v", list)
		}
		expect(t, "before the phone has answered", h.StepUpByNumber(ctx, token, her), login.ErrUndecided)
		h.approve(p, rung.Number)
		must(t, h.StepUpByNumber(ctx, token, her))
		if !h.look(token).Strong {
			t.Error("it is not enough")
		}
		must(t, h.NewCode(ctx, token))
	})
}

func TestStepUp_ByTheRecoveryCodeShowsTheNextUntilItIsConfirmed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		expect(t, "a typo", h.StepUpByCode(ctx, token, "no code", her), recovery.ErrTypo)
		expect(t, "a wrong code", h.StepUpByCode(ctx, token, string(recovery.DrawCode()), her), recovery.ErrWrongCode)
		must(t, h.StepUpByCode(ctx, token, p.Enrolled.RecoveryCode, her))
		shown, err := h.ShowCode(ctx, token)
		must(t, err)
		if !shown.Counts || !h.look(token).ToSave {
			t.Errorf("the next code: %+v", shown)
		}
		expect(t, "a wrong end", h.ConfirmCode(ctx, token, "0000", her), device.ErrCodeEnd)
		must(t, h.ConfirmCode(ctx, token, string(shown.Code[20:]), her))
		_, err = h.ShowCode(ctx, token)
		expect(t, "once more", err, own.ErrNoCode)
		page := h.look(token)
		if page.ToSave || !page.Code.Confirmed || !page.Strong {
			t.Errorf("afterwards %+v", page)
		}
		h.byCode(shown.Code)
	})
}

func TestStepUp_WhereAPasskeyCountsANumberIsNotEnough(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		g, _ := h.byCode(recovery.Code(p.Enrolled.RecoveryCode))
		a, _ := h.addPasskey(h.open(g)) // added by the recovery code, so it counts at once
		token := h.open(h.byNumber(p))
		_, err := h.Ring(ctx, token, her)
		expect(t, "a number", err, login.ErrWeakProof)
		if w := h.look(token).StepUp; w.Number || !w.Passkey || !w.Code {
			t.Errorf("ways %+v", w)
		}
		asked, err := h.AskPasskey(ctx, token, her)
		must(t, err)
		must(t, h.StepUpByPasskey(ctx, token, a.Get(asked.Options), her))
		must(t, h.Remove(ctx, token, p.Enrolled.ID, her))
		h.expectStatus(p.Enrolled.ID, device.Retired)
		h.look(token) // what has opened it may go, once more was proven
		h.byPasskey(a)
	})
}

func TestStepUp_ByAOneTimeCodeOnlyWhereNothingBetterIs(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		app := h.app()
		g := h.start()
		h.Clock.Advance(time.Minute)
		_, err := h.Logins.RedeemOTP(ctx, g, app.Code(0))
		must(t, err)
		token := h.open(g)
		if !h.look(token).Strong {
			t.Error("who has one-time codes alone can do nothing")
		}
		h.phone("Pixel 9")
		h.Clock.Advance(time.Minute)
		expect(t, "beside a phone that matches numbers", h.StepUpByOTP(ctx, token, app.Code(0), her), login.ErrWeakProof)
	})
}

func TestAdd_OnePhoneForAProofAndThePhonesAreTold(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		_, err := h.Add(ctx, token, device.TypePush, her)
		must(t, err)
		adding, err := h.Adding(ctx, token)
		must(t, err)
		again, err := h.Add(ctx, token, device.TypePush, her)
		must(t, err)
		second, err := h.Adding(ctx, token)
		must(t, err)
		if adding.URI == "" || adding.URI != second.URI || again != nil {
			t.Errorf("the same offer is another: %+v, %+v", adding, second)
		}
		_, err = h.Added(ctx, token)
		expect(t, "before the phone has enrolled", err, own.ErrStepUp)
		tablet := h.NewPhone("iPad")
		tablet.In.Name = "iPad"
		must(t, tablet.Enroll(h.Param(adding.URI, "enrollment_tx_id")))
		e, err := h.Added(ctx, token)
		must(t, err)
		if e.ID != tablet.Enrolled.ID || len(h.look(token).Devices) != 2 {
			t.Errorf("added %+v", e)
		}
		if !slices.Contains(h.notices(), recovery.NoticeDeviceAdded) {
			t.Error("the phones were not told")
		}
		_, err = h.Add(ctx, token, device.TypePush, her)
		expect(t, "another by the same proof", err, own.ErrStepUp)
		h.stepUp(token, p)
		_, err = h.Add(ctx, token, device.TypePush, her)
		must(t, err)
	})
}

func TestAdd_AQRCodeDiesWithWhatTheSessionStandsOn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		_, err := h.Add(ctx, token, device.TypePush, her)
		must(t, err)
		adding, err := h.Adding(ctx, token)
		must(t, err)
		must(t, h.Admins.Suspend(ctx, p.Enrolled.ID, devicetest.Admin))
		expect(t, "enrol", h.NewPhone("thief's").Enroll(h.Param(adding.URI, "enrollment_tx_id")), device.ErrTicket)
	})
}

func TestAdd_AnAppThatShowsCodes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		_, err := h.Add(ctx, token, device.TypeOTP, her)
		must(t, err)
		adding, err := h.Adding(ctx, token)
		must(t, err)
		expect(t, "a typo", h.ConfirmApp(ctx, token, "12", her), otp.ErrTypo)
		expect(t, "a wrong code", h.ConfirmApp(ctx, token, h.OtherOTP(adding.Secret), her), device.ErrWrongOTP)
		must(t, h.ConfirmApp(ctx, token, h.OTPOf(adding.Secret, 0), her))
		e, err := h.Added(ctx, token)
		must(t, err)
		if e.Type != device.TypeOTP {
			t.Errorf("added %+v", e)
		}
	})
}

func TestAdd_APasskeyByANumberIsOnProbation(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		_, id := h.addPasskey(token)
		// Nothing that was added by a number outranks a number before seven days are over.
		h.stepUp(token, p)
		must(t, h.Remove(ctx, token, id, her))
	})
}

func TestAdd_APasskeyThatWasMadeForAnotherAssociationIsRefused(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		options, err := h.Add(ctx, token, device.TypePlatform, her)
		must(t, err)
		made := devicetest.NewAuthenticator(t).Create(options)
		h.stepUp(token, p)
		_, err = h.Add(ctx, token, device.TypePlatform, her)
		must(t, err)
		if err := h.AddPasskey(ctx, token, made, her); err == nil {
			t.Error("it was added")
		}
	})
}

func TestRemove_FollowsTheEnrolmentTokensRules(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		tablet := h.phone("iPad")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		other := h.Enroll("otto", "otto's")
		expect(t, "another user's", h.Remove(ctx, token, other.Enrolled.ID, her), device.ErrNoEnrollment)
		must(t, h.Remove(ctx, token, tablet.Enrolled.ID, her))
		expect(t, "once more", h.Remove(ctx, token, tablet.Enrolled.ID, her), device.ErrNoEnrollment)
		if told := h.notices(); !slices.Contains(told, recovery.NoticeDeviceRemoved) || !slices.Contains(told, recovery.NoticeReplaced) {
			t.Errorf("told %v", told)
		}
		removed := h.EventsOf("ada", audit.Unenroll)
		if len(removed) != 1 || removed[0].Facts[audit.FactWhy] != audit.WhyEnrolmentToken {
			t.Errorf("events %+v", removed)
		}
		// With the phone that it stands on the session goes too.
		must(t, h.Remove(ctx, token, p.Enrolled.ID, her))
		_, err := h.Look(ctx, token)
		expect(t, "afterwards", err, own.ErrSession)
	})
}

func TestRemove_LeavesAWayIn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		h.Set("factor.recovery_code", "off")
		expect(t, "her last", h.Remove(ctx, token, p.Enrolled.ID, her), device.ErrLastFactor)
	})
}

func TestNewCode_CountsWhenItIsConfirmedAndThePresentOneUntilThen(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		must(t, h.NewCode(ctx, token))
		shown, err := h.ShowCode(ctx, token)
		must(t, err)
		must(t, h.NewCode(ctx, token))
		again, err := h.ShowCode(ctx, token)
		must(t, err)
		if shown.Counts || again.Code != shown.Code {
			t.Errorf("shown %+v, then %+v", shown, again)
		}
		right, err := h.Practise(ctx, token, p.Enrolled.RecoveryCode, her)
		must(t, err)
		if !right {
			t.Error("the present code does not count any more, though the new one does not yet")
		}
		h.remember()
		must(t, h.ConfirmCode(ctx, token, string(shown.Code[20:]), her))
		_, err = h.ShowCode(ctx, token)
		expect(t, "shown again", err, own.ErrNoCode)
		expect(t, "confirmed again", h.ConfirmCode(ctx, token, string(shown.Code[20:]), her), own.ErrNoCode)
		page := h.look(token)
		if !page.Code.Confirmed || page.Browsers != 0 {
			t.Errorf("afterwards %+v", page.Code)
		}
		if !slices.Contains(h.notices(), recovery.NoticeCodeChanged) || len(h.EventsOf("ada", audit.CodeReplaced)) != 1 {
			t.Error("nobody was told")
		}
		g := h.start()
		_, err = h.Logins.RedeemCode(ctx, g, p.Enrolled.RecoveryCode)
		expect(t, "the code before", err, recovery.ErrWrongCode)
		h.byCode(shown.Code)
	})
}

func TestNewCode_BySomebodyWhoCameByTheRecoveryCodeEndsNoSessionOfHers(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		g, _ := h.byCode(recovery.Code(p.Enrolled.RecoveryCode))
		token := h.open(g)
		must(t, h.NewCode(ctx, token))
		shown, err := h.ShowCode(ctx, token)
		must(t, err)
		must(t, h.ConfirmCode(ctx, token, string(shown.Code[20:]), her))
		h.look(token)
		_, err = h.Add(ctx, token, device.TypePush, her)
		must(t, err)
	})
}

func TestNewCode_ThatIsDroppedOrTooOldIsForgotten(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		must(t, h.NewCode(ctx, token))
		must(t, h.DropCode(ctx, token))
		_, err := h.ShowCode(ctx, token)
		expect(t, "dropped", err, own.ErrNoCode)
		must(t, h.NewCode(ctx, token))
		shown, err := h.ShowCode(ctx, token)
		must(t, err)
		h.Clock.Advance(10 * time.Minute)
		expect(t, "after ten minutes", h.ConfirmCode(ctx, token, string(shown.Code[20:]), her), own.ErrNoCode)
		h.byCode(recovery.Code(p.Enrolled.RecoveryCode))
	})
}

func TestStepUp_LastsAsLongAsAnEnrolmentToken(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		g, _ := h.byCode(recovery.Code(p.Enrolled.RecoveryCode))
		h.Clock.Advance(5 * time.Minute)
		token := h.open(g)
		h.Clock.Advance(15 * time.Minute)
		h.look(token)
		expect(t, "twenty minutes after the proof", h.NewCode(ctx, token), own.ErrStepUp)
	})
}
