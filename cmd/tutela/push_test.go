package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

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

// TestServe_ALoginRingsAPhoneByAPNs plays a whole login with the real program, by a key and by a certificate.
func TestServe_ALoginRingsAPhoneByAPNs(t *testing.T) {
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	folder := t.TempDir()
	certificate := filepath.Join(folder, "apns.p12")
	must(t, os.WriteFile(certificate, apple.Certificate(pkcs12.LegacyDES, "geheim", pushtest.APNsTopic), 0o600))
	for name, environment := range map[string][]string{
		"by a key": {
			"TUTELA_APNS_KEY=" + apple.KeyFile(folder), "TUTELA_APNS_KEY_ID=" + pushtest.APNsKeyID,
			"TUTELA_APNS_TEAM_ID=" + pushtest.APNsTeamID, "TUTELA_APNS_TOPIC=" + pushtest.APNsTopic,
		},
		"by a certificate": {"TUTELA_APNS_CERT=" + certificate, "TUTELA_APNS_CERT_PASSWORD=geheim"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLive(t)
			s.environment = slices.Concat(environment, []string{"TUTELA_APNS_ENDPOINT=" + apple.Endpoint(), "SSL_CERT_FILE=" + apple.RootsFile(folder)})
			s.open(t)
			token := fmt.Sprintf("%064x", len(name))
			p := s.ringing(t, "maria", phone.PushCredentials{Service: "APNS", Token: token})

			asked, err := s.ask(t.Context(), "maria")
			must(t, err)
			approval := rung(t, apple.Await(token, 1)[0])
			must(t, p.Approve(t.Context(), approval, asked.Number))
			must(t, collectOne(t.Context(), s, asked))
			if n := apple.Asked(token); n != 1 {
				t.Errorf("%d requests for one login", n)
			}
		})
	}
	if wrong := apple.Wrong(); len(wrong) != 0 {
		t.Errorf("APNs does not understand: %v", wrong)
	}
}

func TestServe_MakesNothingWhenThePushCredentialsAreNone(t *testing.T) {
	skipWhenShort(t)
	c := newCommandLineOnNothing(t)
	google := pushtest.StartFCM(t)
	good := google.CredentialsFile(t.TempDir())
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	key := apple.KeyFile(t.TempDir())
	byKey := []string{"--apns-key", key, "--apns-key-id", pushtest.APNsKeyID, "--apns-team-id", pushtest.APNsTeamID}
	certificate := filepath.Join(t.TempDir(), "apns.p12")
	must(t, os.WriteFile(certificate, apple.Certificate(pkcs12.Modern2023, "geheim", ""), 0o600))
	password := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(password, []byte("geheim\n"), 0o600))
	broken := filepath.Join(t.TempDir(), "fcm.json")
	must(t, os.WriteFile(broken, []byte(`{"type":"authorized_user"}`), 0o600))
	for says, args := range map[string][]string{
		"--fcm-credentials: open missing.json: no such file":                                                {"--fcm-credentials", "missing.json"},
		"the FCM credentials are not valid: \"type\" is not \"service_account\"":                            {"--fcm-credentials", broken},
		"--fcm-endpoint http://fcm.example.com: the FCM endpoint is not valid: it must begin with https://": {"--fcm-credentials", good, "--fcm-endpoint", "http://fcm.example.com"},
		"--fcm-endpoint http://fcm.example.org: it must begin with https://":                                {"--fcm-endpoint", "http://fcm.example.org"},
		"--apns-endpoint http://apns.example.org: it must begin with https://":                              {"--apns-endpoint", "http://apns.example.org"},

		"APNs by key needs --apns-key FILE, --apns-key-id, --apns-team-id and --apns-topic":      byKey,
		"APNs takes a key or a certificate":                                                      append([]string{"--apns-cert", certificate}, byKey...),
		"APNs needs credentials":                                                                 {"--apns-sandbox"},
		"--apns-sandbox and --apns-endpoint both say where APNs is":                              append([]string{"--apns-topic", "com.example", "--apns-sandbox", "--apns-endpoint", "https://x"}, byKey...),
		"--apns-cert-password-file is for a certificate":                                         {"--apns-cert-password-file", password},
		"--apns-key: open missing.p8: no such file":                                              {"--apns-key", "missing.p8", "--apns-key-id", "A", "--apns-team-id", "B", "--apns-topic", "C"},
		"apns.p12: the APNs credentials are not valid: the password of the certificate is wrong": {"--apns-cert", certificate},
		"apns.p12: the APNs credentials are not valid: the certificate names no topic":           {"--apns-cert", certificate, "--apns-cert-password-file", password},
		"fcm.json: the APNs credentials are not valid: the key is no .p8 file":                   {"--apns-key", good, "--apns-key-id", "A", "--apns-team-id", "B", "--apns-topic", "C"},
		"--apns-endpoint http://x: the APNs endpoint is not valid: it must begin with https://":  append([]string{"--apns-topic", "com.example", "--apns-endpoint", "http://x"}, byKey...),
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
	if !strings.Contains(log, `msg="push services" FCM="project `+google.Project()+`" APNS="not carried: apps pull" WEBPUSH="`) {
		t.Errorf("the log:\n%s", log)
	}
	_, log = c.served(nil, "--dev", "--fcm-credentials", google.CredentialsFile(t.TempDir()))
	if !strings.Contains(log, `FCM="project `+google.Project()+`" APNS="files in `) {
		t.Errorf("with --dev:\n%s", log)
	}
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	_, log = c.served([]string{"TUTELA_APNS_KEY=" + apple.KeyFile(t.TempDir())}, "--apns-key-id", pushtest.APNsKeyID,
		"--apns-team-id", pushtest.APNsTeamID, "--apns-topic", pushtest.APNsTopic, "--apns-sandbox")
	if !strings.Contains(log, `APNS="topic `+pushtest.APNsTopic+`, sandbox"`) {
		t.Errorf("with a key for APNs:\n%s", log)
	}
	if n := google.Requests() + google.TokenRequests() + apple.Requests(); n != 0 {
		t.Errorf("%d requests at the start", n)
	}
}
