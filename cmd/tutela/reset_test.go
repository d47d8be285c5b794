package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"tutela/device/phone"
	"tutela/storage/storagetest/check"
)

// idOfMFA matches the id of something that a reset removes: an enrollment, a backup, a restore, a login.
var idOfMFA = regexp.MustCompile(`(dev|bkp|rst|arq|txn|mfa)_[0-9A-Za-z_-]{16,}`)

func TestReset_LeavesNoIDOfTheUsersMFAInTheFile(t *testing.T) {
	check.WithoutRace(t)
	s := startLive(t)
	liveALittle(t, s)
	if found := idOfMFA.Find(dataFile(t, s)); found == nil {
		t.Fatal("the file holds no id before the reset: the test tests nothing")
	}
	must(t, s.manage(t.Context(), http.MethodPost, "/users/ada/mfa-reset", map[string]any{"reason": "a test"}, nil))
	compact := exec.CommandContext(t.Context(), s.binary, "compact", "--data", s.data)
	compact.Env = cleanEnvironment()
	if out, err := compact.CombinedOutput(); err != nil {
		t.Fatalf("compact: %v\n%s", err, out)
	}
	if found := idOfMFA.FindAll(dataFile(t, s), -1); len(found) > 0 {
		t.Errorf("after the reset the file still holds %q", found)
	}
}

// liveALittle lets a user enrol, log in, refuse a login, back up, restore, and give up both the backup and the
// enrollment: what is written then names phones and backups.
func liveALittle(t *testing.T, s *liveServer) {
	t.Helper()
	ctx := t.Context()
	s.setPolicy(t, "restore.veto", "off") // what is written, not how long a restore waits
	p, code, err := s.enroll(ctx, "ada")
	must(t, err)
	asked, err := s.ask(ctx, "ada")
	must(t, err)
	must(t, answerOne(ctx, p, asked.Number))
	must(t, collectOne(ctx, s, asked))
	_, err = s.ask(ctx, "ada")
	must(t, err)
	approvals, err := p.Approvals(ctx, 0, nil)
	must(t, err)
	must(t, p.Deny(ctx, approvals[0], "not_me"))
	_, err = p.Backup(ctx, []phone.Account{{Name: "ada", Issuer: "Example", Secret: "JBSWY3DPEHPK3PXP"}}, phone.BackupOptions{})
	must(t, err)
	must(t, p.Reinstall(phone.Reinstallation{}))
	_, err = p.StartRestore(ctx, false)
	must(t, err)
	_, err = p.RestoreWithCode(ctx, code)
	must(t, err)
	must(t, p.DeleteBackup(ctx))
	must(t, p.Unenroll(ctx))
}

func dataFile(t *testing.T, s *liveServer) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.data, "tutela.db"))
	must(t, err)
	return content
}
