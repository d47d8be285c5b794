package managementapi_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/phone"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// vetoing enrols a phone of a user, starts a restore of its backup and has the phone veto that. It returns the ids of both.
func (h *house) vetoing(userID string) (enrollment, vetoed string) {
	h.t.Helper()
	ctx := h.t.Context()
	p, err := phone.New(phone.Options{
		BaseURL: h.url,
		Client:  h.Client,
		Name:    "Pixel 9",
		Now:     h.clock.Wall,
	})
	must(h.t, err)
	_, err = p.Enroll(ctx, h.Ticket(user.User{ID: userID}))
	must(h.t, err)
	_, err = p.Backup(ctx, []phone.Account{{Issuer: "Bank", Name: "m", Secret: "JBSWY3DPEHPK3PXP"}}, phone.BackupOptions{})
	must(h.t, err)
	key, err := phone.NewKey(phone.ES256)
	must(h.t, err)
	public, err := key.Public(false)
	must(h.t, err)
	encoded, err := json.Marshal(public)
	must(h.t, err)
	jwk, err := device.ParseKey(encoded)
	must(h.t, err)
	_, err = h.Restores.Start(ctx, restore.StartRequest{
		Handle:       p.PlatformBackup().RestoreHandle,
		Installation: device.Installation{Identifier: "another", Name: "Pixel 10", Key: jwk},
		Address:      "192.0.2.7",
	}, audit.ByUser().WithOrigin("192.0.2.7", ""))
	must(h.t, err)
	open, err := p.OpenRestoresOfMine(ctx, 0)
	must(h.t, err)
	must(h.t, p.Veto(ctx, open[0].ID))
	return p.Enrollment().ID, open[0].ID
}

// A phone that is reported lost has vetoed the owner's own restore. Its veto stands, and whoever suspends it is told.
func TestSuspend_SaysThatAVetoOfThePhoneStands(t *testing.T) {
	h := newHouse(t)
	id, vetoed := h.vetoing("u1")
	other := h.enroll("u1")
	suspend := func(id string) answer { return h.call("POST", "/guardian/enrollments/"+id+"/suspend", "") }
	suspend(other).is(http.StatusNoContent)
	for range 2 {
		got := suspend(id).is(http.StatusOK).object()
		if list, _ := got["vetoed"].([]any); len(got) != 1 || len(list) != 1 || list[0] != vetoed {
			t.Errorf("said %v, want %s", got, vetoed)
		}
	}
	suspend(other).is(http.StatusNoContent)
	suspend("dev_0000000000000000").refused(http.StatusNotFound, "enrollment_not_found")
	h.call("DELETE", "/user-blocks/u1", "").is(http.StatusNoContent)
	suspend(id).is(http.StatusNoContent)
}

func TestSuspend_SaysNothingOfAVetoThatIsOver(t *testing.T) {
	h := newHouse(t)
	id, _ := h.vetoing("u1")
	h.clock.Advance(24 * time.Hour)
	h.call("POST", "/guardian/enrollments/"+id+"/suspend", "", h.tokenFor(allScopes...)).is(http.StatusNoContent)
}
