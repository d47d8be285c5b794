package appapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/login"
	"tutela/device/phone"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/servertest"
)

const sevenDays = 7 * 24 * time.Hour

// leave deletes a phone's enrollment by its device token alone, as a thief of a platform backup can.
func (h *house) leave(p *phone.Phone) {
	h.t.Helper()
	h.accepted(h.call("DELETE", path(p, ""), "", "Authorization", tokenOf(p)), http.StatusNoContent)
}

// expectState fails the test unless the user's MFA state is the one that is wanted, and one of her enrollments is in use.
func (h *house) expectState(when, userID string, state user.State, inUse bool) {
	h.t.Helper()
	p, err := h.Admins.ReadUser(h.t.Context(), userID)
	h.must(err)
	if p.State != state || p.InUse != inUse {
		h.t.Errorf("%s: %s, in use %t", when, p.State, p.InUse)
	}
}

// TestLeft_AStolenTokenTakesNoPhoneAway: the phone is told, still asked, and one answer brings it back. The token does it once.
func TestLeft_AStolenTokenTakesNoPhoneAway(t *testing.T) {
	h := newPushing(t)
	p, _ := h.enroll("maria", withPush("FCM", "hers"))
	stolen := tokenOf(p)
	h.leave(p)
	h.expectReached("the phone is told", "hers: left")
	h.expectState("left", "maria", user.Enrolled, false)
	h.Unchanged(func() {
		h.refused(h.call("DELETE", path(p, ""), "", "Authorization", stolen), 403, "insufficient_scope")
	})

	// It is asked, and its signed answer brings it back.
	begun := h.ask("maria", func(r *login.Request) { r.Life = time.Minute })
	pushed := h.pushed()
	if len(pushed) != 1 || pushed[0].Challenge == "" {
		t.Fatalf("asked: %+v", pushed)
	}
	h.must(p.Approve(t.Context(), phone.Approval{
		Token:        pushed[0].TransactionToken,
		EnrollmentID: pushed[0].Enrollment,
		Challenge:    pushed[0].Challenge,
	}, begun.Number))
	h.must(h.state(begun))
	h.expectState("answered", "maria", user.Enrolled, true)

	// The stolen token deletes no more; it may still say where the phone is reached, unproven.
	h.refused(h.call("DELETE", path(p, ""), "", "Authorization", stolen), 403, "insufficient_scope")
	h.accepted(h.patch(p, stolen, at("thief's")), http.StatusOK)
	h.expectReached("a change", "hers: push_token_changed")
	told, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if diff := cmp.Diff([]string{"left", "push_token_changed"}, words(told)); diff != "" {
		t.Error(diff)
	}
}

// TestLeft_ALoginThatItHasApprovedIsCollected: the token does not undo what the key has said.
func TestLeft_ALoginThatItHasApprovedIsCollected(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria")
	h.must(p.Approve(t.Context(), h.approval(p), begun.Number))
	h.leave(p)
	h.must(h.state(begun))
}

// TestLeft_TheKeyIsGivenAnotherTokenUntilItIsUsed: GET and PATCH by device JWT carry it, always the same one.
func TestLeft_TheKeyIsGivenAnotherTokenUntilItIsUsed(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	old := tokenOf(p)
	h.leave(p)
	first, _ := h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)).body["token"].(string)
	again := h.patch(p, h.bearer(p), map[string]any{"name": "Pixel"}).body["token"]
	if first == "" || again != first {
		t.Fatalf("the token is %q, then %v", first, again)
	}
	if shown := h.call("GET", path(p, ""), "", "Authorization", old).body["token"]; shown != nil {
		t.Errorf("a call by the old token is shown %v", shown)
	}
	h.accepted(h.call("GET", path(p, ""), "", "Authorization", "Bearer "+first), http.StatusOK)
	h.refused(h.call("GET", path(p, ""), "", "Authorization", old), 401, "invalid_token")
	if shown := h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)).body["token"]; shown != nil {
		t.Errorf("once it was used, %v is shown", shown)
	}
	h.accepted(h.call("DELETE", path(p, ""), "", "Authorization", "Bearer "+first), http.StatusNoContent)

	// The simulated phone keeps the one that it is given.
	_, err := p.Status(t.Context())
	h.must(err)
	if tokenOf(p) == old || tokenOf(p) == "Bearer "+first {
		t.Error("the phone keeps a token that deletes nothing")
	}
	h.accepted(h.call("GET", path(p, ""), "", "Authorization", tokenOf(p)), http.StatusOK)
}

func TestLeft_AfterSevenDaysItIsRetiredAndTheUserHasHerCodeAlone(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.leave(p)
	h.clock.Advance(sevenDays - time.Second)
	h.expectState("a second before", "maria", user.Enrolled, false)
	h.accepted(h.call("GET", path(p, ""), "", "Authorization", tokenOf(p)), http.StatusOK) // it revives nothing
	h.clock.Advance(time.Second)
	h.expectState("after seven days", "maria", user.RecoveryOnly, false)
	for _, authorization := range []string{tokenOf(p), h.bearer(p)} {
		h.refused(h.call("GET", path(p, ""), "", "Authorization", authorization), 404, "device_account_not_found")
	}
	last, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if diff := cmp.Diff([]string{"left"}, words(last)); diff != "" {
		t.Error(diff)
	}
}

// TestLeft_CountsForPresenceAndNotForTickets: a login is not tapped on another phone meanwhile, and a plain ticket helps her who
// has no phone left.
func TestLeft_CountsForPresenceAndNotForTickets(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	tap, _ := h.enroll("maria", tapOnly)
	h.leave(p)
	if begun := h.ask("maria"); begun.Number == "" {
		t.Error("a stolen token has had the approvals of another phone tapped")
	}
	if list, err := tap.Approvals(t.Context(), 0, nil); err != nil || len(list) != 0 {
		t.Errorf("the phone that can only be tapped is asked %+v, %v", list, err)
	}
	h.accepted(h.call("DELETE", path(tap, ""), "", "Authorization", h.bearer(tap)), http.StatusNoContent)
	plain := h.plainTicket("maria")
	next := h.phone()
	_, err := next.Enroll(t.Context(), plain)
	h.must(err)
	told, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if diff := cmp.Diff([]string{"device_added", "left", "device_added"}, words(told)); diff != "" {
		t.Error(diff)
	}
}

func TestLeft_FiftyThatLeftBlockNoEnrolment(t *testing.T) {
	h := newHouse(t)
	first, _ := h.enroll("maria")
	h.leave(first)
	for range 49 {
		h.clock.Advance(time.Second)
		p, _ := h.enroll("maria")
		h.leave(p)
	}
	p, _ := h.enroll("maria")
	h.accepted(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), http.StatusOK)
	// The one that left first has made room.
	h.refused(h.call("GET", path(first, ""), "", "Authorization", tokenOf(first)), 404, "device_account_not_found")
}

// TestLeft_AdminsSeeItAndSuspendOrResumeIt: after a resume the token that may have been stolen deletes nothing.
func TestLeft_AdminsSeeItAndSuspendOrResumeIt(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	id := p.Enrollment().ID
	h.leave(p)
	list, err := h.Admins.EnrollmentsOf(t.Context(), "maria")
	h.must(err)
	if len(list) != 1 || list[0].ID != id {
		t.Fatalf("admins see %+v", list)
	}
	h.must(h.Admins.Suspend(t.Context(), id, servertest.Operator))
	h.refused(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), 403, "enrollment_suspended")
	h.expectState("suspended", "maria", user.RecoveryOnly, false)
	h.must(h.Admins.Resume(t.Context(), id, servertest.Operator))
	h.refused(h.call("DELETE", path(p, ""), "", "Authorization", tokenOf(p)), 403, "insufficient_scope")
	h.expectState("resumed", "maria", user.Enrolled, true)

	// One that was never left, too: why was it suspended?
	other, _ := h.enroll("maria")
	h.must(h.Admins.Suspend(t.Context(), other.Enrollment().ID, servertest.Operator))
	h.must(h.Admins.Resume(t.Context(), other.Enrollment().ID, servertest.Operator))
	h.refused(h.call("DELETE", path(other, ""), "", "Authorization", tokenOf(other)), 403, "insufficient_scope")
	if next := h.call("GET", path(other, ""), "", "Authorization", h.bearer(other)).body["token"]; next == nil {
		t.Error("the key is given no other token")
	}
}

// plainTicket makes a ticket that enrols only a user who has no phone in use.
func (h *house) plainTicket(userID string) string {
	h.t.Helper()
	ticket, err := h.Admins.NewTicket(h.t.Context(), admin.TicketRequest{User: user.User{ID: userID}}, servertest.Operator)
	h.must(err)
	return ticket
}
