package login_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/ground"
)

// outage is a house whose sender works in the background, in a bubble: the wall and the house's clock pass together, as fast as
// they may. Its push service can be down.
type outage struct {
	*house
	users []*outageUser
	down  atomic.Bool
	tried atomic.Int64
}

type outageUser struct {
	*phone
	id   string
	code string
}

func newOutage(t *testing.T, users int) *outage {
	t.Helper()
	o := &outage{house: newHouse(t, ground.Options{})}
	o.set("push.budget", "100")
	o.sent.Fail = func(push.Address) error {
		o.tried.Add(1)
		if o.down.Load() {
			return &push.Refusal{Verdict: push.Busy, Status: 503, Reason: "UNAVAILABLE"}
		}
		return nil
	}
	for i := range users {
		id := fmt.Sprint("user ", i)
		p := o.enroll(id, id)
		o.users = append(o.users, &outageUser{p, id, p.Enrolled.RecoveryCode})
	}
	sender, err := outbox.NewSender(o.store, outbox.Options{
		Handlers: []outbox.Handler{o.Handler(), recovery.Notice.Handler(o.devices.DeliverNotice)},
		Log:      slog.New(slog.DiscardHandler),
	})
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sender.Run(t.Context())
	}()
	t.Cleanup(func() { <-done })
	synctest.Wait()
	return o
}

// pass lets time pass, second by second.
func (o *outage) pass(d time.Duration) {
	for range d / time.Second {
		o.clock.Advance(time.Second)
		<-time.After(time.Second) // of the bubble
		synctest.Wait()
	}
}

// logIn begins a login for a user, which she answers by pull or, in its place, by a login with her recovery code.
func (o *outage) logIn(u *outageUser, byCode bool) {
	o.t.Helper()
	begun := o.begin(request(u.id))
	if begun.Delivery != login.Push {
		o.t.Errorf("delivery is %s", begun.Delivery)
	}
	if byCode {
		got, err := o.redeem(o.startMFA(u.id).Token, u.code)
		must(o.t, err)
		u.code = string(got.Next)
		return
	}
	list := u.pull()
	must(o.t, u.approve(list[len(list)-1], begun.Number))
	_, err := o.collect(begun)
	must(o.t, err)
}

// TestPushDown_ForTenMinutesLoginsGoOnNothingPilesUpAndRecoveryIsImmediate has a push service answer nothing but 503 for ten
// minutes, in which half of the people answer by pull and half log in by code and leave their approvals open.
func TestPushDown_ForTenMinutesLoginsGoOnNothingPilesUpAndRecoveryIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 8)
		o.down.Store(true)
		begun := 0
		most := 0
		for range 20 {
			for i, u := range o.users {
				o.logIn(u, i%2 == 1)
				begun++
			}
			o.pass(30 * time.Second)
			most = max(most, len(o.waiting()))
		}
		// A login lives two minutes, and what has expired is dropped once a minute: so a user has six logins at most, and as many
		// notices as her code was changed, which are kept for a day.
		if codes := 20 * 4; most > 6*8+codes {
			t.Errorf("%d entries waited at once, of %d logins", most, begun)
		}
		if tried := o.tried.Load(); tried > 100 {
			t.Errorf("the service was asked %d times in ten minutes of answering 503", tried)
		}

		// It is back: the next probe shows it, and all that is still worth sending goes out at once.
		o.down.Store(false)
		o.sent.Take()
		open := o.users[1].pull()
		o.pass(31 * time.Second)
		pushed := map[string]int{}
		for _, d := range o.sent.Take() {
			pushed[d.Challenge]++
		}
		for _, m := range open[1:] { // the oldest may have expired meanwhile
			if pushed[m.Challenge] != 1 {
				t.Errorf("an approval that waits was pushed %d times", pushed[m.Challenge])
			}
		}
		o.begin(request(o.users[0].id))
		synctest.Wait()
		if n := len(o.sent.Take()); n != 1 {
			t.Errorf("the next login was pushed %d times, without time passing", n)
		}
		if n := len(o.events(o.users[0].id, audit.SendPushFailure)); n > 2 {
			t.Errorf("%d events of failures about one user in an hour", n)
		}
	})
}
