package login_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// startFrom starts a login by grant from an address.
func (h *house) startFrom(ip string) (login.MFAStarted, error) {
	return h.StartMFA(context.Background(), login.MFAStart{Client: "bank", User: user.User{ID: "ada"}, IP: ip})
}

// A flood from elsewhere closes neither what is hers nor the way in by code.
func TestBegin_AFloodFromElsewhereClosesNothingOfHers(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		home := request("ada")
		begun := h.begin(home)
		must(h.t, p.approve(p.one(), begun.Number))
		h.clock.Advance(time.Minute)
		thief := request("ada")
		thief.IP = "203.0.113.9"
		for range login.PushesPerMinute {
			h.begin(thief)
		}
		_, err := h.Begin(context.Background(), thief)
		expect(h.t, "the thief's thirteenth", err, login.ErrTooMany)
		h.restart()
		if again := h.begin(home); again.Delivery != login.Push {
			h.t.Errorf("from her own network it is %s", again.Delivery)
		}
		abroad, err := h.startFrom("198.18.0.1")
		must(h.t, err)
		_, err = h.RedeemCode(context.Background(), h.by("bank", abroad.Token), p.Enrolled.RecoveryCode)
		must(h.t, err)
	})
}

func TestStartMFA_SixtyFromANetworkInAny60Seconds(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		var first login.MFAStarted
		for i := range login.StartsPerMinute {
			started, err := h.startFrom(fmt.Sprintf("203.0.113.%d", i))
			must(h.t, err)
			if i == 0 {
				first = started
				h.clock.Advance(20 * time.Second)
			}
		}
		_, err := h.startFrom("203.0.113.200")
		if !errors.Is(err, login.ErrTooManyStarts) || storage.RetryAfter(err) != 40*time.Second {
			h.t.Errorf("the 61st: %v, after %v", err, storage.RetryAfter(err))
		}
		for _, elsewhere := range []string{"198.51.100.7", "2001:db8::1", ""} {
			_, err := h.startFrom(elsewhere)
			expect(h.t, "from "+elsewhere, err, nil)
		}
		h.begin(request("ada"))
		_, err = h.RedeemCode(context.Background(), h.by("bank", first.Token), p.Enrolled.RecoveryCode)
		expect(h.t, "a code during the flood", err, nil)
		h.restart()
		_, err = h.startFrom("203.0.113.200")
		expect(h.t, "after a restart", err, login.ErrTooManyStarts)
		h.clock.Advance(40 * time.Second)
		_, err = h.startFrom("203.0.113.200")
		expect(h.t, "after the wait", err, nil)
		_, err = h.startFrom("203.0.113.200")
		expect(h.t, "and one more", err, login.ErrTooManyStarts)
	})
}

// A flood from many networks forgets its own logins: what one network has started waits, and so does its answer.
func TestStartMFA_AFloodForgetsItsOwn(t *testing.T) {
	check.WithoutRace(t)
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		hers, err := h.startFrom("198.51.100.7")
		must(h.t, err)
		floods := make([]login.MFAStarted, 0, 300)
		for i := range 300 {
			started, err := h.startFrom(fmt.Sprintf("203.0.%d.1", i%6))
			must(h.t, err)
			floods = append(floods, started)
		}
		rows := len(h.home.Rows("login"))
		if rows != 256 {
			h.t.Errorf("%d logins are kept", rows)
		}
		_, err = h.RedeemCode(context.Background(), h.by("bank", floods[0].Token), p.Enrolled.RecoveryCode)
		expect(h.t, "the flood's first", err, login.ErrMFATokenExpired)
		redeem := func() error {
			_, err := h.RedeemCode(context.Background(), h.by("bank", hers.Token), p.Enrolled.RecoveryCode)
			return err
		}
		must(h.t, redeem())
		h.clock.Advance(61 * time.Second)
		for i := range 300 {
			_, err := h.startFrom(fmt.Sprintf("198.51.%d.1", 100+i%6)) // hers is among them
			must(h.t, err)
		}
		expect(h.t, "her answer again", redeem(), nil)
	})
}

func TestStartMFA_SaysWhetherTheUserWasMade(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, want := range []bool{true, false} {
			started, err := h.startFrom("198.51.100.7")
			must(h.t, err)
			if started.Created != want {
				h.t.Errorf("created: %t, want %t", started.Created, want)
			}
		}
		for i, e := range h.events("ada", audit.StartAuth) {
			if e.Detail.IP != "198.51.100.7" {
				h.t.Errorf("event %d is from %q", i, e.Detail.IP)
			}
		}
	})
}

// An admin sets up with a ticket alone: whoever has the password could be first.
func TestStartMFA_WantsATicketOfANewAdmin(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		_, err := h.startFrom("")
		must(h.t, err)
		must(h.t, h.home.Admins.SetRole(context.Background(), "ada", user.Helpdesk, audit.ByOperator(0)))
		_, err = h.startFrom("")
		expect(h.t, "without", err, login.ErrTicketRequired)
		_, err = h.StartMFA(context.Background(), login.MFAStart{Client: "bank", User: user.User{ID: "ada"}, Ticket: h.home.Ticket("ada")})
		expect(h.t, "with", err, nil)
	})
}

// A new app that matches numbers, lost, does not keep the old phone from ringing for ever.
func TestBegin_AStaleAppKeepsNoTapPhoneFromBeingAsked(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		tap := h.enrollTap("ada", "old")
		h.clock.Advance(24 * time.Hour)
		matching := h.enroll("ada", "new")
		h.set("push.budget", "100")
		asks := func(what string, number bool, asked ...*phone) {
			h.t.Helper()
			h.clock.Advance(2 * time.Minute)
			if begun := h.begin(request("ada")); (begun.Number != "") != number {
				h.t.Errorf("%s: the number is %q", what, begun.Number)
			}
			want := map[string]bool{}
			for _, p := range asked {
				want[p.In.Push.Token] = true
			}
			told := map[string]bool{} // a pull would be signed
			for _, d := range h.deliver() {
				told[d.To.Token] = true
			}
			if !maps.Equal(told, want) {
				h.t.Errorf("%s: asked are %v, want %v", what, told, want)
			}
		}
		asks("enrolled today", true, matching)
		h.clock.Advance(29 * 24 * time.Hour)
		asks("within 30 days", true, matching)
		h.clock.Advance(24 * time.Hour)
		asks("after 30 days", false, tap, matching)
		h.set("approval.stale", "60d")
		asks("as the policy says", true, matching)
		h.set("approval.stale", "30d")
		matching.Proof()
		asks("after a signed call", true, matching)
		h.clock.Advance(31 * 24 * time.Hour)
		h.set("approval.presence", "number")
		asks("where a number is always asked for", true, matching)
		h.set("approval.presence", "prefer-number")
		must(h.t, h.devices.Leave(context.Background(), tap.Proof(), audit.ByUser()))
		asks("without another phone", true, matching)
	})
}

// What somebody with the password can cause as often as he likes is one event an hour, with a count.
func TestBegin_EventsOfAFloodAreFolded(t *testing.T) {
	check.WithoutRace(t)
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		thief := request("ada")
		thief.IP = "203.0.113.9"
		for range 4 {
			for range login.PushesPerMinute {
				h.begin(thief)
			}
			h.clock.Advance(time.Minute)
		}
		for i := range 5 {
			for range 50 {
				_, err := h.startFrom(fmt.Sprintf("203.0.%d.1", i))
				must(h.t, err)
			}
		}
		for of, want := range map[audit.Type]int{audit.PushMuted: 1, audit.ConcurrentLogin: 4 + 1, audit.StartAuth: 5 + 1 + 5*(5+1)} {
			h.expectEvents("ada", of, want)
		}
		h.clock.Advance(time.Hour)
		_, _, err := audit.CloseFolds(context.Background(), h.store)
		must(h.t, err)
		folded := 0
		for _, e := range h.events("ada", audit.StartAuth) {
			folded += max(e.Folded.Count, 1)
		}
		if want := 4*login.PushesPerMinute + 5*50; folded != want {
			h.t.Errorf("the events stand for %d logins, want %d", folded, want)
		}
	})
}
