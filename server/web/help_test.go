package web

import (
	"net/http"
	"strings"
	"testing"

	"tutela/backup/restore"
)

// The page says what to do for each reason for which an app cannot go on, under the reason as the part of the link after #.
func TestHelp_SaysWhatToDoForEachReason(t *testing.T) {
	h := newHouse(t)
	p := h.get("/mfa/help")
	if p.Status != http.StatusOK || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	for _, reason := range []restore.Reason{
		restore.NoBackupRestored, restore.Disabled, restore.NoBackup, restore.Chosen,
		restore.UserBlocked, restore.Vetoed, restore.NoRecoveryCode,
	} {
		if !strings.Contains(p.Body, `id="`+string(reason)+`"`) {
			t.Errorf("the page has nothing on %s", reason)
		}
	}
}
