package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutela/device/phone"
	"tutela/device/push"
	"tutela/device/push/pushtest"
	"tutela/server/access"
)

// pushKey is the key by which apps of the server subscribe.
func (s *liveServer) pushKey(t *testing.T) string {
	t.Helper()
	var told struct {
		Key string `json:"public_key"`
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.public+"/appliance-mfa/api/push/web", http.NoBody)
	must(t, err)
	must(t, s.do(req, &told))
	return told.Key
}

// enrollWith makes a user with a phone that is reached by a browser's subscription.
func (s *liveServer) enrollWith(t *testing.T, user string, b *pushtest.Browser) *phone.Phone {
	t.Helper()
	var ticket struct {
		ID string `json:"ticket_id"`
	}
	must(t, s.manage(t.Context(), http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": user}, &ticket))
	p, err := phone.New(phone.Options{
		BaseURL: s.public,
		Client:  s.phones,
		Push:    &phone.PushCredentials{Service: string(push.WebPush), Token: b.Subscription()},
	})
	must(t, err)
	_, err = p.Enroll(t.Context(), ticket.ID)
	must(t, err)
	return p
}

// TestWebPush_RingsAPhoneWhichAnswersWithoutPulling is a login of the real program: the phone knows of it by the message alone.
func TestWebPush_RingsAPhoneWhichAnswersWithoutPulling(t *testing.T) {
	s := newLive(t)
	s.environment = []string{"TUTELA_PUSH_ALLOW=127.0.0.0/8", "TUTELA_PUSH_CONTACT=mailto:ops@example.com"}
	s.open(t)
	service := pushtest.NewWebPush(t, s.pushKey(t))
	service.Answer(pushtest.Status(http.StatusServiceUnavailable)) // it is tried again
	p := s.enrollWith(t, maria, service.Subscribe(t))

	b, err := s.ask(t.Context(), maria)
	must(t, err)
	first := service.Await(t)
	again := service.Await(t)
	if first.Contact != "mailto:ops@example.com" || again.Topic != first.Topic || again.Urgency != "high" || again.TTL < 1 {
		t.Errorf("it came as %+v", again)
	}
	m, err := phone.ParseMessage(again.Text)
	must(t, err)
	if m.Approval == nil || m.Approval.ClientName != "bank" || !m.Approval.NumberMatching || m.Approval.EnrollmentID != p.Enrollment().ID {
		t.Fatalf("the message is %s", again.Text)
	}
	must(t, p.Approve(t.Context(), *m.Approval, b.Number))
	var tokens struct {
		IDToken string `json:"id_token"`
	}
	must(t, s.form(t.Context(), s.bank, "/oauth/token", &tokens, "grant_type", access.GrantCIBA, "auth_req_id", b.ID, "wait", "30"))
	if tokens.IDToken == "" || b.Delivery != "push" {
		t.Errorf("delivered by %q", b.Delivery)
	}
}

// TestWebPush_DoesNotCallThisMachineForAStranger: without the operator's word the endpoint is not called, and the log names no URL.
func TestWebPush_DoesNotCallThisMachineForAStranger(t *testing.T) {
	s := newLive(t)
	s.logLevel = "debug"
	log, written, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(written.Close(), log.Close())) })
	s.log = written
	s.open(t)
	service := pushtest.NewWebPush(t, s.pushKey(t))
	b := service.Subscribe(t)
	s.enrollWith(t, maria, b)
	_, err = s.ask(t.Context(), maria)
	must(t, err)
	said := bufio.NewScanner(log)
	for said.Scan() {
		if strings.Contains(said.Text(), strings.TrimPrefix(b.Endpoint, service.URL)) {
			t.Errorf("the log names the endpoint: %s", said.Text())
		}
		if strings.Contains(said.Text(), "--push-allow 127.0.0.1/32 allows") {
			break
		}
	}
	must(t, said.Err())
	go func() { _, _ = io.Copy(io.Discard, log) }() // the server goes on writing
	if n := len(service.Take()); n != 0 {
		t.Errorf("%d messages came", n)
	}
}

func TestServe_RefusesAContactThatIsNone(t *testing.T) {
	c := newCommandLineOnNothing(t)
	c.try("serve", "--push-contact", "ops@example.com").notUnderstood(`"ops@example.com" is no contact for push services, such as mailto:ops@example.com or https://example.com/contact`)
	c.try("serve", "--push-allow", "inside").notUnderstood(`"inside" is not an address range`)
}

// TestKeyRotate_LeavesTheKeyOfWebPush: a new one would take Web Push from every phone.
func TestKeyRotate_LeavesTheKeyOfWebPush(t *testing.T) {
	s := startLive(t)
	key := s.pushKey(t)
	c := &commandLine{t: t, binary: s.binary, data: s.data}
	c.run("key", "rotate")
	if s.pushKey(t) != key || len(key) != 87 {
		t.Errorf("%q has become %q", key, s.pushKey(t))
	}
}

// TestPhoneRing_RingsAndGoesOnWhereItWas: the simulated phone is its own push service, and takes the same subscription up again.
func TestPhoneRing_RingsAndGoesOnWhereItWas(t *testing.T) {
	s := newLive(t)
	s.environment = []string{"TUTELA_DEV=true"}
	s.open(t)
	folder := filepath.Join(t.TempDir(), "phone")
	open := func() *phone.Phone {
		t.Helper()
		p, err := phone.New(phone.Options{BaseURL: s.public, Client: s.phones, Folder: folder})
		must(t, err)
		return p
	}
	var ticket struct {
		ID string `json:"ticket_id"`
	}
	must(t, s.manage(t.Context(), http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": maria}, &ticket))
	_, err := open().Enroll(t.Context(), ticket.ID)
	must(t, err)
	addresses := map[string]bool{}
	for range 2 {
		p := open()
		ring, err := p.Ring(t.Context())
		must(t, err)
		addresses[ring.Address()] = true
		b, err := s.ask(t.Context(), maria)
		must(t, err)
		m, err := ring.Next(t.Context())
		must(t, err)
		if m.Approval == nil {
			t.Fatalf("it rings for %+v", m.Notice)
		}
		must(t, p.Approve(t.Context(), *m.Approval, b.Number))
		must(t, ring.Close())
	}
	if len(addresses) != 1 {
		t.Errorf("the phone has moved: %v", addresses)
	}
}
