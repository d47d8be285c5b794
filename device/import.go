package device

import (
	"crypto/subtle"
	"errors"
	"slices"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// ErrName reports a name that an enrollment cannot have.
var ErrName = storage.NewError(storage.Invalid, "the name of the enrollment is not valid")

// Imported is an app that shows one-time codes, as another system has stored it.
type Imported struct {
	Secret otp.Secret
	Name   string // "": the default name
}

// Import enrols an app that shows one-time codes and already has its secret. The enrollment is confirmed at once and
// brings no recovery code. The user's phones are notified. If the secret is enrolled already, Import returns that
// enrollment.
//
// Errors: ErrFactorOff; ErrName; ErrTooMany.
func Import(tx *storage.Tx, uid storage.UID, in Imported, actor audit.Actor) (*Enrollment, error) {
	if err := RequireFactor(tx, FactorOTP); err != nil {
		return nil, err
	}
	set, err := All(tx, uid)
	if err != nil {
		return nil, err
	}
	// A repeat of the import only renames.
	if at := slices.IndexFunc(set.Shown(), in.Is); at >= 0 {
		e := set.Shown()[at]
		return e, Rename(tx, uid, e, in.Name)
	}
	e := &Enrollment{
		ID:       storage.NewID(idPrefix, idDrawn),
		Type:     TypeOTP,
		Name:     otpName,
		Status:   Active,
		Enrolled: tx.Now(),
		Changed:  tx.Now(),
		Via:      ViaImport,
		OTP:      OneTimeCodes{Secret: in.Secret},
	}
	if err := replace(tx, uid, Installation{}, Binding{Via: ViaImport}, e.ID, actor); err != nil {
		return nil, err
	}
	tx.Count(Enrollments, string(ViaImport))
	tx.Wake(uid)
	if len(set.Phones()) > 0 {
		err = recovery.Notify(tx, uid, recovery.NoticePayload{Notice: recovery.NoticeDeviceAdded, About: e.ID})
	}
	return e, errors.Join(err,
		enrollments.Insert(tx, uid, e.ID, e),
		Rename(tx, uid, e, in.Name),
		audit.Record(tx, actor, audit.Event{Type: audit.EnrollComplete, UID: uid, Facts: audit.Facts{audit.FactFactor: audit.Word(e.Type)}}, e.Detail()))
}

// Is reports whether an enrollment is the imported one.
func (in Imported) Is(e *Enrollment) bool {
	return e.Type == TypeOTP && subtle.ConstantTimeCompare(e.OTP.Secret, in.Secret) == 1
}

// Rename gives an enrollment another name; "" leaves it as it is.
//
// Errors: ErrName.
func Rename(tx *storage.Tx, uid storage.UID, e *Enrollment, name string) error {
	if name == "" || name == e.Name {
		return nil
	}
	if err := legible.Check("name", name, maxNameBytes); err != nil {
		return ErrName.With("%v", err)
	}
	e.Name = name
	return Put(tx, uid, e)
}
