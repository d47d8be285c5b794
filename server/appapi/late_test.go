package appapi

import (
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/phone"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// late asks for the outcome of a restore by a proof that is signed off apart from our time.
func (h *house) late(s started, off time.Duration) answer {
	h.t.Helper()
	claims := map[string]any{"restore": s.id, "iat": h.clock.Wall().Add(off).Unix()}
	proof, err := s.key.Sign(map[string]any{"alg": string(s.key.Algorithm)}, claims, false)
	h.must(err)
	return h.byProof(s, proof)
}

func (h *house) byProof(s started, proof string) answer {
	h.t.Helper()
	return h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization(), "Restore-Proof", proof)
}

// A restore whose answer was lost for longer than a quarter of an hour: the old phone is dead, the code is spent, and the new
// key is in hand. For thirty days that gets a whole new answer, with a fresh code, until the phone's first call.
func TestRestore_ALostAnswerIsMadeAnewForThirtyDays(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	s := h.start(h.handleOf(old), nil)
	lost := h.redeem(s, code)
	h.accepted(lost, 200)
	h.clock.Advance(20 * 24 * time.Hour)
	h.Unchanged(func() {
		h.refused(h.redeem(s, code), 409, "restore_not_ready")
		bare := h.call("GET", "/api/restores/"+s.id, "", "Authorization", s.authorization())
		if bare.status != 200 || bare.body["step"] != "done" || bare.body["result"] != nil {
			t.Errorf("by the restore token alone: %s", bare.raw)
		}
		for _, off := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
			skewed := h.late(s, off)
			h.refused(skewed, 401, "clock_skew")
			if skewed.header.Get("Date") == "" {
				t.Error("it does not say the time to sign with")
			}
		}
	})
	claims := map[string]any{"restore": s.id, "iat": h.clock.Wall().Unix()}
	proof, err := s.key.Sign(map[string]any{"alg": string(s.key.Algorithm)}, claims, false)
	h.must(err)
	a := h.byProof(s, proof)
	h.accepted(a, 200)
	result, _ := a.body["result"].(map[string]any)
	for _, member := range []string{"id", "url", "issuer", "user_id"} {
		if result[member] == "" || result[member] != lost.body[member] {
			t.Errorf("%s is %v, was %v", member, result[member], lost.body[member])
		}
	}
	for _, member := range []string{"token", "restore_handle", "recovery_code"} {
		if result[member] == "" || result[member] == nil || result[member] == lost.body[member] {
			t.Errorf("%s is %v, as it was", member, result[member])
		}
	}
	h.refused(h.byProof(s, proof), 401, "invalid_token")
	if n := len(h.events(audit.RestoreRepeated)); n != 1 {
		t.Errorf("%d events", n)
	}
	now := h.clock.Wall().Unix()
	token, err := s.key.Sign(map[string]any{"alg": "ES256"}, map[string]any{
		"iss": result["id"], "sub": "maria", "aud": h.url + "/api/device-accounts", "iat": now, "exp": now + 60,
	}, false)
	h.must(err)
	h.accepted(h.call("GET", "/api/device-accounts/"+result["id"].(string), "", "Authorization", "Bearer "+token), 200)
	h.clock.Advance(time.Second)
	h.refused(h.late(s, 0), 409, "restore_not_ready")
}

func TestRestore_ALostAnswerIsNotMadeAnewForAnInstallationThatIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		happen func(h *house, id string)
		status int
		code   string
	}{
		"retired":   {func(h *house, id string) { h.change(id, func(e *device.Enrollment) { e.Status = device.Retired }) }, 404, "restore_not_found"},
		"reset":     {func(h *house, _ string) { h.Reset("maria") }, 404, "restore_not_found"},
		"suspended": {func(h *house, id string) { h.change(id, func(e *device.Enrollment) { e.Status = device.Suspended }) }, 403, "enrollment_suspended"},
		"blocked":   {func(h *house, _ string) { h.block("maria") }, 409, "restore_not_ready"},
	} {
		t.Run(name, func(t *testing.T) {
			h := unasked(t)
			old, code := h.backedUp("maria")
			s := h.start(h.handleOf(old), nil)
			lost := h.redeem(s, code)
			h.accepted(lost, 200)
			h.clock.Advance(time.Hour)
			c.happen(h, lost.body["id"].(string))
			h.Unchanged(func() { h.refused(h.late(s, 0), c.status, c.code) })
		})
	}
}

// A restore with handle and code retires a phone that works: whoever holds that may dispute it for a day, by its key, which
// opens nothing else.
func TestRestore_TheRetiredPhoneDisputesIt(t *testing.T) {
	h := unasked(t)
	old, code := h.backedUp("maria")
	other, _ := h.enroll("maria")
	dispute := func(p *phone.Phone, id string) answer {
		return h.call("POST", "/api/restores/"+id+"/dispute", "", "Authorization", h.bearer(p))
	}
	s := h.start(h.handleOf(old), nil)
	h.refused(dispute(old, s.id), 404, "restore_not_found")
	h.accepted(h.redeem(s, code), 200)
	h.refused(dispute(other, s.id), 404, "restore_not_found")
	h.refused(dispute(old, "rst_made-up"), 404, "restore_not_found")
	h.refused(h.call("POST", "/api/restores/"+s.id+"/dispute", "", "Authorization", "Bearer "+old.Enrollment().Token), 401, "invalid_token")
	h.refused(h.call("POST", "/api/restores/"+s.id+"/dispute", "", "Authorization", s.authorization()), 401, "invalid_token")
	h.refused(h.call("POST", "/api/restores/"+s.id+"/dispute", ""), 401, "invalid_token")
	h.refused(h.call("GET", path(old, "/backup"), "", "Authorization", h.bearer(old)), 404, "device_account_not_found")
	h.clock.Advance(23 * time.Hour)
	h.accepted(dispute(old, s.id), 204)
	h.accepted(dispute(old, s.id), 204)
	if n := len(h.events(audit.RestoreDisputed)); n != 1 {
		t.Errorf("%d events", n)
	}
	told, err := other.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if last := told[len(told)-1]; last.Kind != "restore_disputed" || last.RestoreID != s.id || last.Text == "" {
		t.Errorf("the other phone was told %+v", last)
	}
	h.clock.Advance(time.Hour)
	h.refused(dispute(old, s.id), 404, "restore_not_found")
}

// A phone that a ticket has put another in the place of disputes that as well, by what its last notice names; with the policy
// suspend the new one is out of use at once.
func TestRestore_APhoneThatATicketReplacedDisputesIt(t *testing.T) {
	h := unasked(t)
	h.Set("restore.dispute", "suspend")
	old, _ := h.backedUp("maria")
	ticket, err := h.Admins.NewTicket(t.Context(), admin.TicketRequest{User: user.User{ID: "maria"}, Replaces: old.Enrollment().ID}, audit.ByOperator(0))
	h.must(err)
	p := h.phone()
	_, err = p.Enroll(t.Context(), ticket)
	h.must(err)
	told, err := old.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	last := told[len(told)-1]
	if last.Kind != "replaced" || !strings.HasPrefix(last.RestoreID, "dev_") {
		t.Fatalf("the old phone was told %+v", last)
	}
	h.must(old.Dispute(t.Context(), last.RestoreID))
	if _, err := p.Status(t.Context()); phone.CodeOf(err) != "enrollment_suspended" {
		t.Errorf("the new phone got %v", err)
	}
}
