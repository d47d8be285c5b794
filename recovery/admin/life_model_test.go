package admin_test

import (
	"cmp"
	"slices"
	"time"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/recovery/user"
)

// The rules of a user's life, as the protocol's pages have them: a small model without a store. life_test.go lives thousands
// of lives in it and in a real house, and compares the two after each step.

// The times of the rules.
const (
	day          = 24 * time.Hour
	aliveFor     = 30 * day // an old installation that has signed something within it is asked
	leftFor      = 7 * day  // how long a phone that left by its token can come back
	handleFor    = 30 * day // how long an earlier handle finds its backup
	firstWait    = time.Minute
	longWait     = 10 * time.Minute
	restoreFor   = 15 * time.Minute
	vetoFor      = day
	suspendedFor = day
	signedEvery  = time.Hour
)

// model is the user as the rules see her.
type model struct {
	now     time.Duration // since her life began
	phones  []*modelPhone
	backups []*modelBackup
	tries   []*modelRestore
	code    string // the one that counts; empty: none
	issued  bool   // a code was, since the last reset
	blocked bool
}

type modelPhone struct {
	status  device.Status
	changed time.Duration // of status
	signed  time.Duration // when something signed came, to the hour
	called  bool          // it has made a signed call
	backup  *modelBackup  // that it writes to
}

// status is how a phone stands now: one that left is retired after a while.
func (m *model) status(p *modelPhone) device.Status {
	if p.status == device.Left && m.now >= p.changed+leftFor {
		return device.Retired
	}
	return p.status
}

func (m *model) set(p *modelPhone, s device.Status) {
	p.status = s
	p.changed = m.now
}

func (m *model) with(statuses ...device.Status) (phones []*modelPhone) {
	for _, p := range m.phones {
		if slices.Contains(statuses, m.status(p)) {
			phones = append(phones, p)
		}
	}
	return phones
}

// state is the rule of the MFA state: a phone that left counts, for a stolen token must not turn MFA off.
func (m *model) state() user.State {
	switch {
	case len(m.with(device.Active, device.Left)) > 0:
		return user.Enrolled
	case len(m.phones) == 0 && !m.issued:
		return user.New
	default:
		return user.RecoveryOnly
	}
}

// signs notes a signed call of a phone: it brings one back that left, and moves the wait of restores that began a moment ago.
// It reports whether the call is let in.
func (m *model) signs(p *modelPhone) bool {
	switch m.status(p) {
	case device.Left:
		m.set(p, device.Active)
	case device.Active:
	default:
		return false
	}
	for _, t := range m.tries {
		if t.asked == p && m.now < t.began+firstWait {
			t.heard = true
		}
	}
	p.called = true
	if m.now >= p.signed+signedEvery {
		p.signed = m.now
	}
	return true
}

type modelBackup struct {
	handles []modelHandle // the newest last
	changed time.Duration // when it was last put or moved
	vetoed  time.Duration // until then
}

type modelHandle struct {
	text  string
	until time.Duration // 0: it is the current one, and has no end
}

// turn makes a handle the current one. Three earlier ones go on finding the backup for a while.
func (m *model) turn(b *modelBackup, handle string) {
	if n := len(b.handles); n > 0 {
		b.handles[n-1].until = m.now + handleFor
	}
	b.handles = append(b.handles, modelHandle{text: handle})
	if len(b.handles) > 4 {
		b.handles = b.handles[1:]
	}
}

// begins adds the backup of a phone. Of those that no phone writes to the newest four stay.
func (m *model) begins(p *modelPhone) {
	orphans := slices.DeleteFunc(slices.Clone(m.backups), func(b *modelBackup) bool { return m.old(b) != nil })
	slices.SortFunc(orphans, func(a, b *modelBackup) int { return cmp.Compare(b.changed, a.changed) })
	gone := orphans[min(len(orphans), 4):]
	m.backups = slices.DeleteFunc(m.backups, func(b *modelBackup) bool { return slices.Contains(gone, b) })
	p.backup = &modelBackup{changed: m.now}
	m.backups = append(m.backups, p.backup)
}

// find returns the backup that a handle finds; nil when it finds none.
func (m *model) find(handle string) *modelBackup {
	for _, b := range m.backups {
		for _, h := range b.handles {
			if h.text == handle && (h.until == 0 || m.now < h.until) {
				return b
			}
		}
	}
	return nil
}

// old returns the installation that writes to a backup; nil when it is retired.
func (m *model) old(b *modelBackup) *modelPhone {
	for _, p := range m.phones {
		if b != nil && p.backup == b && m.status(p) != device.Retired {
			return p
		}
	}
	return nil
}

type modelRestore struct {
	backup  *modelBackup
	handle  string
	began   time.Duration
	asked   *modelPhone // the old installation, when it was; nil: it is not
	heard   bool        // it has signed something in the first minute
	allowed bool
	chosen  bool // first-time set-up
	closed  bool // the backup has gone to another phone, or to this one
}

// open reports whether a restore can be gone on with.
func (m *model) open(t *modelRestore) bool { return !t.closed && m.now < t.began+restoreFor }

// waits returns until when a code waits for the old installation's word; 0 when it does not.
func (m *model) waits(t *modelRestore) time.Duration {
	old := m.old(t.backup)
	if t.asked == nil || old == nil || t.allowed && m.status(old) != device.Suspended { // the word of a suspended one does not count
		return 0
	}
	suspended := m.status(old) == device.Suspended && m.now < old.changed+suspendedFor
	if t.heard || suspended {
		return t.began + longWait
	}
	return t.began + firstWait
}

// decide is the published decision.
func (m *model) decide(t *modelRestore) (restore.Step, restore.Reason) {
	switch {
	case t.chosen:
		return restore.StepFirstTimeSetup, restore.Chosen
	case t.backup == nil || m.find(t.handle) != t.backup:
		return restore.StepFirstTimeSetup, restore.NoBackup
	case m.blocked:
		return restore.StepAskAdmin, restore.UserBlocked
	case m.now < t.backup.vetoed:
		return restore.StepAskAdmin, restore.Vetoed
	case m.code == "":
		return restore.StepAskAdmin, restore.NoRecoveryCode
	case m.now < m.waits(t):
		return restore.StepRecoveryCode, restore.OldDeviceAsked
	default:
		return restore.StepRecoveryCode, restore.BackupFound
	}
}

// begin starts a restore under a handle.
func (m *model) begin(handle string) *modelRestore {
	t := &modelRestore{backup: m.find(handle), handle: handle, began: m.now}
	if old := m.old(t.backup); old != nil && m.now < old.signed+aliveFor {
		t.asked = old
	}
	m.tries = append(m.tries, t)
	return t
}

// restored puts a new phone in the place of the old one of a backup.
func (m *model) restored(t *modelRestore, nextCode, nextHandle string) *modelPhone {
	if old := m.old(t.backup); old != nil {
		m.set(old, device.Retired)
		old.backup = nil
	}
	m.close(t.backup)
	p := m.enrolled()
	p.backup = t.backup
	p.backup.changed = m.now
	m.turn(t.backup, nextHandle)
	m.issue(nextCode)
	return p
}

// close ends every open restore of a backup: another phone has taken it over.
func (m *model) close(b *modelBackup) {
	for _, t := range m.tries {
		if b != nil && t.backup == b {
			t.closed = true
		}
	}
}

// enrolled adds an active phone.
func (m *model) enrolled() *modelPhone {
	p := &modelPhone{status: device.Active, changed: m.now, signed: m.now}
	m.phones = append(m.phones, p)
	return p
}

func (m *model) issue(code string) {
	m.code = code
	m.issued = true
}

// reset makes her a new user.
func (m *model) reset() {
	m.phones = nil
	m.backups = nil
	m.code = ""
	m.issued = false
	for _, t := range m.tries {
		t.closed = true
	}
	m.tries = nil
}
