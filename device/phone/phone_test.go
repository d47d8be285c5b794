package phone

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var ctx = context.Background()

func TestReinstall_KeepsThePlatformBackupAndLosesTheHardwareKeys(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(3), BackupOptions{}))(t)
	before := p.PlatformBackup()
	if err := p.Reinstall(Reinstallation{}); err != nil {
		t.Fatal(err)
	}
	p = open(t, s, p.folder.path)
	if p.Enrollment() != nil || len(p.Accounts()) > 0 {
		t.Error("the hardware keys outlived the reinstall")
	}
	after := p.PlatformBackup()
	if after.RestoreHandle == "" || after.RestoreHandle != before.RestoreHandle || string(after.BlobKey) != string(before.BlobKey) {
		t.Error("the platform backup did not come back")
	}
	for _, a := range after.Accounts {
		if a.Secret != "" || a.Name == "" {
			t.Errorf("the platform backup carries %+v: wanted the name without the secret", a)
		}
	}
}

func TestReinstall_WithoutBackupLosesBothAndKeepsTheIdentifier(t *testing.T) {
	p := enrolledPhone(t, newServer(t))
	identifier := p.Identifier()
	if err := p.Reinstall(Reinstallation{WithoutBackup: true}); err != nil {
		t.Fatal(err)
	}
	if p.Enrollment() != nil || p.PlatformBackup().UserID != "" {
		t.Error("something outlived the reinstall")
	}
	if p.Identifier() != identifier {
		t.Error("the phone itself changed")
	}
}

func TestReinstall_OnANewPhoneHasAnotherIdentifier(t *testing.T) {
	p := enrolledPhone(t, newServer(t))
	identifier := p.Identifier()
	if err := p.Reinstall(Reinstallation{NewPhone: true}); err != nil {
		t.Fatal(err)
	}
	if p.Identifier() == identifier || p.PlatformBackup().UserID == "" {
		t.Error("wanted another phone with the same platform backup")
	}
}

func TestNew_LeavesADamagedStateFileAsItIs(t *testing.T) {
	p := enrolledPhone(t, newServer(t))
	file := filepath.Join(p.folder.path, hardwareFile)
	damaged := []byte(`{"enrollment": {"id`)
	if err := os.WriteFile(file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Folder: p.folder.path}); err == nil {
		t.Error("a damaged file was accepted")
	}
	if err := p.RecoveryCodeSeen(); err == nil {
		t.Error("a damaged file was written over")
	}
	if got := must(os.ReadFile(file))(t); string(got) != string(damaged) {
		t.Errorf("the file is now %q", got)
	}
}

func TestFolder_HoldsNoHalfWrittenFilesAndIsPrivate(t *testing.T) {
	p := enrolledPhone(t, newServer(t))
	for _, entry := range must(os.ReadDir(p.folder.path))(t) {
		info := must(entry.Info())(t)
		if filepath.Ext(entry.Name()) == ".tmp" || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", entry.Name(), info.Mode().Perm())
		}
	}
}

func TestFolder_FileThatIsALinkStaysOne(t *testing.T) {
	p := enrolledPhone(t, newServer(t))
	link := filepath.Join(p.folder.path, hardwareFile)
	file := filepath.Join(t.TempDir(), "kept-elsewhere.json")
	if err := os.Rename(link, file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	before := must(os.ReadFile(file))(t)
	if err := p.Reinstall(Reinstallation{}); err != nil {
		t.Fatal(err)
	}
	if info := must(os.Lstat(link))(t); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
	if after := must(os.ReadFile(file))(t); string(after) == string(before) {
		t.Error("the keys of before still lie where the link leads")
	}
}

func TestDeviceJWT_IsSignedOnceForHalfAnHour(t *testing.T) {
	s := newServer(t)
	now := time.Now()
	p := must(New(Options{BaseURL: s.URL, Now: func() time.Time { return now }}))(t)
	must(p.Enroll(ctx, s.ticket()))(t)
	first := must(p.DeviceJWT())(t)
	now = now.Add(29 * time.Minute)
	if must(p.DeviceJWT())(t) != first {
		t.Error("signed again within half an hour")
	}
	now = now.Add(2 * time.Minute)
	if must(p.DeviceJWT())(t) == first {
		t.Error("not signed again after half an hour")
	}
}

func TestDeviceCall_TakesTheServersTimeWhenItsOwnIsWrong(t *testing.T) {
	for _, offset := range []time.Duration{-100 * time.Hour, 100 * time.Hour} {
		s := newServer(t)
		p := must(New(Options{BaseURL: s.URL, Quirks: Quirks{ClockOffset: offset}}))(t)
		must(p.Enroll(ctx, s.ticket()))(t)
		must(p.Status(ctx))(t)
		must(p.Status(ctx))(t)
		if n := s.calls["GET {id}"]; n != 3 {
			t.Errorf("clock off by %v: two calls took %d requests, wanted 3", offset, n)
		}
		p.SetQuirks(Quirks{ClockOffset: offset, KeepClock: true})
		if _, err := p.Status(ctx); CodeOf(err) != "clock_skew" {
			t.Errorf("a phone that insists on its clock got %v", err)
		}
	}
}

func TestError_SaysWhatTheServerSaid(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	s.Reset(maria)
	_, err := p.Status(ctx)
	refused, ok := err.(*Error) //nolint:errorlint // the very error is wanted, not one that wraps it
	if !ok || refused.StatusCode != 404 || refused.Code != "device_account_not_found" || refused.Date.IsZero() {
		t.Errorf("got %#v", err)
	}
}

func TestPhone_InMemoryWritesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newServer(t)
	p := must(New(Options{BaseURL: s.URL}))(t)
	must(p.Enroll(ctx, s.ticket()))(t)
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	if entries := must(os.ReadDir("."))(t); len(entries) > 0 {
		t.Errorf("found %v", entries)
	}
}
