package appapi

import (
	"strings"
	"testing"

	"tutela/device/phone"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/servertest"
)

// replacing makes a ticket for a phone in the place of another.
func (h *house) replacing(userID string, lost *phone.Phone) string {
	h.t.Helper()
	ticket, err := h.Admins.NewTicket(h.t.Context(), admin.TicketRequest{
		User:     user.User{ID: userID},
		Replaces: lost.Enrollment().ID,
	}, servertest.Operator)
	h.must(err)
	return ticket
}

// One ticket puts a new phone in the place of a lost one: the lost one's key and token are dead and it is told why, the backup
// goes on where it was, also for a phone that has no key to it, and its handle still finds it.
func TestEnroll_InThePlaceOfALostPhoneTakesItsBackupOver(t *testing.T) {
	h := newHouse(t)
	lost, code := h.enroll("maria")
	_, err := lost.Backup(t.Context(), []phone.Account{{Issuer: "Bank", Name: "maria", Secret: "JBSWY3DPEHPK3PXP"}}, phone.BackupOptions{})
	h.must(err)
	handle := lost.PlatformBackup().RestoreHandle
	ticket := h.replacing("maria", lost)
	second := h.replacing("maria", lost)

	p := h.phone()
	_, err = p.Enroll(t.Context(), ticket)
	h.must(err)
	_, err = lost.Status(t.Context())
	if phone.CodeOf(err) != "device_account_not_found" {
		t.Errorf("the lost phone's key still opens its enrollment: %v", err)
	}
	told := h.get(lost, "/notices")
	h.accepted(told, 200)
	if !strings.Contains(told.raw, `"notice":"replaced"`) {
		t.Errorf("the lost phone reads %s", told.raw)
	}
	h.refused(h.get(lost, "/backup"), 404, "device_account_not_found")
	inherited := h.get(p, "/backup")
	if inherited.status != 200 || inherited.header.Get("ETag") != `"1"` {
		t.Errorf("the new phone's backup: %d %q", inherited.status, inherited.header.Get("ETag"))
	}
	v, err := p.Backup(t.Context(), []phone.Account{{Issuer: "Shop", Name: "maria", Secret: "JBSWY3DPEHPK3PXP"}}, phone.BackupOptions{})
	h.must(err)
	if v.Generation != 2 {
		t.Errorf("the next generation is %d", v.Generation)
	}
	a := h.call("POST", "/api/restores", h.body(func(b map[string]any) { b["restore_handle"] = handle }))
	h.accepted(a, 201)
	if a.body["reason"] == "no_backup" {
		t.Errorf("a restore by its handle: %s", a.raw)
	}
	if valid, err := p.CheckCode(t.Context(), code); err != nil || !valid {
		t.Errorf("her code: %t, %v", valid, err)
	}
	h.refused(h.postEnroll(second, h.body(nil)), 404, "enrollment_transaction_not_found")
}
