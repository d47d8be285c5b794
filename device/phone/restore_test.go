package phone

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/storage/storagetest/check"
)

func restoreWith(t testing.TB, p *Phone, code string) Restored {
	t.Helper()
	if r := must(p.StartRestore(ctx, false))(t); r.Step != StepRecoveryCode {
		t.Fatalf("the restore is at %s (%s)", r.Step, r.Reason)
	}
	return must(p.RestoreWithCode(ctx, code))(t)
}

// lost is a server with a phone that backed three accounts up and was then reinstalled.
func lost(t testing.TB) (*disturbed, *Phone) {
	t.Helper()
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(3), BackupOptions{}))(t)
	if err := p.Reinstall(Reinstallation{}); err != nil {
		t.Fatal(err)
	}
	return s, p
}

func TestRestore_BringsTheAccountsBackToANewInstallation(t *testing.T) {
	s, p := lost(t)
	restored := restoreWith(t, p, s.code)
	if restored.UserID != maria || restored.RecoveryCode == "" || restored.RecoveryCode == s.code || restored.Backup.Generation != 1 {
		t.Errorf("got %+v", restored)
	}
	if !s.finds(p.PlatformBackup().RestoreHandle) {
		t.Error("the platform backup holds the old handle")
	}
	_, accounts, err := p.FetchBackup(ctx)
	if err != nil || !cmp.Equal(accounts, sample(3)) || !cmp.Equal(p.Accounts(), sample(3)) {
		t.Errorf("got %v, %v", accounts, err)
	}
	if v := must(p.Backup(ctx, sample(4), BackupOptions{}))(t); v.Generation != 2 {
		t.Errorf("the next backup is generation %d", v.Generation)
	}
}

// A phone waits with the code in hand, while the old one is asked: until its time has come, or the old one has its say.
func TestRestore_WaitsWithTheCodeInHand(t *testing.T) {
	cases := map[string]struct {
		meanwhile func(s *disturbed, old *Phone, restore string) error
		step      string
		reason    string
	}{
		"until its time has come": {func(s *disturbed, _ *Phone, _ string) error {
			s.Clock.Advance(20 * time.Second)
			return nil
		}, StepRecoveryCode, "backup_found"},
		"until the old one allows it": {func(_ *disturbed, old *Phone, restore string) error {
			return old.Allow(ctx, restore)
		}, StepRecoveryCode, "backup_found"},
		"until the old one stops it": {func(_ *disturbed, old *Phone, restore string) error {
			return old.Veto(ctx, restore)
		}, StepAskAdmin, "vetoed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.Set("restore.veto", "alive")
			old := enrolledPhone(t, s)
			must(old.Backup(ctx, sample(3), BackupOptions{}))(t)
			p := copyOf(t, s, old)
			check.Must(t, p.Reinstall(Reinstallation{NewPhone: true}))
			r := must(p.StartRestore(ctx, false))(t)
			if r.Step != StepRecoveryCode || r.Reason != OldDeviceAsked || r.WaitUntil == "" {
				t.Fatalf("the restore is at %+v", r)
			}
			if _, err := p.RestoreWithCode(ctx, s.code); CodeOf(err) != "restore_not_ready" {
				t.Errorf("too early: %v", err)
			}
			p.pause = func(context.Context, time.Duration) error { return c.meanwhile(s, old, r.ID) }
			turn, _, err := p.AwaitTurn(ctx)
			if err != nil || turn.Step != c.step || turn.Reason != c.reason {
				t.Fatalf("after the wait: %+v, %v", turn, err)
			}
			if c.step == StepRecoveryCode {
				must(p.RestoreWithCode(ctx, s.code))(t)
			} else if turn.Help == "" {
				t.Error("there is no page for the person")
			}
		})
	}
}

// copyOf is another phone with the same folder's content: the old one lives on.
func copyOf(t testing.TB, s *disturbed, p *Phone) *Phone {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "phone")
	check.Must(t, os.CopyFS(folder, os.DirFS(p.folder.path)))
	return open(t, s, folder)
}

func TestRestore_GetsALostAnswerAgainByProofOfItsKey(t *testing.T) {
	s, p := lost(t)
	must(p.StartRestore(ctx, false))(t)
	s.lose["POST recovery-code"] = true
	if _, err := p.RestoreWithCode(ctx, s.code); err == nil {
		t.Fatal("the answer was to be lost")
	}
	p = open(t, s, p.folder.path)
	r, restored, err := p.RestoreState(ctx)
	if err != nil || r.Step != StepDone || restored == nil || restored.RecoveryCode == "" || restored.RecoveryCode == s.code {
		t.Fatalf("got %+v, %+v, %v", r, restored, err)
	}
	if _, accounts, err := p.FetchBackup(ctx); err != nil || len(accounts) != 3 {
		t.Errorf("got %v, %v", accounts, err)
	}
}

// Days later the answer is made anew, also for a phone whose clock is off: the server says the time to sign with.
func TestRestore_GetsALostAnswerDaysLater(t *testing.T) {
	for name, quirks := range map[string]Quirks{"its clock is right": {}, "its clock is off": {ClockOffset: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			s, p := lost(t)
			must(p.StartRestore(ctx, false))(t)
			s.lose["POST recovery-code"] = true
			if _, err := p.RestoreWithCode(ctx, s.code); err == nil {
				t.Fatal("the answer was to be lost")
			}
			s.Clock.Advance(20 * time.Minute)
			s.Clock.Jump(-20 * time.Minute) // the wall is the machine's, as the Date header is
			p = open(t, s, p.folder.path)
			p.SetQuirks(quirks)
			r, restored, err := p.RestoreState(ctx)
			if err != nil || r.Step != StepDone || restored == nil || restored.RecoveryCode == "" {
				t.Fatalf("got %+v, %+v, %v", r, restored, err)
			}
			if _, accounts, err := p.FetchBackup(ctx); err != nil || len(accounts) != 3 {
				t.Errorf("got %v, %v", accounts, err)
			}
		})
	}
}

func TestRestore_GetsALostAnswerAgainByTheSameCode(t *testing.T) {
	s, p := lost(t)
	must(p.StartRestore(ctx, false))(t)
	s.lose["POST recovery-code"] = true
	_, _ = p.RestoreWithCode(ctx, s.code)
	p = open(t, s, p.folder.path)
	if restored := must(p.RestoreWithCode(ctx, s.code))(t); restored.RecoveryCode == "" || restored.RecoveryCode == s.code {
		t.Errorf("got %+v", restored)
	}
}

func TestRestore_ComesRightAfterACrashBetweenTheTwoFiles(t *testing.T) {
	s, p := lost(t)
	must(p.StartRestore(ctx, false))(t)
	file := filepath.Join(p.folder.path, hardwareFile)
	before := must(os.ReadFile(file))(t)
	must(p.RestoreWithCode(ctx, s.code))(t)
	if err := os.WriteFile(file, before, 0o600); err != nil { // as if the second write had not happened
		t.Fatal(err)
	}
	p = open(t, s, p.folder.path)
	if _, restored, err := p.RestoreState(ctx); err != nil || restored == nil {
		t.Fatalf("got %v, %v", restored, err)
	}
	if _, accounts, err := p.FetchBackup(ctx); err != nil || len(accounts) != 3 {
		t.Errorf("got %v, %v", accounts, err)
	}
}

func TestRestore_NeverWritesTheRecoveryCodeThatWasTyped(t *testing.T) {
	_, p := lost(t)
	must(p.StartRestore(ctx, false))(t)
	_, _ = p.RestoreWithCode(ctx, "TYPEDCODE")
	for _, entry := range must(os.ReadDir(p.folder.path))(t) {
		if data := must(os.ReadFile(filepath.Join(p.folder.path, entry.Name())))(t); bytes.Contains(data, []byte("TYPEDCODE")) {
			t.Errorf("the code stands in %s", entry.Name())
		}
	}
}

func TestRestore_AsksForFirstTimeSetupWhenNothingCameBack(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*Phone) error
		clean   bool
		reason  string
	}{
		"no platform backup":    {func(p *Phone) error { return p.Reinstall(Reinstallation{WithoutBackup: true}) }, false, "no_backup_restored"},
		"switched off":          {func(p *Phone) error { return p.SetAutomaticRestore(false) }, false, "restore_disabled"},
		"a clean start":         {func(*Phone) error { return nil }, true, "restore_disabled"},
		"backup deleted before": {func(p *Phone) error { return p.change(func(s *state) { s.platform.RestoreHandle = "dead" }) }, false, "no_backup"},
	} {
		s, p := lost(t)
		if err := c.prepare(p); err != nil {
			t.Fatal(err)
		}
		if r := must(p.StartRestore(ctx, c.clean))(t); r.Step != StepFirstTimeSetup || r.Reason != c.reason {
			t.Errorf("%s: got %s, %s", name, r.Step, r.Reason)
		}
		must(p.FirstTimeSetup(ctx))(t)
		if _, err := p.RestoreWithCode(ctx, s.code); !errors.Is(err, ErrNoRestore) {
			t.Errorf("%s: the restore goes on: %v", name, err)
		}
		must(p.Enroll(ctx, s.ticket()))(t)
	}
}
