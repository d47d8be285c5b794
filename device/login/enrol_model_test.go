package login_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// What must hold of enrolment tokens, whatever happens: one enrols while it is young, unused and stands on its proof, and else never;
// and the owner who has nothing but her recovery code always gets one.

// enrolling is what ought to be, beside a house.
type enrolling struct {
	h       *house
	code    string // her recovery code
	codes   int    // how often it was replaced
	phones  []*ownPhone
	tokens  []*ownToken
	blocked bool
	made    int // phones, for their names
}

type ownPhone struct {
	*phone
	active bool
}

type ownToken struct {
	pass   login.Pass
	until  time.Time
	by     *ownPhone // nil: the recovery code
	codes  int       // with that, as it was replaced then
	offer  *login.Associated
	closed bool // another association was confirmed since
	used   bool
}

// stands reports whether a token lets anything.
func (e *enrolling) stands(t *ownToken) bool {
	proof := t.codes == e.codes
	if t.by != nil {
		proof = t.by.active
	}
	return e.h.store.Now().Before(t.until) && proof && !e.blocked
}

func (e *enrolling) start() login.Grant {
	g := e.h.by("bank", e.h.startMFA("ada").Token)
	g.Enrols = true
	return g
}

func (e *enrolling) add(g login.Grant, o login.Outcome, by *ownPhone) {
	g.Pass.Enrols = true
	e.tokens = append(e.tokens, &ownToken{
		pass:  g.Pass,
		until: o.EnrolUntil,
		by:    by,
		codes: e.codes,
	})
}

// byCode is the way of an owner who has lost everything else.
func (e *enrolling) byCode(r *rapid.T) {
	if e.blocked {
		r.Skip("she is blocked")
	}
	g := e.start()
	o, err := e.h.RedeemCode(context.Background(), g, e.code)
	if err != nil || !o.EnrolUntil.Equal(e.h.store.Now().Add(20*time.Minute)) {
		r.Fatalf("she is not let in by her code: %v, until %v", err, o.EnrolUntil)
	}
	e.code = string(o.Next)
	e.codes++
	e.add(g, o.Outcome, nil)
}

func (e *enrolling) byNumber(r *rapid.T) {
	p := e.pick(r, true)
	if e.blocked || p == nil {
		r.Skip("no phone answers")
	}
	g := e.start()
	asked, err := e.h.Challenge(context.Background(), login.Challenge{
		Pass:     g.Pass,
		Push:     true,
		ToEnroll: true,
		Only:     p.Enrolled.ID,
	})
	if errors.Is(err, login.ErrTooMany) {
		r.Skip("too many in a minute")
	}
	must(e.h.t, err)
	for _, m := range p.pull() {
		if m.BindingMessage != "" {
			_ = p.approve(m, asked.Number) // others of hers may wait, with other numbers
		}
	}
	o, err := e.h.RedeemOOB(context.Background(), g, asked.ID)
	if err == nil {
		e.add(g, o, p)
	}
}

// pick draws one of her phones; nil when there is none.
func (e *enrolling) pick(r *rapid.T, active bool) *ownPhone {
	var list []*ownPhone
	for _, p := range e.phones {
		if p.active == active {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return rapid.SampledFrom(list).Draw(r, "phone")
}

func (e *enrolling) token(r *rapid.T) *ownToken {
	if len(e.tokens) == 0 {
		r.Skip("no token yet")
	}
	return rapid.SampledFrom(e.tokens).Draw(r, "token")
}

func (e *enrolling) associate(r *rapid.T) {
	t := e.token(r)
	a := login.Association{Pass: t.pass, Type: device.TypePush, Actor: audit.ByUser()}
	if p := e.pick(r, true); p != nil && rapid.Bool().Draw(r, "replaces") {
		a.Replaces = p.Enrolled.ID
	}
	made, err := e.h.Associate(context.Background(), a)
	if may := e.stands(t) && !t.used; may != (err == nil) {
		r.Fatalf("associate: %v, though may is %t", err, may)
	}
	if err == nil {
		t.offer = &made
		t.closed = false
	}
}

func (e *enrolling) enrol(r *rapid.T) {
	t := e.token(r)
	if t.offer == nil {
		r.Skip("nothing is associated")
	}
	e.made++
	p := &ownPhone{&phone{e.h.home.NewPhoneWith(string(rune('a'+e.made%26))+time.Duration(e.made).String(), devicetest.NewEd25519(e.h.t)), e.h}, true}
	p.In.Capabilities = []string{device.NumberMatching}
	err := p.Enroll(e.h.home.Param(t.offer.URI, "enrollment_tx_id"))
	if may := e.stands(t) && !t.used && !t.closed; may != (err == nil) {
		if err != nil && e.gone(t) {
			return // the phone that it was to replace is gone
		}
		r.Fatalf("enrol: %v, though may is %t", err, may)
	}
	if err != nil {
		return
	}
	t.used = true
	e.phones = append(e.phones, p)
	if t.offer.Code != "" {
		e.code = string(t.offer.Code)
		e.codes++
	}
	for _, other := range e.tokens {
		if other != t && !other.used {
			other.closed = true
		}
	}
	e.look()
}

// gone reports whether what a token's offer was to replace may be retired: then a fresh association names another.
func (e *enrolling) gone(t *ownToken) bool {
	for _, p := range e.phones {
		if !p.active {
			return e.stands(t)
		}
	}
	return false
}

// look reads which of her phones still answer.
func (e *enrolling) look() {
	for _, p := range e.phones {
		p.active = p.Enrollment().Answers()
	}
}

func (e *enrolling) remove(r *rapid.T) {
	t := e.token(r)
	p := e.pick(r, true)
	if p == nil {
		r.Skip("no phone")
	}
	stood := e.stands(t)
	err := e.h.RemoveAuthenticator(context.Background(), t.pass, p.Enrolled.ID, audit.ByUser())
	if stood != (err == nil) {
		r.Fatalf("remove: %v, though the token stands: %t", err, stood)
	}
	e.look()
}

func (e *enrolling) suspend(r *rapid.T) {
	if p := e.pick(r, true); p != nil {
		must(e.h.t, e.h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, devicetest.Admin))
		e.look()
	}
}

func (e *enrolling) block(*rapid.T) {
	e.blocked = !e.blocked
	e.h.block("ada", e.blocked)
}

func (e *enrolling) wait(r *rapid.T) {
	e.h.clock.Advance(time.Duration(rapid.IntRange(1, 22).Draw(r, "minutes")) * time.Minute)
}

func TestEnrolmentToken_Model(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := newHouse(t, ground.Options{})
		first := &ownPhone{h.enroll("ada", "first"), true}
		e := &enrolling{h: h, code: first.Enrolled.RecoveryCode, phones: []*ownPhone{first}}
		r.Repeat(map[string]func(*rapid.T){
			"by code":   e.byCode,
			"by number": e.byNumber,
			"associate": e.associate,
			"enrol":     e.enrol,
			"remove":    e.remove,
			"suspend":   e.suspend,
			"block":     e.block,
			"wait":      e.wait,
		})
	})
}
