package device_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// addresses is the model of where a phone is reached: what its key has proven, the newest that the token alone has named, and
// what the service has said of each.
type addresses struct {
	proven, unproven modelAddress
	gone             map[string]bool // what the service now says is gone
}

type modelAddress struct {
	token       string
	lost, retry bool
}

func (a *modelAddress) serves() bool { return a.token != "" && (!a.lost || a.retry) }

// named is what a PATCH makes of the addresses. When it changes one, those that were in force are told.
func (m *addresses) named(token string, byToken bool) {
	before := *m
	named := modelAddress{token: token}
	for _, had := range []modelAddress{m.proven, m.unproven} {
		if had.token == token && had.lost {
			named.lost = true
			named.retry = true
		}
	}
	if byToken && token != m.proven.token {
		m.unproven = named
	} else {
		m.proven = named
		m.unproven = modelAddress{}
	}
	if m.proven.token != before.proven.token || m.unproven.token != before.unproven.token {
		m.heard(before.served())
	}
}

// served are the tokens to which messages go.
func (m *addresses) served() (tokens []string) {
	for _, a := range []*modelAddress{&m.proven, &m.unproven} {
		if a.serves() {
			tokens = append(tokens, a.token)
		}
	}
	slices.Sort(tokens)
	return tokens
}

// heard notes what the service said of tokens to which a message went.
func (m *addresses) heard(tokens []string) {
	for _, a := range []*modelAddress{&m.proven, &m.unproven} {
		if slices.Contains(tokens, a.token) {
			a.lost = m.gone[a.token]
			a.retry = false
		}
	}
}

func (m *addresses) retry() {
	m.proven.retry = m.proven.lost
	m.unproven.retry = m.unproven.lost
}

func (m *addresses) state() device.PushState {
	switch {
	case m.proven.token != "" && !m.proven.lost, m.unproven.token != "" && !m.unproven.lost:
		return device.PushOK
	case m.proven.token != "", m.unproven.token != "":
		return device.PushLost
	default:
		return device.PushNone
	}
}

// TestAddresses_AreAsTheModelHasThem takes random steps: changes by the key and by the token, messages, and a service that
// says of some addresses that they are gone, in any order.
func TestAddresses_AreAsTheModelHasThem(t *testing.T) {
	check.WithoutRace(t)
	for _, chaos := range []bool{false, true} {
		t.Run(fmt.Sprint("chaos ", chaos), func(t *testing.T) {
			h := newHouse(t, ground.Options{Chaos: chaos})
			n := 0
			rapid.Check(t, func(r *rapid.T) {
				n++
				id := fmt.Sprint("user ", n)
				l := &addressLife{
					h:     h,
					id:    id,
					p:     h.enroll(id, "a"),
					model: addresses{gone: map[string]bool{}},
				}
				l.model.proven.token = l.p.In.Push.Token
				h.sent.Fail = func(to push.Address) error {
					if l.model.gone[to.Token] {
						return &push.Refusal{Verdict: push.Gone}
					}
					return nil
				}
				r.Repeat(map[string]func(*rapid.T){
					"":              l.check,
					"name by token": func(r *rapid.T) { l.name(r, true) },
					"name by key":   func(r *rapid.T) { l.name(r, false) },
					"send":          l.send,
					"call":          func(*rapid.T) { l.call(false) },
					"gone or back":  l.turn,
				})
			})
		})
	}
}

type addressLife struct {
	h     *house
	id    string
	p     *phone
	model addresses
}

var tokensNamed = []string{"a", "b", "c"}

func (l *addressLife) check(r *rapid.T) {
	e := l.p.Enrollment()
	if e.PushState() != l.model.state() {
		r.Fatalf("push is %s, want %s", e.PushState(), l.model.state())
	}
	for _, route := range e.Routes() {
		want := l.model.proven
		if route.Unproven {
			want = l.model.unproven
		}
		if route.To.Token != want.token || !want.serves() {
			r.Fatalf("goes to %+v, want %+v", route, want)
		}
	}
}

// call is a call by the phone, and returns its proof. One that is signed has lost addresses tried again.
func (l *addressLife) call(byToken bool) device.Proof {
	if byToken {
		proof, err := l.p.CallByToken()
		must(l.h.t, err)
		return proof
	}
	l.model.retry()
	return l.p.Proof()
}

// pass lets time pass, so that what is lost in these lives is no wave.
func (l *addressLife) pass() { l.h.clock.Advance(5 * time.Minute) }

func (l *addressLife) name(r *rapid.T, byToken bool) {
	l.pass()
	token := rapid.SampledFrom(tokensNamed).Draw(r, "token")
	proof := l.call(byToken)
	_, err := l.h.Patch(context.Background(), proof, device.Change{Push: push.Address{Service: push.FCM, Token: token}}, audit.ByUser())
	if errors.Is(err, device.ErrTooOften) {
		l.h.clock.Advance(storage.RetryAfter(err))
		return
	}
	must(l.h.t, err)
	l.model.named(token, byToken)
	l.h.deliver() // the notices of the change, which go to addresses that were in force
}

func (l *addressLife) send(r *rapid.T) {
	l.pass()
	l.h.notify(l.id, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	want := l.model.served()
	l.model.heard(want)
	var got []string
	for _, d := range l.h.deliver() {
		got = append(got, d.To.Token)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.Fatalf("sent to %s, want %s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

// turn has the service say of an address that it is gone, or takes that back.
func (l *addressLife) turn(r *rapid.T) {
	token := rapid.SampledFrom(append([]string{"push of a"}, tokensNamed...)).Draw(r, "token")
	l.model.gone[token] = !l.model.gone[token]
}
