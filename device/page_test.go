package device_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func (h *house) start(ticket, session string) device.StartedTicket {
	h.t.Helper()
	started, err := h.StartTicket(context.Background(), ticket, "", session)
	must(h.t, err)
	return started
}

func (h *house) show(ticket, session string) (recovery.Code, error) {
	return h.ShowCode(context.Background(), ticket, session)
}

func TestOpenTicket_ChangesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		before := h.content()
		page, err := h.OpenTicket(context.Background(), ticket, "session")
		must(h.t, err)
		if page.Account != "ada" || page.Started != nil || page.Spent || !page.Expires.Equal(h.store.Now().Add(5*24*time.Hour)) {
			h.t.Errorf("the page shows %+v", page)
		}
		if h.content() != before {
			h.t.Error("opening a link wrote something")
		}
	})
}

func (h *house) content() string {
	var all strings.Builder
	h.scan(func(key, value string) { all.WriteString(key + "\n" + value + "\n") })
	return all.String()
}

func TestStartTicket_MakesAQRCodeForTenMinutes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		started := h.start(ticket, "session")
		if started.TxID == ticket || !strings.Contains(started.URI, "enrollment_tx_id="+started.TxID+"&") {
			h.t.Errorf("started: %+v", started)
		}
		h.clock.Advance(10 * time.Minute)
		expect(h.t, "after ten minutes", h.newPhone("a").Enroll(started.TxID), device.ErrTicket)
		again := h.start(ticket, "the next")
		p := h.newPhone("a")
		must(h.t, p.Enroll(again.TxID))
		if !strings.Contains(again.URI, "&id="+p.Enrolled.ID+"&") || !strings.Contains(again.URI, "&secret="+p.Enrolled.TOTP.Secret+"&") {
			h.t.Errorf("the QR code %s, the answer %+v", again.URI, p.Enrolled)
		}
	})
}

func TestStartTicket_RootAndStartedSpendEachOther(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		one := h.start(ticket, "one")
		two := h.start(ticket, "two")
		must(h.t, h.newPhone("a").Enroll(one.TxID))
		expect(h.t, "the root", h.newPhone("b").Enroll(ticket), device.ErrTicket)
		expect(h.t, "another of the root", h.newPhone("b").Enroll(two.TxID), device.ErrTicket)
		_, err := h.StartTicket(context.Background(), ticket, "", "three")
		expect(h.t, "a further start", err, device.ErrTicket)

		ticket = h.ticket("ada")
		one = h.start(ticket, "one")
		must(h.t, h.newPhone("c").Enroll(ticket))
		expect(h.t, "one started before the root was spent", h.newPhone("d").Enroll(one.TxID), device.ErrTicket)
	})
}

func TestStartTicket_OfAStartedOneIsRefused(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		started := h.start(h.ticket("ada"), "session")
		_, err := h.StartTicket(context.Background(), started.TxID, "", "session")
		expect(h.t, "start", err, device.ErrTicket)
		_, err = h.OpenTicket(context.Background(), started.TxID, "session")
		expect(h.t, "open", err, device.ErrTicket)
		_, err = h.show(started.TxID, "session")
		expect(h.t, "show", err, device.ErrTicket)
		err = h.AwaitEnrolled(context.Background(), started.TxID, "session", time.Minute)
		expect(h.t, "await", err, device.ErrTicket)
	})
}

func TestStartTicket_MovesWhatTheBrowserHasStartedToItsNewSession(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		first := h.start(ticket, "old")
		h.start(ticket, "other's")
		_, err := h.StartTicket(context.Background(), ticket, "old", "new")
		must(h.t, err)
		p := h.newPhone("a")
		must(h.t, p.Enroll(first.TxID))
		for _, session := range []string{"old", "other's"} {
			_, err := h.show(ticket, session)
			expect(h.t, session, err, device.ErrTicket)
		}
		if code, err := h.show(ticket, "new"); err != nil || string(code) != p.Enrolled.RecoveryCode {
			h.t.Errorf("shown is %q, %v", code, err)
		}
	})
}

func TestStartTicket_AtTheLastMomentStillAnswersTwice(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		h.clock.Advance(5*24*time.Hour - time.Second)
		started := h.start(ticket, "session")
		h.clock.Advance(10*time.Minute - time.Second)
		p := h.newPhone("a")
		must(h.t, p.Enroll(started.TxID))
		h.clock.Advance(15*time.Minute - time.Nanosecond)
		if same, err := p.again(started.TxID); !same {
			h.t.Error(err)
		}
	})
}

func TestStartTicket_KeepsTheNewestOfMany(t *testing.T) {
	h := newHouse(t, ground.Options{})
	ticket := h.ticket("ada")
	var last device.StartedTicket
	for i := range 100 {
		h.clock.Advance(time.Second)
		last = h.start(ticket, fmt.Sprint("session ", i))
	}
	rows := 0
	h.scan(func(key, _ string) {
		if key[0] == 'u' && strings.HasPrefix(key[17:], "ticket\x00") {
			rows++
		}
	})
	if rows > 17 {
		t.Errorf("%d rows came of pressing Start a hundred times", rows)
	}
	must(t, h.newPhone("a").Enroll(last.TxID))
}

func TestShowCode_ShowsTheCodeToTheBrowserThatDrewTheQRCodeUntilItIsConfirmed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		started := h.start(ticket, "mine")
		h.start(ticket, "other's")
		_, err := h.show(ticket, "mine")
		expect(h.t, "before the phone enrolled", err, device.ErrTicket)
		p := h.newPhone("a")
		must(h.t, p.Enroll(started.TxID))
		for _, session := range []string{"", "other's", "nobody's"} {
			_, err := h.show(ticket, session)
			expect(h.t, session, err, device.ErrTicket)
		}
		page, err := h.OpenTicket(context.Background(), ticket, "mine")
		must(h.t, err)
		if !page.Spent || page.Started == nil || !page.Started.Enrolled || !page.Started.CodeKept || page.Started.Phone != "Pixel 9" {
			h.t.Errorf("the page shows %+v, %+v", page, page.Started)
		}
		for range 3 {
			if code, err := h.show(ticket, "mine"); err != nil || string(code) != p.Enrolled.RecoveryCode {
				h.t.Errorf("shown is %q, %v", code, err)
			}
		}
		end := p.Enrolled.RecoveryCode[20:]
		for _, session := range []string{"", "other's", "nobody's"} {
			expect(h.t, session, h.ConfirmCode(context.Background(), ticket, session, end), device.ErrTicket)
		}
		for _, typed := range []string{"", end[1:], "UUUU", p.Enrolled.RecoveryCode[:4], "0" + p.Enrolled.RecoveryCode, strings.Repeat("0", 1<<16)} {
			expect(h.t, typed, h.ConfirmCode(context.Background(), ticket, "mine", typed), device.ErrCodeEnd)
		}
		if !strings.Contains(h.content(), "answer\x00page:") || strings.Contains(h.content(), p.Enrolled.RecoveryCode) {
			h.t.Error("the page's copy is not in the store, or not sealed")
		}
		must(h.t, h.ConfirmCode(context.Background(), ticket, "mine", strings.ToLower(end[:2])+" - "+end[2:]))
		if strings.Contains(h.content(), "answer\x00page:") {
			h.t.Error("the page's copy has outlived its confirmation")
		}
		_, err = h.show(ticket, "mine")
		expect(h.t, "once confirmed", err, device.ErrTicket)
		expect(h.t, "confirmed again", h.ConfirmCode(context.Background(), ticket, "mine", end), device.ErrTicket)
		page, err = h.OpenTicket(context.Background(), ticket, "mine")
		must(h.t, err)
		if page.Started.CodeKept {
			h.t.Error("the page promises a code that was confirmed")
		}
		_, err = h.OpenTicket(context.Background(), ticket, "nobody's")
		expect(h.t, "another browser, of a spent ticket", err, device.ErrTicket)
	})
}

func TestShowCode_OfTheQRCodeThatWasUsedThoughStartWasPressedAgain(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		first := h.start(ticket, "before")
		_, err := h.StartTicket(context.Background(), ticket, "before", "mine")
		must(h.t, err)
		p := h.newPhone("a")
		must(h.t, p.Enroll(first.TxID))
		if code, err := h.show(ticket, "mine"); err != nil || string(code) != p.Enrolled.RecoveryCode {
			h.t.Errorf("shown is %q, %v", code, err)
		}
	})
}

func TestShowCode_WaitsTenMinutesAndOutlivesThePhonesFirstCall(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for wait, want := range map[time.Duration]error{10*time.Minute - time.Nanosecond: nil, 10 * time.Minute: device.ErrTicket} {
			id := "user " + wait.String()
			ticket := h.ticket(id)
			started := h.start(ticket, "mine")
			p := h.newPhone("a")
			must(h.t, p.Enroll(started.TxID))
			p.Proof()
			h.clock.Advance(wait)
			_, err := h.show(ticket, "mine")
			expect(h.t, wait.String(), err, want)
		}
	})
}

func TestShowCode_IsGoneWithWhatEndsItsUse(t *testing.T) {
	for name, end := range map[string]func(h *house, p *phone){
		"rotation": func(h *house, _ *phone) {
			_, err := h.home.Admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
			must(h.t, err)
		},
		"retirement": func(h *house, p *phone) { must(h.t, h.Leave(context.Background(), p.Proof(), audit.ByUser())) },
		"reset":      func(h *house, _ *phone) { h.reset("ada") },
		"block":      func(h *house, _ *phone) { h.home.SetBlocked("ada", true) },
		"suspension": func(h *house, p *phone) {
			must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				ticket := h.ticket("ada")
				started := h.start(ticket, "mine")
				p := h.newPhone("a")
				must(h.t, p.Enroll(started.TxID))
				end(h, p)
				_, err := h.show(ticket, "mine")
				expect(h.t, name, err, device.ErrTicket)
			})
		})
	}
}

func TestAwaitEnrolled_EndsWhenThePhoneHasEnrolled(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		started := h.start(ticket, "mine")
		waited := make(chan error, 1)
		go func() { waited <- h.AwaitEnrolled(context.Background(), ticket, "mine", time.Hour) }()
		must(h.t, h.newPhone("a").Enroll(started.TxID))
		must(h.t, <-waited)
		page, err := h.OpenTicket(context.Background(), ticket, "mine")
		must(h.t, err)
		if !page.Started.Enrolled {
			h.t.Error("the wait ended before the phone had enrolled")
		}
	})
}
