package login_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// life is a user's life as the protocol has it, beside the house that keeps it: every step is taken in both, and what the
// house answers is compared with what the model expects.
type life struct {
	h        *house
	id       string
	phones   []*modelPhone
	code     string // the one that counts; empty: none
	issued   bool   // since the last reset
	failed   int    // wrong codes in a row, on the login channel
	waitTil  time.Duration
	began    []time.Duration // of the requests of the last minute from networks that are not hers
	beganOwn []time.Duration // and from the one that is
	asked    int             // how often
	pending  []*modelLogin
	shared   modelBucket
	own      *modelBucket // of the network that all logins come from; nil: no success from there yet
	ownTil   time.Duration
	muted    time.Duration
	now      time.Duration
}

// modelBucket holds pushes that are out, and when the next one comes back.
type modelBucket struct {
	out   int
	waits int // how many came back since the last success
	next  time.Duration
}

func (b *modelBucket) at(now time.Duration) *modelBucket {
	for b.out > 0 && b.next <= now {
		b.out--
		b.waits++
		b.next += b.wait()
	}
	return b
}

func (b *modelBucket) wait() time.Duration {
	return []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, 24 * time.Hour}[min(b.waits, 6)]
}

func (b *modelBucket) take(now time.Duration) {
	if b.out == 0 {
		b.next = now + b.wait()
	}
	b.out = min(b.out+1, 10)
}

// bucket is the one that the next push is taken from.
func (l *life) bucket() *modelBucket {
	if l.own != nil && l.now < l.ownTil {
		return l.own.at(l.now)
	}
	return l.shared.at(l.now)
}

type modelPhone struct {
	*phone
	status device.Status
	left   time.Duration
	spent  bool // its first device token deletes nothing any more
}

// answers reports whether the phone satisfies logins: it is active, or its token has deleted it within seven days.
func (p *modelPhone) answers(now time.Duration) bool {
	return p.status == device.Active || p.status == device.Left && now < p.left+7*24*time.Hour
}

type modelLogin struct {
	login.Begun
	message string // tells it apart in the phones' lists
	asked   []*modelPhone
	until   time.Duration
}

// TestUser_LivesAsTheModelDoes takes random steps through a user's life.
func TestUser_LivesAsTheModelDoes(t *testing.T) {
	check.WithoutRace(t)
	for _, chaos := range []bool{false, true} {
		t.Run(fmt.Sprint("chaos ", chaos), func(t *testing.T) {
			h := newHouse(t, ground.Options{Chaos: chaos})
			n := 0
			rapid.Check(t, func(r *rapid.T) {
				n++
				l := &life{h: h, id: fmt.Sprint("user ", n)}
				_, err := h.home.Admins.AddUser(context.Background(), user.User{ID: l.id}, audit.ByUser())
				must(t, err)
				r.Repeat(map[string]func(*rapid.T){
					"":               l.check,
					"enrol":          l.enrol,
					"begin":          l.begin,
					"approve":        func(r *rapid.T) { l.answer(r, "approve") },
					"wrong number":   func(r *rapid.T) { l.answer(r, "wrong") },
					"deny":           func(r *rapid.T) { l.answer(r, "deny") },
					"not me":         func(r *rapid.T) { l.answer(r, "not_me") },
					"right code":     func(r *rapid.T) { l.redeem(r, true) },
					"wrong code":     func(r *rapid.T) { l.redeem(r, false) },
					"leave":          func(r *rapid.T) { l.leave(r, false) },
					"leave by token": func(r *rapid.T) { l.leave(r, true) },
					"call":           l.call,
					"suspend":        l.suspend,
					"resume":         l.resume,
					"reset":          l.reset,
					"time passes":    l.passTime,
				})
			})
		})
	}
}

// state is the rule of the MFA state.
func (l *life) state() user.State {
	switch {
	case slices.ContainsFunc(l.phones, func(p *modelPhone) bool { return p.answers(l.now) }):
		return user.Enrolled
	case len(l.phones) == 0 && !l.issued:
		return user.New
	default:
		return user.RecoveryOnly
	}
}

func (l *life) check(r *rapid.T) {
	l.h.view(func(tx *storage.Tx) error {
		uid := l.h.uidIn(tx, l.id)
		state, err := device.State(tx, uid)
		if err != nil || state != l.state() {
			r.Fatalf("the state is %s, want %s: %v", state, l.state(), err)
		}
		has, err := recovery.HasCode(tx, uid)
		if err != nil || has != (l.code != "") {
			r.Fatalf("has a code: %t, %v", has, err)
		}
		blocks, err := recovery.Blocks(tx, uid)
		wait := time.Duration(0)
		for _, b := range blocks {
			wait = b.Until.Sub(tx.Now())
		}
		if err != nil {
			return err
		}
		if wait != max(l.waitTil-l.now, 0) {
			r.Fatalf("after %d wrong codes the wait is %v, want %v", l.failed, wait, l.waitTil-l.now)
		}
		return nil
	})
	for _, p := range l.phones {
		if p.status != device.Active {
			continue
		}
		want := 0
		for _, b := range l.pending {
			if slices.Contains(b.asked, p) && l.now < b.until {
				want++
			}
		}
		if got := len(p.pull()); got != want {
			r.Fatalf("a phone is asked %d approvals, want %d", got, want)
		}
	}
}

func (l *life) enrol(r *rapid.T) {
	identifier := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "identifier")
	p := l.h.enroll(l.id, identifier)
	for _, other := range l.phones {
		if other.In.Identifier == identifier && other.status != device.Retired {
			other.status = device.Retired
		}
	}
	if (p.Enrolled.RecoveryCode != "") != (l.code == "") {
		r.Fatalf("got the code %q, had %q", p.Enrolled.RecoveryCode, l.code)
	}
	if l.code == "" {
		l.code = p.Enrolled.RecoveryCode
		l.issued = true
	}
	l.phones = append(l.phones, &modelPhone{phone: p, status: device.Active})
}

// admit reports whether one more request fits into the minute, and counts it where it counts.
func (l *life) admit() bool {
	began := &l.began
	if l.now < l.ownTil {
		began = &l.beganOwn
	}
	*began = slices.DeleteFunc(*began, func(at time.Duration) bool { return l.now-at >= time.Minute })
	if len(*began) >= login.PushesPerMinute {
		return false
	}
	*began = append(*began, l.now)
	return true
}

func (l *life) begin(r *rapid.T) {
	req := request(l.id)
	l.asked++
	req.Message = fmt.Sprint("login ", l.asked)
	b, err := l.h.Begin(context.Background(), req)
	switch state := l.state(); {
	case state == user.New:
		expectIn(r, err, login.ErrUnknownUser)
		return
	case state == user.RecoveryOnly:
		expectIn(r, err, login.ErrRecovery)
		return
	case !l.admit():
		expectIn(r, err, login.ErrTooMany)
		return
	}
	expectIn(r, err, nil)
	want := login.Push
	bucket := l.bucket()
	if bucket.out >= 5 || l.now < l.muted {
		want = login.Silent
	} else {
		bucket.take(l.now)
	}
	if b.Delivery != want {
		r.Fatalf("delivery is %s, want %s: %+v, muted until %v", b.Delivery, want, bucket, l.muted)
	}
	m := &modelLogin{Begun: b, message: req.Message, until: l.now + req.Life}
	for _, p := range l.phones {
		if p.answers(l.now) {
			m.asked = append(m.asked, p)
		}
	}
	l.pending = append(l.pending, m)
}

func expectIn(r *rapid.T, err, want error) {
	if !errors.Is(err, want) {
		r.Fatalf("got %v, want %v", err, want)
	}
}

// answer answers the oldest login that a phone is asked. One that has left comes back by it.
func (l *life) answer(r *rapid.T, how string) {
	for i, b := range l.pending {
		for _, p := range b.asked {
			if !p.answers(l.now) || l.now >= b.until {
				continue
			}
			p.status = device.Active
			l.pending = slices.Delete(l.pending, i, i+1)
			l.decide(r, b, p, how)
			return
		}
	}
	r.Skip("nobody is asked")
}

func (l *life) decide(r *rapid.T, b *modelLogin, p *modelPhone, how string) {
	var m push.Message
	for _, asked := range p.pull() {
		if asked.BindingMessage == b.message {
			m = asked
		}
	}
	var err, collected error
	switch how {
	case "approve":
		err = p.approve(m, b.Number)
		if bucket := l.bucket(); bucket == &l.shared && b.Delivery != login.Silent {
			bucket.out = max(bucket.out-1, 0)
		}
		l.own = &modelBucket{}
		l.ownTil = l.now + 30*24*time.Hour
		l.failed = 0
		l.waitTil = 0
	case "wrong":
		if err = p.approve(m, other(b.Number)); errors.Is(err, login.ErrNumber) {
			err = nil
		}
		collected = login.ErrDenied
		l.bucket().take(l.now)
	default:
		err = p.deny(m, how)
		collected = login.ErrDenied
		l.bucket().take(l.now)
		if how == "not_me" {
			l.muted = l.now + time.Hour
		}
	}
	expectIn(r, err, nil)
	_, err = l.h.collect(b.Begun)
	expectIn(r, err, collected)
}

func (l *life) redeem(r *rapid.T, right bool) {
	started, err := l.h.StartMFA(context.Background(), login.MFAStart{Client: "bank", User: user.User{ID: l.id}})
	expectIn(r, err, nil)
	if started.State != l.state() || started.Codes != (l.code != "") {
		r.Fatalf("started: %+v", started)
	}
	typed := wrongCode
	if right && l.code != "" {
		typed = l.code
	}
	o, err := l.h.redeem(started.Token, typed)
	switch {
	case l.now < l.waitTil && typed != l.code:
		expectIn(r, err, recovery.ErrLimited)
	case typed == l.code:
		expectIn(r, err, nil)
		l.code = string(o.Next)
		l.failed = 0
		l.waitTil = 0
		l.shared = modelBucket{}
		if l.own != nil {
			l.own = &modelBucket{}
		}
	default:
		expectIn(r, err, recovery.ErrWrongCode)
		if l.failed++; l.failed >= 10 {
			l.waitTil = l.now + min(30*time.Second<<(l.failed-10), time.Hour)
		}
	}
}

// one draws a phone that is in one of the statuses.
func (l *life) one(r *rapid.T, statuses ...device.Status) *modelPhone {
	var fit []*modelPhone
	for _, p := range l.phones {
		if slices.Contains(statuses, p.status) {
			fit = append(fit, p)
		}
	}
	if len(fit) == 0 {
		r.Skip("no such phone")
	}
	return rapid.SampledFrom(fit).Draw(r, "phone")
}

func (l *life) leave(r *rapid.T, byToken bool) {
	p := l.one(r, device.Active)
	if !byToken {
		expectIn(r, l.h.devices.Leave(context.Background(), p.Proof(), audit.ByUser()), nil)
		p.status = device.Retired
		return
	}
	proof, err := l.h.devices.Prove(context.Background(), p.Enrolled.ID, p.Enrolled.Token, false)
	expectIn(r, err, nil)
	err = l.h.devices.Leave(context.Background(), proof, audit.ByUser())
	if p.spent {
		expectIn(r, err, device.ErrUnsigned)
		return
	}
	expectIn(r, err, nil)
	p.status = device.Left
	p.left = l.now
	p.spent = true
}

// call is a signed call of any phone that there ever was since the last reset.
func (l *life) call(r *rapid.T) {
	p := l.one(r, device.Active, device.Left, device.Retired, device.Suspended)
	now := l.h.clock.Wall().Unix()
	_, err := l.h.devices.Prove(context.Background(), p.Enrolled.ID, p.Sign(map[string]any{
		"iss": p.Enrolled.ID, "sub": l.id, "aud": publicURL + "/api/device-accounts", "iat": now, "exp": now + 60,
	}), true)
	switch {
	case p.status == device.Suspended:
		expectIn(r, err, device.ErrSuspended)
	case p.answers(l.now):
		expectIn(r, err, nil)
		p.status = device.Active
	default:
		expectIn(r, err, device.ErrNoEnrollment)
	}
}

func (l *life) suspend(r *rapid.T) {
	p := l.one(r, device.Active, device.Left)
	err := l.h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0))
	if !p.answers(l.now) {
		expectIn(r, err, device.ErrNoEnrollment)
		return
	}
	expectIn(r, err, nil)
	p.status = device.Suspended
}

func (l *life) resume(r *rapid.T) {
	p := l.one(r, device.Suspended)
	expectIn(r, l.h.home.Admins.Resume(context.Background(), p.Enrolled.ID, audit.ByOperator(0)), nil)
	p.status = device.Active
	p.spent = true
}

func (l *life) reset(r *rapid.T) {
	l.h.reset(l.id)
	for _, b := range l.pending {
		_, err := l.h.collect(b.Begun)
		expectIn(r, err, login.ErrExpired)
	}
	*l = life{h: l.h, id: l.id, now: l.now}
}

func (l *life) passTime(r *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Second, 30 * time.Second, time.Minute, time.Hour, 25 * time.Hour, 8 * 24 * time.Hour}).Draw(r, "time")
	l.h.clock.Advance(d)
	l.now += d
}
