package restore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// dispute has a phone say that what is named by id, which retired it, was not its person.
func (p *phone) dispute(id string) error {
	proof, err := p.h.devices.ProveReader(context.Background(), p.Enrolled.ID, p.JWT(nil))
	if err != nil {
		return err
	}
	return p.h.restores.Dispute(context.Background(), proof, id, from)
}

// A restore with handle and code retires a phone that works. Whoever holds that has a day to say so: admins see it, and every
// phone is told. By default it changes nothing else.
func TestDispute_IsToldToAdminsAndEveryPhone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		other := h.enroll(t, "ada")
		s := h.start(t, old.handle)
		s.restored(t, old.code)
		h.deliver(t)
		h.clock.Advance(day - time.Second)
		for range 2 {
			must(t, old.dispute(s.ID))
		}
		told := map[string]int{}
		for _, m := range h.deliver(t) {
			if m.Notice == "restore_disputed" && m.Restore == s.ID {
				told[m.Enrollment]++
			}
		}
		if len(told) != 2 || told[other.Enrolled.ID] != 1 || told[s.phone.Enrolled.ID] != 1 {
			t.Errorf("told are %v", told)
		}
		events := h.events(t, audit.RestoreDisputed)
		if len(events) != 1 || events[0].Facts[audit.FactWay] != "restore" || events[0].Detail.Enrollment != old.Enrolled.ID ||
			events[0].Detail.Successor != s.phone.Enrolled.ID {
			t.Errorf("events are %+v", events)
		}
		list, err := h.Admins.Restores(context.Background(), "ada")
		must(t, err)
		if len(list) != 1 || !list[0].Disputed {
			t.Errorf("admins see %+v", list)
		}
		s.phone.ExpectStatus(device.Active)
	})
}

func TestDispute_IsThePhonesAloneThatWasRetiredAndForADay(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		other := h.enroll(t, "ada")
		stranger := h.enroll(t, "bob")
		removed := h.enroll(t, "ada")
		s := h.start(t, old.handle)
		if err := old.dispute(s.ID); !errors.Is(err, restore.ErrNone) {
			t.Errorf("before it was done: %v", err)
		}
		s.restored(t, old.code)
		must(t, h.Admins.RemoveEnrollment(context.Background(), removed.Enrolled.ID, devicetest.Admin))
		for name, p := range map[string]*phone{"another": other, "the new": s.phone, "a stranger's": stranger, "a removed": removed} {
			if err := p.dispute(s.ID); !errors.Is(err, restore.ErrNone) {
				t.Errorf("%s phone: %v", name, err)
			}
		}
		if err := old.dispute("rst_made-up"); !errors.Is(err, restore.ErrNone) {
			t.Errorf("another restore: %v", err)
		}
		h.clock.Advance(day)
		if err := old.dispute(s.ID); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a day later: %v", err)
		}
		h.clock.Advance(6 * day)
		if err := old.dispute(s.ID); !errors.Is(err, device.ErrNoEnrollment) {
			t.Errorf("a week later: %v", err)
		}
		if n := len(h.events(t, audit.RestoreDisputed)); n != 0 {
			t.Errorf("%d events", n)
		}
	})
}

// By policy the new installation is suspended; a thief who restored a second time hides behind none.
func TestDispute_SuspendsTheLastSuccessorWhenThePolicySaysSo(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		h.Set("restore.dispute", "suspend")
		old := h.enroll(t, "ada").backUp(t, "body")
		first := h.start(t, old.handle)
		o := first.restored(t, old.code)
		second := h.start(t, o.RestoreHandle)
		second.restored(t, o.RecoveryCode)
		must(t, old.dispute(first.ID))
		second.phone.ExpectStatus(device.Suspended)
		if events := h.events(t, audit.RestoreDisputed); len(events) != 1 || events[0].Facts[audit.FactStatus] != "suspended" {
			t.Errorf("events are %+v", events)
		}
		// The owner comes back all the same, as from a phone that an admin has suspended as lost.
		back := h.start(t, second.phone.handle)
		back.restored(t, second.phone.code)
		back.phone.ExpectStatus(device.Active)
	})
}

// What a ticket has retired can be disputed as well: by the id that its notice brought.
func TestDispute_IsOfATicketThatReplacedThePhone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		h.Set("restore.dispute", "suspend")
		lost := h.enroll(t, "ada").backUp(t, "body")
		h.deliver(t)
		ticket, err := h.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "ada"}, Replaces: lost.Enrolled.ID}, devicetest.Admin)
		must(t, err)
		p := h.newPhone("new phone")
		must(t, p.Enroll(ticket))
		named := ""
		for _, m := range h.deliver(t) {
			if m.Enrollment == lost.Enrolled.ID && m.Notice == "replaced" {
				named = m.Restore
			}
		}
		must(t, lost.dispute(named))
		p.ExpectStatus(device.Suspended)
		if events := h.events(t, audit.RestoreDisputed); len(events) != 1 || events[0].Facts[audit.FactWay] != "ticket" {
			t.Errorf("events are %+v", events)
		}
	})
}
