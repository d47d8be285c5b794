// Package ways keeps, of each user, by which ways she would get back in without an admin if she lost the phone that she used last, and
// what makes that thin. It keeps how many users have each, and counts nobody twice: so no call looks at everyone.
//
// The packages that write a user's codes, authenticators and backups note here what each is good for, in the transaction in which that
// changes. The one rule that follows from it is [judge].
package ways

import (
	"errors"
	"maps"
	"slices"
	"time"

	"tutela/storage"
)

// Way is a way back in.
type Way string

// The ways.
const (
	ByCode    Way = "code"    // a recovery code that she has shown to have saved
	ByDevice  Way = "device"  // another phone
	ByPasskey Way = "passkey" // a security key, or a passkey that is copied to other devices
)

// Ways are all ways, in the order in which people read them.
var Ways = []Way{ByCode, ByDevice, ByPasskey}

// Risk is what makes the way back thin. A user can have several.
type Risk string

// The risks.
const (
	NoCode          Risk = "no_recovery_code" // she has none that is valid
	UnconfirmedCode Risk = "unconfirmed_code" // she has not shown that she has saved it
	NoBackup        Risk = "no_backup"        // of a user with a phone
	StaleBackup     Risk = "stale_backup"     // of a user with a phone: the newest is older than StaleAfter
	OneDevice       Risk = "one_device"       // she has authenticators, and neither another phone nor such a passkey
)

// Risks are all risks, in the order in which people read them.
var Risks = []Risk{NoCode, UnconfirmedCode, NoBackup, StaleBackup, OneDevice}

// StaleAfter is how old a backup may be. An app puts one whenever its accounts change, and now and then besides.
const StaleAfter = 90 * 24 * time.Hour

// ErrRisk reports a word that is no risk.
var ErrRisk = storage.NewError(storage.Invalid,
	"a risk is no_recovery_code, unconfirmed_code, no_backup, stale_backup or one_device")

// ParseRisk reads a risk.
//
// Errors: ErrRisk.
func ParseRisk(typed string) (Risk, error) {
	if risk := Risk(typed); slices.Contains(Risks, risk) {
		return risk, nil
	}
	return "", ErrRisk.With("%q is not a risk: one is no_recovery_code, unconfirmed_code, no_backup, stale_backup or one_device", typed)
}

// Code is how a user's recovery code stands.
type Code string

// How a code stands. The zero value says that nobody has noted it.
const (
	CodeNone        Code = "none"
	CodeUnconfirmed Code = "unconfirmed"
	CodeConfirmed   Code = "confirmed"
)

// Device is what an authenticator is good for.
type Device string

// What authenticators are good for. The zero value says that nobody has noted it.
const (
	NotInUse Device = "none"     // it is suspended, has left or is retired
	Phone    Device = "phone"    // it can be the one that is left
	Bound    Device = "bound"    // it may be on the phone that is lost: one-time codes, a passkey of one device
	Survivor Device = "survivor" // a passkey that outlives a phone
)

// facts are what is known of a user. She has them as long as she is not new: from the first authenticator or code to a reset.
type facts struct {
	Code      Code                 `json:"code,omitempty"`
	CodeUntil time.Time            `json:"code_until,omitzero"` // when it expires; zero: never
	Devices   map[string]Device    `json:"devices,omitempty"`   // those in use, by their enrollments
	Backups   map[string]time.Time `json:"backups,omitempty"`   // when each was put last, to the day

	Ways  []Way  `json:"ways,omitempty"`  // as they are counted
	Risks []Risk `json:"risks,omitempty"` // as they are counted
}

var (
	known = storage.Declare(storage.Spec[facts]{
		Name:  "recoverability",
		Class: storage.MFA,
		Most:  1,
		Purged: func(tx *storage.Tx, uid storage.UID, f *facts) error {
			return count(tx, uid, f.counted(), nil)
		},
	})
	byRisk = known.Plain("risk", func(f *facts) []string {
		values := make([]string, 0, len(f.Risks))
		for _, risk := range f.Risks {
			values = append(values, string(risk))
		}
		return values
	})
)

// record is the key of the one row that a user has in each table.
const record = ""

// judge is the rule: which ways back a user has, which risks there are, and when that changes by time alone (due; zero:
// never).
//
// Source: management-api.md "Calls", on recoverability.
func judge(f *facts, now time.Time) (ways []Way, risks []Risk, due time.Time) {
	later := func(at time.Time) {
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	// A code that an admin made expires.
	code := f.Code
	if code != CodeNone && !f.CodeUntil.IsZero() {
		if now.Before(f.CodeUntil) {
			later(f.CodeUntil)
		} else {
			code = CodeNone
		}
	}
	count := map[Device]int{}
	for _, is := range f.Devices {
		count[is]++
	}
	// The ways that need no admin.
	if code == CodeConfirmed {
		ways = append(ways, ByCode)
	}
	if count[Phone] > 1 {
		ways = append(ways, ByDevice)
	}
	if count[Survivor] > 0 {
		ways = append(ways, ByPasskey)
	}
	// The risks: of the code, of the backups, and of having one device only.
	switch code {
	case CodeConfirmed:
	case CodeUnconfirmed:
		risks = append(risks, UnconfirmedCode)
	default:
		risks = append(risks, NoCode)
	}
	if count[Phone] > 0 {
		var newest time.Time
		for _, at := range f.Backups {
			if at.After(newest) {
				newest = at
			}
		}
		switch stale := newest.Add(StaleAfter); {
		case newest.IsZero():
			risks = append(risks, NoBackup)
		case now.Before(stale):
			later(stale)
		default:
			risks = append(risks, StaleBackup)
		}
	}
	if len(f.Devices) > 0 && count[Phone] < 2 && count[Survivor] == 0 {
		risks = append(risks, OneDevice)
	}
	return ways, risks, due
}

// NoteCode notes how the user's recovery code stands, and until when; zero is for ever.
func NoteCode(tx *storage.Tx, uid storage.UID, is Code, until time.Time) error {
	return note(tx, uid, func(f *facts) bool {
		changed := f.Code != is || !f.CodeUntil.Equal(until)
		f.Code = is
		f.CodeUntil = until
		return changed
	})
}

// NoteDevice notes what an enrollment is good for.
func NoteDevice(tx *storage.Tx, uid storage.UID, enrollment string, is Device) error {
	return note(tx, uid, func(f *facts) bool { return f.setDevice(enrollment, is) })
}

func (f *facts) setDevice(enrollment string, is Device) (changed bool) {
	was, had := f.Devices[enrollment]
	if is == NotInUse {
		delete(f.Devices, enrollment)
		return had
	}
	if f.Devices == nil {
		f.Devices = map[string]Device{}
	}
	f.Devices[enrollment] = is
	return was != is
}

// NoteBackup notes when a backup was put last ([Day]); the zero time says that it is gone.
func NoteBackup(tx *storage.Tx, uid storage.UID, backup string, put time.Time) error {
	return note(tx, uid, func(f *facts) bool { return f.setBackup(backup, put) })
}

func (f *facts) setBackup(backup string, put time.Time) (changed bool) {
	was, had := f.Backups[backup]
	if put.IsZero() {
		delete(f.Backups, backup)
		return had
	}
	if f.Backups == nil {
		f.Backups = map[string]time.Time{}
	}
	f.Backups[backup] = put
	return !was.Equal(put)
}

// Day returns the day of UTC that a time lies in. A backup that is put often is noted once a day.
func Day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// note changes what is known of a user. change reports whether it changed something.
func note(tx *storage.Tx, uid storage.UID, change func(f *facts) bool) error {
	f, isNew, err := read(tx, uid)
	if err != nil {
		return err
	}
	if !change(f) && !isNew {
		return nil
	}
	return settle(tx, uid, f, isNew)
}

// read returns what is known of a user, and whether that is nothing yet.
func read(tx *storage.Tx, uid storage.UID) (f *facts, isNew bool, err error) {
	f, err = known.Get(tx, uid, record)
	if errors.Is(err, storage.ErrNotFound) {
		return new(facts), true, nil
	}
	return f, false, err
}

// settle judges what is known of a user, counts what has changed by that, and writes it down.
func settle(tx *storage.Tx, uid storage.UID, f *facts, isNew bool) error {
	before := f.counted()
	if isNew {
		before = nil
	}
	var due time.Time
	f.Ways, f.Risks, due = judge(f, tx.Now())
	return errors.Join(
		known.Put(tx, uid, record, f),
		setDue(tx, uid, due),
		count(tx, uid, before, f.counted()))
}

// All is what is known of a user, from all that is written of her.
type All struct {
	Code      Code
	CodeUntil time.Time
	Devices   map[string]Device
	Backups   map[string]time.Time
}

// Write writes down what is known of a user, in the place of what was. It is for users of an earlier release.
func Write(tx *storage.Tx, uid storage.UID, all All) error {
	f, isNew, err := read(tx, uid)
	if err != nil {
		return err
	}
	f.Code = all.Code
	f.CodeUntil = all.CodeUntil
	f.Devices = maps.Clone(all.Devices)
	maps.DeleteFunc(f.Devices, func(_ string, is Device) bool { return is == NotInUse })
	f.Backups = maps.Clone(all.Backups)
	maps.DeleteFunc(f.Backups, func(_ string, put time.Time) bool { return put.IsZero() })
	return settle(tx, uid, f, isNew)
}

// Standing is how a user would get back in, and what makes that thin.
type Standing struct {
	Known bool // she is not new
	Ways  []Way
	Risks []Risk
}

// Of returns the standing of a user, by the time of the transaction.
func Of(tx *storage.Tx, uid storage.UID) (Standing, error) {
	f, isNew, err := read(tx, uid)
	if err != nil || isNew {
		return Standing{}, err
	}
	ways, risks, _ := judge(f, tx.Now())
	return Standing{Known: true, Ways: ways, Risks: risks}, nil
}
