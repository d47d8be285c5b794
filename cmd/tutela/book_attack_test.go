package main

import (
	"errors"
	"fmt"
	"net/http"

	"tutela/device/phone"
)

// attacks are the rows of the second table of docs/recovery.md.
var attacks = []attack{
	{"her user id", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, thief, false)
		s.restore(n.Phone, phone.StepFirstTimeSetup, "no_backup_restored")
		made := s.call("POST", "/appliance-mfa/api/restores", s.made(), "Content-Type", jsonType)
		if made.member("step") != phone.StepFirstTimeSetup || made.member("reason") != "no_backup" {
			s.t.Fatalf("a made-up handle: %d %s", made.status, made.body)
		}
		s.heIsDone()
		s.logsIn(o.Phone)
		return "Nothing. No call takes it without a handle, a ticket or a client's secret"
	}},
	{"the platform's backup: the handle and the device token", func(s *stage) string {
		o := s.settle()
		s.attacksByPlatformBackup(o)
		s.heIsDone()
		s.logsIn(o.Phone)
		s.logsInByCode(o)
		return "Nothing. A restore asks for the code. What the token alone does is unproven: her phone hears of it where it was, is still asked, and takes it back with its next signature"
	}},
	{"her password", func(s *stage) string {
		o := s.settle()
		rang := s.attacksByPassword(o)
		s.heIsDone()
		s.logsIn(o.Phone)
		s.logsInByCode(o)
		return fmt.Sprintf("Nothing but %d rings of her phone, which come back slower each time and take none of hers", rang)
	}},
	{"her password and the platform's backup", func(s *stage) string {
		o := s.settle()
		s.attacksByPlatformBackup(o)
		s.attacksByPassword(o)
		if started := s.form(s.bank, "/mfa/start", "user_id", maria); started.member("mfa_token") == "" {
			s.t.Fatalf("she is new: %d %s", started.status, started.body)
		}
		s.heIsDone()
		s.logsIn(o.Phone)
		s.logsInByCode(o)
		return "Nothing: the two together open no more than each"
	}},
	{"her password, and a page that shows her the number of his login", func(s *stage) string {
		o := s.settle()
		begun := s.asks(thiefAddress)
		s.must(s.approve(o.Phone, begun))
		s.gets(s.collects(begun), true)
		s.heIsDone()
		s.logsIn(o.Phone)
		return "That one login: a number can be relayed. It enrols nothing"
	}},
	{"her phone, unlocked", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, "Pixel 10", true)
		r := s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
		s.must(o.Veto(s.t.Context(), r.ID))
		s.restore(n.Phone, phone.StepAskAdmin, "vetoed")
		s.heIsDone()
		s.logsInByCode(o)
		return "No login. He stops her restores, for a day after each veto; she logs in with the code meanwhile, and the help desk suspends the phone"
	}},
	{"her phone, unlocked, and her password", func(s *stage) string {
		o := s.settle()
		begun := s.asks(thiefAddress)
		s.must(s.approve(o.Phone, begun))
		s.gets(s.collects(begun), true)
		late := s.asks(thiefAddress)
		s.must(s.approve(o.Phone, late))
		s.manage("POST", "/guardian/enrollments/"+o.Enrollment().ID+"/suspend", map[string]any{})
		s.gets(s.collects(late), false)
		s.gets(s.asks(thiefAddress), false)
		s.heIsDone()
		s.logsInByCode(o)
		return "Every login, until the help desk suspends the phone; then not even the one that he has just approved"
	}},
	{"the code", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, thief, false)
		s.restore(n.Phone, phone.StepFirstTimeSetup, "no_backup_restored")
		_, err := n.RestoreWithCode(s.t.Context(), o.code)
		if is := s.refusal(err); is != "restore_not_ready" {
			s.t.Fatalf("refused as %s", is)
		}
		s.heIsDone()
		s.logsInByCode(o)
		return "Nothing: a restore asks for a handle, a login for her password"
	}},
	{"the code and her password", func(s *stage) string {
		o := s.settle()
		next, _ := s.byCode(o.code)
		if next == "" {
			s.t.Fatal("the code does not log in")
		}
		s.heard("code_changed", "Pixel 9")
		s.logsIn(o.Phone)
		return "A login, and the next code with it: so one after another, until she has the help desk issue a new one"
	}},
	{"the code and the platform's backup, while she looks at her phone", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, thief, true)
		r := s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
		s.heard("restore_started", "Pixel 9")
		s.must(o.Veto(s.t.Context(), r.ID))
		s.waits(r)
		_, err := n.RestoreWithCode(s.t.Context(), o.code)
		if is := s.refusal(err); is != "restore_not_ready" {
			s.t.Fatalf("refused as %s", is)
		}
		s.logsIn(o.Phone)
		return "Nothing: she vetoes it"
	}},
	{"the code and the platform's backup, while she sleeps", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, thief, true)
		r := s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
		s.heard("restore_started", "Pixel 9")
		s.waits(r)
		s.redeems(n)
		s.heard("restored", "Pixel 9")
		s.signed(o.Phone, "POST", "/api/restores/"+r.ID+"/dispute", http.StatusNoContent)
		s.manage("POST", "/guardian/enrollments/"+n.Enrollment().ID+"/suspend", map[string]any{})
		s.gets(s.asks(ownAddress), false)
		return "The phone's place and its accounts, but no login without her password. Her phone, retired, disputes it for a day, and the help desk sees that"
	}},
	{"a login system's secret", func(s *stage) string {
		o := s.settle()
		begun := s.asks(thiefAddress)
		s.gets(s.collects(begun), false)
		s.must(s.deny(o.Phone))
		s.gets(s.collects(begun), false)
		return "Rings within the budget. No token without her answer"
	}},
}

// made is the body of a start under a handle that is nobody's.
func (s *stage) made() string {
	s.t.Helper()
	key, err := phone.NewKey(phone.ES256)
	s.must(err)
	public, err := key.Public(false)
	s.must(err)
	return s.text(map[string]any{
		"restore_handle": "rh_0123456789012345678901234567890123456789012",
		"identifier":     "thief",
		"name":           thief,
		"public_key":     public,
	})
}

// attacksByPlatformBackup does all that the handle and the device token open, and checks that none of it opens more.
func (s *stage) attacksByPlatformBackup(o *owner) {
	s.t.Helper()
	stolen := tokenOf(o.Phone)
	redirect := s.text(map[string]any{"push_credentials": map[string]any{"service": "FCM", "token": "push of " + thief}})
	if r := s.byToken(stolen, "PATCH", redirect); r.status != http.StatusOK {
		s.t.Fatalf("%d %s", r.status, r.body)
	}
	s.heard("push_token_changed", "Pixel 9")
	n := s.newPhone(o, thief, true)
	r := s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
	s.heard("restore_started", "Pixel 9") // where it was
	s.waits(r)
	s.guesses(12, func() (int, string) {
		_, err := n.RestoreWithCode(s.t.Context(), wrongCode)
		return refusedWith(err)
	})
	s.heard("code_guessed", "Pixel 9")
	if r := s.byToken(stolen, "DELETE", ""); r.status != http.StatusNoContent {
		s.t.Fatalf("%d %s", r.status, r.body)
	}
	s.heard("left", "Pixel 9")
	if begun := s.asks(ownAddress); begun.status != http.StatusOK {
		s.t.Fatalf("after the DELETE she is not asked: %d %s", begun.status, begun.body)
	}
	_, err := o.Status(s.t.Context()) // signed: it is back
	s.must(err)
	if r := s.byToken(stolen, "DELETE", ""); r.status != http.StatusForbidden {
		s.t.Fatalf("a second DELETE by the old token: %d %s", r.status, r.body)
	}
}

// attacksByPassword does all that a password opens at the bank, and returns how often the phone rang.
func (s *stage) attacksByPassword(o *owner) (rang int) {
	s.t.Helper()
	for range 8 {
		begun := s.asks(thiefAddress)
		if begun.member("delivery") == "push" {
			rang++
		}
		s.gets(s.collects(begun), false)
	}
	s.guesses(12, func() (int, string) {
		_, refused := s.byCode(wrongCode)
		return refused.status, string(refused.body)
	})
	if own := s.asks(ownAddress); own.status != http.StatusOK {
		s.t.Fatalf("she is not asked: %d %s", own.status, own.body)
	}
	return rang
}

// deny denies the newest approval.
func (s *stage) deny(p *phone.Phone) error {
	pending, err := p.Approvals(s.t.Context(), 0, nil)
	if err != nil {
		return err
	}
	return p.Deny(s.t.Context(), pending[len(pending)-1], "hack")
}

// refusedWith is the status by which a phone was refused.
func refusedWith(err error) (int, string) {
	var refused *phone.Error
	if errors.As(err, &refused) {
		return refused.StatusCode, refused.Error()
	}
	return 0, fmt.Sprint(err)
}
