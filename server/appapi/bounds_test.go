package appapi

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/storage/audit"
)

// TestBounds_ThePhonesKeyMakesNoFloodOfChangesAndTheTokenUsesUpNothingOfTheKeys: who has a phone's key makes as many changes,
// and as many events, as a bound lets, and a stolen token cannot take the key's share.
func TestBounds_ThePhonesKeyMakesNoFloodOfChangesAndTheTokenUsesUpNothingOfTheKeys(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	patch := func(n int, authorization string) answer {
		return h.call("PATCH", path(p, ""), `{"identifier":"`+strconv.Itoa(n)+`"}`, "Authorization", authorization)
	}
	tooMany := func(a answer) {
		t.Helper()
		h.refused(a, http.StatusTooManyRequests, "too_many_attempts")
		if a.header.Get("Retry-After") != "3600" {
			t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
		}
	}
	token := "Bearer " + p.Enrollment().Token
	for n := range 6 {
		h.accepted(patch(n, token), http.StatusOK)
	}
	tooMany(patch(6, token))
	for n := range 60 {
		h.accepted(patch(100+n, h.bearer(p)), http.StatusOK)
	}
	h.Unchanged(func() { tooMany(patch(200, h.bearer(p))) })
	if changes := len(h.Events(audit.UpdateDevice)); changes > 66 {
		t.Errorf("%d events of changes", changes)
	}
	h.clock.Advance(time.Hour)
	h.accepted(patch(7, token), http.StatusOK)
	h.accepted(patch(201, h.bearer(p)), http.StatusOK)
}

func TestBounds_BackupsAreSixtyAnHourAndHandlesSix(t *testing.T) {
	h := newHouse(t)
	p, _ := h.backedUp("maria")
	for range 59 {
		_, err := p.Backup(t.Context(), p.Accounts(), phone.BackupOptions{})
		h.must(err)
	}
	if _, err := p.Backup(t.Context(), p.Accounts(), phone.BackupOptions{}); phone.CodeOf(err) != "too_many_attempts" {
		t.Errorf("the 61st in an hour: %v", err)
	}
	for range 6 {
		h.accepted(h.call("POST", path(p, "/backup/handle"), "", "Authorization", h.bearer(p)), http.StatusOK)
	}
	h.refused(h.call("POST", path(p, "/backup/handle"), "", "Authorization", h.bearer(p)), http.StatusTooManyRequests, "too_many_attempts")
}
