package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutela/device/phone"
	"tutela/device/push/pushtest"
)

// ringing enrols a phone with a push address.
func (s *liveServer) ringing(t *testing.T, user string, at phone.PushCredentials) *phone.Phone {
	t.Helper()
	var ticket struct {
		ID string `json:"ticket_id"`
	}
	must(t, s.manage(t.Context(), http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": user}, &ticket))
	p, err := phone.New(phone.Options{
		BaseURL:    s.public,
		Name:       "phone of " + user,
		Identifier: user,
		Client:     s.phones,
		Push:       &at,
	})
	must(t, err)
	_, err = p.Enroll(t.Context(), ticket.ID)
	must(t, err)
	return p
}

// rung reads a message as an app reads what its push service hands it.
func rung(t *testing.T, taken pushtest.Taken) phone.Approval {
	t.Helper()
	data, err := json.Marshal(taken.Data)
	must(t, err)
	m, err := phone.ParseMessage(data)
	must(t, err)
	if m.Approval == nil {
		t.Fatalf("no approval: %s", data)
	}
	return *m.Approval
}

// TestServe_ALoginRingsAPhoneByFCM plays a whole login with the real program: the phone knows of it by the push alone.
func TestServe_ALoginRingsAPhoneByFCM(t *testing.T) {
	google := pushtest.StartFCM(t)
	s := newLive(t)
	s.environment = []string{
		"TUTELA_FCM_CREDENTIALS=" + google.CredentialsFile(t.TempDir()), "TUTELA_FCM_ENDPOINT=" + google.Endpoint(),
	}
	s.open(t)
	const token = "fcm-token-of-maria"
	p := s.ringing(t, "maria", phone.PushCredentials{Service: "GCM", Token: token})

	asked, err := s.ask(t.Context(), "maria")
	must(t, err)
	approval := rung(t, google.Await(token, 1)[0])
	must(t, p.Approve(t.Context(), approval, asked.Number))
	must(t, collectOne(t.Context(), s, asked))
	if n := google.Asked(token); n != 1 {
		t.Errorf("%d requests for one login", n)
	}
	if wrong := google.Wrong(); len(wrong) != 0 {
		t.Errorf("FCM does not understand: %v", wrong)
	}
}

func TestServe_MakesNothingWhenThePushCredentialsAreNone(t *testing.T) {
	skipWhenShort(t)
	c := newCommandLineOnNothing(t)
	google := pushtest.StartFCM(t)
	good := google.CredentialsFile(t.TempDir())
	broken := filepath.Join(t.TempDir(), "fcm.json")
	must(t, os.WriteFile(broken, []byte(`{"type":"authorized_user"}`), 0o600))
	for says, args := range map[string][]string{
		"--fcm-credentials: open missing.json: no such file":                                                {"--fcm-credentials", "missing.json"},
		"the FCM credentials are not valid: \"type\" is not \"service_account\"":                            {"--fcm-credentials", broken},
		"--fcm-endpoint http://fcm.example.com: the FCM endpoint is not valid: it must begin with https://": {"--fcm-credentials", good, "--fcm-endpoint", "http://fcm.example.com"},
		"--fcm-endpoint needs --fcm-credentials FILE, the key file of a Firebase service a":                 {"--fcm-endpoint", "https://fcm.example.com"},
	} {
		c.try(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...).notUnderstood(says)
	}
	if _, err := os.Stat(c.data); !errors.Is(err, os.ErrNotExist) {
		t.Error("the data folder was made")
	}
}

func TestServe_SaysInOneLineWhichServicesCarry(t *testing.T) {
	c := newCommandLine(t)
	google := pushtest.StartFCM(t)
	_, log := c.served(nil, "--fcm-credentials", google.CredentialsFile(t.TempDir()))
	if !strings.Contains(log, `msg="push services" FCM="project `+google.Project()+`" APNS="not carried: apps pull" WEBPUSH="not carried: apps pull"`) {
		t.Errorf("the log:\n%s", log)
	}
	_, log = c.served(nil, "--dev", "--fcm-credentials", google.CredentialsFile(t.TempDir()))
	if !strings.Contains(log, `FCM="project `+google.Project()+`" APNS="files in `) {
		t.Errorf("with --dev:\n%s", log)
	}
	if n := google.Requests() + google.TokenRequests(); n != 0 {
		t.Errorf("%d requests at the start", n)
	}
}
