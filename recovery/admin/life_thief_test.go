package admin_test

import (
	"errors"

	"pgregory.net/rapid"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/push"
)

// What the thief does in a user's life. Nothing of it may ever let him in: life.compare finds no enrollment that is not hers, and
// no wrong code is taken.

// loot is what the thief has taken.
type loot struct {
	handle string
	phone  *devicetest.Phone // whose device token he has; its key he has not
}

// thiefTakes has the thief copy a platform backup as it is today.
func (l *life) thiefTakes(r *rapid.T) {
	m := l.pick(r, device.Active)
	if m.backup == nil || len(m.backup.handles) == 0 {
		r.Skip("it has no backup")
	}
	l.loot = &loot{handle: m.backup.handles[len(m.backup.handles)-1].text, phone: l.held[m]}
}

// thiefRestores has the thief start a restore with what he has taken, wait as long as it takes, and guess.
func (l *life) thiefRestores(r *rapid.T) {
	if l.loot == nil {
		r.Skip("he has nothing")
	}
	t := l.startUnder(r, l.loot.handle, l.h.NewPhone(l.name("thief's phone")))
	if rapid.Bool().Draw(r, "waits") {
		l.pass(max(l.waits(t)-l.now, 0))
	}
	l.guesses(r, t)
}

// thiefPatches has the thief redirect, by the device token, where her phone is reached. It is told at its old address, and
// goes on being asked there.
func (l *life) thiefPatches(r *rapid.T) {
	proof, ok := l.byToken()
	if !ok {
		r.Skip("the token opens nothing")
	}
	_, err := l.h.Devices.Patch(ctx, proof, device.Change{Push: push.Address{Service: push.FCM, Token: l.name("push of a thief")}}, devicetest.ByPhone)
	if errors.Is(err, device.ErrTooOften) {
		r.Skip("six an hour")
	}
	fails(r, "a change by token", err, nil)
}

// byToken is the proof of a call by the token that the thief has; false when it opens nothing any more.
func (l *life) byToken() (device.Proof, bool) {
	if l.loot == nil {
		return device.Proof{}, false
	}
	proof, err := l.loot.phone.CallByToken()
	return proof, err == nil
}

// thiefDeletes has the thief delete her enrollment by the device token: once, and its next signed call brings it back.
func (l *life) thiefDeletes(r *rapid.T) {
	proof, ok := l.byToken()
	if !ok {
		r.Skip("the token opens nothing")
	}
	var m *modelPhone
	for p, held := range l.held {
		if held == l.loot.phone {
			m = p
		}
	}
	err := l.h.Devices.Leave(ctx, proof, devicetest.ByPhone)
	if errors.Is(err, device.ErrUnsigned) {
		return
	}
	fails(r, "to delete by token", err, nil)
	if l.status(m) == device.Active {
		l.set(m, device.Left)
	}
}
