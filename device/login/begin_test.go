package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestBegin_EveryRequestIsAnApprovalOfItsOwnWithANumberOfItsOwn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := map[string]login.Begun{}
		numbers := map[string]bool{}
		for range 5 {
			b := h.begin(request("ada"))
			begun[b.ID] = b
			numbers[b.Number] = true
			if b.Expires != 2*time.Minute || b.Delivery != login.Push || len(b.Number) != 6 || strings.Trim(b.Number, "0123456789") != "" {
				h.t.Errorf("begun: %+v", b)
			}
		}
		list := p.pull()
		challenges := map[string]bool{}
		for _, m := range list {
			challenges[m.Challenge] = true
		}
		if len(begun) != 5 || len(list) != 5 || len(challenges) != 5 || len(numbers) < 4 {
			h.t.Errorf("of five requests came %d logins, %d approvals with %d challenges, %d numbers", len(begun), len(list), len(challenges), len(numbers))
		}
		h.expectEvents("ada", audit.ConcurrentLogin, 4)
		h.expectEvents("ada", audit.StartAuth, 5)
	})
}

func TestBegin_DigitsAreAsSet(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for _, digits := range []string{"2", "8"} {
			h.set("approval.digits", digits)
			b := h.begin(request("ada"))
			if fmt.Sprint(len(b.Number)) != digits {
				h.t.Errorf("of %s digits: %q", digits, b.Number)
			}
			must(h.t, p.approve(p.one(), b.Number))
		}
	})
}

func TestBegin_RepeatWithTheSameLoginIDWhilePendingIsTheSameLogin(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.enroll("ben", "b")
		req := request("ada")
		req.LoginID = "session 1"
		first := h.begin(req)
		h.clock.Advance(30 * time.Second)
		again := h.begin(req)
		if again.ID != first.ID || again.Number != first.Number || again.Expires != 90*time.Second {
			h.t.Errorf("first %+v, again %+v", first, again)
		}
		if len(p.pull()) != 1 {
			h.t.Error("the repeat asks once more")
		}
		for name, change := range map[string]func(r *login.Request){
			"another client":   func(r *login.Request) { r.Client = "other" },
			"another login_id": func(r *login.Request) { r.LoginID = "session 2" },
			"another user":     func(r *login.Request) { r.UserID = "ben" },
			"no login_id":      func(r *login.Request) { r.LoginID = "" },
		} {
			r := req
			change(&r)
			if b := h.begin(r); b.ID == first.ID {
				h.t.Errorf("%s got the same login", name)
			}
		}
		for name, change := range map[string]func(r *login.Request){
			"another scope":    func(r *login.Request) { r.Scope = "openid more" },
			"another audience": func(r *login.Request) { r.Audience = "x" },
			"another message":  func(r *login.Request) { r.Message = "pay 5000" },
			"other details":    func(r *login.Request) { r.Details = json.RawMessage(`[{"type":"x"}]`) },
			"another ip":       func(r *login.Request) { r.IP = "203.0.113.1" },
			"another agent":    func(r *login.Request) { r.Agent = "x" },
			"another life":     func(r *login.Request) { r.Life = time.Minute },
		} {
			r := req
			change(&r)
			_, err := h.Begin(context.Background(), r)
			expect(h.t, name, err, login.ErrLoginID)
		}
	})
}

func TestBegin_LoginIDIsFreeOnceTheLoginIsDecidedOrOver(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		req := request("ada")
		req.LoginID = "session"
		first := h.begin(req)
		must(h.t, p.deny(p.one(), ""))
		second := h.begin(req)
		h.clock.Advance(2 * time.Minute)
		other := req
		other.Message = "other parameters"
		third := h.begin(other)
		if first.ID == second.ID || second.ID == third.ID {
			h.t.Error("a login that is over was begun again")
		}
	})
}

func TestBegin_64RepeatsAtOnceBeginOneLogin(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		req := request("ada")
		req.LoginID = "session"
		ids := make([]string, 64)
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() {
				b, err := h.Begin(context.Background(), req)
				if err != nil {
					h.t.Error(err)
				}
				ids[i] = b.ID
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] {
				h.t.Fatal("two logins were begun")
			}
		}
		p.one()
	})
}

func TestBegin_RefusesUsersWhoCannotBeAsked(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		_, err := h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "new"}}, audit.ByOperator(0))
		must(h.t, err)
		gone := h.enroll("gone", "a")
		suspended := h.enroll("suspended", "b")
		must(h.t, h.devices.Leave(ctx, gone.Proof(), audit.ByUser()))
		must(h.t, h.home.Admins.Suspend(ctx, suspended.Enrolled.ID, audit.ByOperator(0)))
		h.enroll("blocked", "c")
		h.block("blocked", true)
		h.enroll("reset", "d")
		h.reset("reset")
		_, err = h.home.Admins.AddUser(ctx, user.User{ID: "code alone"}, audit.ByUser())
		must(h.t, err)
		_, err = h.home.Admins.Regenerate(ctx, "code alone", audit.ByOperator(0))
		must(h.t, err)
		for id, want := range map[string]error{
			"nobody": login.ErrUnknownUser, "new": login.ErrUnknownUser, "reset": login.ErrUnknownUser, "": login.ErrUnknownUser,
			"\xff": login.ErrUnknownUser, strings.Repeat("x", 5000): login.ErrUnknownUser,
			"gone": login.ErrRecovery, "suspended": login.ErrRecovery, "code alone": login.ErrRecovery, "blocked": login.ErrBlocked,
		} {
			_, err := h.Begin(ctx, request(id))
			expect(h.t, fmt.Sprintf("%.20q", id), err, want)
		}
	})
}

func TestBegin_TwelveRequestsInAny60Seconds(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		h.enroll("ben", "b")
		for range 6 {
			h.begin(request("ada"))
		}
		h.clock.Advance(20 * time.Second)
		for i := range 6 {
			r := request("ada")
			r.IP = fmt.Sprintf("203.0.%d.1", i) // a stranger's other networks are no way around
			h.begin(r)
		}
		_, err := h.Begin(context.Background(), request("ada"))
		if !errors.Is(err, login.ErrTooMany) || storage.RetryAfter(err) != 40*time.Second {
			h.t.Errorf("the thirteenth: %v, after %v", err, storage.RetryAfter(err))
		}
		_, err = h.StartMFA(context.Background(), login.MFAStart{Client: "bank", User: user.User{ID: "ada"}})
		expect(h.t, "by grant", err, nil)
		another := request("ada")
		another.Client = "shop"
		h.begin(another)
		h.begin(request("ben"))
		h.restart()
		_, err = h.Begin(context.Background(), request("ada"))
		expect(h.t, "after a restart", err, login.ErrTooMany)
		h.clock.Advance(40 * time.Second)
		for range 6 {
			h.begin(request("ada"))
		}
		_, err = h.Begin(context.Background(), request("ada"))
		expect(h.t, "the thirteenth of the next minute", err, login.ErrTooMany)
	})
}

func TestBegin_64AtOnceBeginTwelve(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		var mu sync.Mutex
		begun := 0
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				_, err := h.Begin(context.Background(), request("ada"))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					begun++
				} else if !errors.Is(err, login.ErrTooMany) {
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		if begun != 12 {
			h.t.Errorf("%d of 64 were begun", begun)
		}
	})
}

func TestBegin_PresencePolicy(t *testing.T) {
	const (
		tap    = "tap"
		number = "number"
	)
	for _, c := range []struct {
		policy  string
		apps    []string
		tapOnly bool
		asked   string // of the apps, by index
		want    string // tap or number
		err     error
	}{
		{"number", []string{number}, false, "0", number, nil},
		{"number", []string{tap, number}, false, "1", number, nil},
		{"number", []string{tap}, false, "", "", login.ErrPresence},
		{"number", []string{number}, true, "", "", login.ErrTapOnly},
		{"number", []string{tap}, true, "", "", login.ErrTapOnly},
		{"prefer-number", []string{number}, false, "0", number, nil},
		{"prefer-number", []string{tap}, false, "0", tap, nil},
		{"prefer-number", []string{tap, tap}, false, "01", tap, nil},
		{"prefer-number", []string{tap, number, number}, false, "12", number, nil},
		{"prefer-number", []string{number}, true, "0", tap, nil},
		{"prefer-number", []string{tap, number}, true, "01", tap, nil},
		{"tap", []string{tap, number}, false, "01", tap, nil},
		{"tap", []string{number}, true, "0", tap, nil},
	} {
		t.Run(fmt.Sprintf("%s/%s/tap client %t", c.policy, strings.Join(c.apps, ","), c.tapOnly), func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				var phones []*phone
				for i, app := range c.apps {
					if app == number {
						phones = append(phones, h.enroll("ada", fmt.Sprint(i)))
					} else {
						phones = append(phones, h.enrollTap("ada", fmt.Sprint(i)))
					}
				}
				h.set("approval.presence", c.policy)
				req := request("ada")
				req.TapOnly = c.tapOnly
				begun, err := h.Begin(context.Background(), req)
				expect(h.t, "begin", err, c.err)
				if err != nil {
					return
				}
				if (begun.Number != "") != (c.want == number) {
					h.t.Errorf("number %q", begun.Number)
				}
				asked := ""
				var one *phone
				for i, p := range phones {
					if len(p.pull()) == 1 {
						asked += fmt.Sprint(i)
						one = p
					}
				}
				if asked != c.asked {
					h.t.Fatalf("asked are %q, want %q", asked, c.asked)
				}
				m := one.one()
				if m.NumberMatching != (c.want == number) {
					h.t.Errorf("nm is %t", m.NumberMatching)
				}
				must(h.t, one.approve(m, begun.Number))
				succeeded := h.events("ada", audit.AuthSucceed)
				if len(succeeded) != 1 || string(succeeded[0].Facts["presence"]) != c.want {
					h.t.Errorf("events: %+v", succeeded)
				}
				taps := 0
				if c.want == tap {
					taps = 1
				}
				h.expectEvents("ada", audit.TapApproval, taps)
			})
		})
	}
}

// expectDelivery begins a login and fails the test unless its phones learn of it so.
func (h *house) expectDelivery(what string, req login.Request, want login.Delivery) login.Begun {
	h.t.Helper()
	begun := h.begin(req)
	if begun.Delivery != want {
		h.t.Errorf("%s: delivery is %s, want %s", what, begun.Delivery, want)
	}
	return begun
}

func TestBegin_FivePushesThenSilence(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for i := range 5 {
			h.expectDelivery(fmt.Sprint("push ", i+1), request("ada"), login.Push)
			h.clock.Advance(3 * time.Minute)
		}
		if pushed := h.deliver(); len(pushed) != 0 {
			h.t.Errorf("%d pushes of logins that are over", len(pushed))
		}
		begun := h.expectDelivery("the sixth", request("ada"), login.Silent)
		if pushed := h.deliver(); len(pushed) != 0 {
			h.t.Errorf("a silent approval was pushed: %+v", pushed)
		}
		muted := h.events("ada", audit.PushMuted)
		if len(muted) != 1 || muted[0].Facts["why"] != "budget" {
			h.t.Errorf("events: %+v", muted)
		}
		other := request("ada")
		other.Client = "another client"
		h.expectDelivery("another client's", other, login.Push)
		list := p.pull() // listed all the same
		var silent push.Message
		for _, m := range list {
			if p.approve(m, begun.Number) == nil {
				silent = m
			}
		}
		if len(list) != 2 || silent.Challenge == "" {
			h.t.Fatalf("listed are %d; none was the silent one", len(list))
		}
		h.expectDelivery("after a success", request("ada"), login.Push)
	})
}

func TestBegin_DenialCountsDouble(t *testing.T) {
	for name, answer := range map[string]func(p *phone, m push.Message, number string) error{
		"a denial":       func(p *phone, m push.Message, _ string) error { return p.deny(m, "busy") },
		"a wrong number": func(p *phone, m push.Message, number string) error { return p.approve(m, other(number)) },
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				for i := range 2 {
					begun := h.expectDelivery(fmt.Sprint("push ", i+1), request("ada"), login.Push)
					if err := answer(p, p.one(), begun.Number); err != nil && !errors.Is(err, login.ErrNumber) {
						h.t.Fatal(err)
					}
				}
				h.expectDelivery("the fifth of the budget", request("ada"), login.Push)
				h.expectDelivery("past it", request("ada"), login.Silent)
			})
		})
	}
}

func TestBegin_BudgetIsAsSetAndSurvivesARestart(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.set("push.budget", "2")
		h.enroll("ada", "a")
		h.expectDelivery("first", request("ada"), login.Push)
		h.restart()
		h.expectDelivery("second", request("ada"), login.Push)
		h.restart()
		h.expectDelivery("third", request("ada"), login.Silent)
	})
}

func TestBegin_NotMeMutesTheClientAndNetworkForAnHour(t *testing.T) {
	for _, reason := range []string{"not_me", "hack"} {
		for _, ip := range []string{"198.51.100.7", "2001:db8:1:2::1"} {
			t.Run(fmt.Sprintf("%s/%q", reason, ip), func(t *testing.T) {
				onEveryEngine(t, func(h *house) {
					h.set("push.budget", "100")
					p := h.enroll("ada", "a")
					from := func(ip string) login.Request {
						r := request("ada")
						r.IP = ip
						return r
					}
					h.begin(from(ip))
					must(h.t, p.deny(p.one(), reason))
					h.expectDelivery("from the address", from(ip), login.Silent)
					h.expectDelivery("from another address", from("203.0.113.9"), login.Push)
					other := from(ip)
					other.Client = "another client"
					h.expectDelivery("from the address, by another client", other, login.Push)
					if ip == "2001:db8:1:2::1" {
						h.expectDelivery("from the same /48", from("2001:db8:1:ffff::9"), login.Silent)
						h.expectDelivery("from another /48", from("2001:db8:2::1"), login.Push)
					}
					begun := h.begin(from("203.0.113.9"))
					for _, m := range p.pull() {
						if p.approve(m, begun.Number) == nil { // a success elsewhere leaves it muted
							break
						}
					}
					h.clock.Advance(time.Hour - time.Nanosecond)
					h.expectDelivery("within the hour", from(ip), login.Silent)
					h.clock.Advance(time.Nanosecond)
					h.expectDelivery("after the hour", from(ip), login.Push)
				})
			})
		}
	}
}

// Without an address the owner may be among those who ask.
func TestBegin_NotMeWithoutAnAddressLetsOneThroughInTenMinutes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.set("push.budget", "100")
		p := h.enroll("ada", "a")
		nowhere := request("ada")
		nowhere.IP = ""
		h.begin(nowhere)
		must(h.t, p.deny(p.one(), "not_me"))
		for i := range 6 {
			h.expectDelivery(fmt.Sprint("within ten minutes ", i), nowhere, login.Silent)
			h.clock.Advance(10*time.Minute - time.Nanosecond)
			h.expectDelivery(fmt.Sprint("just within ", i), nowhere, login.Silent)
			h.clock.Advance(time.Nanosecond)
			h.expectDelivery(fmt.Sprint("after ten minutes ", i), nowhere, login.Push)
		}
		h.expectDelivery("after the hour", nowhere, login.Push)
	})
}

// An unmodified Guardian app cannot pull: pushes that never came back would end them for good.
func TestBegin_PushesComeBackSlowerEachTime(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.set("push.budget", "1")
		h.enroll("ada", "a")
		h.expectDelivery("the first", request("ada"), login.Push)
		for _, wait := range []time.Duration{
			30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, 24 * time.Hour, 24 * time.Hour,
		} {
			h.clock.Advance(wait - time.Nanosecond)
			h.expectDelivery(fmt.Sprint("just before ", wait), request("ada"), login.Silent)
			h.clock.Advance(time.Nanosecond)
			h.expectDelivery(fmt.Sprint("after ", wait), request("ada"), login.Push)
		}
	})
}

// Who has her password and asks from elsewhere must not use up the owner's pushes, nor take each that comes back.
func TestBegin_ANetworkFromWhichSheSucceededHasPushesOfItsOwn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		home := request("ada")
		strange := request("ada")
		begun := h.begin(home)
		must(h.t, p.approve(p.one(), begun.Number))
		for i := range 12 {
			strange.IP = fmt.Sprintf("203.0.%d.9", i)
			want := login.Push
			if i >= 5 {
				want = login.Silent
			}
			h.expectDelivery(fmt.Sprint("stranger's ", i+1), strange, want)
			h.clock.Advance(10 * time.Second)
		}
		h.expectDelivery("hers, meanwhile", home, login.Push)
		h.clock.Advance(30 * 24 * time.Hour)
		for range 5 {
			h.expectDelivery("another stranger's", strange, login.Push)
			h.clock.Advance(10 * time.Second)
		}
		h.expectDelivery("from home, where she was not for 30 days", home, login.Silent)
	})
}

func TestBegin_DenialsEmptyTheBucketByFiveMoreAtMost(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.set("push.budget", "1")
		for range 12 {
			h.begin(request("ada"))
			must(h.t, p.deny(p.pull()[0], "busy"))
			h.clock.Advance(5 * time.Second)
		}
		// One push and five more are out: the sixth to come back leaves room for one.
		wait := 30*time.Minute + time.Hour + 2*time.Hour + 4*time.Hour + 8*time.Hour + 16*time.Hour
		h.clock.Advance(wait - 5*time.Minute)
		h.expectDelivery("before the sixth is back", request("ada"), login.Silent)
		h.clock.Advance(5 * time.Minute)
		h.expectDelivery("when it is", request("ada"), login.Push)
	})
}

func TestUnlock_BringsBackThePushesAndEndsWhatIsMuted(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.set("push.budget", "1")
		p := h.enroll("ada", "a")
		h.begin(request("ada"))
		must(h.t, p.deny(p.one(), "not_me"))
		h.expectDelivery("muted", request("ada"), login.Silent)
		must(h.t, h.home.Admins.Unlock(context.Background(), "ada", devicetest.Admin))
		h.expectDelivery("after the unlock", request("ada"), login.Push)
	})
}

func TestBegin_OtherReasonsMuteNothing(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.set("push.budget", "100")
	p := h.enroll("ada", "a")
	for _, reason := range []string{"", "busy", "NOT_ME", "hacked"} {
		h.begin(request("ada"))
		must(t, p.deny(p.one(), reason))
		h.expectDelivery(reason, request("ada"), login.Push)
		for _, m := range p.pull() {
			must(t, p.deny(m, ""))
		}
	}
}

func TestBegin_DeliveryIsPullWithoutAPushToken(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.update(func(tx *storage.Tx) error {
			return device.NotePush(tx, h.uidIn(tx, "ada"), p.Enrolled.ID, p.In.Push, device.Said{Gone: true, AsOf: tx.Now()})
		})
		h.expectDelivery("no push token", request("ada"), login.Pull)
		h.enroll("ada", "b")
		h.expectDelivery("one phone with a push token", request("ada"), login.Push)
	})
	h := newHouse(t, ground.Options{})
	h.Service = login.New(h.store, h.ring, h.devices, h.codes, device.NewBases([]string{publicURL}), nil)
	h.enroll("ada", "a")
	h.expectDelivery("no push service", request("ada"), login.Pull)
}

func TestStartMFA_TellsWhatAUserCanDo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for id, want := range map[string]login.MFAStarted{
			"new":     {State: user.New},
			"ada":     {State: user.Enrolled, Codes: true},
			"gone":    {State: user.RecoveryOnly, Codes: true},
			"expired": {State: user.RecoveryOnly},
		} {
			switch id {
			case "ada":
				h.enroll(id, "a")
			case "gone":
				must(h.t, h.devices.Leave(context.Background(), h.enroll(id, "b").Proof(), audit.ByUser()))
			case "expired":
				_, err := h.home.Admins.AddUser(context.Background(), user.User{ID: id}, audit.ByUser())
				must(h.t, err)
				_, err = h.home.Admins.Regenerate(context.Background(), id, audit.ByOperator(0))
				must(h.t, err)
				h.clock.Advance(25 * time.Hour)
			}
			got := h.startMFA(id)
			if got.State != want.State || got.Codes != want.Codes || strings.Count(got.Token, ".") != 2 {
				h.t.Errorf("%s: %+v", id, got)
			}
		}
	})
}

func (h *house) startMFA(id string) login.MFAStarted {
	h.t.Helper()
	started, err := h.StartMFA(context.Background(), login.MFAStart{Client: "bank", User: user.User{ID: id}})
	must(h.t, err)
	return started
}

func TestStartMFA_UnderPolicyTicketANewUserNeedsOne(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.set("enrollment.after_reset", "ticket")
		ticket, err := h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "ada"}}, audit.ByOperator(0))
		must(h.t, err)
		bens, err := h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "ben"}}, audit.ByOperator(0))
		must(h.t, err)
		for secret, want := range map[string]error{"": login.ErrTicketRequired, bens: login.ErrTicketRequired, ticket: nil} {
			_, err := h.StartMFA(ctx, login.MFAStart{Client: "bank", User: user.User{ID: "ada"}, Ticket: secret})
			expect(h.t, secret, err, want)
		}
		_, err = h.StartMFA(ctx, login.MFAStart{Client: "bank", User: user.User{ID: "eve"}})
		expect(h.t, "a user not seen before", err, login.ErrTicketRequired)
		h.enroll("ada", "a")
		h.startMFA("ada")
	})
}

func TestStartMFA_RefusesABlockedUserAndABadID(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.enroll("ada", "a")
	h.block("ada", true)
	for id, want := range map[string]error{"ada": login.ErrBlocked, "": user.ErrID, "\x00": user.ErrID, strings.Repeat("x", 256): user.ErrID} {
		_, err := h.StartMFA(context.Background(), login.MFAStart{Client: "bank", User: user.User{ID: id}})
		expect(t, fmt.Sprintf("%.10q", id), err, want)
	}
}
