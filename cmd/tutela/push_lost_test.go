package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/phone"
	"tutela/device/push/pushtest"
)

// startWithFCM starts a server that carries messages to a stand-in of FCM, with an admin's program that reads enrollments.
func startWithFCM(t *testing.T) (*liveServer, *pushtest.FCM) {
	t.Helper()
	google := pushtest.StartFCM(t)
	s := newLive(t)
	s.environment = []string{
		"TUTELA_FCM_CREDENTIALS=" + google.CredentialsFile(t.TempDir()), "TUTELA_FCM_ENDPOINT=" + google.Endpoint(),
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	t.Cleanup(func() { must(t, log.Close()) })
	s.log = log
	s.open(t)
	s.admin = s.addClient(t, "reader", "read:users read:guardian_enrollments create:guardian_enrollment_tickets")
	s.login(t)
	return s, google
}

// managed returns what the Management API says of how a user's only phone is reached, in its list and of the phone by itself; and
// since when it is lost.
func (s *liveServer) managed(t *testing.T, user, id string) (says []string, since time.Time) {
	t.Helper()
	type enrollment struct {
		Push   string    `json:"push"`
		LostAt time.Time `json:"push_lost_at"`
		Reason string    `json:"push_lost_reason"`
	}
	var list []enrollment
	must(t, s.manage(t.Context(), http.MethodGet, "/users/"+user+"/enrollments", struct{}{}, &list))
	var one enrollment
	must(t, s.manage(t.Context(), http.MethodGet, "/guardian/enrollments/"+id, struct{}{}, &one))
	if len(list) != 1 || list[0].Push == one.Push && !list[0].LostAt.Equal(one.LostAt) { // it may be lost between the two calls
		t.Fatalf("the list has %+v, the call of the phone says %+v", list, one)
	}
	return []string{list[0].Push, list[0].Reason, one.Push, one.Reason}, one.LostAt
}

// account is what the app is told of itself by a call with its device token.
func (s *liveServer) account(t *testing.T, p *phone.Phone, method, body string) map[string]any {
	t.Helper()
	token, err := p.DeviceJWT()
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, s.public+"/appliance-mfa/api/device-accounts/"+p.Enrollment().ID, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	var says map[string]any
	must(t, s.do(req, &says))
	return says
}

// pushWords returns what tutela device list and tutela user show print of how a phone is reached, and the members of their JSON.
func (s *liveServer) pushWords(t *testing.T, user, id string) (words []string) {
	t.Helper()
	c := &commandLine{t, s.binary, s.data}
	listed := lineWith(t, c.run("device", "list", user), id)
	words = append(words, listed[strings.LastIndex(listed, "  ")+2:])
	_, shown, _ := strings.Cut(lineWith(t, c.run("user", "show", user), id), ", push ")
	words = append(words, shown)
	for _, args := range [][]string{{"device", "list", user, "--json"}, {"user", "show", user, "--json"}} {
		printed := c.run(args...)
		if strings.HasPrefix(printed, "{") {
			whole := map[string]json.RawMessage{}
			must(t, json.Unmarshal([]byte(printed), &whole))
			printed = string(whole["enrollments"])
		}
		var devices []struct {
			Push   string `json:"push"`
			LostAt string `json:"push_lost_at"`
			Reason string `json:"push_lost_reason"`
		}
		must(t, json.Unmarshal([]byte(printed), &devices))
		words = append(words, strings.TrimSpace(devices[0].Push+" "+devices[0].LostAt+" "+devices[0].Reason))
	}
	return words
}

// lineWith returns the line of a text that has a word.
func lineWith(t *testing.T, text, word string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return strings.TrimRight(line, "\n")
		}
	}
	t.Fatalf("no line has %s:\n%s", word, text)
	return ""
}

func expectSame(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

// TestPushLost_IsToldByEveryCallAndCommandAndSoIsItsHealing has FCM say that an address is gone, and then take messages again.
func TestPushLost_IsToldByEveryCallAndCommandAndSoIsItsHealing(t *testing.T) {
	s, google := startWithFCM(t)
	const user = "maria"
	const token = "fcm-token-that-is-lost"
	p := s.ringing(t, user, phone.PushCredentials{Service: "GCM", Token: token})
	id := p.Enrollment().ID
	before := s.account(t, p, http.MethodGet, "")
	well := func(what string) {
		t.Helper()
		says, since := s.managed(t, user, id)
		expectSame(t, what+", the Management API", []string{"ok", "", "ok", ""}, says)
		if !since.IsZero() {
			t.Errorf("%s: push_lost_at is %s", what, since)
		}
		expectSame(t, what+", the commands", []string{"ok", "ok", "ok", "ok"}, s.pushWords(t, user, id))
		for method, body := range map[string]string{http.MethodGet: "", http.MethodPatch: "{}"} {
			account := s.account(t, p, method, body)
			expectSame(t, what+", the app by "+method, []any{"ok", before["epoch"]}, []any{account["push"], account["epoch"]})
		}
	}
	well("with an address")

	google.Script(token, pushtest.FCMRefusal(404, "UNREGISTERED"))
	_, err := s.ask(t.Context(), user)
	must(t, err)
	says, since := s.managed(t, user, id)
	for says[0] != "lost" || says[2] != "lost" {
		says, since = s.managed(t, user, id)
	}
	expectSame(t, "lost, the Management API", []string{"lost", "UNREGISTERED", "lost", "UNREGISTERED"}, says)
	if since.IsZero() {
		t.Error("lost, and push_lost_at is missing")
	}
	words := "lost since " + shortTime(since) + " (UNREGISTERED)"
	members := "lost " + since.Format(time.RFC3339Nano) + " UNREGISTERED"
	got := s.pushWords(t, user, id)
	expectSame(t, "lost, the commands", []string{words, words}, got[:2])
	for _, has := range got[2:] {
		at := strings.Fields(has)
		if len(at) != 3 || at[0] != "lost" || at[2] != "UNREGISTERED" || !isInstant(at[1]) {
			t.Errorf("lost, as JSON: %s, want such as %s", has, members)
		}
	}
	// An address that is lost is no trouble of the service.
	if status, ready := s.readyz(t); status != http.StatusOK || strings.Contains(ready, "FCM") {
		t.Errorf("readyz: %d %s", status, ready)
	}
	if asked, err := s.ask(t.Context(), user); err != nil || asked.Delivery != "pull" {
		t.Errorf("a login with the address lost: %+v, %v", asked, err)
	}

	// The app calls, and sees it. From then on the address is tried again, and stays lost until a message reaches it.
	for method, body := range map[string]string{http.MethodGet: "", http.MethodPatch: "{}"} {
		account := s.account(t, p, method, body)
		expectSame(t, "lost, the app by "+method, []any{"lost", before["epoch"]}, []any{account["push"], account["epoch"]})
	}
	asked, err := s.ask(t.Context(), user)
	must(t, err)
	if asked.Delivery != "push" {
		t.Errorf("a login that tries the address again: delivery is %s", asked.Delivery)
	}
	google.Await(token, 1)
	for says[0] != "ok" || says[2] != "ok" {
		says, _ = s.managed(t, user, id)
	}
	well("healed")
	if n := google.Asked(token); n != 2 {
		t.Errorf("FCM was asked %d times", n)
	}
	s.expectNamesNoPhone(t, token)
}

// expectNamesNoPhone fails the test when the log, the events or /readyz have a phone's token.
func (s *liveServer) expectNamesNoPhone(t *testing.T, token string) {
	t.Helper()
	log, err := os.ReadFile(s.log.Name())
	must(t, err)
	c := &commandLine{t, s.binary, s.data}
	_, ready := s.readyz(t)
	for what, text := range map[string]string{"the log": string(log), "the events": c.run("events", "--json"), "readyz": ready} {
		if strings.Contains(text, token) {
			t.Errorf("%s: a token is in %s", what, text)
		}
	}
}

// TestReadyz_SaysWhichPushServiceTakesNothingAndStaysReady has FCM refuse this server until its breaker opens. The phones keep their
// addresses, logins go on, and when the set-up is mended everything arrives.
func TestReadyz_SaysWhichPushServiceTakesNothingAndStaysReady(t *testing.T) {
	s, google := startWithFCM(t)
	const tokens = "fcm-token-of-"
	const users = 5
	for i := range users {
		user := fmt.Sprintf("user-%d", i)
		google.Always(tokens+user, pushtest.FCMRefusal(401, "THIRD_PARTY_AUTH_ERROR"))
		s.ringing(t, user, phone.PushCredentials{Service: "GCM", Token: tokens + user})
		asked, err := s.ask(t.Context(), user)
		must(t, err)
		if asked.Delivery != "push" {
			t.Errorf("delivery is %s", asked.Delivery)
		}
		google.AwaitAsked(tokens+user, 1)
	}
	status, ready := s.readyz(t)
	for !strings.Contains(ready, "FCM takes nothing") {
		status, ready = s.readyz(t) // its checks are a second old at most
	}
	var body struct {
		Status string            `json:"status"`
		Checks map[string]string `json:"checks"`
	}
	must(t, json.Unmarshal([]byte(ready), &body))
	detail := body.Checks["outbox"]
	if status != http.StatusOK || body.Status != "ready" || !strings.HasPrefix(detail, "FCM takes nothing: ") ||
		!strings.HasSuffix(detail, ", THIRD_PARTY_AUTH_ERROR") || !strings.Contains(detail, " since 20") {
		t.Errorf("readyz: %d %s", status, ready)
	}
	for i := range users {
		user := fmt.Sprintf("user-%d", i)
		var list []struct {
			ID   string `json:"id"`
			Push string `json:"push"`
		}
		must(t, s.manage(t.Context(), http.MethodGet, "/users/"+user+"/enrollments", struct{}{}, &list))
		if len(list) != 1 || list[0].Push != "ok" {
			t.Errorf("%s: %+v", user, list)
		}
	}
	s.expectNamesNoPhone(t, tokens)

	// Mended: the next probe finds it out.
	for i := range users {
		google.Always(tokens+fmt.Sprintf("user-%d", i), pushtest.Accept)
	}
	for i := range users {
		user := fmt.Sprintf("user-%d", i)
		_, err := s.ask(t.Context(), user)
		must(t, err)
		google.Await(tokens+user, 1)
	}
	for strings.Contains(ready, "FCM") {
		status, ready = s.readyz(t)
	}
	if status != http.StatusOK {
		t.Errorf("readyz after it was mended: %d %s", status, ready)
	}
}
