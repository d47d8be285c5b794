package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/device/push/pushtest"
)

// These tests kill the server between the commit of a login and the end of its push. Every approval that was acknowledged must
// arrive at the push service: at most once more for each kill.

// startPushing starts a live server whose messages go to a stand-in of FCM, and enrols a phone for each of n users.
func startPushing(t testing.TB, n int) (*liveServer, *pushtest.FCM) {
	t.Helper()
	s := newLive(t)
	fcm := pushtest.StartFCM(t)
	s.environment = []string{
		"TUTELA_FCM_CREDENTIALS=" + fcm.CredentialsFile(t.TempDir()),
		"TUTELA_FCM_ENDPOINT=" + fcm.Endpoint(),
	}
	s.open(t)
	for i := range n {
		if _, err := s.enrollPushed(t.Context(), pushUser(i)); err != nil {
			t.Fatal(err)
		}
	}
	return s, fcm
}

func pushUser(i int) string { return fmt.Sprintf("user-%d", i) }

func pushToken(user string) string { return "token-of-" + user }

// enrollPushed makes a user whose phone is reached by FCM.
func (s *liveServer) enrollPushed(ctx context.Context, user string) (*phone.Phone, error) {
	var ticket struct {
		ID string `json:"ticket_id"`
	}
	err := s.manage(ctx, http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": user}, &ticket)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	p, err := phone.New(phone.Options{
		BaseURL:    s.public,
		Name:       "phone of " + user,
		Identifier: user,
		Client:     s.phones,
		Push:       &phone.PushCredentials{Service: "FCM", Token: pushToken(user)},
	})
	if err != nil {
		return nil, err
	}
	_, err = p.Enroll(ctx, ticket.ID)
	return p, err
}

// askPushed begins a login that is pushed, and lives for five minutes.
func (s *liveServer) askPushed(ctx context.Context, user string) error {
	var b struct{ Delivery string }
	err := s.form(ctx, s.bank, "/bc-authorize", &b, "scope", "openid", "login_hint", user, "requested_expiry", "300")
	if err == nil && b.Delivery != "push" {
		err = fmt.Errorf("the login of %s is told by %s", user, b.Delivery)
	}
	return err
}

// arrived counts how often each approval has arrived at a phone's token, by its challenge.
func arrived(fcm *pushtest.FCM, token string) map[string]int {
	times := map[string]int{}
	for _, m := range fcm.Taken(token) {
		if c, ok := m.Data["c"].(string); ok {
			times[c]++
		}
	}
	return times
}

func TestKillPush_BetweenTheCommitAndTheSendEveryApprovalArrivesOnce(t *testing.T) {
	s, fcm := startPushing(t, 4)
	waits := make(chan struct{}) // closed when the server has committed, and waits for its access token
	fcm.ScriptToken(pushtest.Play{Hang: true, Then: func() { close(waits) }})
	for i := range 4 {
		must(t, s.askPushed(t.Context(), pushUser(i)))
	}
	<-waits
	s.kill(syscall.SIGKILL)
	if n := len(fcm.Taken("")); n != 0 {
		t.Fatalf("%d messages were sent before the kill", n)
	}
	s.start(t)
	for i := range 4 {
		fcm.Await(pushToken(pushUser(i)), 1)
	}
	s.expectDrained(t)
	for i := range 4 {
		expectArrived(t, fcm, pushUser(i), 1, 1)
	}
}

func TestKillPush_BetweenTheSendAndTheMarkEveryApprovalArrivesTwiceAtMost(t *testing.T) {
	s, fcm := startPushing(t, 4)
	var once sync.Once
	killed := make(chan struct{})
	fcm.Always("", pushtest.Play{Then: func() { // the message is taken, and the server has no answer yet
		once.Do(func() {
			_ = s.cmd.Process.Signal(syscall.SIGKILL)
			close(killed)
		})
	}})
	asked := 0
	for i := range 4 {
		if s.askPushed(t.Context(), pushUser(i)) == nil {
			asked = i + 1
		}
	}
	<-killed
	s.kill(syscall.SIGKILL)
	if asked == 0 {
		t.Fatal("no login was acknowledged")
	}
	s.start(t)
	fcm.Await(pushToken(pushUser(0)), 2) // the one that killed it
	for i := range asked {
		fcm.Await(pushToken(pushUser(i)), 1)
	}
	s.expectDrained(t)
	for i := range asked {
		expectArrived(t, fcm, pushUser(i), 1, 2)
	}
}

// expectDrained stops the server as an operator does, which sends what is due, and fails the test if it is killed over that.
func (s *liveServer) expectDrained(t *testing.T) {
	t.Helper()
	process := s.cmd
	s.cmd = nil
	must(t, process.Process.Signal(syscall.SIGTERM))
	must(t, process.Wait())
}

// expectArrived fails the test unless so many approvals of a user have arrived, each so often at most.
func expectArrived(t *testing.T, fcm *pushtest.FCM, user string, approvals, most int) {
	t.Helper()
	times := arrived(fcm, pushToken(user))
	if len(times) < approvals {
		t.Errorf("%d approvals of %s arrived, want %d", len(times), user, approvals)
	}
	for c, n := range times {
		if n > most {
			t.Errorf("the approval %.8s of %s arrived %d times, want %d at most", c, user, n, most)
		}
	}
}

// TestKillPush_AtAnyMomentUnderLoad kills wherever the server is.
func TestKillPush_AtAnyMomentUnderLoad(t *testing.T) {
	const users = 24
	const kills = 4
	s, fcm := startPushing(t, users)
	s.setPolicy(t, "push.budget", "100")
	var acknowledged [users]atomic.Int64
	for range kills {
		var group sync.WaitGroup
		for i := range users {
			group.Go(func() {
				for s.askPushed(t.Context(), pushUser(i)) == nil {
					acknowledged[i].Add(1)
				}
			})
		}
		// The moment of the kill is the one thing here that no event can give.
		<-time.After(time.Duration(20+rand.IntN(200)) * time.Millisecond)
		s.kill(syscall.SIGKILL)
		group.Wait()
		s.start(t)
	}
	total := int64(0)
	for i := range users {
		want := int(acknowledged[i].Load())
		total += acknowledged[i].Load()
		fcm.AwaitThat(func() bool { return len(arrived(fcm, pushToken(pushUser(i)))) >= want })
	}
	s.expectDrained(t)
	for i := range users {
		expectArrived(t, fcm, pushUser(i), int(acknowledged[i].Load()), 1+kills)
	}
	if total < users {
		t.Fatal(errors.New("too few logins were acknowledged to show anything"))
	}
	t.Logf("%d approvals acknowledged, %d messages taken, %d kills", total, len(fcm.Taken("")), kills)
}
