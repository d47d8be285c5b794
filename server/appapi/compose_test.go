package appapi

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/phone"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/servertest"
	"tutela/storage/audit"
)

// say has a phone say a word about a restore: veto, allow or dispute.
func (h *house) say(p *phone.Phone, id, word string) answer {
	h.t.Helper()
	return h.call("POST", "/api/restores/"+id+"/"+word, "", "Authorization", h.bearer(p))
}

// replaceBy enrols a new phone by a ticket that replaces another.
func (h *house) replaceBy(userID, old string) *phone.Phone {
	h.t.Helper()
	ticket, err := h.Admins.NewTicket(h.t.Context(), admin.TicketRequest{User: user.User{ID: userID}, Replaces: old}, servertest.Operator)
	h.must(err)
	p := h.phone()
	_, err = p.Enroll(h.t.Context(), ticket)
	h.must(err)
	return p
}

// told are the words of the notices that a phone reads.
func (h *house) told(p *phone.Phone) string {
	h.t.Helper()
	a := h.call("GET", path(p, "/notices"), "", "Authorization", h.bearer(p))
	h.accepted(a, 200)
	return a.raw
}

// Who holds the old phone unlocked has allowed his restore. An admin suspends the phone: its word counts no longer, and the
// code has to wait as for a phone that was reported lost.
func TestCompose_AnAllowCountsNoLongerWhenItsPhoneIsSuspended(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	h.accepted(h.say(old, s.id, "allow"), 204)
	h.suspend(old)
	h.clock.Advance(2 * time.Minute)
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.must(h.Admins.Resume(t.Context(), old.Enrollment().ID, servertest.Operator))
	h.accepted(h.redeem(s, code), 200)
}

// A restore was begun against a lost phone. Then a ticket has put another in its place: the restore is over, and one that
// begins now asks the phone that has the backup, which a thief would else retire unasked.
func TestCompose_ATicketThatReplacesEndsTheRestoresOfThePhone(t *testing.T) {
	h := newHouse(t)
	lost, code := h.backedUp("maria")
	handle := h.handleOf(lost)
	s := h.start(handle, nil)
	h.clock.Advance(2 * time.Minute)
	next := h.replaceBy("maria", lost.Enrollment().ID)
	h.refused(h.redeem(s, code), 404, "restore_not_found")
	h.refused(h.say(next, s.id, "allow"), 404, "restore_not_found")
	again := h.start(handle, nil)
	if again.body["reason"] != "old_device_asked" {
		t.Errorf("got %s", again.raw)
	}
	if list, err := next.OpenRestoresOfMine(t.Context(), 0); err != nil || len(list) != 1 || list[0].ID != again.id {
		t.Errorf("open are %+v, %v", list, err)
	}
}

// The new installation is suspended before it has called: nobody gets the token and the code that are kept for it.
func TestCompose_ASuspendedInstallationIsShownNoKeptAnswer(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	done := h.redeem(s, code)
	h.accepted(done, 200)
	id, _ := done.body["id"].(string)
	h.must(h.Admins.Suspend(t.Context(), id, servertest.Operator))
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.refused(h.late(s, 0), 403, "enrollment_suspended")
	h.must(h.Admins.Resume(t.Context(), id, servertest.Operator))
	h.accepted(h.late(s, 0), 200)
}

func TestCompose_ASuspendedPhoneIsShownNoKeptEnrolment(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	key, err := phone.NewKey(phone.ES256)
	h.must(err)
	body := h.bodyOf(key, nil)
	enroll := func() answer { return h.call("POST", "/api/enroll", body, "Authorization", `Ticket id="`+ticket+`"`) }
	first := enroll()
	h.accepted(first, 201)
	h.accepted(enroll(), 201)
	h.must(h.Admins.Suspend(t.Context(), first.body["id"].(string), servertest.Operator))
	h.refused(enroll(), 404, "enrollment_transaction_not_found")
}

// A thief takes over twice; the retired phone's word reaches whoever has its place when it is said, also the second time. It
// never reaches the phone that an admin's ticket has put in the thief's place: that is the owner's.
func TestCompose_ADisputeReachesWhoRestoredAndNotWhomAnAdminLetIn(t *testing.T) {
	h := unasked(t)
	h.Set("restore.dispute", "suspend")
	old, code := h.backedUp("maria")
	first := h.start(h.handleOf(old), nil)
	a := h.redeem(first, code)
	h.accepted(a, 200)
	status := func(id any) (is device.Status) {
		h.change(id.(string), func(e *device.Enrollment) { is = e.Status })
		return is
	}
	h.accepted(h.say(old, first.id, "dispute"), 204)
	if status(a.body["id"]) != device.Suspended {
		t.Fatal("the first installation is not suspended")
	}
	// He comes again with the code and the handle that he got.
	second := h.start(a.body["restore_handle"], nil)
	b := h.redeem(second, a.body["recovery_code"].(string))
	h.accepted(b, 200)
	h.accepted(h.say(old, first.id, "dispute"), 204)
	if status(b.body["id"]) != device.Suspended {
		t.Error("the second installation is not suspended")
	}
	// An admin has looked: a repeated word undoes that no more.
	h.must(h.Admins.Resume(t.Context(), b.body["id"].(string), servertest.Operator))
	h.accepted(h.say(old, first.id, "dispute"), 204)
	if status(b.body["id"]) != device.Active || len(h.events(audit.RestoreDisputed)) != 2 {
		t.Errorf("the second is %s after %d events", status(b.body["id"]), len(h.events(audit.RestoreDisputed)))
	}
	next := h.replaceBy("maria", b.body["id"].(string))
	h.accepted(h.say(old, first.id, "dispute"), 204)
	if got := status(next.Enrollment().ID); got != device.Active {
		t.Errorf("the owner's phone is %s", got)
	}
	// A reset forgets it all.
	h.Reset("maria")
	h.refused(h.say(old, first.id, "dispute"), 404, "device_account_not_found")
}

// A phone without a push service and without a backup of its own sees that another of the user's is to be taken over, and
// stops that. What it may allow is marked.
func TestRestores_EveryPhoneOfTheUserSeesAndVetoesThem(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	second, _ := h.enroll("maria")
	stranger, _ := h.backedUp("bert")
	s := h.start(h.handleOf(old), nil)
	listed := func(p *phone.Phone) answer {
		a := h.call("GET", path(p, "/restores?wait=0"), "", "Authorization", h.bearer(p))
		h.accepted(a, 200)
		return a
	}
	for p, allow := range map[*phone.Phone]string{old: `"may_allow":true`, second: `"may_allow":false`} {
		if a := listed(p); !strings.Contains(a.raw, s.id) || !strings.Contains(a.raw, allow) {
			t.Errorf("listed is %s, want %s", a.raw, allow)
		}
	}
	if a := listed(stranger); a.raw != "[]" {
		t.Errorf("a stranger sees %s", a.raw)
	}
	h.accepted(h.say(second, s.id, "veto"), 204)
	if a := listed(old); strings.Contains(a.raw, `"may_allow":true`) {
		t.Errorf("a vetoed one may be allowed: %s", a.raw)
	}
	h.clock.Advance(11 * time.Minute)
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.suspend(second)
	h.refused(h.call("GET", path(second, "/restores"), "", "Authorization", h.bearer(second)), 403, "enrollment_suspended")
}

// An admin lifts a veto: every phone is told, and of the next start by the same key anew.
func TestVeto_ThatIsLiftedIsToldToEveryPhoneAndLaterStartsAnew(t *testing.T) {
	h := newHouse(t)
	old, _ := h.backedUp("maria")
	second, _ := h.enroll("maria")
	s := h.start(h.handleOf(old), nil)
	h.accepted(h.say(second, s.id, "veto"), 204)
	h.must(h.Admins.Unlock(t.Context(), "maria", servertest.Operator))
	for _, p := range []*phone.Phone{old, second} {
		if told := h.told(p); strings.Count(told, `"veto_lifted"`) != 1 {
			t.Errorf("told is %s", told)
		}
	}
	again := h.bodyOf(s.key, func(b map[string]any) { b["restore_handle"] = h.handleOf(old) })
	h.accepted(h.call("POST", "/api/restores", again), 201)
	if told := h.told(second); strings.Count(told, `"restore_started"`) != 2 {
		t.Errorf("told is %s", told)
	}
	// Without a veto there is nothing to tell.
	h.must(h.Admins.Unlock(t.Context(), "maria", servertest.Operator))
	if told := h.told(old); strings.Count(told, `"veto_lifted"`) != 1 {
		t.Errorf("told is %s", told)
	}
}

// Another user's phone has no say and sees nothing, in every call that names a phone or a restore.
func TestCompose_AnotherUsersPhoneReachesNothing(t *testing.T) {
	h := newHouse(t)
	old, _ := h.backedUp("maria")
	stranger, code := h.backedUp("bert")
	s := h.start(h.handleOf(old), nil)
	own := h.start(h.handleOf(stranger), nil)
	h.told(stranger) // what a call of its own writes down
	h.Unchanged(func() {
		for _, word := range []string{"veto", "allow", "dispute"} {
			h.refused(h.say(stranger, s.id, word), 404, "restore_not_found")
		}
		for _, c := range []struct{ method, below, body string }{
			{"GET", "", ""}, {"PATCH", "", `{"name":"mine"}`}, {"DELETE", "", ""}, {"GET", "/approvals", ""}, {"GET", "/notices", ""},
			{"GET", "/restores", ""}, {"GET", "/backup", ""}, {"GET", "/backup/generations", ""}, {"GET", "/backup/generations/1", ""},
			{"DELETE", "/backup", ""}, {"POST", "/backup/handle", "{}"}, {"POST", "/backup/undelete", ""}, {"POST", "/recovery-code/lost", ""},
			{"POST", "/recovery-code/check", `{"recovery_code":"` + code + `"}`},
		} {
			for _, by := range []string{h.bearer(stranger), "Bearer " + stranger.Enrollment().Token, s.authorization()} {
				h.refused(h.call(c.method, path(old, c.below), c.body, "Authorization", by), 401, "invalid_token")
			}
		}
		for _, c := range []struct{ method, below, body string }{
			{"GET", "", ""}, {"POST", "/first-time-setup", ""}, {"POST", "/recovery-code", `{"recovery_code":"` + code + `"}`},
		} {
			for _, by := range []string{own.authorization(), h.bearer(stranger), h.bearer(old)} {
				h.refused(h.call(c.method, "/api/restores/"+s.id+c.below, c.body, "Authorization", by), 401, "invalid_token")
			}
		}
	})
}

// A thief with the platform backup sends wrong codes from 64 connections, while the owner comes with the right one: she is in,
// and none of his calls is anything but a refusal.
func TestCompose_AThiefAndTheOwnerAtTheSameSecond(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	hers := h.start(h.handleOf(old), nil)
	his := h.start(h.handleOf(old), nil)
	token := old.Enrollment().Token
	var wg sync.WaitGroup
	statuses := make(chan int, 64)
	for range 64 {
		wg.Go(func() {
			a, err := h.Try("POST", "/api/restores/"+his.id+"/recovery-code", `{"recovery_code":"7V3KQ9X2M4T8R6W5Y1ZJ0ABV"}`,
				"Authorization", his.authorization())
			if err == nil {
				statuses <- a.Status
			}
		})
	}
	done := h.redeem(hers, code)
	wg.Wait()
	close(statuses)
	h.accepted(done, 200)
	for status := range statuses {
		if status != http.StatusForbidden && status != http.StatusTooManyRequests && status != http.StatusNotFound {
			t.Errorf("the thief got %d", status)
		}
	}
	h.accepted(h.redeem(hers, code), 200)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		body := ""
		if method == "PATCH" {
			body = `{"name":"mine"}`
		}
		h.refused(h.call(method, path(old, ""), body, "Authorization", "Bearer "+token), 404, "device_account_not_found")
	}
}

// Allow and veto come at once, again and again: a veto that was answered beats every allow.
func TestCompose_AllowAndVetoAtOnce(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	second, _ := h.enroll("maria")
	s := h.start(h.handleOf(old), nil)
	allow := h.bearer(old)
	veto := h.bearer(second)
	var wg sync.WaitGroup
	for range 16 {
		for word, by := range map[string]string{"allow": allow, "veto": veto} {
			wg.Go(func() {
				a, err := h.Try("POST", "/api/restores/"+s.id+"/"+word, "", "Authorization", by)
				if err != nil || a.Status != 204 && (word == "veto" || a.Status != 409) {
					t.Errorf("%s: %d %s %v", word, a.Status, a.Raw, err)
				}
			})
		}
	}
	wg.Wait()
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.clock.Advance(time.Hour)
	h.refused(h.redeem(s, code), 404, "restore_not_found")
	if next := h.start(h.handleOf(old), nil); next.body["reason"] != "vetoed" {
		t.Errorf("got %s", next.raw)
	}
}

// People paste what they have: the link with what a browser hung on it, or the text of the QR code.
func TestEnroll_TakesTheTicketOutOfWhatWasPasted(t *testing.T) {
	for name, pasted := range map[string]string{
		"a link with a fragment": "https://mfa.example.org/mfa/enrollment?ticket=%s#start",
		"a link with blanks":     " https://mfa.example.org/mfa/ enrollment?x=1&ticket=%s ",
		"the QR code's text":     "otpauth://totp/Hafenlicht:maria?enrollment_tx_id=%s&issuer=Hafenlicht&period=30",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			key, err := phone.NewKey(phone.ES256)
			h.must(err)
			field := `Ticket id="` + strings.Replace(pasted, "%s", h.ticket("maria"), 1) + `"`
			h.accepted(h.call("POST", "/api/enroll", h.bodyOf(key, nil), "Authorization", field), 201)
		})
	}
}

// An admin blocks the user at each step of a restore: nothing is taken or shown, nothing counts, and it goes on where it was
// when the user is blocked no longer.
func TestCompose_BlockedAtEachStepOfARestore(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	unblock := func() { h.ChangeUser("maria", func(u *user.User) { u.Blocked = false }) }
	s := h.start(h.handleOf(old), nil)
	h.block("maria")
	h.Unchanged(func() {
		for _, typed := range []string{code, "7V3KQ9X2M4T8R6W5Y1ZJ0ABV"} {
			h.refused(h.redeem(s, typed), 409, "restore_not_ready")
		}
	})
	h.refused(h.say(old, s.id, "allow"), 409, "restore_not_ready")
	if state := h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization()); state.body["reason"] != "user_blocked" {
		t.Errorf("got %s", state.raw)
	}
	unblock()
	done := h.redeem(s, code)
	h.accepted(done, 200)
	h.block("maria")
	h.Unchanged(func() {
		h.refused(h.redeem(s, code), 409, "restore_not_ready")
		h.refused(h.late(s, 0), 409, "restore_not_ready")
	})
	unblock()
	again := h.redeem(s, code)
	if again.status != 200 || again.raw != done.raw {
		t.Errorf("got %s, was %s", again.raw, done.raw)
	}
	h.block("maria")
	h.accepted(h.say(old, s.id, "dispute"), 204)
}

// The answer of a restore is lost, and then the code that it issued is replaced, as an admin does, before the phone's first call:
// the new key still gets in, and gets no code of another's.
func TestCompose_ALostAnswerAfterTheCodeWasReplaced(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	h.accepted(h.redeem(s, code), 200)
	issued, err := h.Admins.Regenerate(t.Context(), "maria", servertest.Operator)
	h.must(err)
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	h.clock.Advance(time.Minute)
	a := h.late(s, 0)
	h.accepted(a, 200)
	result, _ := a.body["result"].(map[string]any)
	if result["token"] == nil || result["recovery_code"] != nil {
		t.Errorf("got %s", a.raw)
	}
	next := h.start(result["restore_handle"], nil)
	h.accepted(h.redeem(next, string(issued)), 200)
	// The first one's answer is over, for its installation was retired.
	h.clock.Advance(time.Minute)
	h.refused(h.late(s, 0), 404, "restore_not_found")
}

// A phone was left by its token, is taken over, and its key signs on: it comes back to nothing, reads its last notices, and has
// its say about what retired it alone.
func TestCompose_LeftThenRestoredThenSigned(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	token := old.Enrollment().Token
	h.accepted(h.call("DELETE", path(old, ""), "", "Authorization", "Bearer "+token), 204)
	s := h.start(h.handleOf(old), nil)
	h.accepted(h.redeem(s, code), 200)
	for _, by := range []string{h.bearer(old), "Bearer " + token} {
		h.refused(h.call("GET", path(old, ""), "", "Authorization", by), 404, "device_account_not_found")
		h.refused(h.call("DELETE", path(old, ""), "", "Authorization", by), 404, "device_account_not_found")
	}
	if told := h.told(old); !strings.Contains(told, `"restored"`) || !strings.Contains(told, `"left"`) {
		t.Errorf("told is %s", told)
	}
	h.refused(h.say(old, s.id, "veto"), 404, "device_account_not_found")
	h.accepted(h.say(old, s.id, "dispute"), 204)
	h.refused(h.call("GET", path(old, "/restores"), "", "Authorization", h.bearer(old)), 404, "device_account_not_found")
}

// A reset in the middle of everything: what was begun, kept, allowed or vetoed opens nothing, and says no more than of what
// never was.
func TestCompose_AResetInTheMiddle(t *testing.T) {
	h := newHouse(t)
	old, code := h.backedUp("maria")
	second, _ := h.enroll("maria")
	handle := h.handleOf(old)
	allowed := h.start(handle, nil)
	h.accepted(h.say(old, allowed.id, "allow"), 204)
	h.Reset("maria")
	h.refused(h.redeem(allowed, code), 404, "restore_not_found")
	h.refused(h.call("GET", "/api/restores/"+allowed.id, "", "Authorization", allowed.authorization()), 404, "restore_not_found")
	for _, p := range []*phone.Phone{old, second} {
		for _, word := range []string{"veto", "allow", "dispute"} {
			h.refused(h.say(p, allowed.id, word), 404, "device_account_not_found")
		}
		h.refused(h.call("GET", path(p, "/notices"), "", "Authorization", h.bearer(p)), 404, "device_account_not_found")
	}
	if again := h.start(handle, nil); again.body["reason"] != "no_backup" {
		t.Errorf("got %s", again.raw)
	}
	// The same person sets up anew, and the old keys reach nothing of that.
	third, fresh := h.backedUp("maria")
	s := h.start(h.handleOf(third), nil)
	h.refused(h.say(old, s.id, "veto"), 404, "device_account_not_found")
	h.accepted(h.say(third, s.id, "allow"), 204)
	h.refused(h.redeem(s, code), 403, "invalid_recovery_code")
	h.accepted(h.redeem(s, fresh), 200)
}

// The handle in every state of its backup: revoked, deleted, undeleted, and after a restore.
func TestCompose_HandlesThroughRevokeUndeleteAndRestore(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	first := h.handleOf(old)
	reason := func(handle any, want string) started {
		t.Helper()
		s := h.start(handle, nil)
		if s.body["reason"] != want {
			t.Errorf("got %s, want %s", s.raw, want)
		}
		return s
	}
	begun := reason(first, "backup_found")
	a := h.call("POST", path(old, "/backup/handle"), `{"revoke":true}`, "Authorization", h.bearer(old))
	h.accepted(a, 200)
	second := a.body["restore_handle"]
	reason(first, "no_backup")
	// A restore that was begun by the revoked handle takes no code any more.
	h.refused(h.redeem(begun, code), 409, "restore_not_ready")
	h.accepted(h.call("DELETE", path(old, "/backup"), "", "Authorization", h.bearer(old)), 204)
	reason(second, "no_backup")
	h.accepted(h.call("POST", path(old, "/backup/undelete"), "", "Authorization", h.bearer(old)), 204)
	reason(first, "no_backup")
	done := h.redeem(reason(second, "backup_found"), code)
	h.accepted(done, 200)
	reason(second, "backup_found")
	reason(first, "no_backup")
	reason(done.body["restore_handle"], "backup_found")
	h.refused(h.call("POST", path(old, "/backup/undelete"), "", "Authorization", h.bearer(old)), 404, "device_account_not_found")
}

// From 64 connections with the right code, over as many restores of the backup: one takes over, and of the rest each is told
// that it is over, counting nothing.
func TestCompose_SixtyFourRestoresAndOneCode(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	var open []started
	for i := range 20 {
		key, err := phone.NewKey(phone.ES256)
		h.must(err)
		body := h.bodyOf(key, func(b map[string]any) { b["restore_handle"] = h.handleOf(old) })
		header := []string{}
		if i >= 5 {
			header = []string{"Restore-Proof", h.proof(key, "handle", hexDigest(h.handleOf(old)))}
		}
		a := h.call("POST", "/api/restores", body, header...)
		h.accepted(a, 201)
		s := started{answer: a, key: key}
		s.id, _ = a.body["id"].(string)
		s.token, _ = a.body["token"].(string)
		open = append(open, s)
	}
	var wg sync.WaitGroup
	won := make(chan string, 64)
	for i := range 64 {
		s := open[i%len(open)]
		wg.Go(func() {
			a, err := h.Try("POST", "/api/restores/"+s.id+"/recovery-code", `{"recovery_code":"`+code+`"}`, "Authorization", s.authorization())
			switch {
			case err != nil:
				t.Error(err)
			case a.Status == 200:
				won <- a.Body["id"].(string)
			case a.Status != 404 && a.Status != 409:
				t.Errorf("got %d %s", a.Status, a.Raw)
			}
		})
	}
	wg.Wait()
	close(won)
	ids := map[string]bool{}
	for id := range won {
		ids[id] = true
	}
	if len(ids) != 1 || len(h.events(audit.RestoreDone)) != 1 || len(h.events(audit.RecoveryFailed)) != 0 {
		t.Errorf("%v have taken over; %d events", ids, len(h.events(audit.RestoreDone)))
	}
}
