package managementapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage/storagetest/ground"
)

func TestReset_AnswersASignedReceiptAndRemovesNothingTwice(t *testing.T) {
	ground.NeedsFile(t)
	h := newHouse(t)
	id := h.enroll("u1")
	dry := h.call("POST", "/users/u1/mfa-reset", `{"reason":"lost","dry_run":true}`).is(http.StatusOK).object()
	if dry["dry_run"] != true || dry["signature"] != nil || len(dry["removed"].([]any)) == 0 {
		t.Errorf("dry run %v", dry)
	}
	h.call("GET", "/guardian/enrollments/"+id, "").is(http.StatusOK)

	receipt := h.call("POST", "/users/u1/mfa-reset", `{"reason":"lost","caller_check":"document"}`).is(http.StatusOK).object()
	if receipt["user_id"] != "u1" || receipt["at"] != "2026-03-01T12:00:00.123Z" || receipt["residue"] != true || receipt["dry_run"] != false ||
		receipt["reason"] != "lost" || receipt["caller_check"] != "document" || !strings.HasPrefix(receipt["by"].(string), "client:") {
		t.Errorf("receipt %v", receipt)
	}
	if diff := cmp.Diff(dry["removed"], receipt["removed"]); diff != "" {
		t.Errorf("the dry run said otherwise:\n%s", diff)
	}
	if dry["digest"] != receipt["digest"] {
		t.Error("the digests differ")
	}
	h.call("GET", "/guardian/enrollments/"+id, "").refused(http.StatusNotFound, "enrollment_not_found")

	signature := receipt["signature"].(string)
	jwks, err := h.access.JWKS(t.Context())
	must(t, err)
	payload, err := access.VerifyReceipt(signature, jwks)
	must(t, err)
	delete(receipt, "signature")
	delete(receipt, "residue")
	var signed map[string]any
	must(t, json.Unmarshal(payload, &signed))
	if diff := cmp.Diff(receipt, signed); diff != "" {
		t.Errorf("what was signed (-answered +signed):\n%s", diff)
	}
	middle, err := base64.RawURLEncoding.DecodeString(strings.Split(signature, ".")[1])
	must(t, err)
	if string(middle) != string(payload) {
		t.Error("the payload is not in the signature")
	}

	again := h.call("POST", "/users/u1/mfa-reset", `{"reason":"lost"}`).is(http.StatusOK).object()
	if len(again["removed"].([]any)) != 0 || again["residue"] != true {
		t.Errorf("the second receipt %v", again)
	}
	h.clock.Advance(time.Millisecond) // a receipt tells its time by the millisecond
	_, err = h.codes.Compact(t.Context())
	must(t, err)
	again = h.call("POST", "/users/u1/mfa-reset", `{"reason":"lost"}`).is(http.StatusOK).object()
	if again["residue"] != false {
		t.Errorf("after compacting: %v", again)
	}
}

func TestReset_RefusesWhatCannotBe(t *testing.T) {
	h := newHouse(t)
	id := h.enroll("u1")
	for _, body := range []string{
		``, `{}`, `{"reason":""}`, `{"reason":7}`, `{"reason":"x","caller_check":"hearsay"}`, `{"reason":"` + strings.Repeat("x", 1001) + `"}`,
		`{"reason":"x","dry_run":"yes"}`,
	} {
		h.call("POST", "/users/u1/mfa-reset", body).refused(http.StatusBadRequest, "invalid_body")
	}
	h.call("POST", "/users/nobody/mfa-reset", `{"reason":"x"}`).refused(http.StatusNotFound, "inexistent_user")
	h.call("GET", "/guardian/enrollments/"+id, "").is(http.StatusOK)
}

func TestResetOfMany_SaysForEach(t *testing.T) {
	h := newHouse(t)
	h.enroll("u1")
	h.enroll("boss")
	h.setRole("boss", user.Owner)
	h.call("POST", "/users", `{"user_id":"bare"}`).is(http.StatusCreated)
	got := h.call("POST", "/users/mfa-reset", `{"user_ids":["u1","nobody","boss","bare"],"reason":"a stolen batch"}`).is(http.StatusOK).array()
	var said []string
	for _, one := range got {
		code, _ := one["errorCode"].(string)
		said = append(said, fmt.Sprint(one["user_id"], " ", one["statusCode"], " ", code))
	}
	want := []string{"u1 200 ", "nobody 404 inexistent_user", "boss 403 admin_reset_refused", "bare 200 "}
	if !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
	if receipt := got[0]["receipt"].(map[string]any); receipt["signature"] == nil || receipt["reason"] != "a stolen batch" {
		t.Errorf("receipt %v", receipt)
	}
}

func TestResetOfMany_TakesAThousand(t *testing.T) {
	h := newHouse(t)
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%d%s", i, strings.Repeat("é", 120))
	}
	body := func(ids []string) string {
		b, err := json.Marshal(map[string]any{"user_ids": ids, "reason": "x", "dry_run": true})
		must(t, err)
		return string(b)
	}
	if got := h.call("POST", "/users/mfa-reset", body(ids)).is(http.StatusOK).array(); len(got) != 1000 {
		t.Errorf("%d answers", len(got))
	}
	h.call("POST", "/users/mfa-reset", body(slices.Concat(ids, []string{"x"}))).refused(http.StatusBadRequest, "invalid_body")
	h.call("POST", "/users/mfa-reset", `{"user_ids":[],"reason":"x"}`).refused(http.StatusBadRequest, "invalid_body")
}
