package login_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// desk is the help desk's program, and others those who may do less or more.
var (
	desk     = audit.ByClient("desk", []string{"reset:mfa"}, storage.House)
	operator = audit.ByOperator(0)
)

// ring asks a user's phones whether it is she who rings.
func (h *house) tryRing(id string) (login.CallerAsked, error) {
	return h.home.Admins.CheckCaller(context.Background(), id, "Help desk", "about your new phone", desk)
}

func (h *house) rings(id string) login.CallerAsked {
	h.t.Helper()
	asked, err := h.tryRing(id)
	must(h.t, err)
	return asked
}

func (h *house) caller(id, check string) login.CallerState {
	h.t.Helper()
	state, err := h.home.Admins.CallerCheckOf(context.Background(), desk.By(), id, check, 0)
	must(h.t, err)
	return state
}

// used makes a phone that has signed something since it enrolled.
func (h *house) used(id, identifier string) *phone {
	h.t.Helper()
	p := h.enroll(id, identifier)
	p.pull()
	m := h.begin(request(id))
	must(h.t, p.approve(p.one(), m.Number))
	h.deliver()
	return p
}

func (h *house) resetBy(actor audit.Actor, check string) error {
	req := recovery.ResetRequest{Reason: "lost", CallerCheck: recovery.DeviceAnswered, Check: check}
	_, err := h.home.Admins.Reset(context.Background(), "ada", req, actor)
	return err
}

func TestCallerCheck_IsApprovedByTheNumberThatTheAgentReads(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.used("ada", "a")
		logins := len(h.events("ada", audit.AuthSucceed))
		before := h.profile("ada")
		asked := h.rings("ada")
		if h.caller("ada", asked.ID) != login.CallerPending || asked.Number == "" || asked.Expires != 5*time.Minute {
			h.t.Errorf("asked %+v: %s", asked, h.caller("ada", asked.ID))
		}
		sent := h.deliver()
		if len(sent) != 1 || sent[0].Purpose != "caller_check" {
			h.t.Errorf("sent %+v", sent)
		}
		m := p.one()
		if m.Purpose != "caller_check" || m.ClientName != "Help desk" || m.BindingMessage != "about your new phone" || !m.NumberMatching || m.ConsentID == "" {
			h.t.Errorf("the phone is asked %+v", m)
		}
		expect(h.t, "without the number", p.approve(m, ""), login.ErrNumberMissing)
		must(h.t, p.approve(m, asked.Number))
		must(h.t, p.approve(m, asked.Number)) // its answer was lost
		if got := h.caller("ada", asked.ID); got != login.CallerApproved {
			h.t.Errorf("approved: %s", got)
		}
		// It lets nobody in, and is no login.
		for _, client := range []string{"desk", "client:desk", "bank"} {
			if _, err := h.Collect(context.Background(), client, asked.ID); !errors.Is(err, login.ErrGrant) {
				h.t.Errorf("%s collects it: %v", client, err)
			}
		}
		after := h.profile("ada")
		if len(h.events("ada", audit.AuthSucceed)) != logins || after.Logins != before.Logins || !after.LastLogin.Equal(before.LastLogin) {
			h.t.Errorf("it counts as a login: %+v", after)
		}
		if checked := h.events("ada", audit.CallerChecked); len(checked) != 1 || checked[0].Facts[audit.FactStatus] != audit.CallerApproved {
			h.t.Errorf("events %+v", checked)
		}
		must(h.t, h.resetBy(desk, asked.ID))
		must(h.t, h.resetBy(desk, asked.ID)) // its answer was lost
		if r := h.receipts("ada"); len(r) != 2 || r[0].Check != asked.ID || r[0].CallerCheck != recovery.DeviceAnswered {
			h.t.Errorf("receipts %+v", r)
		}
	})
}

func (h *house) profile(id string) (u user.User) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error {
		found, err := user.Find(tx, id)
		must(h.t, err)
		u = *found
		return nil
	})
	return u
}

func (h *house) receipts(id string) (list []recovery.Receipt) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) (err error) {
		list, err = recovery.Receipts(tx, h.uidIn(tx, id))
		return err
	})
	return list
}

func TestCallerCheck_AsksProvenPhonesAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		_, err := h.tryRing("nobody")
		expect(h.t, "nobody", err, user.ErrUnknown)
		fresh := h.enroll("ada", "fresh") // it has signed nothing
		_, err = h.tryRing("ada")
		expect(h.t, "a phone that has proven nothing", err, login.ErrNoCallerPhone)
		tap := h.enrollTap("ada", "tap")
		tap.pull()
		suspended := h.used("ada", "suspended")
		must(h.t, h.home.Admins.Suspend(context.Background(), suspended.Enrolled.ID, operator))
		_, err = h.tryRing("ada")
		expect(h.t, "a phone that taps, and a suspended one", err, login.ErrNoCallerPhone)
		p := h.used("ada", "a")
		asked := h.rings("ada")
		if len(fresh.pull()) != 0 || len(tap.pull()) != 0 || len(p.pull()) != 1 {
			h.t.Error("another phone is asked, or hers is not")
		}
		must(h.t, p.approve(p.one(), asked.Number))
		h.block("ada", true)
		_, err = h.tryRing("ada")
		expect(h.t, "blocked", err, login.ErrBlocked)
	})
}

// What a phone denies stops everybody but an owner for an hour; not what stops the phone itself.
func TestCallerCheck_ADenialFreezesWhatAdminsDo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.used("ada", "a")
		other := h.used("ada", "b")
		asked := h.rings("ada")
		must(h.t, p.deny(p.one(), "not_me"))
		if h.caller("ada", asked.ID) != login.CallerDenied || len(other.pull()) != 0 {
			h.t.Errorf("%s; the other phone is asked %d", h.caller("ada", asked.ID), len(other.pull()))
		}
		frozen := func() error {
			_, err := h.home.Admins.Regenerate(ctx, "ada", desk)
			return err
		}
		expect(h.t, "a code", frozen(), admin.ErrRefused)
		expect(h.t, "a reset by the check", h.resetBy(desk, asked.ID), admin.ErrRefused)
		expect(h.t, "the blocks", h.home.Admins.Unlock(ctx, "ada", desk), admin.ErrRefused)
		expect(h.t, "a removal", h.home.Admins.RemoveEnrollment(ctx, other.Enrolled.ID, desk), admin.ErrRefused)
		_, err := h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "ada"}, AllowMultiple: true}, desk)
		expect(h.t, "a ticket", err, admin.ErrRefused)
		must(h.t, h.home.Admins.Suspend(ctx, other.Enrolled.ID, desk))
		expect(h.t, "to resume", h.home.Admins.Resume(ctx, other.Enrolled.ID, desk), admin.ErrRefused)
		// An admin is stopped, an owner is not.
		for role, want := range map[user.Role]error{user.Admin: admin.ErrRefused, user.Owner: nil} {
			_, err := h.home.Admins.Regenerate(ctx, "ada", audit.ByAdmin(h.withRole(string(role), role), []string{"issue:recovery_codes"}))
			expect(h.t, string(role), err, want)
		}
		// The phone that has denied was the stolen one: suspended, its word counts for nothing.
		must(h.t, h.home.Admins.Suspend(ctx, p.Enrolled.ID, desk))
		must(h.t, frozen())
		must(h.t, h.home.Admins.Resume(ctx, p.Enrolled.ID, desk))
		expect(h.t, "resumed", frozen(), admin.ErrRefused)
		h.clock.Advance(time.Hour)
		must(h.t, frozen())
	})
}

// The stolen phone has denied; it is suspended, and then taken away for good: its word does not come back.
func TestCallerCheck_ADenialGoesWithASuspendedPhone(t *testing.T) {
	for way, remove := range map[string]func(*house, string) error{
		"removed": func(h *house, id string) error {
			return h.home.Admins.RemoveEnrollment(context.Background(), id, desk)
		},
		"replaced": func(h *house, id string) error {
			ticket, err := h.home.Admins.NewTicket(context.Background(), admin.TicketRequest{User: user.User{ID: "ada"}, Replaces: id}, desk)
			if err != nil {
				return err
			}
			return h.home.NewPhone("c").Enroll(ticket)
		},
	} {
		t.Run(way, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.used("ada", "a")
				h.used("ada", "b")
				h.rings("ada")
				must(h.t, p.deny(p.one(), "not_me"))
				must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, desk))
				must(h.t, remove(h, p.Enrolled.ID))
				_, err := h.home.Admins.Regenerate(context.Background(), "ada", desk)
				must(h.t, err)
			})
		})
	}
}

// What a phone has denied that was not suspended stays said when that phone is removed.
func TestCallerCheck_ADenialOutlivesAPhoneThatWasNotSuspended(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.used("ada", "a")
		h.used("ada", "b")
		h.rings("ada")
		must(h.t, p.deny(p.one(), "not_me"))
		must(h.t, h.home.Admins.RemoveEnrollment(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		_, err := h.home.Admins.Regenerate(context.Background(), "ada", desk)
		expect(h.t, "a code", err, admin.ErrRefused)
	})
}

func (h *house) withRole(id string, role user.Role) (uid storage.UID) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error {
		u, err := user.Create(tx, user.User{ID: id, Role: role})
		if err == nil {
			uid = u.UID
		}
		return err
	})
	return uid
}

// A wrong number is no approval, and no word of hers either.
func TestCallerCheck_AWrongNumberFreezesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.used("ada", "a")
		asked := h.rings("ada")
		wrong := "0" + asked.Number[1:]
		if wrong == asked.Number {
			wrong = "1" + asked.Number[1:]
		}
		expect(h.t, "a wrong number", p.approve(p.one(), wrong), login.ErrNumber)
		if got := h.caller("ada", asked.ID); got != login.CallerSilent {
			h.t.Errorf("after a wrong number: %s", got)
		}
		expect(h.t, "a reset by it", h.resetBy(desk, asked.ID), login.ErrCallerUnsure)
		_, err := h.home.Admins.Regenerate(context.Background(), "ada", desk)
		must(h.t, err)
	})
}

func TestCallerCheck_CountsForItsCallerAndUserAQuarterOfAnHour(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.used("ada", "a")
		h.used("bob", "b")
		asked := h.rings("ada")
		expect(h.t, "before the answer", h.resetBy(desk, asked.ID), login.ErrCallerUnsure)
		must(h.t, p.approve(p.one(), asked.Number))
		another := audit.ByClient("another", []string{"reset:mfa"}, storage.House)
		expect(h.t, "another caller's reset", h.resetBy(another, asked.ID), login.ErrNoCallerCheck)
		for _, c := range []struct {
			user, id string
			actor    audit.Actor
		}{{"ada", asked.ID, another}, {"bob", asked.ID, desk}, {"ada", "chk_x", desk}, {"ada", "", desk}} {
			_, err := h.home.Admins.CallerCheckOf(ctx, c.actor.By(), c.user, c.id, 0)
			expect(h.t, "a look by "+c.actor.By()+" at "+c.user, err, login.ErrNoCallerCheck)
		}
		_, err := h.home.Admins.CallerCheckOf(ctx, desk.By(), "nobody", asked.ID, 0)
		expect(h.t, "a look at nobody", err, user.ErrUnknown)
		h.clock.Advance(15 * time.Minute)
		expect(h.t, "too old", h.resetBy(desk, asked.ID), login.ErrNoCallerCheck)
		expect(h.t, "no check", h.resetBy(desk, ""), recovery.ErrCallerCheck)
	})
}

func TestCallerCheck_ThreeAnHour(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.used("ada", "a")
		first := h.rings("ada")
		h.clock.Advance(10 * time.Minute)
		if got := h.caller("ada", first.ID); got != login.CallerSilent {
			h.t.Errorf("after its life: %s", got)
		}
		h.rings("ada")
		h.rings("ada")
		if n := len(p.pull()); n != 2 {
			h.t.Errorf("asked %d", n)
		}
		_, err := h.tryRing("ada")
		expect(h.t, "a fourth", err, login.ErrCallersOften)
		if wait := storage.RetryAfter(err); wait != 50*time.Minute {
			h.t.Errorf("to wait %s", wait)
		}
		h.clock.Advance(50 * time.Minute)
		h.rings("ada")
		// Logins ring as before: the checks cost them nothing.
		if begun := h.begin(request("ada")); begun.Delivery == login.Silent {
			h.t.Error("a login is silent")
		}
	})
}
