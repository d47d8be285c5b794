package login_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// approved begins a login that is approved at once.
func (p *phone) approved() login.Begun {
	p.h.t.Helper()
	begun := p.h.begin(request(p.Enrolled.UserID))
	must(p.h.t, p.approve(p.one(), begun.Number))
	return begun
}

func TestCollect_HandsTheOutcomeOutOnceToItsClient(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := p.approved()
		_, err := h.Collect(context.Background(), "another client", begun.ID)
		expect(h.t, "another client", err, login.ErrGrant)
		o, err := h.collect(begun)
		must(h.t, err)
		if o.Login.Scope != "openid" || o.Login.By != p.Enrolled.ID || o.Login.Message != "pay 5" {
			h.t.Errorf("%+v", o)
		}
		_, err = h.collect(begun)
		expect(h.t, "once more", err, login.ErrGrant)
		h.view(func(tx *storage.Tx) error {
			u, err := user.Find(tx, "ada")
			must(h.t, err)
			if u.Logins != 1 || !u.LastLogin.Equal(h.store.Now()) {
				h.t.Errorf("%d logins, the last at %v", u.Logins, u.LastLogin)
			}
			return nil
		})
	})
}

func TestCollect_KnowsOnlyIdsOfItsOwnMake(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := p.approved()
		mfa := h.startMFA("ada")
		for name, id := range map[string]string{
			"nothing": "", "a word": "x", "cut off": begun.ID[:len(begun.ID)-1], "longer": begun.ID + "A", "a changed MAC": changed(begun.ID, len(begun.ID)-4),
			"without its prefix": strings.TrimPrefix(begun.ID, "arq_"), "as a transaction's": "txn_" + strings.TrimPrefix(begun.ID, "arq_"),
			"an mfa_token": mfa.Token,
		} {
			_, err := h.Collect(context.Background(), "bank", id)
			expect(h.t, name, err, login.ErrGrant)
		}
		if _, err := h.collect(begun); err != nil {
			h.t.Error(err)
		}
	})
}

func TestCollect_DecidedInTimeCanBeCollectedUntil60SecondsAfterItsExpiry(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for wait, want := range map[time.Duration]error{3*time.Minute - time.Nanosecond: nil, 3 * time.Minute: login.ErrExpired} {
			begun := p.approved()
			h.clock.Advance(wait)
			_, err := h.collect(begun)
			expect(h.t, wait.String(), err, want)
		}
		denied := h.begin(request("ada"))
		must(h.t, p.deny(p.one(), ""))
		h.clock.Advance(3*time.Minute - time.Nanosecond)
		_, err := h.collect(denied)
		expect(h.t, "a denial", err, login.ErrDenied)
		undecided := h.begin(request("ada"))
		h.clock.Advance(2 * time.Minute)
		_, err = h.collect(undecided)
		expect(h.t, "undecided at its expiry", err, login.ErrExpired)
	})
}

func TestCollect_OfALoginWithoutARowIsExpired(t *testing.T) {
	for name, end := range map[string]func(h *house){
		"swept": func(h *house) {
			h.clock.Advance(time.Hour)
			_, err := h.store.Sweep(context.Background())
			must(h.t, err)
		},
		"past its expiry and not swept": func(h *house) { h.clock.Advance(time.Hour) },
		"reset":                         func(h *house) { h.reset("ada") },
		"deleted": func(h *house) {
			must(h.t, h.home.Admins.Delete(context.Background(), "ada", audit.ByOperator(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				begun := h.enroll("ada", "a").approved()
				end(h)
				_, err := h.collect(begun)
				expect(h.t, name, err, login.ErrExpired)
			})
		})
	}
}

func TestCollect_NothingIsCollectedForABlockedUser(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		begun := h.enroll("ada", "a").approved()
		h.block("ada", true)
		_, err := h.collect(begun)
		expect(h.t, "blocked", err, login.ErrBlocked)
		h.block("ada", false)
		if _, err := h.collect(begun); err != nil {
			h.t.Errorf("no longer blocked: %v", err)
		}
	})
}

func TestCollect_64AtOnceCollectOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		begun := h.enroll("ada", "a").approved()
		var mu sync.Mutex
		collected := 0
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				_, err := h.collect(begun)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					collected++
				} else if !errors.Is(err, login.ErrGrant) {
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		if collected != 1 {
			h.t.Errorf("collected %d times", collected)
		}
	})
}

// held is a token request that waits.
type held struct {
	h      *house
	done   chan struct{}
	answer []byte
	err    error
}

func (h *house) hold(ctx context.Context, begun login.Begun) *held {
	w := &held{h: h, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.answer, w.err = h.Exchange(ctx, login.Exchange{
			Client:  "bank",
			ID:      begun.ID,
			Wait:    time.Minute,
			IsThere: func() bool { return true },
			Answer:  func(o login.Outcome) ([]byte, error) { return []byte(storage.NewID(o.UserID+" ", 16)), nil },
		})
	}()
	return w
}

func (w *held) expectEnd(want error) {
	w.h.t.Helper()
	select {
	case <-w.done:
	case <-time.After(10 * time.Second):
		w.h.t.Fatal("the request is still held")
	}
	expect(w.h.t, "the request that was held", w.err, want)
}

func TestExchange_WaitEndsWhenSomethingIsDecided(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(h *house, p *phone, begun login.Begun)
		want    error
	}{
		"approved": {func(h *house, p *phone, begun login.Begun) { must(h.t, p.approve(p.one(), begun.Number)) }, nil},
		"denied":   {func(h *house, p *phone, _ login.Begun) { must(h.t, p.deny(p.one(), "")) }, login.ErrDenied},
		"a wrong number": {func(h *house, p *phone, begun login.Begun) {
			expect(h.t, "answer", p.approve(p.one(), other(begun.Number)), login.ErrNumber)
		}, login.ErrDenied},
		"reset":   {func(h *house, _ *phone, _ login.Begun) { h.reset("ada") }, login.ErrExpired},
		"blocked": {func(h *house, _ *phone, _ login.Begun) { h.block("ada", true) }, login.ErrBlocked},
		"deleted": {func(h *house, _ *phone, _ login.Begun) {
			must(h.t, h.home.Admins.Delete(context.Background(), "ada", audit.ByOperator(0)))
		}, login.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				begun := h.begin(request("ada"))
				w := h.hold(context.Background(), begun)
				c.happens(h, p, begun)
				w.expectEnd(c.want)
			})
		})
	}
}

func TestExchange_WaitGoesOnThroughWakesThatDecideNothing(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	begun := h.begin(request("ada"))
	m := p.one()
	w := h.hold(context.Background(), begun)
	second := h.enroll("ada", "b")
	must(t, h.devices.Leave(context.Background(), second.Proof(), audit.ByUser()))
	select {
	case <-w.done:
		t.Errorf("the request ended with %v", w.err)
	default:
	}
	must(t, p.approve(m, begun.Number))
	w.expectEnd(nil)
}

func TestExchange_WaitEndsAtShutdownUndecided(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.enroll("ada", "a")
	begun := h.begin(request("ada"))
	ctx, cancel := context.WithCancel(context.Background())
	w := h.hold(ctx, begun)
	cancel()
	w.expectEnd(login.ErrUndecided)
}

func TestExchange_TwoHeldRequestsGetOneAnswer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := h.begin(request("ada"))
		one := h.hold(context.Background(), begun)
		two := h.hold(context.Background(), begun)
		must(h.t, p.approve(p.one(), begun.Number))
		<-one.done
		<-two.done
		if one.err != nil || two.err != nil || len(one.answer) == 0 || !bytes.Equal(one.answer, two.answer) {
			h.t.Errorf("one got %s, %v, the other %s, %v", one.answer, one.err, two.answer, two.err)
		}
		_, err := h.collect(begun)
		expect(h.t, "a poll afterwards", err, login.ErrGrant)
	})
}

func TestCollect_SurvivesARestart(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		begun := h.enroll("ada", "a").approved()
		h.restart()
		if _, err := h.collect(begun); err != nil {
			h.t.Error(err)
		}
		h.restart()
		_, err := h.collect(begun)
		expect(h.t, "once more, after another restart", err, login.ErrGrant)
	})
}

// changed is an id with another character at a place, whatever was there.
func changed(id string, at int) string {
	other := "A"
	if id[at] == 'A' {
		other = "B"
	}
	return id[:at] + other + id[at+1:]
}
