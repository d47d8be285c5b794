package device

import (
	"errors"
	"slices"
	"time"

	"tutela/device/push"
	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
)

// Type is the kind of authenticator that an enrollment binds.
type Type string

// The types of enrollments.
const (
	TypePush     Type = "push"              // an app on a phone, which signs its answers; it may also show one-time codes
	TypeOTP      Type = "otp"               // an app that only shows one-time codes
	TypeRoaming  Type = "webauthn-roaming"  // a security key
	TypePlatform Type = "webauthn-platform" // a passkey that a phone or computer keeps
)

// Status is the state of an enrollment.
type Status string

// The statuses of an enrollment.
const (
	Active    Status = "active"
	Suspended Status = "suspended" // by an admin, who can resume it; it is not asked, and its own calls do not revive it
	Left      Status = "left"      // of push: deleted by the device token alone; it is still asked, and any call that its key signs revives it
	Retired   Status = "retired"   // ended; the row stays, since a user who had an enrollment is not new
)

// Via is the way in which an enrollment was made.
type Via string

// The ways.
const (
	ViaPage           Via = "page"            // a person pressed Start on the enrolment page
	ViaTicket         Via = "ticket"          // an app was given the bare ticket
	ViaEnrolmentToken Via = "enrolment_token" // a login system enrolled it
	ViaRestore        Via = "restore"         // a new installation has taken over
	ViaImport         Via = "import"          // it was imported from another system
)

// reviveFor is how long a call that its key signs revives an enrollment that Left. All that time the enrollment is still
// asked, so a thief of a device token cannot put a phone out of service that answers.
const reviveFor = 7 * 24 * time.Hour

// IDPrefix begins the id of every enrollment.
const IDPrefix = "dev_"

// IDCharacters is the length of an enrollment's id.
const IDCharacters = len(idPrefix) + idDrawn

const (
	idPrefix = IDPrefix
	idDrawn  = 16 // characters
)

// Enrollment is the binding of a user to one authenticator. It exists from the moment when the authenticator is confirmed.
//
// Fields that only some types need lie in a struct of their own, which is zero for the other types. The structs are values and
// no pointers: so a copy of an enrollment copies all of it, and no missing part can cause a panic. A zero Key belongs to nobody.
type Enrollment struct {
	ID       string    `json:"id"` // dev_ and 16 characters
	Type     Type      `json:"type"`
	Name     string    `json:"name"`
	Status   Status    `json:"status"`
	Enrolled time.Time `json:"enrolled"`
	Was      Status    `json:"was,omitempty"`      // Suspended, if it was suspended before it was retired
	Changed  time.Time `json:"changed"`            // when Status last changed
	LastAuth time.Time `json:"last_auth,omitzero"` // when it last satisfied a login
	Via      Via       `json:"via,omitempty"`      // how it was made; "" for a row of an earlier release

	Succession Succession `json:"succession,omitzero"` // what has replaced it, when it is retired

	Disowned time.Time `json:"disowned,omitzero"` // if Suspended: when its user said on her own page that it is not hers
	Vouched  time.Time `json:"vouched,omitzero"`  // when a login by recovery code undid that: it cannot be disowned again

	Push     PushBinding  `json:"push,omitzero"`     // of TypePush
	OTP      OneTimeCodes `json:"otp,omitzero"`      // of TypePush and TypeOTP
	WebAuthn Passkey      `json:"webauthn,omitzero"` // of TypeRoaming and TypePlatform
}

// PushBinding is the part of a push enrollment: one installation of an app, with the addresses of its phone.
type PushBinding struct {
	Identifier   string           `json:"identifier"`                  // the app's own id of the phone, as it was named last
	ProvenAs     string           `json:"proven_identifier,omitempty"` // the identifier before, if only the device token named Identifier
	Key          Key              `json:"key"`
	Token        string           `json:"token"`                // keyed hash of the device token
	NextToken    []byte           `json:"next_token,omitempty"` // the token that replaces Token once it is used; until then Token deletes nothing
	Address      push.KeptAddress `json:"address,omitzero"`     // the last proven one; none when the app pulls
	Unproven     push.KeptAddress `json:"unproven,omitzero"`    // the newest that only the device token has named since
	Capabilities []string         `json:"capabilities,omitempty"`
	Watches      []Watch          `json:"watches,omitempty"`      // restores that want to know whether its phone still calls
	Seen         bool             `json:"seen,omitempty"`         // it has made an authenticated call, which erased the kept replies about it
	Signed       time.Time        `json:"signed,omitzero"`        // time of the last signature by the key, to the hour
	BackupID     string           `json:"backup_id,omitempty"`    // the backup that it writes to
	NoticesAfter time.Time        `json:"notices_after,omitzero"` // it reads only notices after this time
	NoticesUntil time.Time        `json:"notices_until,omitzero"` // and, once retired, none after this time
	Platform     string           `json:"platform,omitempty"`     // the system it runs on, as the app says
}

// Can reports whether the app has a capability.
func (b *PushBinding) Can(capability string) bool { return slices.Contains(b.Capabilities, capability) }

var (
	enrollments = storage.Declare(storage.Spec[Enrollment]{
		Name:  "enrollment",
		Class: storage.MFA,
		Most:  MostEnrollments + MostRetired,
		Sealed: func(e *Enrollment) []storage.Field {
			return []storage.Field{
				{Name: "push_token", Value: &e.Push.Address.Token},
				{Name: "unproven_token", Value: &e.Push.Unproven.Token},
				{Name: "next_token", Value: &e.Push.NextToken},
				{Name: "totp_secret", Value: &e.OTP.Secret},
			}
		},
		Upgrade: readFlat,
		Changed: func(tx *storage.Tx, uid storage.UID, id string, before, after *Enrollment) error {
			if before.goodFor() == after.goodFor() {
				return nil
			}
			return ways.NoteDevice(tx, uid, id, after.goodFor())
		},
	})
	byID      = enrollments.Unique("id", func(e *Enrollment) []string { return []string{e.ID} })
	_         = enrollments.Unique("credential", func(e *Enrollment) []string { return e.credentialIndex() })
	byPasskey = enrollments.Plain("passkey", func(e *Enrollment) []string { return e.passkeyIndex() })
)

// Errors of enrollments.
var (
	ErrNoEnrollment = storage.NewError(storage.NotFound, "there is no such enrollment")
	ErrSuspended    = storage.NewError(storage.Denied, "the enrollment is suspended by an admin")
	ErrKeyInUse     = storage.NewError(storage.Conflict, "an enrollment of this user has this key already")
	ErrTooMany      = storage.NewError(storage.Exhausted, "the user has too many enrollments: remove some first")
)

// Find returns the enrollment with an id, whatever its status.
//
// Errors: ErrNoEnrollment.
func Find(tx *storage.Tx, id string) (storage.UID, *Enrollment, error) {
	row, err := byID.Find(tx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.UID{}, nil, ErrNoEnrollment
	}
	if err != nil {
		return storage.UID{}, nil, err
	}
	row.Record.lapse(tx.Now())
	return row.UID, row.Record, nil
}

// FindShown returns the enrollment with an id as admins see it ([Set.Shown]).
//
// Errors: ErrNoEnrollment.
func FindShown(tx *storage.Tx, id string) (storage.UID, *Enrollment, error) {
	uid, e, err := Find(tx, id)
	if err == nil && !e.shown() {
		err = ErrNoEnrollment
	}
	return uid, e, err
}

// Get returns a user's enrollment, whatever its status.
//
// Errors: ErrNoEnrollment.
func Get(tx *storage.Tx, uid storage.UID, id string) (*Enrollment, error) {
	e, err := enrollments.Get(tx, uid, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNoEnrollment
	}
	if err != nil {
		return nil, err
	}
	e.lapse(tx.Now())
	return e, nil
}

// Put writes an enrollment that was read and changed in the same transaction.
func Put(tx *storage.Tx, uid storage.UID, e *Enrollment) error {
	return enrollments.Put(tx, uid, e.ID, e)
}

// Detail returns the detail for an event about the enrollment.
func (e *Enrollment) Detail() audit.Detail { return audit.Detail{Device: e.Name, Enrollment: e.ID} }
