package appapi

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/devicetest"
	"tutela/device/phone"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage/audit"
)

// patch changes a phone's enrollment.
func (h *house) patch(p *phone.Phone, authorization string, change map[string]any) answer {
	h.t.Helper()
	return h.call("PATCH", path(p, ""), h.json(change), "Authorization", authorization)
}

func tokenOf(p *phone.Phone) string { return "Bearer " + p.Enrollment().Token }

func at(token string) map[string]any {
	return map[string]any{"push_credentials": map[string]any{"service": "FCM", "token": token}}
}

// reached are the push tokens to which messages went, and what these were: a notice's word, or "approval".
func reached(pushed []devicetest.Delivered) []string {
	list := make([]string, 0, len(pushed))
	for _, d := range pushed {
		what := d.Notice
		if d.Challenge != "" {
			what = "approval"
		}
		list = append(list, d.To.Token+": "+what)
	}
	slices.Sort(list)
	return list
}

// expectReached fails the test unless these messages were pushed and no other.
func (h *house) expectReached(when string, want ...string) {
	h.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), reached(h.pushed())); diff != "" {
		h.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// TestUnproven_AThiefOfTheDeviceTokenTakesNoMessageAwayFromThePhone: he names his own push address by it, and the phone goes
// on hearing all that he hears.
func TestUnproven_AThiefOfTheDeviceTokenTakesNoMessageAwayFromThePhone(t *testing.T) {
	h := newPushing(t)
	p, _ := h.enroll("maria", withPush("FCM", "hers"))
	h.accepted(h.patch(p, tokenOf(p), at("thief's first")), http.StatusOK)
	h.expectReached("her phone is told where it was reached before", "hers: push_token_changed")
	h.accepted(h.patch(p, tokenOf(p), at("thief's")), http.StatusOK)
	h.expectReached("so is the address between", "hers: push_token_changed", "thief's first: push_token_changed")

	h.ask("maria")
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeRestoreStarted, Restore: "rst_1"})
	pushed := h.pushed()
	want := []string{"hers: approval", "hers: restore_started", "thief's: approval", "thief's: restore_started"}
	if diff := cmp.Diff(want, reached(pushed)); diff != "" {
		t.Fatal(diff)
	}
	challenges := map[string]bool{}
	for _, d := range pushed {
		challenges[d.Challenge] = true
	}
	if len(challenges) != 2 { // the approval's, and none of the notices
		t.Errorf("an app cannot know the approval that comes twice: %v", challenges)
	}

	// What her key says proves an address, also the same one; the thief's is used no more.
	h.accepted(h.patch(p, h.bearer(p), at("hers")), http.StatusOK)
	h.expectReached("the change back", "hers: push_token_changed", "thief's: push_token_changed")
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	h.expectReached("afterwards", "hers: code_changed")
	if changes := h.Events(audit.UpdateDevice); len(changes) != 3 || changes[0].Facts[audit.FactDevice] != audit.DeviceAddress {
		t.Errorf("events: %+v", changes)
	}
	told, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if diff := cmp.Diff([]string{"push_token_changed", "push_token_changed", "restore_started", "push_token_changed", "code_changed"}, words(told)); diff != "" {
		t.Error(diff)
	}
}

// TestUnproven_AnAppThatHasTheTokenAloneIsReachedAtItsNewAddress: the public SDKs change their push token by the device token.
func TestUnproven_AnAppThatHasTheTokenAloneIsReachedAtItsNewAddress(t *testing.T) {
	h := newPushing(t)
	p, _ := h.enroll("maria", withPush("FCM", "old"), tapOnly)
	a := h.patch(p, tokenOf(p), at("new"))
	h.accepted(a, http.StatusOK)
	if diff := cmp.Diff(at("new")["push_credentials"], a.body["push_credentials"]); diff != "" {
		t.Errorf("the echo: %s", diff)
	}
	h.pushed()
	h.pushes.Fail = func(to push.Address) error {
		if to.Token == "old" {
			return &push.Refusal{Verdict: push.Gone}
		}
		return nil
	}
	h.ask("maria")
	h.expectReached("the old one is tried once", "new: approval", "old: approval")
	h.ask("maria")
	h.expectReached("then the new one is the only one", "new: approval")
	if state := h.call("GET", path(p, ""), "", "Authorization", tokenOf(p)).body["push"]; state != "ok" {
		t.Errorf("push is %v", state)
	}
}

func TestUnproven_AnIdentifierSetByTheTokenReplacesNobody(t *testing.T) {
	h := newHouse(t)
	named := func(identifier string) func(*phone.Options) {
		return func(o *phone.Options) { o.Identifier = identifier }
	}
	p, _ := h.enroll("maria", named("hers"))
	h.accepted(h.patch(p, tokenOf(p), map[string]any{"identifier": "the tablet"}), http.StatusOK)
	tablet, _ := h.enroll("maria", named("the tablet"))
	h.accepted(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), http.StatusOK)

	// The one that she enrolled with still does, and so does one that her key names.
	h.accepted(h.patch(tablet, h.bearer(tablet), map[string]any{"identifier": "the new tablet"}), http.StatusOK)
	h.enroll("maria", named("hers"))
	h.enroll("maria", named("the new tablet"))
	for _, gone := range []*phone.Phone{p, tablet} {
		h.refused(h.call("GET", path(gone, ""), "", "Authorization", h.bearer(gone)), 404, "device_account_not_found")
	}
}

func TestUnproven_ALostAddressIsSaidAndTriedAgainWhenThePhoneAsks(t *testing.T) {
	h := newPushing(t)
	p, _ := h.enroll("maria", withPush("FCM", "hers"))
	state := func() any { return h.call("GET", path(p, ""), "", "Authorization", tokenOf(p)).body["push"] }
	if state() != "ok" {
		t.Errorf("enrolled, push is %v", state())
	}
	gone := true
	h.pushes.Fail = func(push.Address) error {
		if gone {
			return &push.Refusal{Verdict: push.Gone}
		}
		return nil
	}
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	h.expectReached("the first", "hers: code_changed")
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	h.expectReached("lost")
	if state() != "lost" {
		t.Errorf("lost, push is %v", state())
	}

	// A call that the key signs has it tried once; it is lost until that went well.
	if got := h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)).body["push"]; got != "lost" {
		t.Errorf("to the call that has it tried again, push is %v", got)
	}
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	h.expectReached("tried again", "hers: code_changed")
	gone = false
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	h.expectReached("lost again")

	// So does naming the same address again, by either.
	h.accepted(h.patch(p, tokenOf(p), at("hers")), http.StatusOK)
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	h.expectReached("named again", "hers: code_changed")
	if state() != "ok" {
		t.Errorf("reached, push is %v", state())
	}
	silent, _ := h.enroll("otto")
	if got := h.call("GET", path(silent, ""), "", "Authorization", tokenOf(silent)).body["push"]; got != "none" {
		t.Errorf("of an app that pulls, push is %v", got)
	}
}

// TestUnproven_CapabilitiesGivenUpAreToldAndAnEvent: who has her unlocked phone drops number matching, to have approvals tapped.
func TestUnproven_CapabilitiesGivenUpAreToldAndAnEvent(t *testing.T) {
	h := newPushing(t)
	p, _ := h.enroll("maria", withPush("FCM", "hers"), func(o *phone.Options) { o.Capabilities = []string{"number-matching"} })
	h.accepted(h.patch(p, h.bearer(p), map[string]any{"capabilities": []string{"number-matching", "more"}}), http.StatusOK)
	h.expectReached("gained")
	h.accepted(h.patch(p, h.bearer(p), map[string]any{"capabilities": []string{"more"}}), http.StatusOK)
	h.expectReached("given up", "hers: capabilities_changed")
	if changes := h.Events(audit.UpdateDevice); len(changes) != 1 || changes[0].Facts[audit.FactDevice] != audit.DeviceCapabilities {
		t.Errorf("events: %+v", changes)
	}
	told, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if diff := cmp.Diff([]string{"capabilities_changed"}, words(told)); diff != "" {
		t.Error(diff)
	}
}
