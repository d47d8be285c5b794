package appapi

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/phone"
	"tutela/storage/audit"
)

// unasked is a house in which no restore waits for the old phone.
func unasked(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.Set("restore.veto", "off")
	return h
}

// events are those of a type, newest first.
func (h *house) events(of audit.Type) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(h.t.Context(), h.store, audit.Query{Types: []audit.Type{of}}, false)
	h.must(err)
	return entries
}

// suspend suspends a phone as an admin does who was told that it is lost.
func (h *house) suspend(p *phone.Phone) {
	h.t.Helper()
	h.change(p.Enrollment().ID, func(e *device.Enrollment) {
		e.Status = device.Suspended
		e.Changed = h.store.Now()
	})
}

// backedUp is a phone of a user's with a backup of four accounts, and the user's recovery code.
func (h *house) backedUp(userID string, change ...func(*phone.Options)) (*phone.Phone, string) {
	h.t.Helper()
	p, code := h.enroll(userID, change...)
	accounts := make([]phone.Account, 4)
	for i := range accounts {
		accounts[i] = phone.Account{Issuer: "Bank", Name: strings.Repeat("m", i+1), Secret: "JBSWY3DPEHPK3PXP"}
	}
	_, err := p.Backup(h.t.Context(), accounts, phone.BackupOptions{})
	h.must(err)
	return p, code
}

// started is a restore as its installation holds it.
type started struct {
	answer
	id, token string
	key       *phone.Key
}

func (s started) authorization() string { return "Bearer " + s.token }

// start starts a restore with a key of its own; change may change the body.
func (h *house) start(handle any, change func(map[string]any), header ...string) started {
	h.t.Helper()
	key, err := phone.NewKey(phone.ES256)
	h.must(err)
	body := h.bodyOf(key, func(b map[string]any) {
		b["restore_handle"] = handle
		b["automatic_restore"] = true
		if change != nil {
			change(b)
		}
	})
	a := h.call("POST", "/api/restores", body, header...)
	s := started{answer: a, key: key}
	s.id, _ = a.body["id"].(string)
	s.token, _ = a.body["token"].(string)
	return s
}

// redeem tries a recovery code on a restore.
func (h *house) redeem(s started, code string) answer {
	h.t.Helper()
	return h.call("POST", "/api/restores/"+s.id+"/recovery-code", h.json(map[string]any{"recovery_code": code}),
		"Authorization", s.authorization())
}

func (h *house) handleOf(p *phone.Phone) string { return p.PlatformBackup().RestoreHandle }

// proof signs a Restore-Proof.
func (h *house) proof(key *phone.Key, member, value string) string {
	h.t.Helper()
	signed, err := key.Sign(map[string]any{"alg": string(key.Algorithm)}, map[string]any{member: value, "iat": h.clock.Wall().Unix()}, false)
	h.must(err)
	return signed
}

func TestRestore_DecidesByTheTable(t *testing.T) {
	h := unasked(t)
	p, _ := h.backedUp("maria")
	blocked, _ := h.backedUp("bert")
	h.block("bert")
	deleted, _ := h.backedUp("clara")
	handle := h.handleOf(deleted)
	h.must(deleted.DeleteBackup(t.Context()))
	gone, _ := h.backedUp("dora")
	h.Reset("dora")
	off := func(b map[string]any) { b["automatic_restore"] = false }
	none := func(b map[string]any) {
		delete(b, "automatic_restore")
		delete(b, "restore_handle")
	}
	for name, c := range map[string]struct {
		handle any
		change func(map[string]any)
		step   string
		reason string
	}{
		"no handle":       {nil, none, "first_time_setup", "no_backup_restored"},
		"an empty handle": {"", nil, "first_time_setup", "no_backup_restored"},
		"clean start":     {h.handleOf(p), off, "first_time_setup", "restore_disabled"},
		"made up":         {"rh_" + strings.Repeat("x", 43), nil, "first_time_setup", "no_backup"},
		"deleted":         {handle, nil, "first_time_setup", "no_backup"},
		"reset":           {h.handleOf(gone), nil, "first_time_setup", "no_backup"},
		"blocked":         {h.handleOf(blocked), nil, "ask_admin", "user_blocked"},
		"found":           {h.handleOf(p), nil, "recovery_code", "backup_found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := h.start(c.handle, c.change)
			h.accepted(s.answer, 201)
			if s.body["step"] != c.step || s.body["reason"] != c.reason {
				t.Errorf("got %s", s.raw)
			}
			state := h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization())
			h.accepted(state, 200)
			delete(s.body, "token")
			if diff := cmp.Diff(s.body, state.body); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRestore_OfNoHandleLooksLikeOneOfAMadeUpHandle(t *testing.T) {
	h := unasked(t)
	p, _ := h.backedUp("maria")
	h.must(p.DeleteBackup(t.Context()))
	members := func(s started) []string {
		var names []string
		for _, name := range []string{"id", "token", "step", "reason", "expires_at", "wait_until", "result"} {
			if _, has := s.body[name]; has {
				names = append(names, name)
			}
		}
		return names
	}
	known := h.start(h.handleOf(p), nil)
	unknown := h.start("rh_"+strings.Repeat("y", 43), nil)
	if diff := cmp.Diff(members(unknown), members(known)); diff != "" || len(known.id) != len(unknown.id) || len(known.token) != len(unknown.token) {
		t.Errorf("%s and %s differ: %s", known.raw, unknown.raw, diff)
	}
}

func TestRestore_TakesOverInOneStep(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	begun := h.ask("maria")
	s := h.start(h.handleOf(old), func(b map[string]any) { b["capabilities"] = []string{"number-matching"} })
	a := h.redeem(s, strings.ToLower(code))
	h.accepted(a, 200)
	next, _ := a.body["recovery_code"].(string)
	if a.body["user_id"] != "maria" || a.body["id"] == old.Enrollment().ID || next == code || len(next) != 24 {
		t.Errorf("got %s", a.raw)
	}
	if handle, _ := a.body["restore_handle"].(string); handle == "" || handle == h.handleOf(old) {
		t.Errorf("restore_handle is %q", handle)
	}
	if b, _ := a.body["backup"].(map[string]any); b["generation"] != 1.0 || b["items"] != 4.0 || b["digest"] == "" || b["created_at"] == "" {
		t.Errorf("backup is %v", a.body["backup"])
	}
	if _, err := old.Status(t.Context()); phone.CodeOf(err) != "device_account_not_found" {
		t.Errorf("the old installation got %v", err)
	}
	id := a.body["id"].(string)
	now := h.clock.Wall().Unix()
	token, err := s.key.Sign(map[string]any{"alg": "ES256"}, map[string]any{
		"iss": id, "sub": "maria", "aud": h.url + "/api/device-accounts", "iat": now, "exp": now + 60,
	}, false)
	h.must(err)
	pending := h.call("GET", "/api/device-accounts/"+id+"/approvals", "", "Authorization", "Bearer "+token)
	if !strings.Contains(pending.raw, `"nm":true`) || begun.Number == "" {
		t.Errorf("the pending approval is not asked of the new installation: %s", pending.raw)
	}
	if blob := h.call("GET", "/api/device-accounts/"+id+"/backup", "", "Authorization", "Bearer "+token); blob.status != 200 {
		t.Errorf("the backup has not moved: %s", blob.raw)
	}
}

func TestRestore_OfASimulatedPhoneBringsItsAccountsBack(t *testing.T) {
	h := unasked(t)
	p, code := h.backedUp("maria", withKey(phone.RS256))
	h.must(p.Reinstall(phone.Reinstallation{}))
	r, err := p.StartRestore(t.Context(), false)
	h.must(err)
	if r.Step != phone.StepRecoveryCode {
		t.Fatalf("step is %s", r.Step)
	}
	_, err = p.RestoreWithCode(t.Context(), code)
	h.must(err)
	_, accounts, err := p.FetchBackup(t.Context())
	h.must(err)
	if len(accounts) != 4 {
		t.Errorf("%d accounts came back", len(accounts))
	}
}

func TestRestore_GivesALostAnswerAgain(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	first := h.redeem(s, code)
	h.accepted(first, 200)
	again := h.redeem(s, code)
	h.accepted(again, 200)
	if diff := cmp.Diff(first.body, again.body); diff != "" {
		t.Error(diff)
	}
	h.refused(h.redeem(s, first.body["recovery_code"].(string)), 409, "restore_not_ready")
	get := func(proof string) answer {
		header := []string{"Authorization", s.authorization()}
		if proof != "" {
			header = append(header, "Restore-Proof", proof)
		}
		return h.call("GET", "/api/restores/"+s.id, "", header...)
	}
	state := get(h.proof(s.key, "restore", s.id))
	h.accepted(state, 200)
	if diff := cmp.Diff(first.body, state.body["result"]); diff != "" || state.body["step"] != "done" {
		t.Errorf("got %s: %s", state.raw, diff)
	}
	if bare := get(""); bare.body["step"] != "done" || bare.body["result"] != nil {
		t.Errorf("without a proof: %s", bare.raw)
	}
	other, err := phone.NewKey(phone.ES256)
	h.must(err)
	h.refused(get(h.proof(other, "restore", s.id)), 401, "invalid_token")
	h.refused(get(h.proof(s.key, "restore", "rst_other")), 401, "invalid_token")
	h.refused(get("no JWS"), 401, "invalid_token")
	h.clock.Advance(16 * time.Minute)
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
}

func TestRestore_RefusesWrongCodesAndCountsThem(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	const wrong = "7V3KQ9X2M4T8R6W5Y1ZJ0ABV"
	h.Unchanged(func() {
		h.refused(h.redeem(s, "typo"), 403, "invalid_recovery_code")
		h.refused(h.redeem(s, wrong[:23]+"W"), 403, "invalid_recovery_code")
	})
	for range 10 {
		h.refused(h.redeem(s, wrong), 403, "invalid_recovery_code")
	}
	h.Unchanged(func() {
		limited := h.redeem(s, wrong)
		h.refused(limited, 429, "too_many_attempts")
		if limited.header.Get("Retry-After") != "30" {
			t.Errorf("Retry-After is %q", limited.header.Get("Retry-After"))
		}
	})
	h.accepted(h.redeem(s, code), 200) // a right one waits for nothing
}

func TestRestore_RefusesAnotherTokenAndMalformedInput(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	other := h.start(h.handleOf(old), nil)
	for _, call := range [][2]string{{"GET", ""}, {"POST", "/recovery-code"}, {"POST", "/first-time-setup"}} {
		do := func(id string, header ...string) answer {
			return h.call(call[0], "/api/restores/"+id+call[1], h.json(map[string]any{"recovery_code": code}), header...)
		}
		h.Unchanged(func() {
			h.refused(do(s.id), 401, "invalid_token")
			h.refused(do(s.id, "Authorization", "Bearer"), 401, "invalid_token")
			h.refused(do(s.id, "Authorization", other.authorization()), 401, "invalid_token")
			h.refused(do(s.id, "Authorization", h.bearer(old)), 401, "invalid_token")
			h.refused(do("rst_made-up", "Authorization", s.authorization()), 404, "restore_not_found")
		})
	}
	h.Unchanged(func() {
		for _, body := range []string{"", "{}", `{"recovery_code":7}`, `{"recovery_code":null}`, "[]"} {
			a := h.call("POST", "/api/restores/"+s.id+"/recovery-code", body, "Authorization", s.authorization())
			h.refused(a, 400, "invalid_body")
		}
		for _, body := range []string{
			"", "{}", h.body(func(b map[string]any) { b["restore_handle"] = 7 }),
			h.body(func(b map[string]any) { b["automatic_restore"] = "false" }),
			h.body(func(b map[string]any) { b["restore_handle"] = strings.Repeat("x", 600) }),
			h.body(func(b map[string]any) { delete(b, "public_key") }),
		} {
			h.refused(h.call("POST", "/api/restores", body), 400, "invalid_body")
		}
	})
}

func TestRestore_AnotherThatSucceedsClosesIt(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	other := h.start(h.handleOf(old), nil)
	h.accepted(h.redeem(s, code), 200)
	h.refused(h.redeem(other, code), 404, "restore_not_found")
	h.refused(h.call("GET", "/api/restores/"+other.id, "", "Authorization", other.authorization()), 404, "restore_not_found")
}

func TestRestore_IsOverAfterFifteenMinutes(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	h.clock.Advance(15*time.Minute + time.Second)
	h.refused(h.redeem(s, code), 404, "restore_not_found")
}

func TestRestore_WithTheOldKeyIsAllowedAndWithAnothersIsAConflict(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	second, _ := h.enroll("maria")
	use := func(key *phone.Key) func(map[string]any) {
		public, err := key.Public(false)
		h.must(err)
		return func(b map[string]any) { b["public_key"] = public }
	}
	conflict := h.start(h.handleOf(old), use(second.Enrollment().Key))
	h.Unchanged(func() { h.refused(h.redeem(conflict, code), 409, "device_account_conflict") })
	h.accepted(h.redeem(h.start(h.handleOf(old), use(old.Enrollment().Key)), code), 200)
}

func TestRestore_FirstTimeSetupChangesNothingOfTheOldInstallation(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	a := h.call("POST", "/api/restores/"+s.id+"/first-time-setup", "", "Authorization", s.authorization())
	h.accepted(a, 200)
	if a.body["step"] != "first_time_setup" || a.body["reason"] != "chosen" {
		t.Errorf("got %s", a.raw)
	}
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	if _, err := old.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRestore_CanBeSeenAndVetoedByTheOldInstallation(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	stranger, _ := h.backedUp("bert")
	s := h.start(h.handleOf(old), nil)
	list, err := old.OpenRestoresOfMine(t.Context(), 0)
	h.must(err)
	if len(list) != 1 || list[0].ID != s.id || list[0].Name != "Pixel 9" || list[0].Step != "recovery_code" {
		t.Fatalf("got %+v", list)
	}
	veto := func(p *phone.Phone, id string) answer {
		return h.call("POST", "/api/restores/"+id+"/veto", "", "Authorization", h.bearer(p))
	}
	h.refused(veto(stranger, s.id), 404, "restore_not_found")
	h.refused(veto(old, "rst_made-up"), 404, "restore_not_found")
	h.refused(h.call("POST", "/api/restores/"+s.id+"/veto", "", "Authorization", s.authorization()), 401, "invalid_token")
	h.refused(h.call("POST", "/api/restores/"+s.id+"/veto", "", "Authorization", "Bearer "+old.Enrollment().Token), 401, "invalid_token")
	h.refused(h.call("POST", "/api/restores/"+s.id+"/veto", ""), 401, "invalid_token")
	h.accepted(veto(old, s.id), 204)
	state := h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization())
	if state.body["step"] != "ask_admin" || state.body["reason"] != "vetoed" {
		t.Errorf("got %s", state.raw)
	}
	h.refused(h.redeem(s, code), 409, "restore_not_ready")
	if again := h.start(h.handleOf(old), nil); again.body["reason"] != "vetoed" {
		t.Errorf("another restore of that backup: %s", again.raw)
	}
}

func TestRestore_WakesTheOldInstallationThatWaits(t *testing.T) {
	h := unasked(t)
	old, _ := h.backedUp("maria")
	authorization := h.bearer(old)
	got := make(chan answer, 1)
	go func() { got <- h.call("GET", path(old, "/restores?wait=60"), "", "Authorization", authorization) }()
	h.UntilHeld(1)
	s := h.start(h.handleOf(old), nil)
	a := <-got
	h.accepted(a, 200)
	var list []map[string]any
	h.must(json.Unmarshal([]byte(a.raw), &list))
	if len(list) != 1 || list[0]["id"] != s.id || list[0]["started_at"] == nil || list[0]["wait_until"] != nil {
		t.Errorf("got %s", a.raw)
	}
}

func TestRestore_WantsAProofFromTheSixthStartOfAHandle(t *testing.T) {
	h := unasked(t)
	old, _ := h.backedUp("maria")
	for _, handle := range []string{h.handleOf(old), "rh_" + strings.Repeat("z", 43)} {
		for range 5 {
			h.accepted(h.start(handle, nil).answer, 201)
		}
		h.Unchanged(func() { h.refused(h.start(handle, nil).answer, 401, "invalid_token") })
		key, err := phone.NewKey(phone.ES256)
		h.must(err)
		body := h.bodyOf(key, func(b map[string]any) { b["restore_handle"] = handle })
		proof := h.proof(key, "handle", hexDigest(handle))
		h.accepted(h.call("POST", "/api/restores", body, "Restore-Proof", proof), 201)
		h.refused(h.call("POST", "/api/restores", body, "Restore-Proof", proof), 401, "invalid_token")
	}
}

func TestRestore_StartsAreChargedToTheAddress(t *testing.T) {
	h := newHouse(t, withLimit(2))
	relayed := func() answer { return h.start(nil, nil, "X-Forwarded-For", "203.0.113.9").answer }
	h.accepted(relayed(), 201)
	h.accepted(relayed(), 201)
	h.Unchanged(func() { h.refused(relayed(), 429, "too_many_attempts") })
}

func TestRestore_ManyWithTheRightCodeSucceedOnce(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	restores := make([]started, 5)
	for i := range restores {
		restores[i] = h.start(h.handleOf(old), nil)
	}
	answers := make([]answer, len(restores))
	var group sync.WaitGroup
	for i, s := range restores {
		group.Go(func() { answers[i] = h.redeem(s, code) })
	}
	group.Wait()
	won := 0
	for _, a := range answers {
		if a.status == 200 {
			won++
		} else {
			h.refused(a, 404, "restore_not_found")
		}
	}
	if won != 1 {
		t.Errorf("%d restores succeeded", won)
	}
}
