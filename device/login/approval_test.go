package login_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/storagetest/ground"
)

func TestApprovals_HaveTheKeysOfThePushMessage(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.begin(request("ada"))
		m := p.one()
		encoded, err := json.Marshal(m.Object())
		must(h.t, err)
		var got map[string]any
		must(h.t, json.Unmarshal(encoded, &got))
		want := map[string]any{
			"txtkn": m.TransactionToken, "dai": p.Enrolled.ID, "c": m.Challenge, "d": "2026-03-01T12:00:00.123Z", "sh": publicURL,
			"s":  map[string]any{"b": map[string]any{"n": "Firefox", "v": "128"}, "os": map[string]any{"n": "Linux"}},
			"l":  map[string]any{"n": "198.51.100.7"},
			"nm": true, "bm": "pay 5", "txlnkid": m.ConsentID,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			h.t.Error(diff)
		}
		if nonce, err := base64.RawURLEncoding.DecodeString(m.Challenge); err != nil || len(nonce) != 32 {
			h.t.Errorf("the challenge has %d bytes: %v", len(nonce), err)
		}
		var claims struct {
			ID      string `json:"txid"`
			Expires int64  `json:"exp"`
		}
		must(h.t, h.ring.VerifyToken(keyring.TransactionToken, m.TransactionToken, &claims))
		if claims.ID == "" || claims.Expires != h.clock.Wall().Add(2*time.Minute).Unix() {
			h.t.Errorf("the txtkn says %+v", claims)
		}
	})
}

func TestApprovals_TellTimesByTheWall(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	h.begin(request("ada"))
	h.clock.Jump(24 * time.Hour)
	m := p.one()
	if m.Started != "2026-03-02T12:00:00.123Z" {
		t.Errorf("after the wall was set a day ahead the approval started at %s", m.Started)
	}
	var claims struct {
		Expires int64 `json:"exp"`
	}
	must(t, h.ring.VerifyToken(keyring.TransactionToken, m.TransactionToken, &claims))
	if claims.Expires != h.clock.Wall().Add(2*time.Minute).Unix() {
		t.Errorf("its token ends at %d", claims.Expires)
	}
}

func TestApprovals_AreThePendingOnesOldestFirstWithoutThoseSeen(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		other := h.enroll("ben", "b")
		first := h.begin(request("ada"))
		one := p.one()
		h.clock.Advance(time.Second)
		h.begin(request("ada"))
		list := p.pull()
		if len(list) != 2 || list[0].Challenge != one.Challenge {
			h.t.Fatalf("listed are %d", len(list))
		}
		if seen := p.pull(list[0].Challenge); len(seen) != 1 || seen[0].Challenge != list[1].Challenge {
			h.t.Errorf("without the first: %d", len(seen))
		}
		if seen := p.pull(list[1].Challenge, "x", list[0].Challenge); len(seen) != 0 {
			h.t.Errorf("without both: %d", len(seen))
		}
		must(h.t, p.approve(list[0], first.Number))
		if left := p.one(); left.Challenge != list[1].Challenge {
			h.t.Error("the decided one is listed, not the other")
		}
		h.clock.Advance(2 * time.Minute)
		if n := len(p.pull()); n != 0 {
			h.t.Errorf("%d are listed that are over", n)
		}
		if n := len(other.pull()); n != 0 {
			h.t.Errorf("another user is asked %d", n)
		}
	})
}

func TestApprovals_WantTheJWT(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	proof, err := h.devices.Prove(context.Background(), p.Enrolled.ID, p.Enrolled.Token, false)
	must(t, err)
	_, err = h.Approvals(context.Background(), proof, nil, 0)
	expect(t, "by the device token", err, device.ErrUnsigned)
}

func TestApprovals_OfABlockedUserAreNone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.begin(request("ada"))
		h.block("ada", true)
		if n := len(p.pull()); n != 0 {
			h.t.Errorf("%d are listed", n)
		}
		if pushed := h.deliver(); len(pushed) != 0 {
			h.t.Errorf("pushed: %+v", pushed)
		}
	})
}

// waiting is a call that waits for approvals.
type waiting struct {
	h    *house
	done chan struct{}
	list []push.Message
	err  error
}

// wait calls for approvals and waits a minute at most, in another goroutine.
func (p *phone) wait(ctx context.Context, seen ...string) *waiting {
	p.h.t.Helper()
	w := &waiting{h: p.h, done: make(chan struct{})}
	proof := p.Proof()
	go func() {
		defer close(w.done)
		w.list, w.err = p.h.Approvals(ctx, proof, seen, time.Minute)
	}()
	return w
}

// expectEnd waits for the call's end.
func (w *waiting) expectEnd(n int, want error) {
	w.h.t.Helper()
	select {
	case <-w.done:
	case <-time.After(10 * time.Second):
		w.h.t.Fatal("the call still waits")
	}
	expect(w.h.t, "the call that waited", w.err, want)
	if len(w.list) != n {
		w.h.t.Errorf("it got %d approvals, want %d", len(w.list), n)
	}
}

func TestApprovals_WaitEndsWithAnApproval(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		w := p.wait(context.Background())
		h.begin(request("ada"))
		w.expectEnd(1, nil)
		w = p.wait(context.Background()) // it is there already
		w.expectEnd(1, nil)
		w = p.wait(context.Background(), w.list[0].Challenge)
		h.begin(request("ada"))
		w.expectEnd(1, nil)
	})
}

func TestApprovals_WaitEndsAtOnceWithTheEnrollment(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h *house, p *phone)
		want error
	}{
		"reset": {func(h *house, _ *phone) { h.reset("ada") }, device.ErrNoEnrollment},
		"retired": {func(h *house, p *phone) {
			must(h.t, h.devices.Leave(context.Background(), p.Proof(), audit.ByUser()))
		}, device.ErrNoEnrollment},
		"replaced": {func(h *house, _ *phone) { h.enroll("ada", "a") }, device.ErrNoEnrollment},
		"suspended": {func(h *house, p *phone) {
			must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		}, device.ErrSuspended},
		"deleted": {func(h *house, _ *phone) {
			must(h.t, h.home.Admins.Delete(context.Background(), "ada", audit.ByOperator(0)))
		}, device.ErrNoEnrollment},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				w := p.wait(context.Background())
				c.end(h, p)
				w.expectEnd(0, c.want)
			})
		})
	}
}

func TestApprovals_WaitEndsWithItsContextAndIsNoError(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	ctx, cancel := context.WithCancel(context.Background())
	w := p.wait(ctx)
	cancel()
	w.expectEnd(0, nil)
}

func TestApprovals_SilentOneWakesNobodyAndIsListedByTheNextCall(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.set("push.budget", "1")
	p := h.enroll("ada", "a")
	h.begin(request("ada"))
	seen := p.one().Challenge
	ctx, cancel := context.WithCancel(context.Background())
	w := p.wait(ctx, seen)
	woken, stop := h.store.Watch(h.uid("ada"))
	defer stop()
	if b := h.begin(request("ada")); b.Delivery != login.Silent {
		t.Fatalf("delivery %s", b.Delivery)
	}
	select {
	case <-woken:
		t.Error("a silent approval woke the user's phones")
	case <-w.done:
		t.Error("a silent approval ended the wait")
	default:
	}
	next := p.pull(seen)
	if len(next) != 1 {
		t.Errorf("the next call lists %d", len(next))
	}
	cancel()
	w.expectEnd(1, nil) // and so does the call that waited, when it ends
}

func TestDeliver_PushesToEachPhoneThatIsAskedATokenOfItsOwn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		a := h.enroll("ada", "a")
		b := h.enroll("ada", "b")
		h.enrollTap("ada", "c") // is not asked
		begun := h.begin(request("ada"))
		for _, entry := range h.waiting() {
			if strings.Contains(entry, "eyJ") || strings.Contains(entry, begun.Number) || strings.Contains(entry, begun.ID) {
				h.t.Errorf("what lies in the outbox opens something: %s", entry)
			}
		}
		pushed := h.deliver()
		if len(pushed) != 2 || pushed[0].TransactionToken == pushed[1].TransactionToken {
			h.t.Fatalf("pushed: %+v", pushed)
		}
		for _, d := range pushed {
			p := a
			if d.Enrollment == b.Enrolled.ID {
				p = b
			}
			if d.To != p.In.Push || d.Challenge != p.one().Challenge {
				h.t.Errorf("%+v went to %v", d.Message, d.To)
			}
		}
		must(h.t, a.approve(pushedTo(pushed, a), begun.Number))
		h.expectEvents("ada", audit.SendPush, 2)
		if left := h.waiting(); len(left) != 0 {
			h.t.Errorf("left in the outbox: %v", left)
		}
	})
}

func pushedTo(all []devicetest.Delivered, p *phone) push.Message {
	for _, d := range all {
		if d.Enrollment == p.Enrolled.ID {
			return d.Message
		}
	}
	return push.Message{}
}

func TestDeliver_LooksAgainBeforeItSends(t *testing.T) {
	for name, end := range map[string]func(h *house, p *phone, begun login.Begun){
		"the login was decided": func(h *house, p *phone, begun login.Begun) { must(h.t, p.approve(p.one(), begun.Number)) },
		"the login is over":     func(h *house, _ *phone, _ login.Begun) { h.clock.Advance(2 * time.Minute) },
		"the user was reset":    func(h *house, _ *phone, _ login.Begun) { h.reset("ada") },
		"the user was blocked":  func(h *house, _ *phone, _ login.Begun) { h.block("ada", true) },
		"the user was deleted": func(h *house, _ *phone, _ login.Begun) {
			must(h.t, h.home.Admins.Delete(context.Background(), "ada", audit.ByOperator(0)))
		},
		"the phone was retired": func(h *house, p *phone, _ login.Begun) {
			must(h.t, h.devices.Leave(context.Background(), p.Proof(), audit.ByUser()))
		},
		"the phone was suspended": func(h *house, p *phone, _ login.Begun) {
			must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		},
		"the phone has no push token any more": func(h *house, p *phone, _ login.Begun) {
			h.update(func(tx *storage.Tx) error {
				return device.NotePush(tx, h.uidIn(tx, "ada"), p.Enrolled.ID, p.In.Push, device.Said{Gone: true, AsOf: tx.Now()})
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				begun := h.begin(request("ada"))
				end(h, p, begun)
				if pushed := h.deliver(); len(pushed) != 0 {
					h.t.Errorf("pushed: %+v", pushed)
				}
				if left := h.waiting(); len(left) != 0 {
					h.t.Errorf("left in the outbox: %v", left)
				}
			})
		})
	}
}

func TestDeliver_TokenThatIsGoneIsUsedNoMoreUntilThePhoneCalls(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.begin(request("ada"))
		h.sent.Fail = func(push.Address) error { return &push.Refusal{Verdict: push.Gone} }
		if pushed := h.deliver(); len(pushed) != 1 {
			h.t.Errorf("tried %d times", len(pushed))
		}
		h.expectEvents("ada", audit.SendPushFailure, 1)
		h.expectDelivery("the next login", request("ada"), login.Pull)
		p.Proof() // a signed call: the token is tried once more
		h.expectDelivery("after a call", request("ada"), login.Push)
		if pushed := h.deliver(); len(pushed) != 1 {
			h.t.Errorf("tried again %d times", len(pushed))
		}
		h.expectDelivery("gone again", request("ada"), login.Pull)
		h.sent.Fail = nil
		p.Proof()
		h.expectDelivery("after another call", request("ada"), login.Push)
		h.deliver()
		if state := p.enrollment().PushState(); state != device.PushOK {
			h.t.Errorf("taken by the service, push is %s", state)
		}
	})
}

func TestDeliver_TriesAgainThePhoneThatFailedAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		good := h.enroll("ada", "a")
		bad := h.enroll("ada", "b")
		h.begin(request("ada"))
		h.sent.Fail = func(to push.Address) error {
			if to == bad.In.Push {
				return errors.New("the service does not answer")
			}
			return nil
		}
		if first := h.deliver(); len(first) != 2 {
			h.t.Fatalf("pushed: %+v", first)
		}
		h.clock.Advance(5 * time.Second)
		for _, d := range h.deliver() {
			if d.Enrollment == good.Enrolled.ID {
				h.t.Error("the phone that has the push got it again")
			}
		}
		h.sent.Fail = nil
		h.clock.Advance(20 * time.Second)
		if again := h.deliver(); len(again) != 1 || again[0].Enrollment != bad.Enrolled.ID {
			h.t.Errorf("when the service answers again: %+v", again)
		}
		h.expectEvents("ada", audit.SendPush, 2)
	})
}

func TestAskInstead_AsksTheNewPhoneInTheOldOnesPlace(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.set("push.budget", "3")
		old := h.enroll("ada", "a")
		named := func(message string) login.Request {
			req := request("ada")
			req.Message = message
			return req
		}
		h.begin(named("decided"))
		must(h.t, old.deny(old.one(), "")) // counts double
		begun := map[string]login.Begun{"pushed": h.begin(named("pushed")), "silent": h.begin(named("silent"))}
		if begun["silent"].Delivery != login.Silent {
			h.t.Fatal("the budget is not used up")
		}
		h.deliver()
		anew := h.enroll("ada", "b")
		h.update(func(tx *storage.Tx) error {
			uid, e, err := device.Find(tx, anew.Enrolled.ID)
			must(h.t, err)
			return h.AskInstead(tx, uid, old.Enrolled.ID, e)
		})
		if n := len(old.pull()); n != 0 {
			h.t.Errorf("the old phone is still asked %d", n)
		}
		pushed := h.deliver()
		if len(pushed) != 1 || pushed[0].Enrollment != anew.Enrolled.ID || pushed[0].BindingMessage != "pushed" {
			h.t.Errorf("pushed: %+v", pushed)
		}
		list := anew.pull()
		if len(list) != 2 {
			h.t.Errorf("the new phone is asked %d", len(list))
		}
		for _, m := range list {
			must(h.t, anew.approve(m, begun[m.BindingMessage].Number))
			_, err := h.collect(begun[m.BindingMessage])
			expect(h.t, m.BindingMessage, err, nil)
		}
	})
}

func TestAskInstead_AsksNoAppThatCannotMatchTheNumber(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		old := h.enroll("ada", "a")
		begun := h.begin(request("ada"))
		m := old.one()
		tap := h.enrollTap("ada", "b")
		h.update(func(tx *storage.Tx) error {
			uid, e, err := device.Find(tx, tap.Enrolled.ID)
			must(h.t, err)
			return h.AskInstead(tx, uid, old.Enrolled.ID, e)
		})
		if n := len(tap.pull()); n != 0 {
			h.t.Errorf("it is asked %d", n)
		}
		expect(h.t, "the old phone", old.approve(m, begun.Number), login.ErrNoLogin)
	})
}

func TestApprovals_ManyWaitersOfOneUserAllEnd(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	var all sync.WaitGroup
	for range 32 {
		w := p.wait(context.Background())
		all.Go(func() { w.expectEnd(1, nil) })
	}
	h.begin(request("ada"))
	all.Wait()
}
