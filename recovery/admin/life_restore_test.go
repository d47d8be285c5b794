package admin_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"pgregory.net/rapid"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/storage"
)

// The restores of a user's life: her own, and the words of her phones about each.

// attempt is a restore as its new installation holds it.
type attempt struct {
	*restore.Started
	phone   *devicetest.Phone
	outcome *restore.Outcome // of the one that is done
	code    string           // that did it
	done    time.Duration
}

// pickOpen draws one of the restores that are open.
func (l *life) pickOpen(r *rapid.T) *modelRestore {
	open := slices.DeleteFunc(slices.Clone(l.tries), func(t *modelRestore) bool { return !l.open(t) || l.tried[t] == nil })
	if len(open) == 0 {
		r.Skip("no restore is open")
	}
	return rapid.SampledFrom(open).Draw(r, "restore")
}

func (l *life) compareRestore(r *rapid.T, t *modelRestore, a *attempt) {
	is, err := l.h.Restores.State(ctx, a.ID, a.Token, "", devicetest.ByPhone)
	fails(r, "the state of a restore", err, nil)
	step, reason := l.decide(t)
	if is.Step != step || is.Reason != reason {
		r.Fatalf("the decision is %s (%s), want %s (%s)", is.Step, is.Reason, step, reason)
	}
	if reason == restore.OldDeviceAsked {
		if left := is.WaitUntil.Sub(l.h.Store.Now()); left != l.waits(t)-l.now {
			r.Fatalf("it waits for %v, want %v", left, l.waits(t)-l.now)
		}
	}
}

// starts starts a restore on a new phone, under any handle that a platform has ever carried.
func (l *life) starts(r *rapid.T) {
	if len(l.handles) == 0 {
		r.Skip("nothing was backed up")
	}
	l.startUnder(r, rapid.SampledFrom(l.handles).Draw(r, "handle"), l.h.NewPhone(l.name("new phone")))
}

// startUnder starts a restore, in the house and in the model.
func (l *life) startUnder(r *rapid.T, handle string, p *devicetest.Phone) *modelRestore {
	sum := sha256.Sum256([]byte(handle))
	started, err := l.h.Restores.Start(ctx, restore.StartRequest{
		Handle:       handle,
		Installation: p.In,
		Proof:        p.Sign(map[string]any{"handle": hex.EncodeToString(sum[:]), "iat": l.h.Clock.Wall().Unix()}),
		Address:      "192.0.2.1",
	}, devicetest.ByPhone)
	fails(r, "to start a restore", err, nil)
	t := l.begin(handle)
	if step, reason := l.decide(t); started.Step != step || started.Reason != reason {
		r.Fatalf("it starts with %s (%s), want %s (%s)", started.Step, started.Reason, step, reason)
	}
	l.tried[t] = &attempt{Started: started, phone: p}
	return t
}

// givesCode gives a code to a restore: the right one, or a wrong one.
func (l *life) givesCode(r *rapid.T) {
	t := l.pickOpen(r)
	if rapid.Bool().Draw(r, "right") && l.code != "" {
		l.restores(r, t)
		return
	}
	l.guesses(r, t)
}

// guesses tries a wrong code in a restore. It is never taken, and nothing tells more of it than that it is wrong.
func (l *life) guesses(r *rapid.T, t *modelRestore) {
	a := l.tried[t]
	_, err := l.h.Restores.RestoreWithCode(ctx, a.ID, a.Token, aWrongCode, devicetest.ByPhone)
	if step, reason := l.decide(t); step != restore.StepRecoveryCode || reason == restore.OldDeviceAsked {
		fails(r, "a wrong code at a wrong time", err, restore.ErrNotReady)
		return
	}
	if !errors.Is(err, recovery.ErrWrongCode) && !errors.Is(err, recovery.ErrLimited) {
		r.Fatalf("a wrong code: %v", err)
	}
}

// restores gives the right code: it is taken at once when the step asks for it, however many wrong ones came before.
func (l *life) restores(r *rapid.T, t *modelRestore) {
	a := l.tried[t]
	code := l.code
	l.pass(time.Millisecond) // no two backups change at the same time
	step, reason := l.decide(t)
	outcome, err := l.h.Restores.RestoreWithCode(ctx, a.ID, a.Token, code, devicetest.ByPhone)
	if step != restore.StepRecoveryCode || reason == restore.OldDeviceAsked {
		fails(r, "the code at a wrong time", err, restore.ErrNotReady)
		return
	}
	fails(r, "the right code", err, nil)
	a.phone.Enrolled = &outcome.Enrolled
	a.outcome = outcome
	a.code = code
	a.done = l.now
	m := l.restored(t, outcome.RecoveryCode, outcome.RestoreHandle)
	l.held[m] = a.phone
	l.handles = append(l.handles, outcome.RestoreHandle)
}

// losesAnswer asks again for the answer of a restore that is done, by the proof of the new key: for 30 days, until the new
// phone's first call.
func (l *life) losesAnswer(r *rapid.T) {
	var done []*modelRestore
	for _, t := range l.tries {
		if a := l.tried[t]; a != nil && a.outcome != nil {
			done = append(done, t)
		}
	}
	if len(done) == 0 {
		r.Skip("no restore is done")
	}
	t := rapid.SampledFrom(done).Draw(r, "restore")
	a := l.tried[t]
	var m *modelPhone
	for p, held := range l.held {
		if held == a.phone {
			m = p
		}
	}
	if m == nil {
		r.Skip("she was reset")
	}
	proof := a.phone.Sign(map[string]any{"restore": a.ID, "iat": l.h.Clock.Wall().Unix(), "jti": storage.NewID("", 8)})
	state, err := l.h.Restores.State(ctx, a.ID, a.Token, proof, devicetest.ByPhone)
	if l.blocked || l.status(m) != device.Active || m.called || l.now >= a.done+30*day {
		if err == nil && state.Result != nil {
			r.Fatal("the answer comes again, though it is over")
		}
		return
	}
	fails(r, "the lost answer", err, nil)
	a.phone.Enrolled = &state.Result.Enrolled
	if code := state.Result.RecoveryCode; code != "" {
		l.issue(code)
	}
	if handle := state.Result.RestoreHandle; handle != a.outcome.RestoreHandle {
		a.outcome = state.Result
		l.turned(m.backup, handle)
	}
}

// vetoes has one of her phones veto a restore, whatever its step.
func (l *life) vetoes(r *rapid.T) {
	m := l.pick(r, device.Active)
	t := l.pickOpen(r)
	l.signs(m)
	err := l.h.Restores.Veto(ctx, l.held[m].Proof(), l.tried[t].ID, devicetest.ByPhone)
	if t.backup == nil {
		fails(r, "a veto of a restore of nothing", err, restore.ErrNone)
		return
	}
	fails(r, "a veto", err, nil)
	t.backup.vetoed = l.now + vetoFor
}

// allows has one of her phones allow a restore: only the old one may.
func (l *life) allows(r *rapid.T) {
	m := l.pick(r, device.Active)
	t := l.pickOpen(r)
	l.signs(m)
	step, _ := l.decide(t)
	err := l.h.Restores.Allow(ctx, l.held[m].Proof(), l.tried[t].ID, devicetest.ByPhone)
	switch {
	case t.backup == nil || l.old(t.backup) != m:
		fails(r, "another phone allows", err, restore.ErrNone)
	case step != restore.StepRecoveryCode:
		fails(r, "to allow what asks for no code", err, restore.ErrNotReady)
	default:
		fails(r, "to allow", err, nil)
		t.allowed = true
	}
}

// givesUp has a new phone choose first-time set-up.
func (l *life) givesUp(r *rapid.T) {
	t := l.pickOpen(r)
	a := l.tried[t]
	_, err := l.h.Restores.FirstTimeSetup(ctx, a.ID, a.Token, devicetest.ByPhone)
	fails(r, "first-time set-up", err, nil)
	t.chosen = true
}

// comesBack restores a backup at the end of a life, by its newest handle and the code.
func (l *life) comesBack(r *rapid.T, b *modelBackup) {
	if l.code == "" {
		return
	}
	l.pass(max(b.vetoed-l.now, 0)) // a veto is her own word, or that of whoever has her phone
	t := l.startUnder(r, b.handles[len(b.handles)-1].text, l.h.NewPhone(l.name("new phone")))
	if wait := l.waits(t) - l.now; wait > longWait {
		r.Fatalf("she waits %v", wait)
	}
	l.pass(max(l.waits(t)-l.now, 0))
	l.compareRestore(r, t, l.tried[t])
	l.restores(r, t)
	if l.tried[t].outcome == nil {
		r.Fatal("she does not come back")
	}
}
