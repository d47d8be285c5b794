package appapi

import (
	"strings"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/storage"
	"tutela/storage/audit"
)

// A server on which nothing was set asks an old phone that was used lately. The code is asked for meanwhile; sent too early it
// is not looked at, and the answer says when to come back.
func TestRestore_ByDefaultAsksAnOldPhoneThatIsAlive(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	h.accepted(s.answer, 201)
	until, err := time.Parse(storage.InstantLayout, s.body["wait_until"].(string))
	h.must(err)
	if s.body["step"] != "recovery_code" || s.body["reason"] != "old_device_asked" || until.Sub(h.clock.Wall()).Round(time.Second) != time.Minute {
		t.Errorf("got %s", s.raw)
	}
	if s.body["help"] != nil {
		t.Errorf("nobody needs help yet: %s", s.raw)
	}
	h.clock.Advance(10 * time.Second)
	h.Unchanged(func() {
		for _, typed := range []string{code, "7V3KQ9X2M4T8R6W5Y1ZJ0ABV", "typo"} {
			early := h.redeem(s, typed)
			h.refused(early, 409, "restore_not_ready")
			if early.header.Get("Retry-After") != "50" {
				t.Errorf("Retry-After is %q", early.header.Get("Retry-After"))
			}
		}
	})
	h.clock.Advance(50 * time.Second)
	h.accepted(h.redeem(s, code), 200)
}

// Something that the old phone signs in that minute moves the wait to ten, which the phone and whoever restores can see.
func TestRestore_WaitsTenMinutesForAnOldPhoneThatCalls(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	list, err := old.OpenRestoresOfMine(t.Context(), 0)
	h.must(err)
	state := h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization())
	if len(list) != 1 || list[0].WaitUntil == "" || list[0].WaitUntil != state.body["wait_until"] || list[0].WaitUntil == s.body["wait_until"] {
		t.Errorf("the old phone sees %+v, the new one %s after %s", list, state.raw, s.raw)
	}
	h.clock.Advance(2 * time.Minute)
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.clock.Advance(9 * time.Minute)
	h.accepted(h.redeem(s, code), 200)
}

// The old phone is in the other hand: it ends the wait at once. Its word counts alone, and a suspended one's does not.
func TestRestore_TheOldPhoneInTheOtherHandAllowsIt(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	second, _ := h.backedUp("maria")
	stranger, _ := h.backedUp("bert")
	s := h.start(h.handleOf(old), nil)
	allow := func(authorization string) answer {
		return h.call("POST", "/api/restores/"+s.id+"/allow", "", "Authorization", authorization)
	}
	h.refused(allow(h.bearer(second)), 404, "restore_not_found")
	h.refused(allow(h.bearer(stranger)), 404, "restore_not_found")
	h.refused(allow("Bearer "+old.Enrollment().Token), 401, "invalid_token")
	h.refused(allow(s.authorization()), 401, "invalid_token")
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.accepted(allow(h.bearer(old)), 204)
	h.accepted(allow(h.bearer(old)), 204)
	state := h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization())
	if state.body["reason"] != "backup_found" || state.body["wait_until"] != nil {
		t.Errorf("got %s", state.raw)
	}
	h.accepted(h.redeem(s, code), 200)
	if n := len(h.events(audit.RestoreAllowed)); n != 1 {
		t.Errorf("%d events", n)
	}
}

// Any phone of the user stops a restore, and a veto beats an allow. It stands when its phone is suspended afterwards, and is
// an event also the second time.
func TestRestore_AnyPhoneOfTheUserVetoesAndAVetoBeatsAnAllow(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	second, _ := h.enroll("maria")
	third, _ := h.enroll("maria")
	s := h.start(h.handleOf(old), nil)
	say := func(p *phone.Phone, word string) answer {
		return h.call("POST", "/api/restores/"+s.id+"/"+word, "", "Authorization", h.bearer(p))
	}
	h.suspend(third)
	h.refused(say(third, "veto"), 403, "enrollment_suspended")
	h.accepted(say(old, "allow"), 204)
	h.accepted(say(second, "veto"), 204)
	h.suspend(second)
	h.refused(say(old, "allow"), 409, "restore_not_ready")
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.accepted(say(old, "veto"), 204)
	if n := len(h.events(audit.RestoreVetoed)); n != 2 {
		t.Errorf("%d events of two vetoes", n)
	}
}

// First-time setup marks the restore for admins to see, and declares no code lost: whoever has the handle alone can call it.
func TestRestore_FirstTimeSetupIsAnEventAndDeclaresNoCodeLost(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	h.accepted(h.call("POST", "/api/restores/"+s.id+"/first-time-setup", "", "Authorization", s.authorization()), 200)
	h.accepted(h.call("POST", "/api/restores/"+s.id+"/first-time-setup", "", "Authorization", s.authorization()), 200)
	if n := len(h.events(audit.RestoreGivenUp)); n != 1 {
		t.Errorf("%d events", n)
	}
	valid, err := old.CheckCode(t.Context(), code)
	h.must(err)
	if !valid {
		t.Error("the code is gone")
	}
	unknown := h.start("rh_"+strings.Repeat("x", 43), nil)
	h.accepted(h.call("POST", "/api/restores/"+unknown.id+"/first-time-setup", "", "Authorization", unknown.authorization()), 200)
	if n := len(h.events(audit.RestoreGivenUp)); n != 1 {
		t.Errorf("a restore that is nobody's made an event: %d", n)
	}
}

// Where the app cannot go on it has a page for the person, at the reason.
func TestRestore_LeadsToAPageForThePerson(t *testing.T) {
	h := newHouse(t)
	blocked, _ := h.backedUp("bert")
	h.block("bert")
	for _, s := range []started{h.start(nil, nil), h.start(h.handleOf(blocked), nil)} {
		want := "https://mfa.example.org/mfa/help#" + s.body["reason"].(string)
		state := h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization())
		if s.body["help"] != want || state.body["help"] != want {
			t.Errorf("help is %v and %v, want %s", s.body["help"], state.body["help"], want)
		}
	}
}

// An installation that an admin suspended as lost does not come back by a restore: the restore retires it and takes its backup,
// and the event says so.
func TestRestore_RetiresAnInstallationThatWasSuspendedAsLost(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	h.suspend(old)
	s := h.start(h.handleOf(old), nil)
	h.clock.Advance(10 * time.Minute)
	a := h.redeem(s, code)
	h.accepted(a, 200)
	if b, _ := a.body["backup"].(map[string]any); b["items"] != 4.0 {
		t.Errorf("the backup is %v", a.body["backup"])
	}
	if _, err := old.Status(t.Context()); phone.CodeOf(err) != "device_account_not_found" {
		t.Errorf("the suspended one got %v", err)
	}
	moved := h.events(audit.DeviceMoved)
	if len(moved) != 1 || moved[0].Facts[audit.FactWas] != "suspended" {
		t.Errorf("events are %+v", moved)
	}
}
