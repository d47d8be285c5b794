package device_test

import (
	"context"
	"testing"
	"time"

	"tutela/device"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// replacing makes a ticket of a user for a phone in the place of another.
func (h *house) replacing(id, replaces string) (string, error) {
	return h.home.Admins.NewTicket(context.Background(), admin.TicketRequest{
		User:     user.User{ID: id},
		Replaces: replaces,
	}, audit.ByOperator(0))
}

// Whatever the state of the lost phone, as long as it is not retired, one step retires it and hands its backup on.
func TestEnroll_ReplacesTheLostPhoneAndMovesItsBackup(t *testing.T) {
	for name, lose := range map[string]func(h *house, p *phone){
		"active": func(*house, *phone) {},
		"suspended": func(h *house, p *phone) {
			must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		},
		"left": func(h *house, p *phone) {
			proof, err := p.CallByToken()
			must(h.t, err)
			must(h.t, h.Leave(context.Background(), proof, audit.ByUser()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				lost := h.enroll("ada", "lost")
				other := h.enroll("ada", "other")
				h.update(func(tx *storage.Tx) error {
					uid, e, err := device.Find(tx, lost.Enrolled.ID)
					must(h.t, err)
					e.Push.BackupID = "bkp_1"
					return device.Put(tx, uid, e)
				})
				lose(h, lost)
				h.deliver()
				ticket, err := h.replacing("ada", lost.Enrolled.ID)
				must(h.t, err)
				p := h.newPhone("new")
				must(h.t, p.Enroll(ticket))
				lost.ExpectStatus(device.Retired)
				other.ExpectStatus(device.Active)
				if is := lost.Enrollment().Push.BackupID; is != "" {
					h.t.Errorf("the lost phone still writes to %q", is)
				}
				if is := p.Enrollment().Push.BackupID; is != "bkp_1" {
					h.t.Errorf("the new phone writes to %q", is)
				}
				h.expectTold(map[string]string{"push of lost": "replaced", "push of other": "device_added"})
				h.expectReplaced("ada", lost, p)
				if same, err := p.again(ticket); !same || err != nil {
					h.t.Errorf("once more: %t, %v", same, err)
				}
			})
		})
	}
}

// expectTold fails the test unless each address was told this, and no other.
func (h *house) expectTold(want map[string]string) {
	h.t.Helper()
	told := h.deliver()
	for _, d := range told {
		if want[d.To.Token] != d.Notice {
			h.t.Errorf("%s was told %s", d.To.Token, d.Notice)
		}
	}
	if len(told) != len(want) {
		h.t.Errorf("told %d times, want %d", len(told), len(want))
	}
}

// expectReplaced fails the test unless the events say that a phone took the place of another.
func (h *house) expectReplaced(id string, lost, by *phone) {
	h.t.Helper()
	for _, kind := range []audit.Type{audit.Unenroll, audit.DeviceMoved} {
		last := h.events(id, kind)[0]
		if last.Facts[audit.FactWhy] != audit.WhyTicket || last.Detail.Enrollment != lost.Enrolled.ID || last.Detail.Successor != by.Enrolled.ID {
			h.t.Errorf("%s: %+v", kind, last)
		}
	}
}

func TestEnroll_ATicketThatReplacesEndsWithThePhone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		lost := h.enroll("ada", "lost")
		first, err := h.replacing("ada", lost.Enrolled.ID)
		must(h.t, err)
		second, err := h.replacing("ada", lost.Enrolled.ID)
		must(h.t, err)
		drawn := h.start(second, "session")
		must(h.t, h.newPhone("a").Enroll(first))
		expect(h.t, "the second", h.newPhone("b").Enroll(second), device.ErrTicket)
		expect(h.t, "its QR code", h.newPhone("b").Enroll(drawn.TxID), device.ErrTicket)
		expect(h.t, "at the door", h.CheckTicket(context.Background(), second), device.ErrTicket)
		_, err = h.replacing("ada", lost.Enrolled.ID)
		expect(h.t, "a retired one", err, device.ErrNoEnrollment)
		_, err = h.replacing("ada", "dev_0000000000000000")
		expect(h.t, "none", err, device.ErrNoEnrollment)
		_, err = h.replacing("ben", h.enroll("ada", "c").Enrolled.ID)
		expect(h.t, "another user's", err, device.ErrNoEnrollment)
	})
}

// The phone that is replaced may be the one that enrols: its own key is no conflict, and its address is told nothing.
func TestEnroll_ReplacesThePhoneThatEnrols(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		before := *p.Phone
		ticket, err := h.replacing("ada", p.Enrolled.ID)
		must(h.t, err)
		must(h.t, p.Enroll(ticket))
		before.ExpectStatus(device.Retired)
		p.ExpectStatus(device.Active)
		h.expectTold(nil)
	})
}

func TestAddTicket_KeepsTheNewest(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		oldest := h.ticket("ada")
		h.start(oldest, "session")
		h.clock.Advance(1)
		second := h.ticket("ada")
		for range 30 {
			h.clock.Advance(1)
			h.ticket("ada")
		}
		must(h.t, h.CheckTicket(context.Background(), oldest))
		h.clock.Advance(1)
		h.ticket("ada")
		expect(h.t, "the oldest", h.CheckTicket(context.Background(), oldest), device.ErrTicket)
		must(h.t, h.CheckTicket(context.Background(), second))
		if rows := h.home.Rows("ticket"); len(rows) != 32 {
			h.t.Errorf("%d rows", len(rows))
		}
	})
}

func TestOpenTickets_SayWhatTheyWillBe(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		lost := h.enroll("ada", "lost")
		ticket, err := h.replacing("ada", lost.Enrolled.ID)
		must(h.t, err)
		uid := h.uid("ada")
		expect := func(want device.Via) {
			h.t.Helper()
			h.view(func(tx *storage.Tx) error {
				open, err := device.OpenTickets(tx, uid)
				if len(open) != 1 || open[0].Via != want || open[0].Replaces != lost.Enrolled.ID {
					h.t.Errorf("open: %+v, want %s", open, want)
				}
				return err
			})
		}
		expect(device.ViaTicket)
		h.start(ticket, "session")
		expect(device.ViaPage)
		h.clock.Advance(10 * time.Minute)
		expect(device.ViaTicket)
	})
}
