package device

import (
	"errors"
	"slices"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Status is how an enrollment stands.
type Status string

// The statuses of an enrollment.
const (
	Active    Status = "active"
	Suspended Status = "suspended" // by an admin, reversibly; it is not asked, and nothing of its own revives it
	Left      Status = "left"      // deleted with the device token alone: gone for all to see, but a call signed by its key revives it
	Retired   Status = "retired"   // over; the row stays, for a user who had one is not new
)

// reviveFor is how long a signed call revives an enrollment that Left: whoever has only a stolen device token cannot
// put a phone out of service for longer.
const reviveFor = 7 * 24 * time.Hour

// Enrollment is the binding of a user to one authenticator app on one phone.
type Enrollment struct {
	ID           string       `json:"id"`         // dev_ and 16 characters
	Identifier   string       `json:"identifier"` // the app's own id of the phone
	Name         string       `json:"name"`
	Key          Key          `json:"key"`
	Token        string       `json:"token"` // keyed hash of the device token
	PushService  push.Service `json:"push_service,omitempty"`
	PushToken    []byte       `json:"push_token,omitempty"` // sealed
	TOTPSecret   []byte       `json:"totp_secret"`          // sealed
	Capabilities []string     `json:"capabilities,omitempty"`
	Status       Status       `json:"status"`
	Enrolled     time.Time    `json:"enrolled"`
	Changed      time.Time    `json:"changed"`             // of Status
	LastAuth     time.Time    `json:"last_auth,omitzero"`  // of the last approval that it answered
	Watches      []Watch      `json:"watches,omitempty"`   // restores that want to know whether its phone still calls
	Seen         bool         `json:"seen,omitempty"`      // it has made an authenticated call: kept answers of it are erased
	BackupID     string       `json:"backup_id,omitempty"` // the backup that it writes to
}

var (
	enrollments = storage.Declare(storage.Spec[Enrollment]{
		Name: "enrollment", Class: storage.MFA,
		Sealed: func(e *Enrollment) []storage.Field {
			return []storage.Field{
				{Name: "push_token", Value: &e.PushToken},
				{Name: "totp_secret", Value: &e.TOTPSecret},
			}
		},
	})
	byID = enrollments.Unique("id", func(e *Enrollment) []string { return []string{e.ID} })
)

// Errors of enrollments.
var (
	ErrNoEnrollment = storage.NewError(storage.NotFound, "there is no such enrollment")
	ErrSuspended    = storage.NewError(storage.Denied, "the enrollment is suspended by an admin")
	ErrKeyInUse     = storage.NewError(storage.Conflict, "an enrollment of this user has this key already")
	ErrTooMany      = storage.NewError(storage.Exhausted, "the user has too many enrollments: remove some first")
)

// Confirmed tells whether the enrollment counts for the user's state.
func (e *Enrollment) Confirmed() bool { return e.Status == Active }

// Can tells whether the app has a capability.
func (e *Enrollment) Can(capability string) bool { return slices.Contains(e.Capabilities, capability) }

// PushAddress is where the enrollment's phone is reached; the zero Address when its app pulls.
func (e *Enrollment) PushAddress() push.Address {
	return push.Address{Service: e.PushService, Token: string(e.PushToken)}
}

// Find returns the enrollment with an id, whatever its status.
//
// Errors: ErrNoEnrollment.
func Find(tx *storage.Tx, id string) (storage.UID, *Enrollment, error) {
	row, err := byID.Find(tx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.UID{}, nil, ErrNoEnrollment
	}
	return row.UID, row.Record, err
}

// Get returns a user's enrollment, whatever its status.
//
// Errors: ErrNoEnrollment.
func Get(tx *storage.Tx, uid storage.UID, id string) (*Enrollment, error) {
	e, err := enrollments.Get(tx, uid, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNoEnrollment
	}
	return e, err
}

// Of returns the user's enrollments that are in one of the statuses, oldest first.
func Of(tx *storage.Tx, uid storage.UID, statuses ...Status) ([]*Enrollment, error) {
	rows, err := enrollments.All(tx, uid)
	if err != nil {
		return nil, err
	}
	var list []*Enrollment
	for _, row := range rows {
		if slices.Contains(statuses, row.Record.Status) {
			list = append(list, row.Record)
		}
	}
	slices.SortStableFunc(list, func(a, b *Enrollment) int { return a.Enrolled.Compare(b.Enrolled) })
	return list, nil
}

// Put writes an enrollment back that was read and changed in the same transaction.
func Put(tx *storage.Tx, uid storage.UID, e *Enrollment) error {
	return enrollments.Put(tx, uid, e.ID, e)
}

// State derives the user's MFA state.
func State(tx *storage.Tx, uid storage.UID) (user.State, error) {
	state, _, err := Standing(tx, uid)
	return state, err
}

// Standing derives the user's MFA state, and returns the active enrollments, oldest first, from one reading.
func Standing(tx *storage.Tx, uid storage.UID) (user.State, []*Enrollment, error) {
	all, err := Of(tx, uid, Active, Suspended, Left, Retired)
	if err != nil {
		return "", nil, err
	}
	facts := user.Facts{EverBound: len(all) > 0}
	active := slices.DeleteFunc(all, func(e *Enrollment) bool { return !e.Confirmed() })
	if facts.Confirmed = len(active); facts.Confirmed == 0 {
		facts.CodeIssued, err = recovery.CodeIssued(tx, uid)
	}
	return user.MFAState(facts), active, err
}

// detail is what an event about the enrollment knows of its phone.
func (e *Enrollment) detail() audit.Detail { return audit.Detail{Device: e.Name, Enrollment: e.ID} }
