package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/device/push/pushtest"
)

// wireCase is a login whose push a service answers in some way.
type wireCase struct {
	name  string
	plays []pushtest.Play // one for each request; after that the message is taken
	got   int             // messages that the phone got, all of one approval
	asked int             // requests
	state string          // what the app is told of its push address afterwards
}

// wireCases are answers that both services can give. What is tried again is tried after a moment, and the destination is then left
// alone for a while: these cases are few.
//
// renew is the answer to a token of ours that is no longer good; the service takes the next one.
func wireCases(gone, mismatch, setup, renew pushtest.Play, more ...wireCase) []wireCase {
	return append([]wireCase{
		{"taken", nil, 1, 1, "ok"},
		{"gone", []pushtest.Play{gone}, 0, 1, "lost"},
		{"a bare 404", []pushtest.Play{{Status: 404}}, 1, 2, "ok"},
		{"503", []pushtest.Play{pushtest.Play{Status: 503}.After("1")}, 1, 2, "ok"},
		{"a token of another server's", []pushtest.Play{mismatch}, 0, 1, "ok"},
		{"a set-up that is refused", []pushtest.Play{setup}, 0, 1, "ok"}, // it is tried again, and late
		{"413", []pushtest.Play{{Status: 413}}, 0, 1, "ok"},
		{"429", []pushtest.Play{pushtest.Play{Status: 429}.After("1")}, 1, 2, "ok"},
		{"a redirect", []pushtest.Play{pushtest.Redirect("http://127.0.0.1:1/")}, 1, 2, "ok"},
		{"1 GiB", []pushtest.Play{pushtest.Flood}, 1, 2, "ok"},
		{"an answer that is cut", []pushtest.Play{pushtest.Cut}, 2, 2, "ok"},
		{"500", []pushtest.Play{{Status: 500}}, 1, 2, "ok"},
		{"no answer in time", []pushtest.Play{pushtest.Hang}, 1, 2, "ok"},
		{"a token of ours that has expired", []pushtest.Play{renew}, 1, 2, "ok"},
	}, more...)
}

// standIn is what the stand-ins have in common.
type standIn interface {
	Script(token string, plays ...pushtest.Play)
	Asked(token string) int
	AwaitAsked(token string, n int)
	Taken(token string) []pushtest.Taken
	Wrong() []string
}

// TestServe_LoginsGoOnWhateverAPushServiceAnswers plays each case with the real program, and looks afterwards at what the phone got,
// how often the service was asked, what the app is told of its address, and whether the login went through.
func TestServe_LoginsGoOnWhateverAPushServiceAnswers(t *testing.T) {
	google := pushtest.StartFCM(t)
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{Plain: true})
	s := newLive(t)
	folder := t.TempDir()
	s.environment = []string{
		"TUTELA_FCM_CREDENTIALS=" + google.CredentialsFile(folder), "TUTELA_FCM_ENDPOINT=" + google.Endpoint(),
		"TUTELA_APNS_KEY=" + apple.KeyFile(folder), "TUTELA_APNS_KEY_ID=" + pushtest.APNsKeyID,
		"TUTELA_APNS_TEAM_ID=" + pushtest.APNsTeamID, "TUTELA_APNS_TOPIC=" + pushtest.APNsTopic,
		"TUTELA_APNS_ENDPOINT=" + apple.Endpoint(),
	}
	s.logLevel = "error" // a service in trouble is a warning
	s.open(t)
	for name, one := range map[string]struct {
		service string
		desk    standIn
		cases   []wireCase
	}{
		"FCM": {"GCM", google, wireCases(
			pushtest.FCMRefusal(404, "UNREGISTERED"), pushtest.FCMRefusal(403, "SENDER_ID_MISMATCH"), pushtest.FCMRefusal(401, "THIRD_PARTY_AUTH_ERROR"),
			pushtest.GoogleError(401))},
		"APNs": {"APNS", apple, wireCases(
			pushtest.APNsGone("Unregistered", time.Now().Add(time.Hour)),
			pushtest.APNsRefusal(400, "BadDeviceToken"), pushtest.APNsRefusal(400, "DeviceTokenNotForTopic"),
			pushtest.APNsRefusal(403, "ExpiredProviderToken"),
			wireCase{"gone before the phone named it", []pushtest.Play{pushtest.APNsGone("Unregistered", time.Now().Add(-time.Hour))}, 0, 1, "ok"})},
	} {
		t.Run(name, func(t *testing.T) {
			for i, c := range one.cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel() // a case is nearly all waiting
					user := strings.ReplaceAll(name+"-"+c.name, " ", "-")
					s.rings(t, one.desk, user, phone.PushCredentials{Service: one.service, Token: fmt.Sprintf("%064x", i+1)}, c)
				})
			}
		})
		if wrong := one.desk.Wrong(); len(wrong) != 0 {
			t.Errorf("%s does not understand: %v", name, wrong)
		}
	}
}

// rings plays one case.
func (s *liveServer) rings(t *testing.T, at standIn, user string, to phone.PushCredentials, c wireCase) {
	t.Helper()
	p := s.ringing(t, user, to)
	at.Script(to.Token, c.plays...)
	asked, err := s.ask(t.Context(), user)
	must(t, err)
	if asked.Delivery != "push" {
		t.Errorf("delivery is %s", asked.Delivery)
	}
	at.AwaitAsked(to.Token, c.asked)
	taken := at.Taken(to.Token)
	if len(taken) != c.got {
		t.Errorf("the phone got %d messages, want %d", len(taken), c.got)
	}
	for _, one := range taken {
		if got := rung(t, one); got.Challenge != rung(t, taken[0]).Challenge {
			t.Error("two copies of one approval have different challenges")
		}
	}
	s.endsByPull(t, p, asked, c.state) // whatever became of the push
	if n := at.Asked(to.Token); n != c.asked {
		t.Errorf("%d requests, want %d", n, c.asked)
	}
}
