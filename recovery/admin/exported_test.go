package admin_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	_ "tutela/device/own" // whose sessions an export has too
	"tutela/recovery/admin"
	_ "tutela/recovery/admin/signin" // declares tables of users
	_ "tutela/recovery/signal"       // declares one, too
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/storagetest/ground"
)

// Whoever adds a table of users says what an export has of it.
func TestExport_KnowsEveryTableOfUsers(t *testing.T) {
	shown, left := admin.Exports()
	known := slices.Concat(shown, left)
	tables := storage.Tables()
	for name, class := range tables {
		if class != storage.Settings && !slices.Contains(known, name) && !strings.HasPrefix(name, "test_") {
			t.Errorf("table %s: what does an export of a person have of it? Say so in recovery/admin/export.go", name)
		}
	}
	for _, name := range known {
		if class, there := tables[name]; !there || class == storage.Settings {
			t.Errorf("an export has something of %s, which is no table of users", name)
		}
	}
}

func TestExport_HasARowOfEachTableAndEveryEvent(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.Enroll("ada", "app1")
	name := "Ada"
	_, err := h.Admins.ChangeUser(t.Context(), "ada", admin.UserChange{Name: &name, AppMetadata: map[string]any{"a": 1}}, byOperator)
	must(t, err)
	document, err := h.Admins.ExportUser(t.Context(), "ada")
	must(t, err)
	_, left := admin.Exports()
	h.View(func(tx *storage.Tx) error {
		rows, err := storage.Purge(tx, h.UID("ada"), true, storage.MFA, storage.Account, storage.Evidence)
		for _, row := range rows {
			if len(document.Tables[row.Table]) == 0 && !slices.Contains(left, row.Table) {
				t.Errorf("the export has nothing of %s", row.Table)
			}
		}
		return err
	})
	if u := document.Tables["user"]; len(u) != 1 || u[0].Record["name"] != "Ada" || u[0].Record["id"] != "ada" {
		t.Errorf("the profile: %+v", u)
	}
	if n := len(h.eventsAbout(h.UID("ada"))); n == 0 || len(document.Events) != n {
		t.Errorf("%d events of %d", len(document.Events), n)
	}
	encoded, err := json.Marshal(document)
	must(t, err)
	for _, secret := range []string{"push of app1", `"hash":"`, `"secret":"`, `"push_token":"`} {
		if strings.Contains(string(encoded), secret) {
			t.Errorf("the export has %s", secret)
		}
	}
	if _, err := h.Admins.ExportUser(t.Context(), "nobody"); !errors.Is(err, user.ErrUnknown) {
		t.Errorf("of nobody: %v", err)
	}
}
