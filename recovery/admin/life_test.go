package admin_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/backup"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/storagetest/check"
)

// TestLife_OfAUserFollowsTheRules lives random lives of a user, with a thief in them who has her password, and a copy of the
// platform's backup as it was some day. Each step is taken in a real house and in the model; then the two are compared. Two
// things hold at all times: nothing of the thief's is ever let in; and whoever has a handle and the code, or password and
// code, or a working phone, gets in at the end. With -rapid.checks=3000 -rapid.steps=60 it lives thousands of longer ones.
func TestLife_OfAUserFollowsTheRules(t *testing.T) {
	check.WithoutRace(t)
	onEveryEngine(t, func(h *house) {
		n := 0
		rapid.Check(h.t, func(r *rapid.T) {
			n++
			newLife(h, fmt.Sprint("user ", n)).live(r)
		})
	})
}

// TestSoakLife lives lives for as long as TUTELA_SOAK says, some hundred in each house.
func TestSoakLife(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("TUTELA_SOAK"))
	if err != nil {
		t.Skip("a long test: run it with TUTELA_SOAK=10m, or make soak")
	}
	for begun := time.Now(); time.Since(begun) < long && !t.Failed(); {
		TestLife_OfAUserFollowsTheRules(t)
	}
}

// live takes random steps, and then sees that she gets in.
func (l *life) live(r *rapid.T) {
	r.Repeat(map[string]func(*rapid.T){
		"":                     l.compare,
		"enrols a phone":       l.enrols,
		"replaces a phone":     l.replaces,
		"answers a login":      l.answers,
		"logs in by code":      l.logsInByCode,
		"guesses at the login": l.guessesAtLogin,
		"a phone calls":        l.calls,
		"leaves by its key":    func(r *rapid.T) { l.leaves(r, false) },
		"leaves by its token":  func(r *rapid.T) { l.leaves(r, true) },
		"turns a handle":       l.turnsHandle,
		"starts a restore":     l.starts,
		"gives the code":       l.givesCode,
		"loses the answer":     l.losesAnswer,
		"vetoes":               l.vetoes,
		"allows":               l.allows,
		"gives up":             l.givesUp,
		"is suspended":         l.suspend,
		"is resumed":           l.resume,
		"is removed":           l.remove,
		"is blocked":           l.block,
		"gets a code":          l.regenerate,
		"is reset":             l.reset,
		"the thief takes":      l.thiefTakes,
		"the thief restores":   l.thiefRestores,
		"the thief patches":    l.thiefPatches,
		"the thief deletes":    l.thiefDeletes,
		"time passes":          l.passes,
	})
	l.h.compareTotals(r)
	l.getsIn(r)
}

// life is one life: the model beside what she, her phones and the thief really hold.
type life struct {
	model
	h       *house
	id      string
	held    map[*modelPhone]*devicetest.Phone
	tried   map[*modelRestore]*attempt
	handles []string // all that platforms have ever carried
	loot    *loot
	n       int
}

var ctx = context.Background()

func newLife(h *house, id string) *life {
	h.t.Helper()
	l := &life{
		h:     h,
		id:    id,
		held:  map[*modelPhone]*devicetest.Phone{},
		tried: map[*modelRestore]*attempt{},
	}
	_, err := h.Admins.AddUser(ctx, user.User{ID: id}, devicetest.Admin)
	must(h.t, err)
	return l
}

// name makes an identifier of its own for each phone.
func (l *life) name(kind string) string {
	l.n++
	return fmt.Sprintf("%s %d of %s", kind, l.n, l.id)
}

// fails ends the life when an error is another than the rules say.
func fails(r *rapid.T, what string, err, want error) {
	if !errors.Is(err, want) {
		r.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// pick draws one of her phones with one of the statuses.
func (l *life) pick(r *rapid.T, statuses ...device.Status) *modelPhone {
	phones := l.with(statuses...)
	if len(phones) == 0 {
		r.Skip("no such phone")
	}
	return rapid.SampledFrom(phones).Draw(r, "phone")
}

// compare compares the house with the model.
func (l *life) compare(r *rapid.T) {
	uid := l.h.UID(l.id)
	l.h.View(func(tx *storage.Tx) error {
		set, err := device.All(tx, uid)
		if err != nil {
			return err
		}
		state, err := set.State(tx, uid)
		if err != nil || state != l.state() {
			r.Fatalf("she is %s, want %s: %v", state, l.state(), err)
		}
		for p, held := range l.held {
			e, err := device.Get(tx, uid, held.Enrolled.ID)
			if err != nil {
				return err
			}
			if is := e.Status; is != l.status(p) {
				r.Fatalf("%s is %s, want %s", held.In.Identifier, is, l.status(p))
			}
		}
		for _, e := range set {
			if !slices.ContainsFunc(l.phones, func(p *modelPhone) bool { return l.held[p].Enrolled.ID == e.ID }) {
				r.Fatalf("an enrollment is nobody's: %s", e.Name)
			}
		}
		has, err := recovery.HasCode(tx, uid)
		if has != (l.code != "") {
			r.Fatalf("has a code: %t", has)
		}
		compareStanding(r, tx, uid)
		return err
	})
	for _, t := range l.tries {
		if a := l.tried[t]; a != nil && l.open(t) {
			l.compareRestore(r, t, a)
		}
	}
}

// enrols enrols another phone by a ticket, and backs it up.
func (l *life) enrols(r *rapid.T) {
	if len(l.with(device.Active, device.Suspended, device.Left)) >= 5 {
		r.Skip("phones enough")
	}
	secret, err := l.h.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: l.id}, AllowMultiple: true}, devicetest.Admin)
	fails(r, "a ticket", err, nil)
	p := l.h.NewPhone(l.name("phone"))
	if l.blocked {
		fails(r, "an enrolment of a blocked user", p.Enroll(secret), device.ErrTicket)
		return
	}
	fails(r, "an enrolment", p.Enroll(secret), nil)
	l.takes(r, l.enrolled(), p)
	l.backsUp(r, l.phones[len(l.phones)-1])
}

// takes notes a phone that has enrolled by a ticket, with the code that came with it.
func (l *life) takes(r *rapid.T, m *modelPhone, p *devicetest.Phone) {
	l.held[m] = p
	if (p.Enrolled.RecoveryCode != "") != (l.code == "") {
		r.Fatalf("the code %q came, she had %q", p.Enrolled.RecoveryCode, l.code)
	}
	if l.code == "" {
		l.issue(p.Enrolled.RecoveryCode)
	}
}

// backsUp makes the first generation of a phone's backup.
func (l *life) backsUp(r *rapid.T, m *modelPhone) {
	p := l.held[m]
	sum := sha256.Sum256([]byte("ciphertext"))
	manifest := p.Sign(map[string]any{
		"iss": p.Enrolled.ID, "generation": 1, "parent": "", "digest": hex.EncodeToString(sum[:]), "size": 10, "items": 5,
		"provider": "server", "automatic_restore": true, "iat": l.h.Clock.Wall().Unix(),
	})
	l.pass(time.Millisecond) // no two backups change at the same time
	l.signs(m)
	stored, err := l.h.Backups.Put(ctx, p.Proof(), backup.PutRequest{
		Manifest:     manifest,
		Body:         []byte("ciphertext"),
		Precondition: backup.Precondition{None: true},
	}, devicetest.ByPhone)
	fails(r, "a backup", err, nil)
	l.begins(m)
	l.turned(m.backup, stored.Handle)
}

func (l *life) turned(b *modelBackup, handle string) {
	l.turn(b, handle)
	l.handles = append(l.handles, handle)
}

// replaces has an admin make a ticket that replaces a phone, by which a new one enrols.
func (l *life) replaces(r *rapid.T) {
	m := l.pick(r, device.Active, device.Suspended, device.Left)
	secret, err := l.h.Admins.NewTicket(ctx, admin.TicketRequest{
		User:     user.User{ID: l.id},
		Replaces: l.held[m].Enrolled.ID,
	}, devicetest.Admin)
	fails(r, "a ticket that replaces", err, nil)
	p := l.h.NewPhone(l.name("phone"))
	if l.blocked {
		fails(r, "an enrolment of a blocked user", p.Enroll(secret), device.ErrTicket)
		return
	}
	fails(r, "an enrolment that replaces", p.Enroll(secret), nil)
	l.close(m.backup)
	now := l.enrolled()
	now.backup = m.backup
	m.backup = nil
	l.set(m, device.Retired)
	l.takes(r, now, p)
}

// answers logs in by a phone, which must work for every phone that is hers to use.
func (l *life) answers(r *rapid.T) {
	m := l.pick(r, device.Active, device.Left)
	l.logsInBy(r, m)
}

func (l *life) logsInBy(r *rapid.T, m *modelPhone) {
	begun, err := l.h.Logins.Begin(ctx, login.Request{
		Client: "bank",
		UserID: l.id,
		Scope:  "openid",
		Life:   time.Minute,
		IP:     "203.0.113.7",
	})
	if l.blocked {
		fails(r, "a login of a blocked user", err, login.ErrBlocked)
		return
	}
	if limited(err) {
		r.Skip("twelve a minute")
	}
	fails(r, "a login", err, nil)
	fails(r, "an answer", l.approve(m, begun), nil)
	_, err = l.h.Logins.Collect(ctx, "bank", begun.ID)
	fails(r, "to collect", err, nil)
}

// approve approves a login on a phone.
func (l *life) approve(m *modelPhone, begun login.Begun) error {
	p := l.held[m]
	l.signs(m)
	proof, err := p.Call()
	if err != nil {
		return err
	}
	list, err := l.h.Logins.Approvals(ctx, proof, nil, 0)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("the phone is not asked")
	}
	asked := list[len(list)-1]
	now := l.h.Clock.Wall().Unix()
	return l.h.Logins.Answer(ctx, asked.TransactionToken, p.Sign(map[string]any{
		"iss": p.In.Identifier, "sub": asked.Challenge, "aud": devicetest.PublicURL + "/appliance-mfa/api/resolve-transaction",
		"iat": now, "exp": now + 30, "auth0_guardian_method": "push", "auth0_guardian_accepted": true, "tutela_number": begun.Number,
	}), devicetest.ByPhone)
}

// logsInByCode logs in by password and code, which must work whatever else has happened, but a block.
func (l *life) logsInByCode(r *rapid.T) {
	if l.code == "" {
		r.Skip("she has no code")
	}
	next, err := l.redeem(l.code)
	if l.blocked {
		fails(r, "a login by code of a blocked user", err, login.ErrBlocked)
		return
	}
	if limited(err) {
		r.Skip("too many in a minute")
	}
	fails(r, "a login by code", err, nil)
	l.issue(next)
}

func (l *life) redeem(code string) (next string, err error) {
	started, err := l.h.Logins.StartMFA(ctx, login.MFAStart{Client: "bank", User: user.User{ID: l.id}})
	if err != nil {
		return "", err
	}
	pass, err := l.h.Logins.ReadMFAToken(started.Token)
	if err != nil {
		return "", err
	}
	got, err := l.h.Logins.RedeemCode(ctx, login.Grant{Client: "bank", Pass: pass, Actor: devicetest.ByPhone}, code)
	return string(got.Next), err
}

// guessesAtLogin tries wrong codes with the password; none is ever taken.
func (l *life) guessesAtLogin(r *rapid.T) {
	for range rapid.IntRange(1, 12).Draw(r, "guesses") {
		if _, err := l.redeem(aWrongCode); err == nil {
			r.Fatal("a wrong code logs in")
		}
	}
}

// calls has a phone make a signed call.
func (l *life) calls(r *rapid.T) {
	m := l.pick(r, device.Active, device.Suspended, device.Left, device.Retired)
	was := l.status(m)
	_, err := l.held[m].Call()
	switch {
	case l.signs(m):
		fails(r, "a call", err, nil)
	case was == device.Suspended:
		fails(r, "a call of a suspended phone", err, device.ErrSuspended)
	default:
		fails(r, "a call of a retired phone", err, device.ErrNoEnrollment)
	}
}

// leaves has a phone delete its enrollment.
func (l *life) leaves(r *rapid.T, byToken bool) {
	m := l.pick(r, device.Active)
	p := l.held[m]
	var proof device.Proof
	var err error
	if byToken {
		proof, err = p.CallByToken()
	} else {
		l.signs(m)
		proof, err = p.Call()
	}
	fails(r, "a call", err, nil)
	err = l.h.Devices.Leave(ctx, proof, devicetest.ByPhone)
	if byToken && errors.Is(err, device.ErrUnsigned) {
		return // its token has done so before
	}
	fails(r, "to leave", err, nil)
	if byToken {
		l.set(m, device.Left)
		return
	}
	l.set(m, device.Retired)
}

// turnsHandle has a phone ask for a new restore handle. The one before stays in last night's platform backup.
func (l *life) turnsHandle(r *rapid.T) {
	m := l.pick(r, device.Active)
	if m.backup == nil {
		r.Skip("it has no backup")
	}
	l.signs(m)
	handle, err := l.h.Backups.NewHandle(ctx, l.held[m].Proof(), false, devicetest.ByPhone)
	if errors.Is(err, device.ErrTooOften) {
		r.Skip("six an hour")
	}
	fails(r, "a new handle", err, nil)
	l.turned(m.backup, handle)
}

func (l *life) suspend(r *rapid.T) {
	m := l.pick(r, device.Active, device.Left)
	fails(r, "to suspend", l.h.Admins.Suspend(ctx, l.held[m].Enrolled.ID, devicetest.Admin), nil)
	l.set(m, device.Suspended)
}

func (l *life) resume(r *rapid.T) {
	m := l.pick(r, device.Suspended)
	fails(r, "to resume", l.h.Admins.Resume(ctx, l.held[m].Enrolled.ID, devicetest.Admin), nil)
	l.set(m, device.Active)
}

// remove has an admin remove a phone; the last one takes the whole of her MFA with it.
func (l *life) remove(r *rapid.T) {
	m := l.pick(r, device.Active, device.Suspended, device.Left)
	last := len(l.with(device.Active, device.Suspended, device.Left)) == 1
	fails(r, "to remove", l.h.Admins.RemoveEnrollment(ctx, l.held[m].Enrolled.ID, devicetest.Admin), nil)
	if last {
		l.forget()
		return
	}
	l.set(m, device.Retired)
}

func (l *life) block(r *rapid.T) {
	l.blocked = rapid.Bool().Draw(r, "blocked")
	l.h.SetBlocked(l.id, l.blocked)
}

// regenerate has an admin issue a code.
func (l *life) regenerate(r *rapid.T) {
	if l.state() == user.New {
		r.Skip("she has nothing to recover")
	}
	code, err := l.h.Admins.Regenerate(ctx, l.id, devicetest.Admin)
	fails(r, "a code by an admin", err, nil)
	l.issue(string(code))
	next, err := l.redeem(string(code)) // which counts for a day: she uses it at once
	if err != nil {
		l.blockedOrBusy(r, err)
		return
	}
	l.issue(next)
}

// blockedOrBusy ends the life unless a login could not begin for a reason that the rules have.
func (l *life) blockedOrBusy(r *rapid.T, err error) {
	expected := l.blocked && errors.Is(err, login.ErrBlocked) || limited(err)
	if !expected {
		r.Fatal(err)
	}
	// The code that the admin has seen would end by itself: an enrolment would then bring another. Start over instead.
	l.reset(r)
}

func (l *life) reset(*rapid.T) {
	l.h.Reset(l.id)
	l.forget()
}

// forget has the model forget her MFA.
func (l *life) forget() {
	l.model.reset()
	clear(l.held)
	clear(l.tried)
}

func (l *life) passes(r *rapid.T) {
	l.pass(rapid.SampledFrom([]time.Duration{
		time.Second, 59 * time.Second, time.Minute, 9 * time.Minute, 16 * time.Minute, time.Hour, 25 * time.Hour, 8 * day, 31 * day,
	}).Draw(r, "time"))
}

func (l *life) pass(d time.Duration) {
	l.now += d
	l.h.Clock.Advance(d)
}

// getsIn ends a life: whatever has happened, she gets in by each way for which she has what it takes. Two minutes pass, so that
// no limit of a minute is in the way.
func (l *life) getsIn(r *rapid.T) {
	l.pass(2 * time.Minute)
	if l.blocked {
		l.blocked = false
		l.h.SetBlocked(l.id, false)
	}
	for _, m := range l.with(device.Active, device.Left) {
		l.logsInBy(r, m)
	}
	if l.code != "" {
		next, err := l.redeem(l.code)
		fails(r, "at the end, a login by code", err, nil)
		l.issue(next)
	}
	for _, b := range slices.Clone(l.backups) {
		l.comesBack(r, b)
	}
}

// aWrongCode has the form of a code, and is nobody's.
const aWrongCode = "0123456789ABCDEFGHJKMNPV"

// limited reports whether an error says that there were too many of something, and when to come again.
func limited(err error) bool { return storage.RetryAfter(err) > 0 }
