package main

import (
	"net/http"
	"strings"
	"testing"

	"tutela/device/phone"
	"tutela/device/push/pushtest"
)

// TestServe_LoginsGoOnWhateverAWebPushServiceAnswers plays each case with the real program: what the phone is sent, how often, what
// becomes of its address, what the login system is told, and how the login ends.
func TestServe_LoginsGoOnWhateverAWebPushServiceAnswers(t *testing.T) {
	s := newLive(t)
	s.environment = []string{"TUTELA_PUSH_ALLOW=127.0.0.0/8", "TUTELA_PUSH_CONTACT=mailto:ops@example.com"}
	s.logLevel = "error" // a service in trouble is a warning
	s.open(t)
	service := pushtest.NewWebPush(t, s.pushKey(t))
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc // to the first request; the next is taken, in a moment or when the login is over
		asked  int
		state  string
	}{
		{"202", pushtest.Status(http.StatusAccepted), 1, "ok"},
		{"404", pushtest.Status(http.StatusNotFound), 1, "lost"},
		{"410", pushtest.Status(http.StatusGone), 1, "lost"},
		{"413", pushtest.Status(http.StatusRequestEntityTooLarge), 1, "ok"},
		{"a key of another sender", pushtest.Says(http.StatusBadRequest, `{"reason":"VapidPkHashMismatch"}`), 1, "ok"},
		{"401", pushtest.Status(http.StatusUnauthorized), 1, "ok"},
		{"403", pushtest.Status(http.StatusForbidden), 1, "ok"},
		{"429", pushtest.Status(http.StatusTooManyRequests, "Retry-After", "1"), 2, "ok"},
		{"503", pushtest.Status(http.StatusServiceUnavailable), 2, "ok"},
		{"a redirect", pushtest.Status(http.StatusTemporaryRedirect, "Location", "http://127.0.0.1:1/"), 2, "ok"},
		{"a broken connection", pushtest.Reset(0), 2, "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			user := "web-" + strings.ReplaceAll(c.name, " ", "-")
			p := s.enrollWith(t, user, service.Subscribe(t))
			service.Answer(c.answer)
			asked, err := s.ask(t.Context(), user)
			must(t, err)
			if asked.Delivery != "push" {
				t.Errorf("delivery is %s", asked.Delivery)
			}
			challenges := map[string]bool{}
			for range c.asked {
				m, err := phone.ParseMessage(service.Await(t).Text)
				must(t, err)
				challenges[m.Approval.Challenge] = true
			}
			if len(challenges) != 1 {
				t.Error("copies of one approval have different challenges")
			}
			s.endsByPull(t, p, asked, c.state)
			if more := service.Take(); len(more) != 0 {
				t.Errorf("%d requests more than %d", len(more), c.asked)
			}
		})
	}
}

// endsByPull waits until the app is told of a state of its address, and answers the login without the push.
func (s *liveServer) endsByPull(t *testing.T, p *phone.Phone, asked begun, state string) {
	t.Helper()
	for told := ""; told != state; {
		account, err := p.Status(t.Context())
		must(t, err)
		told = account.PushState
	}
	approvals, err := p.Approvals(t.Context(), 0, nil)
	must(t, err)
	if len(approvals) != 1 {
		t.Fatalf("%d approvals are listed", len(approvals))
	}
	must(t, p.Approve(t.Context(), approvals[0], asked.Number))
	must(t, collectOne(t.Context(), s, asked))
}
