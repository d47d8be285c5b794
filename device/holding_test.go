package device_test

import (
	"context"
	"testing"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// isCode returns whether a code is the user's, without a trace of the question.
func (h *house) isCode(id, code string) (is bool) {
	h.t.Helper()
	err := h.store.Update(context.Background(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, id)
		if err != nil {
			return err
		}
		is, err = h.codes.Practise(tx, u.UID, code, audit.ByUser())
		if err != nil {
			return err
		}
		return errAsked
	})
	expect(h.t, "asked", err, errAsked)
	return is
}

var errAsked = storage.NewError(storage.Unavailable, "asked, and rolled back")

// showing makes an installation whose app shows recovery codes.
func (h *house) showing(identifier string) *phone {
	h.t.Helper()
	p := h.newPhone(identifier)
	p.In.Capabilities = append(p.In.Capabilities, device.ShowsCode)
	return p
}

// byPage enrols a phone by the QR code of a page; shown says that the page shows the code that came of it.
func (h *house) byPage(id, identifier string, shown bool) *phone {
	h.t.Helper()
	ticket := h.ticket(id)
	started := h.start(ticket, "session of "+identifier)
	p := h.newPhone(identifier)
	must(h.t, p.Enroll(started.TxID))
	if shown {
		code, err := h.show(ticket, "session of "+identifier)
		must(h.t, err)
		if string(code) != p.Enrolled.RecoveryCode {
			h.t.Errorf("the page shows %q, the answer has %q", code, p.Enrolled.RecoveryCode)
		}
	}
	return p
}

// Each way in which a code comes about, and whether a later enrolment replaces it.
func TestEnroll_ReplacesACodeThatNobodyHolds(t *testing.T) {
	for name, c := range map[string]struct {
		first    func(h *house)
		replaced bool // where the new one will be shown
	}{
		"an SDK dropped it, by a bare ticket": {func(h *house) {
			h.newEnrolled("ada", "sdk").Proof()
		}, true},
		"the page showed it": {func(h *house) { h.byPage("ada", "sdk", true) }, false},
		"the page did not come to show it": {func(h *house) {
			h.byPage("ada", "sdk", false).Proof()
		}, true},
		"an app showed it": {func(h *house) {
			p := h.showing("a")
			must(h.t, p.Enroll(h.ticket("ada")))
			p.Proof()
		}, false},
		"the answer to the app was lost": {func(h *house) {
			must(h.t, h.showing("a").Enroll(h.ticket("ada")))
			h.clock.Advance(recovery.ReplyLife)
		}, true},
		"another app has called": {func(h *house) {
			must(h.t, h.showing("a").Enroll(h.ticket("ada")))
			h.newEnrolled("ada", "b").Proof()
		}, true},
		"it was practised": {func(h *house) {
			p := h.newEnrolled("ada", "sdk")
			valid, err := h.Practise(context.Background(), p.Proof(), p.Enrolled.RecoveryCode, audit.ByUser())
			must(h.t, err)
			if !valid {
				h.t.Error("the code is not valid")
			}
		}, false},
		"a login spent it": {func(h *house) {
			p := h.newEnrolled("ada", "sdk")
			h.spend("ada", recovery.LoginChannel, p.Enrolled.RecoveryCode)
		}, false},
		"a restore spent it": {func(h *house) {
			p := h.newEnrolled("ada", "sdk")
			h.spend("ada", recovery.RestoreChannel, p.Enrolled.RecoveryCode)
		}, true},
		"an admin made it": {func(h *house) {
			h.byPage("ada", "sdk", true)
			_, err := h.home.Admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
			must(h.t, err)
		}, true},
		"her phone declared it lost": {func(h *house) {
			p := h.byPage("ada", "sdk", true)
			must(h.t, h.LoseCode(context.Background(), p.Proof(), audit.ByUser()))
		}, true},
		"a ticket declared it lost": {func(h *house) {
			h.byPage("ada", "sdk", true)
			h.newCodeTicket("ada")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				for way, enroll := range map[string]func() *phone{
					"page": func() *phone { return h.byPage("ada", "page", false) },
					"app that shows codes": func() *phone {
						p := h.showing("shows")
						must(h.t, p.Enroll(h.ticket("ada")))
						return p
					},
				} {
					c.first(h)
					dropping := h.newEnrolled("ada", "dropping")
					if dropping.Enrolled.RecoveryCode != "" {
						h.t.Error("an app that drops the code got another")
					}
					got := enroll().Enrolled.RecoveryCode
					if (got != "") != c.replaced {
						h.t.Errorf("by %s the code %q came", way, got)
					}
					if got != "" && !h.isCode("ada", got) {
						h.t.Errorf("by %s a code came that is not hers", way)
					}
					h.reset("ada")
				}
			})
		})
	}
}

// newEnrolled enrols a phone of a user whose app drops the code.
func (h *house) newEnrolled(id, identifier string) *phone { return h.enroll(id, identifier) }

// spend spends a code on a channel.
func (h *house) spend(id string, ch recovery.Channel, code string) {
	h.t.Helper()
	uid := h.uid(id)
	h.update(func(tx *storage.Tx) error {
		_, err := h.codes.Spend(tx, uid, ch, recovery.Code(code), audit.ByUser())
		return err
	})
}

// newCodeTicket makes a ticket that declares the user's code lost.
func (h *house) newCodeTicket(id string) string {
	h.t.Helper()
	ticket, err := h.home.Admins.NewTicket(context.Background(), admin.TicketRequest{
		User:          user.User{ID: id},
		AllowMultiple: true,
		NewCode:       true,
	}, audit.ByOperator(0))
	must(h.t, err)
	return ticket
}

func TestLoseCode_LeavesTheCodeValidAndTellsThePhonesOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.byPage("ada", "a", true)
		code := p.Enrolled.RecoveryCode
		h.deliver()
		for range 3 {
			must(h.t, h.LoseCode(context.Background(), p.Proof(), audit.ByUser()))
		}
		h.newCodeTicket("ada")
		told := h.deliver()
		if len(told) != 1 || told[0].Notice != "code_lost" {
			h.t.Errorf("told %+v", told)
		}
		if n := len(h.events("ada", audit.CodeLost)); n != 1 {
			h.t.Errorf("%d events", n)
		}
		if !h.isCode("ada", code) {
			h.t.Error("the lost code counts no longer, and there is no other")
		}
		expect(h.t, "by the device token", h.loseByToken(p), device.ErrUnsigned)
		next := h.byPage("ada", "b", false).Enrolled.RecoveryCode
		if next == "" || h.isCode("ada", code) || !h.isCode("ada", next) {
			h.t.Errorf("the next code is %q, and the lost one counts: %t", next, h.isCode("ada", code))
		}
	})
}

func (h *house) loseByToken(p *phone) error {
	proof, err := p.CallByToken()
	must(h.t, err)
	return h.LoseCode(context.Background(), proof, audit.ByUser())
}

func TestLoseCode_WithoutACodeDoesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.newEnrolled("ada", "a")
		_, err := h.home.Admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
		must(h.t, err)
		h.clock.Advance(24 * time.Hour)
		must(h.t, h.LoseCode(context.Background(), p.Proof(), audit.ByUser()))
		if n := len(h.events("ada", audit.CodeLost)); n != 0 {
			h.t.Errorf("%d events", n)
		}
	})
}

// A code of an earlier release has no facts beside it, and counts as arrived.
func TestHolding_OfAnEarlierReleaseHasArrived(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.newEnrolled("ada", "a")
		rows := ground.Rewrite(h.t, h.store.Engine(), "recovery_code", func(r map[string]any) {
			if r["underway"] != true {
				h.t.Errorf("a code that nobody has seen is kept as %v", r)
			}
			delete(r, "underway")
		})
		if rows != 1 {
			h.t.Fatalf("%d rows", rows)
		}
		uid := h.uid("ada")
		h.view(func(tx *storage.Tx) error {
			holding, err := recovery.HoldingOf(tx, uid)
			if want := (recovery.Holding{Counts: true, Arrived: true}); holding != want {
				h.t.Errorf("holding %+v", holding)
			}
			return err
		})
	})
}
