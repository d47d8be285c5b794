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

// disownableFor is how long after its enrolment a user can suspend an authenticator just by saying that it is not hers.
const disownableFor = 7 * 24 * time.Hour

// Disownable reports whether the enrollment is suspended when its user says that it is not hers. It must be younger
// than seven days, newer than since (when she got the factor by which she is signed in), and not confirmed by a login
// with the recovery code. So a thief of an older phone of hers can suspend only what is at most a week old, only once,
// and nothing that she had before that phone.
func (e *Enrollment) Disownable(since, now time.Time) bool {
	return e.Answers() && e.Vouched.IsZero() && e.Enrolled.After(since) && now.Before(e.Enrolled.Add(disownableFor))
}

// Disown suspends an enrollment because its user says that it is not hers, and notifies its phone. [Vouch] or an admin
// can undo it.
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

// Vouch resumes the enrollments that were suspended by Disown. Call it after a login with the user's recovery code: the
// holder of the code is believed more than somebody with a phone or passkey. An enrollment that came back cannot be
// disowned again. All phones are notified.
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

// RenameBy gives an enrollment another name that its user has typed. It trims blanks. The event keeps the old name.
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
