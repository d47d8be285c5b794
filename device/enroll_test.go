package device_test

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestEnroll_AnswersWhatTheSDKsNeed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for name, signer := range keys(h.t) {
			p := h.home.NewPhoneWith("phone with "+name, signer)
			must(h.t, p.Enroll(h.ticket("ada")))
			a := p.Enrolled
			if !strings.HasPrefix(a.ID, "dev_") || len(a.ID) != 20 || a.URL != publicURL+"/appliance-mfa" ||
				a.Issuer != "Example & Söhne" || a.UserID != "ada" || len(a.Token) < 40 {
				h.t.Errorf("%s: %+v", name, a)
			}
			secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(a.TOTP.Secret)
			if err != nil || len(secret) != 20 || a.TOTP.Algorithm != "sha1" || a.TOTP.Digits != 6 || a.TOTP.Period != 30 {
				h.t.Errorf("%s: totp %+v, %v", name, a.TOTP, err)
			}
			if _, err := p.Call(); err != nil {
				h.t.Errorf("%s: its first call got %v", name, err)
			}
		}
		h.expectState("ada", user.Enrolled)
	})
}

func TestEnroll_IssuesACodeOnlyToAUserWithoutAValidOne(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		if code := h.enroll("ada", "a").Enrolled.RecoveryCode; len(code) != 24 {
			h.t.Errorf("the first code is %q", code)
		}
		if code := h.enroll("ada", "b").Enrolled.RecoveryCode; code != "" {
			h.t.Errorf("the second phone got the code %q", code)
		}
		_, err := h.home.Admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
		must(h.t, err)
		if code := h.enroll("ada", "c").Enrolled.RecoveryCode; code != "" {
			h.t.Errorf("a phone got the code %q beside a valid one of an admin's", code)
		}
		h.clock.Advance(24 * time.Hour)
		if code := h.enroll("ada", "d").Enrolled.RecoveryCode; len(code) != 24 {
			h.t.Errorf("after an admin's code has expired a phone got %q", code)
		}
	})
}

func TestEnroll_SpendsATicketOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		must(h.t, h.newPhone("a").Enroll(ticket))
		expect(h.t, "another key", h.newPhone("b").Enroll(ticket), device.ErrTicket)
		expect(h.t, "the same identifier with another key", h.newPhone("a").Enroll(ticket), device.ErrTicket)
		for _, bad := range []string{"", "x", strings.Repeat("A", 32), ticket + "A", ticket[:31], strings.ToLower(ticket), "\x00", strings.Repeat("x", 1<<16)} {
			expect(h.t, fmt.Sprintf("%.40q", bad), h.newPhone("c").Enroll(bad), device.ErrTicket)
		}
	})
}

func TestEnroll_LivesFiveDays(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		early := h.ticket("ada")
		late := h.ticket("ada")
		h.clock.Advance(5*24*time.Hour - time.Nanosecond)
		must(h.t, h.newPhone("a").Enroll(early))
		h.clock.Advance(time.Nanosecond)
		expect(h.t, "after five days", h.newPhone("b").Enroll(late), device.ErrTicket)
	})
}

func TestEnroll_TicketsOfARotatedKeyStillEnrol(t *testing.T) {
	h := newHouse(t, ground.Options{})
	ticket := h.ticket("ada")
	_, err := h.ring.Rotate(context.Background())
	must(t, err)
	p := h.newPhone("a")
	must(t, p.Enroll(ticket))
	_, err = h.ring.Rotate(context.Background())
	must(t, err)
	if _, err := p.CallByToken(); err != nil {
		t.Errorf("its device token got %v", err)
	}
}

// again enrols the phone once more and reports whether it got the same answer.
func (p *phone) again(ticket string) (same bool, err error) {
	before := p.Enrolled
	err = p.Enroll(ticket)
	return err == nil && cmp.Equal(before, p.Enrolled), err
}

func TestEnroll_RepeatByTheSameKeyGetsTheSameAnswer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		p := h.newPhone("a")
		h.clock.Advance(5*24*time.Hour - time.Second)
		must(h.t, p.Enroll(ticket))
		for _, wait := range []time.Duration{0, 10 * time.Minute, 5*time.Minute - time.Nanosecond} { // past the end of the ticket
			h.clock.Advance(wait)
			if same, err := p.again(ticket); !same {
				h.t.Errorf("after %v more: %v", wait, err)
			}
		}
		h.clock.Advance(time.Nanosecond)
		expect(h.t, "after a quarter of an hour", p.Enroll(ticket), device.ErrTicket)
		p.ExpectStatus(device.Active)
	})
}

func TestEnroll_AnswerIsKeptNoLongerThanItIsOfUse(t *testing.T) {
	for name, end := range map[string]func(h *house, p *phone){
		"its first call by the JWT": func(h *house, p *phone) { p.Proof() },
		"its first call by the token": func(h *house, p *phone) {
			_, err := p.CallByToken()
			must(h.t, err)
		},
		"a rotation of the code": func(h *house, p *phone) {
			_, err := h.home.Admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
			must(h.t, err)
		},
		"the retirement of another phone": func(h *house, p *phone) {
			other := h.enroll("ada", "other")
			must(h.t, h.Leave(context.Background(), other.Proof(), audit.ByUser()))
		},
		"its replacement": func(h *house, p *phone) { h.enroll("ada", "a") },
		"a reset":         func(h *house, p *phone) { h.reset("ada") },
		"a block":         func(h *house, p *phone) { h.block("ada", true) },
		"the deletion of the user": func(h *house, p *phone) {
			must(h.t, h.home.Admins.Delete(context.Background(), "ada", audit.ByOperator(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				ticket := h.ticket("ada")
				p := h.newPhone("a")
				must(h.t, p.Enroll(ticket))
				end(h, p)
				expect(h.t, name, p.Enroll(ticket), device.ErrTicket)
			})
		})
	}
}

func TestEnroll_StoresNoSecretInPlainForm(t *testing.T) {
	h := newHouse(t, ground.Options{})
	ticket := h.ticket("ada")
	p := h.newPhone("a")
	must(t, p.Enroll(ticket))
	for what, secret := range map[string]string{
		"ticket": ticket, "device token": p.Enrolled.Token, "recovery code": p.Enrolled.RecoveryCode, "TOTP secret": p.Enrolled.TOTP.Secret,
		"push token": p.In.Push.Token,
	} {
		if h.holds(secret) {
			t.Errorf("the store holds the %s in plain form", what)
		}
	}
}

func TestEnroll_64PhonesSpendOneTicketOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		phones := make([]*phone, 64)
		for i := range phones {
			phones[i] = h.newPhone(fmt.Sprint("phone ", i))
		}
		errs := make([]error, len(phones))
		var all sync.WaitGroup
		for i, p := range phones {
			all.Go(func() { errs[i] = p.Enroll(ticket) })
		}
		all.Wait()
		enrolled := 0
		for i, err := range errs {
			if err == nil {
				enrolled++
				if same, err := phones[i].again(ticket); !same {
					h.t.Errorf("the one that enrolled asked again: %v", err)
				}
			} else if !errors.Is(err, device.ErrTicket) {
				h.t.Error(err)
			}
		}
		if enrolled != 1 {
			h.t.Errorf("%d of 64 phones spent one ticket", enrolled)
		}
		h.view(func(tx *storage.Tx) error {
			list, err := device.All(tx, h.uidIn(tx, "ada"))
			if len(list) != 1 {
				h.t.Errorf("%d enrollments came of one ticket", len(list))
			}
			return err
		})
	})
}

func (h *house) uidIn(tx *storage.Tx, id string) storage.UID {
	u, err := user.Find(tx, id)
	must(h.t, err)
	return u.UID
}

func TestEnroll_64RepeatsByOneKeyGetOneAnswer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		p := h.newPhone("a")
		answers := make([]*device.Enrolled, 64)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				answer, err := h.Enroll(context.Background(), ticket, p.In, audit.ByUser())
				if err != nil {
					h.t.Error(err)
				}
				answers[i] = answer
			})
		}
		all.Wait()
		for _, answer := range answers {
			if diff := cmp.Diff(answers[0], answer); diff != "" {
				h.t.Error(diff)
			}
		}
	})
}

func TestEnroll_BlockedUserIs404AndTheTicketIsNotSpent(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticket("ada")
		p := h.newPhone("a")
		h.block("ada", true)
		expect(h.t, "blocked", p.Enroll(ticket), device.ErrTicket)
		h.block("ada", false)
		must(h.t, p.Enroll(ticket))
	})
}

func TestEnroll_SameIdentifierReplacesTheOldEnrollment(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		old := h.enroll("ada", "a")
		other := h.enroll("ada", "b")
		bens := h.enroll("ben", "a")
		anew := h.enroll("ada", "a")
		old.ExpectStatus(device.Retired)
		for _, p := range []*phone{other, bens, anew} {
			p.ExpectStatus(device.Active)
		}
		_, err := old.Call()
		expect(h.t, "the old key", err, device.ErrNoEnrollment)
		_, err = old.CallByToken()
		expect(h.t, "the old token", err, device.ErrNoEnrollment)
		if left := h.events("ada", audit.Unenroll); len(left) != 1 || left[0].Facts["why"] != "replaced" || left[0].Detail.Enrollment != old.Enrolled.ID {
			h.t.Errorf("events: %+v", left)
		}
		if e := old.Enrollment(); len(e.Push.Address.Token)+len(e.OTP.Secret) != 0 {
			h.t.Error("the retired enrollment keeps its push token or its secret")
		}
	})
}

func TestEnroll_TellsTheOtherPhonesAndThePhoneThatIsReplaced(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		first := h.enroll("ada", "a")
		if told := h.deliver(); len(told) != 0 {
			h.t.Errorf("of the first phone somebody was told: %v", told)
		}
		h.enroll("ben", "b")
		second := h.newPhone("b")
		second.In.Name = "Ada's tablet"
		must(h.t, second.Enroll(h.ticket("ada")))
		told := h.deliver()
		if len(told) != 1 || told[0].Enrollment != first.Enrolled.ID || told[0].Notice != string(recovery.NoticeDeviceAdded) || told[0].Phone != "Ada's tablet" {
			h.t.Errorf("of the second phone were told: %+v", told)
		}
		anew := h.newPhone("b")
		anew.In.Push.Token = "another token"
		must(h.t, anew.Enroll(h.ticket("ada")))
		kinds := map[string]string{}
		for _, d := range h.deliver() {
			kinds[d.Enrollment] += d.Notice
		}
		want := map[string]string{first.Enrolled.ID: "device_added", second.Enrolled.ID: "replaced"}
		if !maps.Equal(kinds, want) {
			h.t.Errorf("of the phone that enrolled anew were told %v, want %v", kinds, want)
		}
	})
}

func TestEnroll_AnIdentifierThatManyPhonesShareReplacesNobody(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, shared := range []string{"9774d56d682e549c", "9774D56D682E549C", "000000000000000", "00000000-0000-0000-0000-000000000000", "unknown"} {
			one := h.enroll("ada", shared)
			two := h.enroll("ada", shared)
			one.ExpectStatus(device.Active)
			two.ExpectStatus(device.Active)
		}
	})
}

// A ticket that lay about, or that an attacker has had made, must not enrol a second phone later, of which nobody knows.
func TestEnroll_APlainTicketEnrolsNoSecondPhone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		first := h.plainTicket("ada")
		second := h.plainTicket("ada")
		started, err := h.StartTicket(context.Background(), second, "", "a browser")
		must(h.t, err)
		open := h.ticket("ada") // made to add a phone
		phone := h.newPhone("a")
		must(h.t, phone.Enroll(first))
		must(h.t, phone.Enroll(first)) // its answer was lost
		expect(h.t, "a second plain ticket", h.newPhone("b").Enroll(second), device.ErrTicket)
		expect(h.t, "a QR code of before", h.newPhone("c").Enroll(started.TxID), device.ErrTicket)
		expect(h.t, "whether it can be used", h.CheckTicket(context.Background(), second), device.ErrTicket)
		must(h.t, h.newPhone("d").Enroll(open))

		// Also when she has no phone again: they were spent with the first enrolment.
		phones, err := h.home.Admins.EnrollmentsOf(context.Background(), "ada")
		must(h.t, err)
		for _, e := range phones {
			must(h.t, h.home.Admins.RemoveEnrollment(context.Background(), e.ID, devicetest.Admin))
		}
		expect(h.t, "a second plain ticket, later", h.newPhone("e").Enroll(second), device.ErrTicket)
		expect(h.t, "a QR code of before, later", h.newPhone("f").Enroll(started.TxID), device.ErrTicket)
	})
}

// plainTicket makes a ticket for a user who is not enrolled.
func (h *house) plainTicket(id string) string {
	h.t.Helper()
	secret, err := h.home.Admins.NewTicket(context.Background(), admin.TicketRequest{User: user.User{ID: id}}, devicetest.Admin)
	must(h.t, err)
	return secret
}

func TestEnroll_KeyOfTheUsersOwnIsAConflictThatSpendsNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		ticket := h.ticket("ada")
		twin := h.home.NewPhoneWith("b", p.Signer)
		expect(h.t, "the key of an active one", twin.Enroll(ticket), device.ErrKeyInUse)
		twin.In.Identifier = "a"
		expect(h.t, "the key of an active one, and its identifier", twin.Enroll(ticket), device.ErrKeyInUse)
		p.ExpectStatus(device.Active)
		h.suspend(p)
		expect(h.t, "the key of a suspended one", twin.Enroll(ticket), device.ErrKeyInUse)
		must(h.t, h.home.Admins.Resume(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		must(h.t, h.Leave(context.Background(), p.Proof(), audit.ByUser()))
		if err := twin.Enroll(ticket); err != nil {
			h.t.Errorf("the key of a retired one, with the ticket of before: %v", err)
		}
		if err := h.home.NewPhoneWith("c", p.Signer).Enroll(h.ticket("ben")); err != nil {
			h.t.Errorf("the key of another user's: %v", err)
		}
	})
}

func (h *house) suspend(p *phone) {
	h.t.Helper()
	must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
}

func TestEnroll_KeyOfOneThatLeftReplacesIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		byToken, err := p.CallByToken()
		must(h.t, err)
		must(h.t, h.Leave(context.Background(), byToken, audit.ByUser()))
		must(h.t, h.home.NewPhoneWith("b", p.Signer).Enroll(h.ticket("ada")))
		_, err = p.Call()
		expect(h.t, "a call of the one that left", err, device.ErrNoEnrollment)
		p.ExpectStatus(device.Retired)
	})
}

func TestEnroll_RefusesWhatAnAppCannotSayOfItself(t *testing.T) {
	h := newHouse(t, ground.Options{})
	ticket := h.ticket("ada")
	for name, change := range map[string]func(in *device.Installation){
		"no identifier":                  func(in *device.Installation) { in.Identifier = "" },
		"a long identifier":              func(in *device.Installation) { in.Identifier = strings.Repeat("x", 513) },
		"an identifier of no text":       func(in *device.Installation) { in.Identifier = "\xff" },
		"no name":                        func(in *device.Installation) { in.Name = "" },
		"a long name":                    func(in *device.Installation) { in.Name = strings.Repeat("x", 257) },
		"an empty capability":            func(in *device.Installation) { in.Capabilities = []string{""} },
		"a long capability":              func(in *device.Installation) { in.Capabilities = []string{strings.Repeat("x", 257)} },
		"more capabilities than anybody": func(in *device.Installation) { in.Capabilities = strings.Split(strings.Repeat("x,", 16)+"x", ",") },
	} {
		p := h.newPhone("a")
		change(&p.In)
		expect(t, name, p.Enroll(ticket), device.ErrInstallation)
	}
	must(t, h.newPhone("a").Enroll(ticket))
}

func TestEnroll_UnderPolicyNumberWantsAnAppThatMatchesNumbers(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.set("approval.presence", "number")
		ticket := h.ticket("ada")
		p := h.newPhone("a")
		p.In.Capabilities = []string{"other"}
		expect(h.t, "an app that cannot", p.Enroll(ticket), device.ErrInstallation)
		p.In.Capabilities = []string{"other", device.NumberMatching}
		must(h.t, p.Enroll(ticket))
	})
}

func TestEnroll_BoundsTheEnrollmentsOfAUser(t *testing.T) {
	h := newHouse(t, ground.Options{})
	for i := range 50 {
		h.enroll("ada", fmt.Sprint("phone ", i))
	}
	ticket := h.ticket("ada")
	expect(t, "one too many", h.newPhone("one more").Enroll(ticket), device.ErrTooMany)
	h.enroll("ada", "phone 7") // in the place of another
	must(t, h.newPhone("one more").Enroll(h.ticket("ben")))
}

func TestNewTicket_HandsOutASecretOfTheProtocolsForm(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		seen := map[string]bool{}
		for range 20 {
			ticket := h.ticket("ada")
			if len(ticket) != 32 || strings.Trim(ticket, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" || seen[ticket] {
				h.t.Errorf("ticket %q", ticket)
			}
			seen[ticket] = true
		}
		if got := h.TicketURL("a b"); got != publicURL+"/mfa/enrollment?ticket=a+b" {
			h.t.Error(got)
		}
	})
}

func TestTicketKey_FindsTheUsersOwnThatWouldEnrol(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		adas := h.ticket("ada")
		spent := h.ticket("ada")
		bens := h.ticket("ben")
		must(h.t, h.newPhone("a").Enroll(spent))
		holds := func(secret string) (holds bool) {
			h.view(func(tx *storage.Tx) (err error) {
				key, err := h.TicketKey(tx, h.uidIn(tx, "ada"), secret)
				holds = key != ""
				return err
			})
			return holds
		}
		for secret, want := range map[string]bool{
			adas:  true,
			spent: false,
			bens:  false,
			"":    false,
			"x":   false,
		} {
			if holds(secret) != want {
				h.t.Errorf("%q: %t", secret, !want)
			}
		}
		h.clock.Advance(5 * 24 * time.Hour)
		if holds(adas) {
			h.t.Error("an expired one is held")
		}
	})
}

func TestTicketURI_IsWhatAppsAndPlainTOTPAppsRead(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket, err := h.home.Admins.NewTicket(context.Background(), admin.TicketRequest{User: user.User{ID: "ada", Email: "a+b@example.com"}}, audit.ByOperator(0))
		must(h.t, err)
		uri, err := h.TicketURI(context.Background(), ticket)
		must(h.t, err)
		if !strings.HasPrefix(uri, "otpauth://totp/Example%20%26%20S%C3%B6hne:a%2Bb%40example.com?enrollment_tx_id="+ticket+"&secret=") {
			h.t.Error(uri)
		}
		parsed, err := url.Parse(uri)
		must(h.t, err)
		q := parsed.Query()
		for name, want := range map[string]string{
			"issuer": "Example & Söhne", "base_url": publicURL + "/appliance-mfa", "algorithm": "sha1", "digits": "6", "counter": "0", "period": "30",
		} {
			if q.Get(name) != want {
				h.t.Errorf("%s is %q", name, q.Get(name))
			}
		}
		p := h.newPhone("a")
		must(h.t, p.Enroll(ticket))
		if p.Enrolled.ID != q.Get("id") || p.Enrolled.TOTP.Secret != q.Get("secret") {
			h.t.Errorf("the QR code has %s, the answer %s", uri, p.Enrolled.ID)
		}
		_, err = h.TicketURI(context.Background(), "x")
		expect(h.t, "no ticket", err, device.ErrTicket)
	})
}
