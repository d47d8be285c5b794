package device_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/ground"
)

// sender has a notice sent by one sender for as long as a test runs, so that its breakers last.
func (h *house) sender(o outbox.Options) *outbox.Sender {
	h.t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	o.Handlers = []outbox.Handler{recovery.Notice.Handler(h.DeliverNotice)}
	s, err := outbox.NewSender(h.store, o)
	must(h.t, err)
	return s
}

// tell notifies a user's phones and returns how many messages went out to them.
func (h *house) tell(id string) int {
	h.t.Helper()
	h.notify(id, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	return len(h.deliver())
}

// refuse has the push service answer all messages so; nil: it takes them.
func (h *house) refuse(r *push.Refusal) {
	h.sent.Fail = func(push.Address) error {
		if r == nil {
			return nil
		}
		return r
	}
}

// houseEvents are those of the installation of a type, newest first.
func (h *house) houseEvents(of audit.Type) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(h.t.Context(), h.store, audit.Query{Types: []audit.Type{of}}, false)
	must(h.t, err)
	return entries
}

// unregistered is APNs' word that a token is gone since a time.
func unregistered(since time.Time) push.Refusal {
	return push.Refusal{
		Verdict: push.Gone,
		Status:  410,
		Reason:  "Unregistered",
		Since:   since,
	}
}

func TestDeliver_OnlyAWordAboutThisTokenRetiresIt(t *testing.T) {
	for name, c := range map[string]struct {
		refusal push.Refusal
		lost    bool
		again   bool // it is tried again
	}{
		"FCM UNREGISTERED":         {push.Refusal{Verdict: push.Gone, Status: 404, Reason: "UNREGISTERED"}, true, false},
		"APNs 410":                 {unregistered(ground.Start.Add(time.Minute)), true, false},
		"BadDeviceToken":           {push.Refusal{Verdict: push.Mismatch, Status: 400, Reason: "BadDeviceToken"}, false, true},
		"SENDER_ID_MISMATCH":       {push.Refusal{Verdict: push.Mismatch, Status: 403, Reason: "SENDER_ID_MISMATCH"}, false, true},
		"THIRD_PARTY_AUTH_ERROR":   {push.Refusal{Verdict: push.Setup, Status: 401, Reason: "THIRD_PARTY_AUTH_ERROR"}, false, true},
		"a bare 404":               {push.Refusal{Verdict: push.Setup, Status: 404}, false, true},
		"too large":                {push.Refusal{Verdict: push.Unfit, Status: 413, Reason: "PayloadTooLarge"}, false, false},
		"busy":                     {push.Refusal{Verdict: push.Busy, Status: 503, Reason: "UNAVAILABLE"}, false, true},
		"a verdict nobody knows":   {push.Refusal{Verdict: "puzzled", Status: 418}, false, true},
		"too much for one token":   {push.Refusal{Verdict: push.Busy, Status: 429, Reason: "TooManyRequests"}, false, true},
		"APNs 410 of before it is": {unregistered(ground.Start.Add(-time.Hour)), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				h.clock.Advance(time.Hour)
				h.refuse(&c.refusal)
				if n := h.tell("ada"); n != 1 {
					h.t.Fatalf("tried %d times", n)
				}
				want := device.PushOK
				if c.lost {
					want = device.PushLost
				}
				e := p.Enrollment()
				if e.PushState() != want || e.Push.Address.Open() != p.In.Push {
					h.t.Errorf("push is %s, and the address is kept: %t", e.PushState(), e.Push.Address.Open() == p.In.Push)
				}
				if again := len(h.waiting()) > 0; again != c.again {
					h.t.Errorf("waits to be tried again: %t", again)
				}
				h.refuse(nil)
				h.clock.Advance(2 * time.Minute)
				if n := len(h.deliver()); (n == 1) != c.again {
					h.t.Errorf("when the service takes it again, it went out %d times", n)
				}
			})
		})
	}
}

func TestDeliver_WhatIsNotCarriedAnyMoreIsGoneAndNoTrouble(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		sender := h.sender(outbox.Options{})
		h.sent.Fail = func(push.Address) error { return push.ErrNotCarried }
		must(h.t, sender.Drain(h.t.Context()))
		if left := h.waiting(); len(left) != 0 {
			h.t.Errorf("left in the outbox: %v", left)
		}
		if err := sender.Trouble(h.t.Context()); err != nil {
			h.t.Errorf("the outbox says: %v", err)
		}
		if p.Enrollment().PushState() != device.PushOK {
			h.t.Error("the address is lost")
		}
	})
}

func TestDeliver_ALostAddressSaysWhenAndWhyAndIsAnEventAndSoIsItsReturn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.clock.Advance(time.Hour)
		h.refuse(&push.Refusal{Verdict: push.Gone, Status: 404, Reason: "UNREGISTERED"})
		h.tell("ada")
		lostAt := h.store.Now()
		h.clock.Advance(time.Hour)
		reach := p.Enrollment().Reach()
		if reach.State != device.PushLost || !reach.Since.Equal(lostAt) || reach.Why != "UNREGISTERED" {
			h.t.Errorf("it is reached so: %+v", reach)
		}

		// Tried again and gone again: it is lost since the same time, and that is no event.
		p.Proof()
		h.tell("ada")
		if again := p.Enrollment().Reach(); !again.Since.Equal(lostAt) {
			h.t.Errorf("lost since %s, want %s", again.Since, lostAt)
		}
		if n := h.tell("ada"); n != 0 {
			h.t.Errorf("a lost address was used %d times", n)
		}
		h.refuse(nil)
		p.Proof()
		h.tell("ada")
		if again := p.Enrollment().Reach(); again != (device.Reach{State: device.PushOK}) {
			h.t.Errorf("well again: %+v", again)
		}
		events := h.events("ada", audit.PushLost)
		if len(events) != 2 {
			h.t.Fatalf("%d events", len(events))
		}
		lost := audit.Facts{audit.FactService: "FCM", audit.FactStatus: audit.AddressLost, audit.FactReason: "UNREGISTERED"}
		well := audit.Facts{audit.FactService: "FCM", audit.FactStatus: audit.AddressOK}
		for i, want := range []audit.Facts{well, lost} {
			if got := fmt.Sprint(events[i].Facts); got != fmt.Sprint(want) || events[i].Detail.Enrollment != p.Enrolled.ID {
				h.t.Errorf("event %d: %s, of %q", i, got, events[i].Detail.Enrollment)
			}
		}
	})
}

func TestDeliver_NamedAgainAfterTheServiceKnewItIsKeptAndTriedAgain(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.clock.Advance(time.Hour)
		since := h.clock.Wall()
		h.clock.Advance(time.Minute)
		_, err := h.Patch(h.t.Context(), p.Proof(), device.Change{Push: p.In.Push}, audit.ByUser())
		must(h.t, err)
		h.clock.Jump(24 * time.Hour) // the wall is set, and both times are of the one before
		h.refuse(&push.Refusal{Verdict: push.Gone, Status: 410, Since: since.Add(24 * time.Hour)})
		h.tell("ada")
		if p.Enrollment().PushState() != device.PushOK {
			h.t.Error("an old word retired the address")
		}
		h.refuse(&push.Refusal{Verdict: push.Gone, Status: 410, Since: since.Add(24*time.Hour + 2*time.Minute)})
		h.clock.Advance(5 * time.Minute)
		h.deliver()
		if p.Enrollment().PushState() != device.PushLost {
			h.t.Error("a word of after that did not")
		}
	})
}

func TestDeliver_ALostAddressIsErasedAfterThirtyDays(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.refuse(&push.Refusal{Verdict: push.Gone})
		h.tell("ada")
		h.clock.Advance(30*24*time.Hour - time.Second)
		sweep(h)
		if p.Enrollment().Push.Address.Open() != p.In.Push {
			h.t.Error("it is gone before its time")
		}
		h.clock.Advance(time.Second)
		e := p.Enrollment()
		if e.PushState() != device.PushLost || !e.PushAddress().IsZero() {
			h.t.Errorf("unswept, push is %s", e.PushState())
		}
		sweep(h)
		for _, row := range h.home.Rows("enrollment") { // as it lies in the store
			if !strings.Contains(row, `"address":{"service":"GCM","token":null,`) {
				h.t.Errorf("the address still lies there: %s", row)
			}
		}
		p.Proof()
		if routes := p.Enrollment().Routes(); len(routes) != 0 {
			h.t.Errorf("an erased address is tried again: %+v", routes)
		}
		_, err := h.Patch(h.t.Context(), p.Proof(), device.Change{Push: p.In.Push}, audit.ByUser())
		must(h.t, err)
		h.refuse(nil)
		if n := h.tell("ada"); n != 1 || p.Enrollment().PushState() != device.PushOK {
			h.t.Errorf("named again it got %d messages, and push is %s", n, p.Enrollment().PushState())
		}
	})
}

func sweep(h *house) {
	h.t.Helper()
	for n := 1; n > 0; {
		var err error
		n, err = h.store.Sweep(h.t.Context())
		must(h.t, err)
	}
}

func TestDeliver_OneTokenOfTwoUsersIsLostForBothAndWellForBoth(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		a := h.enroll("ada", "a")
		b := h.newPhone("b")
		b.In.Push = push.Address{Service: push.FCM, Token: a.In.Push.Token} // FCM is GCM
		a.In.Push = b.In.Push
		_, err := h.Patch(h.t.Context(), a.Proof(), device.Change{Push: a.In.Push}, audit.ByUser())
		must(h.t, err)
		h.deliver()
		must(h.t, b.Enroll(h.ticket("ben")))
		other := h.enroll("eve", "e")
		if n := h.tell("ada") + h.tell("ben"); n != 2 {
			h.t.Errorf("each is sent its own message: %d", n)
		}
		_, err = h.ring.Rotate(h.t.Context()) // the hashes were made by the version before
		must(h.t, err)
		h.refuse(&push.Refusal{Verdict: push.Gone})
		h.tell("ada")
		for _, p := range []*phone{a, b} {
			if state := p.Enrollment().PushState(); state != device.PushLost {
				h.t.Errorf("push of %s is %s", p.In.Identifier, state)
			}
		}
		if other.Enrollment().PushState() != device.PushOK {
			h.t.Error("another's address is lost")
		}
		h.refuse(nil)
		b.Proof()
		h.tell("ben")
		for _, p := range []*phone{a, b} {
			if state := p.Enrollment().PushState(); state != device.PushOK {
				h.t.Errorf("push of %s is %s", p.In.Identifier, state)
			}
		}
		if n := len(h.events("ben", audit.PushLost)); n != 2 {
			h.t.Errorf("%d events about ben", n)
		}
	})
}

func TestDeliver_AWrongSetUpIsAnEventOnceAnHourAndOpensTheBreaker(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.refuse(&push.Refusal{Verdict: push.Setup, Status: 401, Reason: "THIRD_PARTY_AUTH_ERROR"})
		sender := h.sender(outbox.Options{})
		for i := range 6 {
			id := fmt.Sprint("user ", i)
			h.enroll(id, id)
			h.notify(id, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
			must(h.t, sender.Drain(h.t.Context()))
		}
		if n := len(h.sent.Take()); n != 5 {
			h.t.Errorf("%d messages went to a service that refuses us", n)
		}
		err := sender.Trouble(h.t.Context())
		want := "FCM takes nothing: open since " + storage.FormatInstant(h.store.Now()) + ", THIRD_PARTY_AUTH_ERROR"
		if err == nil || err.Error() != want {
			h.t.Errorf("the outbox says %v, want %s", err, want)
		}
		events := h.houseEvents(audit.PushSetup)
		if len(events) != 1 || events[0].Facts[audit.FactService] != "FCM" || events[0].Facts[audit.FactReason] != "THIRD_PARTY_AUTH_ERROR" {
			h.t.Errorf("events: %+v", events)
		}
		h.refuse(nil)
		h.clock.Advance(3 * time.Minute)
		must(h.t, sender.Drain(h.t.Context()))
		if n := len(h.sent.Take()); n != 6 {
			h.t.Errorf("set up rightly, it got %d messages", n)
		}
	})
}

// lost returns how many of the phones have lost their address.
func (h *house) lost(phones []*phone) (n int) {
	h.t.Helper()
	for _, p := range phones {
		if p.Enrollment().PushState() == device.PushLost {
			n++
		}
	}
	return n
}

// crowd enrols a phone for each of n users.
func (h *house) crowd(n int, from string) (phones []*phone) {
	h.t.Helper()
	for i := range n {
		id := fmt.Sprintf("%s %d", from, i)
		phones = append(phones, h.enroll(id, id))
	}
	return phones
}

// tellAll notifies the users of phones, and does what is due.
func (h *house) tellAll(phones []*phone) {
	h.t.Helper()
	for _, p := range phones {
		h.notify(p.Enrolled.UserID, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	}
	h.deliver()
}

func TestWave_StopsRetiringAndIsOneEvent(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		all := h.crowd(40, "user")
		h.clock.Advance(time.Hour)
		h.refuse(&push.Refusal{Verdict: push.Gone, Reason: "UNREGISTERED"})
		h.tellAll(all)
		if n := h.lost(all); n != 21 {
			h.t.Errorf("%d addresses were retired, want 21", n)
		}
		waves := h.houseEvents(audit.PushWave)
		if len(waves) != 1 || waves[0].Facts[audit.FactService] != "FCM" {
			h.t.Errorf("events: %+v", waves)
		}
		if left := len(h.waiting()); left != 19 {
			h.t.Errorf("%d messages wait, want those that were not believed", left)
		}

		// The service comes to its senses: what it said is tried again, and is delivered.
		h.refuse(nil)
		h.clock.Advance(time.Minute)
		if n := len(h.deliver()); n != 19 {
			h.t.Errorf("%d messages went out", n)
		}

		// When it has been quiet for ten minutes, it is believed again.
		h.clock.Advance(10 * time.Minute)
		h.refuse(&push.Refusal{Verdict: push.Gone, Reason: "UNREGISTERED"})
		at := slices.IndexFunc(all, func(p *phone) bool { return p.Enrollment().PushState() == device.PushOK })
		h.tellAll(all[at : at+1])
		if n := h.lost(all); n != 22 {
			h.t.Errorf("after the wave %d are retired, want 22", n)
		}
		if n := len(h.houseEvents(audit.PushWave)); n != 1 {
			h.t.Errorf("%d events", n)
		}
	})
}

func TestWave_IsNoneWhileItIsATenthOfWhatIsSent(t *testing.T) {
	h := newHouse(t, ground.Options{})
	all := h.crowd(30, "user")
	gone := map[string]bool{}
	for _, p := range all[:25] {
		gone[p.In.Push.Token] = true
	}
	var mu sync.Mutex
	h.sent.Fail = func(to push.Address) error {
		mu.Lock()
		defer mu.Unlock()
		if gone[to.Token] {
			return &push.Refusal{Verdict: push.Gone}
		}
		return nil
	}
	for range 50 { // 250 that are taken
		h.tellAll(all[25:])
	}
	h.tellAll(all[:25])
	if n := h.lost(all); n != 25 {
		t.Errorf("%d addresses were retired, want all that are gone", n)
	}
	if n := len(h.houseEvents(audit.PushWave)); n != 0 {
		t.Errorf("%d waves", n)
	}
}

// TestWave_IsSharedByTwoServers: each retires some, and together they see the wave.
func TestWave_IsSharedByTwoServers(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		all := h.crowd(40, "user")
		h.refuse(&push.Refusal{Verdict: push.Gone})
		h.tellAll(all[:15])
		other := *h
		other.Service = device.New(h.store, h.ring, h.codes, device.Options{
			Bases:   device.NewBases([]string{publicURL}),
			Issuer:  "x",
			Deliver: push.NewGateway(h.sent),
		})
		other.tellAll(all[15:])
		h.tellAll(all[15:])
		if n := h.lost(all); n != 21 {
			h.t.Errorf("%d addresses were retired, want 21", n)
		}
		if n := len(h.houseEvents(audit.PushWave)); n != 1 {
			h.t.Errorf("%d events of one wave", n)
		}
	})
}

func TestWave_OfOneServiceIsNoneOfAnother(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		all := h.crowd(30, "user")
		p := h.newPhone("apple")
		p.In.Push = push.Address{Service: push.APNs, Token: "apple"}
		must(h.t, p.Enroll(h.ticket("eve")))
		h.refuse(&push.Refusal{Verdict: push.Gone})
		h.tellAll(all)
		h.tell("eve")
		if p.Enrollment().PushState() != device.PushLost {
			h.t.Error("the word of another service is not believed")
		}
	})
}

func TestHistory_KeepsTheLastEightAddressesAndNoToken(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for i := range 12 {
			h.clock.Advance(time.Hour)
			to := push.Address{Service: push.FCM, Token: fmt.Sprint("plain token ", i%10)}
			_, err := h.Patch(h.t.Context(), p.Proof(), device.Change{Push: to}, audit.ByUser())
			must(h.t, err)
			h.deliver()
		}
		rows := h.home.Rows("push_history")
		if len(rows) != 1 {
			h.t.Fatalf("%d rows", len(rows))
		}
		if n := strings.Count(rows[0], `"hash":`); n != 8 {
			h.t.Errorf("%d addresses are kept", n)
		}
		if h.holds("plain token") {
			h.t.Error("a token lies in the open")
		}
	})
}
