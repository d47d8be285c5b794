package managementapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// methodScopes open the calls about authentication methods.
var methodScopes = []string{
	"read:authentication_methods", "create:authentication_methods", "update:authentication_methods", "delete:authentication_methods",
	"update:users", "read:users", "create:users", "delete:guardian_enrollments", "create:guardian_enrollment_tickets",
}

const (
	importedSecret = "5HCWXIP2MJNSUBGYVUZFLRB2HWIGXR4SYJQXNBQ" // of Auth0's own tests: 39 characters
	otherSecret    = "jbsw y3dp ehpk 3pxp"
)

func newMethodHouse(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.token = h.tokenFor(methodScopes...)
	h.call("POST", "/users", `{"user_id":"u1"}`).is(http.StatusCreated)
	return h
}

func (h *house) methods(userID string) (ids []string) {
	h.t.Helper()
	for _, m := range h.call("GET", "/users/"+userID+"/authentication-methods", "").is(http.StatusOK).array() {
		ids = append(ids, m["id"].(string))
	}
	return ids
}

// logsInBy reports whether the code that a secret shows now is taken as the user's.
func (h *house) logsInBy(userID, secret string) bool {
	h.t.Helper()
	parsed, err := otp.ParseSecret(secret)
	must(h.t, err)
	h.clock.Advance(otp.Period * 1e9)
	code := parsed.At(otp.StepAt(h.clock.Wall()))
	spent := false
	must(h.t, h.store.Update(h.t.Context(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		must(h.t, err)
		spent, err = h.spends(tx, u.UID, code)
		return err
	}))
	return spent
}

func TestMethods_AreEachEnrollmentAndTheRecoveryCode(t *testing.T) {
	h := newMethodHouse(t)
	if got := h.methods("u1"); len(got) != 0 {
		t.Errorf("of a user with none: %v", got)
	}
	push := h.enroll("u1")
	list := h.call("GET", "/users/u1/authentication-methods", "").array()
	if len(list) != 2 || list[0]["id"] != "push|"+push || list[1]["type"] != "recovery-code" || !strings.HasPrefix(list[1]["id"].(string), "recovery-code|") {
		t.Fatalf("methods %v", list)
	}
	want := map[string]any{
		"id": "push|" + push, "type": "push", "confirmed": true, "name": "Pixel 9", "created_at": "2026-03-01T12:00:00.123Z", "enrolled_at": "2026-03-01T12:00:00.123Z",
	}
	for _, m := range list {
		read := h.call("GET", "/users/u1/authentication-methods/"+url.PathEscape(m["id"].(string)), "").is(http.StatusOK).object()
		if diff := cmp.Diff(m, read); diff != "" {
			t.Errorf("listed, and read:\n%s", diff)
		}
	}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Errorf("a phone (-want +got):\n%s", diff)
	}
	for _, id := range []string{"totp|" + push, push, "push|dev_0000000000000000", "recovery-code|0"} {
		h.call("GET", "/users/u1/authentication-methods/"+url.PathEscape(id), "").refused(http.StatusNotFound, "inexistent_authentication_method")
		h.call("DELETE", "/users/u1/authentication-methods/"+url.PathEscape(id), "").refused(http.StatusNotFound, "inexistent_authentication_method")
		h.call("PATCH", "/users/u1/authentication-methods/"+url.PathEscape(id), `{"name":"x"}`).refused(http.StatusNotFound, "inexistent_authentication_method")
	}
	h.call("GET", "/users/nobody/authentication-methods", "").refused(http.StatusNotFound, "inexistent_user")
	// In both styles of paging.
	page := h.call("GET", "/users/u1/authentication-methods?page=1&per_page=1&include_totals=true", "").object()
	if len(page["authenticators"].([]any)) != 1 || page["total"] != 2.0 || page["start"] != 1.0 {
		t.Errorf("a page: %v", page)
	}
	first := h.call("GET", "/users/u1/authentication-methods?take=1", "").object()
	rest := h.call("GET", "/users/u1/authentication-methods?take=1&from="+first["next"].(string), "").object()
	if rest["next"] != nil || cmp.Diff(rest["authenticators"], page["authenticators"]) != "" {
		t.Errorf("from %v: %v", first, rest)
	}
}

func TestImport_LetsInAtOnceAndNeverSaysTheSecret(t *testing.T) {
	h := newMethodHouse(t)
	for _, secret := range []string{importedSecret, strings.ToLower(importedSecret), importedSecret + "="} {
		made := h.call("POST", "/users/u1/authentication-methods", fmt.Sprintf(`{"type":"totp","totp_secret":%q,"name":"Authy"}`, secret)).is(http.StatusCreated)
		m := made.object()
		if m["type"] != "totp" || m["confirmed"] != true || m["name"] != "Authy" || strings.Contains(strings.ToUpper(made.body), importedSecret[:8]) {
			t.Fatalf("imported %s", made.body)
		}
	}
	ids := h.methods("u1")
	if len(ids) != 1 { // one secret is one enrollment, and there is no recovery code
		t.Fatalf("methods %v", ids)
	}
	if !h.logsInBy("u1", importedSecret) || h.logsInBy("u1", otherSecret) {
		t.Error("the imported secret does not let in, or another does")
	}
	enrollments := h.call("GET", "/users/u1/enrollments", "").array()
	if len(enrollments) != 1 || enrollments[0]["type"] != "otp" || enrollments[0]["auth_method"] != "authenticator" || enrollments[0]["via"] != "import" {
		t.Errorf("enrollments %v", enrollments)
	}
	if got := h.call("GET", "/users/u1", "").object(); got["multifactor"] == nil {
		t.Error("an imported user counts as not enrolled")
	}
	h.enroll("u1")
	h.call("POST", "/users/u1/authentication-methods", fmt.Sprintf(`{"type":"totp","totp_secret":%q}`, otherSecret)).is(http.StatusCreated)
	if told := h.toldOf("u1"); !slices.Contains(told, recovery.NoticeDeviceAdded) {
		t.Errorf("the phone was told of %v", told)
	}
	renamed := h.call("PATCH", "/users/u1/authentication-methods/"+url.PathEscape(ids[0]), `{"name":"Old phone","phone_number":"+1"}`).is(http.StatusOK).object()
	if renamed["name"] != "Old phone" {
		t.Errorf("renamed %v", renamed)
	}
}

func TestImport_RefusesWhatIsNotHereOrCannotBe(t *testing.T) {
	h := newMethodHouse(t)
	for body, code := range map[string]string{
		`{"type":"phone","phone_number":"+4420","name":"x"}`: "method_not_available",
		`{"type":"email","email":"a@example.com"}`:           "method_not_available",
		`{"type":"push"}`: "method_not_available",
		`{"type":"webauthn-roaming","key_id":"a","public_key":"b"}`: "method_not_available",
		`{"type":"totp"}`: "invalid_body",
		`{"type":"totp","totp_secret":"not base32!"}`:                                        "invalid_body",
		`{"type":"totp","totp_secret":"JBSWY3DP"}`:                                           "invalid_body",
		`{"type":"totp","totp_secret":"` + strings.Repeat("A", 300) + `"}`:                   "invalid_body",
		`{"type":"totp","totp_secret":"` + importedSecret + `","name":"` + "a\u202eb" + `"}`: "invalid_body",
		`{"totp_secret":"` + importedSecret + `"}`:                                           "invalid_body",
		`[]`: "invalid_body",
	} {
		h.call("POST", "/users/u1/authentication-methods", body).refused(http.StatusBadRequest, code)
		h.call("PUT", "/users/u1/authentication-methods", `[{"type":"totp","totp_secret":"`+importedSecret+`"},`+body+`]`).refused(http.StatusBadRequest, code)
	}
	h.call("POST", "/users/nobody/authentication-methods", `{"type":"totp","totp_secret":"`+importedSecret+`"}`).refused(http.StatusNotFound, "inexistent_user")
	if got := h.methods("u1"); len(got) != 0 {
		t.Errorf("refusals left %v", got)
	}
}

func TestReplaceMethods_KeepsWhatIsNamedAndTakesTheRestAway(t *testing.T) {
	h := newMethodHouse(t)
	push := "push|" + h.enroll("u1")
	other := h.enroll("u1")
	put := func(body string) answer { return h.call("PUT", "/users/u1/authentication-methods", body) }
	got := put(fmt.Sprintf(`[{"type":"totp","totp_secret":%q,"name":"B"},{"id":%q,"type":"push","name":"Work","confirmed":true},{"type":"totp","totp_secret":%q,"name":"C"}]`,
		otherSecret, push, importedSecret)).is(http.StatusOK).array()
	if len(got) != 3 || got[0]["name"] != "B" || got[1]["id"] != push || got[1]["name"] != "Work" || got[2]["name"] != "C" {
		t.Fatalf("answered %v", got)
	}
	ids := h.methods("u1")
	if len(ids) != 3 || slices.Contains(ids, "push|"+other) || !slices.Contains(ids, push) {
		t.Errorf("methods %v", ids)
	}
	if told := h.toldOf("u1"); !slices.Contains(told, recovery.NoticeCodeRemoved) {
		t.Errorf("the code is gone, and the phone was told of %v", told)
	}
	// The same again changes nothing, whether by id or by secret.
	again := put(fmt.Sprintf(`[{"id":%q},{"type":"totp","totp_secret":%q},{"type":"totp","totp_secret":%q}]`, push, otherSecret, importedSecret)).is(http.StatusOK).array()
	if len(again) != 3 || cmp.Diff(ids, h.methods("u1")) != "" {
		t.Errorf("again: %v, then %v", again, h.methods("u1"))
	}
	before := h.methods("u1")
	for body, code := range map[string]string{
		fmt.Sprintf(`[{"id":%q},{"id":%q}]`, push, push):  "invalid_body",
		fmt.Sprintf(`[{"id":%q},{"type":"totp"}]`, push):  "invalid_body",
		fmt.Sprintf(`[{"id":%q,"name":"a\u0000"}]`, push): "invalid_body",
		fmt.Sprintf(`[{"id":%q},{"type":"phone"}]`, push): "method_not_available",
		`{}`: "invalid_body",
	} {
		put(body).refused(http.StatusBadRequest, code)
	}
	put(`[{"id":"push|dev_0000000000000000"}]`).refused(http.StatusNotFound, "inexistent_authentication_method")
	if diff := cmp.Diff(before, h.methods("u1")); diff != "" {
		t.Errorf("a refusal changed them:\n%s", diff)
	}
	put(`[]`).is(http.StatusOK)
	h.isNew("u1")
}

// isNew fails the test unless nothing of a user's MFA is left, and a receipt says so.
func (h *house) isNew(userID string) {
	h.t.Helper()
	if got := h.methods(userID); len(got) != 0 {
		h.t.Errorf("left %v", got)
	}
	p, err := h.Admins.ReadUser(h.t.Context(), userID)
	must(h.t, err)
	standing, err := h.Admins.StandingOf(h.t.Context(), userID)
	must(h.t, err)
	if p.State != user.New || len(standing.Receipts) == 0 {
		h.t.Errorf("state %s, %d receipts", p.State, len(standing.Receipts))
	}
}

func TestRemoveMethods_TheLastOneIsTheReset(t *testing.T) {
	for name, ways := range map[string][]string{
		"each":                 {"/users/u1/authentication-methods/{push}", "/users/u1/authentication-methods/{totp}"},
		"all methods":          {"/users/u1/authentication-methods"},
		"all authenticators":   {"/users/u1/authenticators"},
		"guardian":             {"/users/u1/multifactor/guardian"},
		"the codes, the phone": {"/users/u1/multifactor/google-authenticator", "/users/u1/authentication-methods/{push}"},
		"the phone, the codes": {"/users/u1/authentication-methods/{push}", "/users/u1/multifactor/google-authenticator"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newMethodHouse(t)
			push := "push|" + h.enroll("u1")
			totp := h.call("POST", "/users/u1/authentication-methods", fmt.Sprintf(`{"type":"totp","totp_secret":%q}`, importedSecret)).object()["id"].(string)
			for i, way := range ways {
				if i > 0 && len(h.methods("u1")) != 2 { // and the recovery code
					t.Errorf("before %s: %v", way, h.methods("u1"))
				}
				way = strings.NewReplacer("{push}", url.PathEscape(push), "{totp}", url.PathEscape(totp)).Replace(way)
				if got := h.call("DELETE", way, ""); got.status != http.StatusNoContent || got.body != "" {
					t.Fatalf("%s: %d %q", way, got.status, got.body)
				}
			}
			h.isNew("u1")
			for _, way := range []string{"authentication-methods", "authenticators", "multifactor/guardian", "multifactor/google-authenticator"} {
				h.call("DELETE", "/users/u1/"+way, "").is(http.StatusNoContent)
			}
		})
	}
}

func TestRemoveMethod_TakesTheRecoveryCodeAwayAndNothingElse(t *testing.T) {
	h := newMethodHouse(t)
	push := "push|" + h.enroll("u1")
	code := h.methods("u1")[1]
	path := "/users/u1/authentication-methods/" + url.PathEscape(code)
	h.call("PATCH", path, `{"name":"x"}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("DELETE", path, "").is(http.StatusNoContent)
	h.call("DELETE", path, "").refused(http.StatusNotFound, "inexistent_authentication_method")
	if got := h.methods("u1"); !slices.Equal(got, []string{push}) {
		t.Errorf("methods %v", got)
	}
	standing, err := h.Admins.StandingOf(t.Context(), "u1")
	must(t, err)
	if standing.HasCode || !slices.Contains(h.toldOf("u1"), recovery.NoticeCodeRemoved) {
		t.Errorf("has a code: %t, told of %v", standing.HasCode, h.toldOf("u1"))
	}
}

func TestDeleteProvider_KnowsThreeNames(t *testing.T) {
	h := newMethodHouse(t)
	h.call("DELETE", "/users/u1/multifactor/duo", "").refused(http.StatusBadRequest, "method_not_available")
	h.call("DELETE", "/users/u1/multifactor/other", "").refused(http.StatusBadRequest, "invalid_uri")
	h.call("DELETE", "/users/nobody/multifactor/guardian", "").refused(http.StatusNotFound, "inexistent_user")
	for _, e := range h.Events(audit.ManagementCall) {
		if e.Facts[audit.FactCall] == audit.CallDeleteProvider {
			t.Errorf("a refusal was recorded as a change: %+v", e)
		}
	}
}

// spends reports whether a one-time code of the user is taken.
func (h *house) spends(tx *storage.Tx, uid storage.UID, code otp.Code) (bool, error) {
	h.t.Helper()
	_, err := device.SpendOTP(tx, uid, code, nil, audit.ByUser())
	if errors.Is(err, device.ErrWrongOTP) {
		return false, nil
	}
	return err == nil, err
}
