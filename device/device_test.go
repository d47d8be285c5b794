package device_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func text(s string) *string { return &s }

func TestPatch_ChangesWhatIsNamedAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		byToken, err := p.CallByToken()
		must(h.t, err)
		for _, proof := range []device.Proof{p.Proof(), byToken} {
			name := fmt.Sprint("by token: ", proof.ByToken)
			e, err := h.Patch(context.Background(), proof, device.Change{Name: &name}, audit.ByUser())
			must(h.t, err)
			if e.Name != name || e.Push.Identifier != "a" || e.PushAddress() != p.In.Push || !e.Push.Can(device.NumberMatching) {
				h.t.Errorf("%+v", e)
			}
		}
		e, err := h.Patch(context.Background(), p.Proof(), device.Change{
			Identifier: text("new"), Push: push.Address{Service: push.APNs, Token: "new"}, Capabilities: &[]string{},
		}, audit.ByUser())
		must(h.t, err)
		if e.Push.Identifier != "new" || e.PushAddress() != (push.Address{Service: push.APNs, Token: "new"}) || e.Push.Can(device.NumberMatching) {
			h.t.Errorf("%+v", e)
		}
		if read, err := h.Read(context.Background(), p.Proof()); err != nil || read.Push.Identifier != "new" {
			h.t.Errorf("read: %+v, %v", read, err)
		}
	})
}

func TestPatch_RefusesWhatCannotBeAndChangesNothing(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	proof := p.Proof()
	before := h.content()
	for name, c := range map[string]device.Change{
		"no identifier":     {Identifier: text("")},
		"no name":           {Name: text("")},
		"a long name":       {Name: text(strings.Repeat("x", 257))},
		"many capabilities": {Capabilities: &[]string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17"}},
	} {
		_, err := h.Patch(context.Background(), proof, c, audit.ByUser())
		expect(t, name, err, device.ErrInstallation)
	}
	if h.content() != before {
		t.Error("a refused patch wrote something")
	}
}

func TestPatch_TellsTheOldAddressOfEachChange(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		patch := func(c device.Change) {
			_, err := h.Patch(context.Background(), p.Proof(), c, audit.ByUser())
			must(h.t, err)
		}
		patch(device.Change{Name: text("a new name")})
		if told := h.deliver(); len(told) != 0 {
			h.t.Errorf("a new name was told: %+v", told)
		}
		// Whoever changes it twice at once keeps nobody from hearing of the first.
		patch(device.Change{Push: push.Address{Service: push.APNs, Token: "second"}})
		patch(device.Change{Push: push.Address{Service: push.FCM, Token: "third"}})
		patch(device.Change{Identifier: text("b")})
		patch(device.Change{Identifier: text("b"), Push: push.Address{Service: push.FCM, Token: "third"}}) // no change
		told := map[push.Address]int{}
		for _, d := range h.deliver() {
			told[d.To]++
			if d.Notice != "push_token_changed" || d.Enrollment != p.Enrolled.ID || d.TransactionToken != "" || d.Challenge != "" {
				h.t.Errorf("the notice is %+v", d.Message)
			}
		}
		for _, want := range []push.Address{p.In.Push, {Service: push.APNs, Token: "second"}, {Service: push.FCM, Token: "third"}} {
			if told[want] != 1 {
				h.t.Errorf("%v was told %d times", want, told[want])
			}
		}
		if events := h.events("ada", audit.UpdateDevice); len(events) != 3 {
			h.t.Errorf("%d events of three changes", len(events))
		}
		h.scan(func(key, _ string) {
			if strings.Contains(key, "push_address\x00") {
				h.t.Errorf("an address that was told is kept: %q", key)
			}
		})
	})
}

func TestPatch_FloodOfTokensTellsTheFirst(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	for i := range 40 {
		_, err := h.Patch(context.Background(), p.Proof(), device.Change{Push: push.Address{Service: push.GCM, Token: fmt.Sprint("thief ", i)}}, audit.ByUser())
		must(t, err)
	}
	told := h.deliver()
	if len(told) != 4 {
		t.Errorf("%d addresses were told", len(told))
	}
	first := false
	for _, d := range told {
		first = first || d.To == p.In.Push
	}
	if !first {
		t.Error("the owner's phone was not told")
	}
}

func TestState_FollowsTheLifeOfAUser(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.ticket("ada")
		h.expectState("ada", user.New)
		p := h.enroll("ada", "a")
		h.expectState("ada", user.Enrolled)
		p.leave() // a thief with the device token
		h.expectState("ada", user.Enrolled)
		h.clock.Advance(7*24*time.Hour - time.Nanosecond)
		h.expectState("ada", user.Enrolled)
		p.Proof()
		h.expectState("ada", user.Enrolled)
		h.suspend(p)
		h.expectState("ada", user.RecoveryOnly)
		must(h.t, h.home.Admins.Resume(ctx, p.Enrolled.ID, audit.ByOperator(0)))
		h.expectState("ada", user.Enrolled)
		must(h.t, h.Leave(ctx, p.Proof(), audit.ByUser()))
		h.expectState("ada", user.RecoveryOnly)
		b := h.enroll("ada", "b")
		h.expectState("ada", user.Enrolled)
		b.leave()
		h.clock.Advance(7 * 24 * time.Hour)
		h.expectState("ada", user.RecoveryOnly)
		h.reset("ada")
		h.expectState("ada", user.New)
		_, err := h.home.Admins.Regenerate(ctx, "ada", audit.ByOperator(0))
		must(h.t, err)
		h.expectState("ada", user.RecoveryOnly)
		h.clock.Advance(25 * time.Hour) // the code is over, the state stays
		h.expectState("ada", user.RecoveryOnly)
		h.reset("ada")
		h.expectState("ada", user.New)
	})
}

func TestPractise_IsForTheCallersOwnCode(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		other := h.enroll("ben", "b")
		for typed, want := range map[string]bool{p.Enrolled.RecoveryCode: true, other.Enrolled.RecoveryCode: false, "x": false} {
			valid, err := h.Practise(context.Background(), p.Proof(), typed, audit.ByUser())
			if err != nil || valid != want {
				h.t.Errorf("%t, %v", valid, err)
			}
		}
	})
}

func TestReset_RacingCallsLeaveNoRowBehind(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		proof := p.Proof()
		ticket := h.ticket("ada")
		h.reset("ada")
		_, err := h.Patch(context.Background(), proof, device.Change{Name: text("x")}, audit.ByUser())
		expect(h.t, "a patch proven before", err, device.ErrNoEnrollment)
		expect(h.t, "leaving, proven before", h.Leave(context.Background(), proof, audit.ByUser()), device.ErrNoEnrollment)
		expect(h.t, "a ticket of before", h.newPhone("b").Enroll(ticket), device.ErrTicket)
		_, err = p.Call()
		expect(h.t, "a call", err, device.ErrNoEnrollment)
		r, err := h.home.Admins.Reset(context.Background(), "ada", recovery.ResetRequest{Reason: "x"}, audit.ByOperator(0))
		if err != nil || len(r.Removed) != 0 {
			h.t.Errorf("a second reset removed %v, %v", r.Removed, err)
		}
	})
}
