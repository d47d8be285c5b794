package phone

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestTicketOf_ReadsWhatAPersonScansOrPastes(t *testing.T) {
	for _, c := range []struct{ text, ticket, base string }{
		{"otpauth://totp/Ex%20ample:maria?enrollment_tx_id=tx%2F1&secret=ABC&issuer=Ex%20ample&id=dev_1&base_url=http%3A%2F%2Flocalhost%3A8080%2Fappliance-mfa&algorithm=sha1", "tx/1", "http://localhost:8080/appliance-mfa"},
		{"otpauth://totp/maria?enrollment_tx_id=tx&base_url=", "tx", ""},
		{"http://localhost:8080/mfa/enrollment?ticket=tkt_1", "tkt_1", "http://localhost:8080"},
		{"https://login.example/guard/mfa/enrollment?ticket=tkt_1", "tkt_1", "https://login.example/guard"},
		{" tkt_1\n", "tkt_1", ""},
	} {
		ticket, base, err := ticketOf(c.text)
		if err != nil || ticket != c.ticket || base != c.base {
			t.Errorf("%q gave %q, %q, %v", c.text, ticket, base, err)
		}
	}
	for _, text := range []string{"", "otpauth://totp/maria?secret=ABC", "https://example.com/", "http://%zz"} {
		if ticket, _, err := ticketOf(text); err == nil {
			t.Errorf("%q gave the ticket %q", text, ticket)
		}
	}
}

func TestEnroll_BindsAKeyOfEveryKind(t *testing.T) {
	for _, algorithm := range []Algorithm{RS256, ES256, EdDSA} {
		s := newServer(t)
		folder := t.TempDir()
		p := must(New(Options{BaseURL: s.URL, Folder: folder, Algorithm: algorithm}))(t)
		enrolled := must(p.Enroll(ctx, s.ticket()))(t)
		if enrolled.UserID != maria || len(enrolled.RecoveryCode) != 24 {
			t.Errorf("%s: got %+v", algorithm, enrolled)
		}
		p = open(t, s, folder) // the key comes back from disk
		must(p.Status(ctx))(t)
		must(p.Backup(ctx, sample(1), BackupOptions{}))(t)
	}
}

func TestEnroll_KeepsTheKeyOnDiskBeforeTheCall(t *testing.T) {
	s := newServer(t)
	p := open(t, s, t.TempDir())
	var onDisk hardware
	s.before = func() {
		data, err := os.ReadFile(filepath.Join(p.folder.path, hardwareFile))
		if err == nil {
			err = json.Unmarshal(data, &onDisk)
		}
		if err != nil {
			t.Error(err)
		}
	}
	must(p.Enroll(ctx, s.ticket()))(t)
	if onDisk.Enrolling == nil || onDisk.Enrolling.Key == nil {
		t.Fatal("the key was not on disk when the call was made")
	}
	if must(onDisk.Enrolling.Key.Public(false))(t) != must(p.Enrollment().Key.Public(false))(t) {
		t.Error("another key was bound")
	}
}

func TestEnroll_AsksAgainForALostAnswerWithTheSameKey(t *testing.T) {
	s := newServer(t)
	p := open(t, s, t.TempDir())
	s.lose["POST enroll"] = true
	ticket := s.ticket()
	if _, err := p.Enroll(ctx, ticket); err == nil || CodeOf(err) != "" {
		t.Fatalf("the answer was to be lost, got %v", err)
	}
	p = open(t, s, p.folder.path)
	if p.Enrollment() != nil {
		t.Error("enrolled without an answer")
	}
	must(p.Enroll(ctx, ticket))(t)
	if n := len(s.Rows("enrollment")); n != 1 {
		t.Errorf("the server made %d enrollments", n)
	}
	must(p.Status(ctx))(t)
}

func TestEnroll_KeepsTheRecoveryCodeUntilItWasSeen(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	p = open(t, s, p.folder.path)
	if p.UnseenRecoveryCode() != s.code || s.code == "" {
		t.Errorf("after a crash the recovery code is %q", p.UnseenRecoveryCode())
	}
	if err := p.RecoveryCodeSeen(); err != nil {
		t.Fatal(err)
	}
	if p = open(t, s, p.folder.path); p.UnseenRecoveryCode() != "" {
		t.Error("the phone still holds the recovery code")
	}
}

func TestEnroll_FollowsTheAddressOfTheQRCode(t *testing.T) {
	s := newServer(t)
	p := must(New(Options{}))(t)
	if _, err := p.Enroll(ctx, "ticket"); err != ErrNoServer { //nolint:errorlint // the very error is wanted
		t.Errorf("without an address: %v", err)
	}
	must(p.Enroll(ctx, "otpauth://totp/maria?enrollment_tx_id="+s.ticket()+"&base_url="+s.base()))(t)
	if p.Base() != s.base() {
		t.Errorf("the base is %s", p.Base())
	}
}

func TestPublic_WritesTheSignByteOfTheModulusAsAndroidDoes(t *testing.T) {
	key := must(NewKey(RS256))(t)
	for _, leadingZero := range []bool{false, true} {
		n := must(base64.RawURLEncoding.DecodeString(must(key.Public(leadingZero))(t).N))(t)
		if (n[0] == 0) != leadingZero || len(n) != 256+len(n)%256 {
			t.Errorf("leadingZero %v: %d bytes, the first %d", leadingZero, len(n), n[0])
		}
	}
}

func TestUnenroll_ForgetsTheEnrollmentAndKeepsTheAccounts(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	if err := p.Unenroll(ctx); err != nil {
		t.Fatal(err)
	}
	left := must(s.Admins.EnrollmentsOf(ctx, maria))(t)
	if p.Enrollment() != nil || len(left) > 0 || len(p.Accounts()) != 2 {
		t.Error("wanted no enrollment and two accounts")
	}
}

func TestPatch_KeepsWhatTheServerTook(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	account := must(p.Patch(ctx, Changes{Identifier: "another", Push: &PushCredentials{"FCM", "token"}}))(t)
	if p = open(t, s, p.folder.path); account.Identifier != "another" || p.Identifier() != "another" || p.state.device.Push == nil {
		t.Errorf("the phone is %+v", p.state.device)
	}
}
