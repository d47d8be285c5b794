package managementapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// Whoever looks after a user sees what became of each restore, and nothing that would open one.
func TestRestores_OfAUserSayWhatBecameOfEach(t *testing.T) {
	h := newHouse(t)
	h.call("GET", "/users/nobody/restores", "").refused(http.StatusNotFound, "inexistent_user")
	h.call("POST", "/users", `{"user_id":"u2"}`).is(http.StatusCreated)
	if none := h.call("GET", "/users/u2/restores", "").is(http.StatusOK); strings.TrimSpace(none.body) != "[]" {
		t.Errorf("of one who has none: %s", none.body)
	}
	enrollment, vetoed := h.vetoing("u1")
	list := h.call("GET", "/users/u1/restores", "").is(http.StatusOK).array()
	if len(list) != 1 {
		t.Fatalf("%v", list)
	}
	got := list[0]
	backup, _ := got["backup_id"].(string)
	want := map[string]any{
		"id":         vetoed,
		"step":       got["step"],
		"reason":     "vetoed",
		"device":     "Pixel 10",
		"started_at": got["started_at"],
		"expires_at": got["expires_at"],
		"wait_until": got["wait_until"],
		"backup_id":  backup,
		"vetoed":     true,
	}
	if got["wait_until"] == nil {
		delete(want, "wait_until")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	backups := h.call("GET", "/users/u1/backups", "").is(http.StatusOK).body
	if backup == "" || !strings.Contains(backups, backup) || !strings.Contains(backups, enrollment) {
		t.Errorf("backup %q is not one of %s", backup, backups)
	}
	h.clock.Advance(24 * time.Hour)
	if later := h.call("GET", "/users/u1/restores", "", h.tokenFor("read:users")).is(http.StatusOK).array(); len(later) != 1 || later[0]["vetoed"] != nil {
		t.Errorf("when the veto is over: %v", later)
	}
}
