package device

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// disownableFor is how long after its enrolment an authenticator is suspended by its user's word alone.
const disownableFor = 7 * 24 * time.Hour

// Disownable reports whether the enrollment is suspended when its user says that it is not hers: it is younger than seven days and
// newer than since, when she got the factor that she has proven to say so, and no login by recovery code has spoken for it. So
// whoever has an older phone of hers stops at most what is a week old, once, and not what she had before.
func (e *Enrollment) Disownable(since, now time.Time) bool {
	return e.Answers() && e.Vouched.IsZero() && e.Enrolled.After(since) && now.Before(e.Enrolled.Add(disownableFor))
}

// Disown suspends an enrollment because its user says that it is not hers, and tells its phone. [Vouch] takes that back, and so
// does an admin.
func Disown(tx *storage.Tx, uid storage.UID, e *Enrollment, actor audit.Actor) error {
	if err := SetStatus(tx, uid, e, Suspended); err != nil {
		return err
	}
	e.Disowned = tx.Now()
	event := audit.Event{
		Type:  audit.UpdateDevice,
		UID:   uid,
		Facts: audit.Facts{audit.FactStatus: audit.Word(Suspended), audit.FactWhy: audit.WhyNotMe, audit.FactFactor: audit.Word(e.Type)},
	}
	return errors.Join(
		Put(tx, uid, e),
		recovery.Notify(tx, uid, recovery.NoticePayload{Notice: recovery.NoticeDisowned, Enrollment: e.ID}),
		audit.Record(tx, actor, event, e.Detail()))
}

// Vouch brings back what was suspended because somebody had said on the user's own page that it is not hers. Its caller has just
// seen her recovery code in a login: whoever has that is believed before whoever had a phone or a passkey. What came back is not
// suspended so again. All phones are told.
func Vouch(tx *storage.Tx, uid storage.UID, actor audit.Actor) error {
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	for _, e := range set {
		if e.Status != Suspended || e.Disowned.IsZero() {
			continue
		}
		if err := SetStatus(tx, uid, e, Active); err != nil {
			return err
		}
		e.Vouched = tx.Now()
		event := audit.Event{
			Type:  audit.UpdateDevice,
			UID:   uid,
			Facts: audit.Facts{audit.FactStatus: audit.Word(Active), audit.FactWhy: audit.WhyRecoveryCode, audit.FactFactor: audit.Word(e.Type)},
		}
		err := errors.Join(
			Put(tx, uid, e),
			recovery.Notify(tx, uid, recovery.NoticePayload{Notice: recovery.NoticeVouched, About: e.ID}),
			audit.Record(tx, actor, event, e.Detail()))
		if err != nil {
			return err
		}
	}
	return nil
}

// maxGivenNameCharacters bounds the name that a person gives to an authenticator.
const maxGivenNameCharacters = 64

// RenameBy gives an enrollment another name, by its user's word. Blanks at its edges do not count. The event keeps the name before.
//
// Errors: ErrName; ErrNoEnrollment.
func RenameBy(tx *storage.Tx, uid storage.UID, id, typed string, actor audit.Actor) error {
	name := strings.TrimSpace(typed)
	if n := utf8.RuneCountInString(name); n == 0 || n > maxGivenNameCharacters {
		return ErrName.With("a name has 1 to %d characters", maxGivenNameCharacters)
	}
	e, err := replaceable(tx, uid, id)
	if err != nil || e.Name == name {
		return err
	}
	detail := e.Detail()
	detail.Text = e.Name
	detail.Device = name
	event := audit.Event{Type: audit.UpdateDevice, UID: uid, Facts: audit.Facts{audit.FactDevice: audit.DeviceName}}
	return errors.Join(
		Rename(tx, uid, e, name),
		audit.Record(tx, actor, event, detail))
}
