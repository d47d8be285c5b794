// Package user keeps who a user is: the record of a person known by a login system's opaque id, the role, and the
// rule by which the MFA state follows from facts.
package user

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// MaxIDBytes bounds a login system's user id.
const MaxIDBytes = 255

// Role is what a user may do as an admin. The zero value is none.
type Role string

// The roles.
const (
	NoRole   Role = ""
	Viewer   Role = "viewer"
	Helpdesk Role = "helpdesk"
	Admin    Role = "admin"
	Owner    Role = "owner"
)

// ranks are the roles, each above those before it.
var ranks = []Role{NoRole, Viewer, Helpdesk, Admin, Owner}

// Above reports whether a role reaches further than another.
func (r Role) Above(other Role) bool {
	return slices.Index(ranks, r) > slices.Index(ranks, other)
}

// ParseRole reads a role as people write it ("none" is NoRole).
//
// Errors: ErrRole.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case "none", NoRole:
		return NoRole, nil
	case Viewer, Helpdesk, Admin, Owner:
		return r, nil
	}
	return NoRole, ErrRole.With("a role is none, viewer, helpdesk, admin or owner, not %q", s)
}

// User is the record of a person. It holds no factor and no state of one.
//
// UID is set in a record that was read or made, and is not in its row: the row lies under it.
type User struct {
	UID          storage.UID    `json:"uid,omitzero"`
	ID           string         `json:"id"` // the login system's
	Name         string         `json:"name,omitempty"`
	Nickname     string         `json:"nickname,omitempty"`
	Email        string         `json:"email,omitempty"`
	Verified     bool           `json:"email_verified,omitempty"`
	Username     string         `json:"username,omitempty"`
	GivenName    string         `json:"given_name,omitempty"`
	FamilyName   string         `json:"family_name,omitempty"`
	Picture      string         `json:"picture,omitempty"`
	Connection   string         `json:"connection,omitempty"`
	AppMetadata  map[string]any `json:"app_metadata,omitempty"`
	UserMetadata map[string]any `json:"user_metadata,omitempty"`
	Role         Role           `json:"role,omitempty"`
	Blocked      bool           `json:"blocked,omitempty"`
	Turns        int            `json:"turns,omitempty"` // how often role or blocked has changed: what was let in before is let in no more
	Created      time.Time      `json:"created"`
	Updated      time.Time      `json:"updated"`
	Logins       int            `json:"logins,omitempty"` // that were approved and collected
	LastLogin    time.Time      `json:"last_login,omitzero"`
}

var (
	users      = storage.Declare(storage.Spec[User]{Name: "user", Class: storage.Account, Most: 1})
	byID       = users.Unique("id", func(u *User) []string { return []string{u.ID} })
	byEmail    = users.Plain("email", func(u *User) []string { return indexed(u.Email) })
	byUsername = users.Plain("username", func(u *User) []string { return indexed(u.Username) })
	byName     = users.Plain("name", func(u *User) []string { return indexed(u.Name) })
	byRole     = users.Plain("role", func(u *User) []string { return indexed(string(u.Role)) })
	byLogin    = users.Plain("login", loginIndex)
	_          = users.Unique("account", accountIndex)
)

// record is the key of the one row a user has in the table.
const record = ""

// indexedBytes is how much of a text the indexes hold.
const indexedBytes = 128

// indexed returns the index entries of a text; an empty one has none.
func indexed(text string) []string {
	if text == "" {
		return nil
	}
	return []string{folded(text)}
}

// folded returns a text as indexes hold it: in lower case, and cut.
func folded(text string) string { return cut(legible.Fold(text)) }

func cut(text string) string { return text[:min(len(text), indexedBytes)] }

// The beginnings of the values by which users are listed in the order of their last login: those without one lie apart.
const (
	hasLoggedIn = "1"
	neverLogged = "0"
)

func loginIndex(u *User) []string {
	if u.LastLogin.IsZero() {
		return []string{neverLogged}
	}
	return []string{hasLoggedIn + sortable(u.LastLogin)}
}

// sortable returns an instant as a text that sorts as it, to the millisecond.
func sortable(at time.Time) string { return fmt.Sprintf("%015d", max(at.UnixMilli(), 0)) }

// accountIndex keeps an email unique in its connection.
func accountIndex(u *User) []string {
	if u.Email == "" || u.Connection == "" {
		return nil
	}
	return []string{legible.Fold(u.Email) + "\x00" + u.Connection}
}

// Errors of this package.
var (
	ErrUnknown = storage.NewError(storage.NotFound, "the user does not exist")
	ErrExists  = storage.NewError(storage.Conflict, "the user already exists")
	ErrProfile = storage.NewError(storage.Invalid, "the user's profile is not valid")
	ErrID      = storage.NewError(storage.Invalid, "the user id is not valid")
	ErrRole    = storage.NewError(storage.Invalid, "no such role")
)

// ValidateID reports whether id can become a login system's user id: see [legible.CheckIdentity]. A user who has another id
// since an earlier release keeps it, and is found by it.
//
// Errors: ErrID.
func ValidateID(id string) error {
	if err := legible.CheckIdentity("the user id", id, MaxIDBytes); err != nil {
		return ErrID.With("%v", err)
	}
	return nil
}

// mayBeID reports whether an index can hold id, of whichever release.
func mayBeID(id string) bool {
	return id != "" && len(id) <= MaxIDBytes && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// The bounds of a profile, in bytes. Source: RFC 5321 §4.5.3.1 (of an address).
const (
	maxEmailBytes   = 254
	maxTextBytes    = 300
	maxPictureBytes = 2048
)

// validate checks those members of a record that differ from what it was before: what an earlier release took stays as it
// is.
//
// Errors: ErrID; ErrProfile, which names the member.
func (u *User) validate(before User) error {
	if u.ID != before.ID || u.ID == "" {
		if err := ValidateID(u.ID); err != nil {
			return err
		}
	}
	if u.Email != before.Email && u.Email != "" {
		if err := ValidateEmail(u.Email); err != nil {
			return err
		}
	}
	for _, member := range []struct {
		name, value, before string
		check               func(field, text string, most int) error
		most                int
	}{
		{"name", u.Name, before.Name, legible.Check, maxTextBytes},
		{"nickname", u.Nickname, before.Nickname, legible.Check, maxTextBytes},
		{"username", u.Username, before.Username, legible.CheckIdentity, maxTextBytes},
		{"given_name", u.GivenName, before.GivenName, legible.Check, maxTextBytes},
		{"family_name", u.FamilyName, before.FamilyName, legible.Check, maxTextBytes},
		{"connection", u.Connection, before.Connection, legible.CheckIdentity, maxTextBytes},
		{"picture", u.Picture, before.Picture, legible.Check, maxPictureBytes},
	} {
		if member.value == "" || member.value == member.before {
			continue
		}
		if err := member.check(member.name, member.value, member.most); err != nil {
			return ErrProfile.With("%v", err)
		}
	}
	return errors.Join(
		checkMetadata("app_metadata", u.AppMetadata, before.AppMetadata),
		checkMetadata("user_metadata", u.UserMetadata, before.UserMetadata))
}

// maxMetadataBytes bounds each of a user's metadata, in JSON: a login reads them.
const maxMetadataBytes = 16 << 10

// checkMetadata looks at metadata that were changed, and at no others: every login writes the record.
//
// Errors: ErrProfile.
func checkMetadata(name string, metadata, before map[string]any) error {
	if reflect.ValueOf(metadata).Pointer() == reflect.ValueOf(before).Pointer() {
		return nil
	}
	encoded, err := json.Marshal(metadata)
	if err != nil {
		return ErrProfile.With("%s is no JSON: %v", name, err)
	}
	if len(encoded) > maxMetadataBytes {
		return ErrProfile.With("%s has %d bytes; at most %d fit", name, len(encoded), maxMetadataBytes)
	}
	return nil
}

// ValidateEmail reports whether email can become a user's: a bare address, and an identity.
//
// Errors: ErrProfile.
//
// Sources: RFC 5322 §3.4.1; [legible.CheckIdentity].
func ValidateEmail(email string) error {
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email {
		return ErrProfile.With("email is not an email address")
	}
	if err := legible.CheckIdentity("email", email, maxEmailBytes); err != nil {
		return ErrProfile.With("%v", err)
	}
	return nil
}

// Find returns the user with a login system's id.
//
// Errors: ErrUnknown, also for an id that can be nobody's.
func Find(tx *storage.Tx, id string) (*User, error) {
	if !mayBeID(id) {
		return nil, ErrUnknown
	}
	row, err := byID.Find(tx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	row.Record.UID = row.UID
	return row.Record, nil
}

// Get returns the user with a uid.
//
// Errors: ErrUnknown.
func Get(tx *storage.Tx, uid storage.UID) (*User, error) {
	u, err := users.Get(tx, uid, record)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	u.UID = uid
	return u, nil
}

// Create makes a user and returns the record. UID, Created and Updated are set.
//
// Errors: ErrID; ErrProfile; ErrExists, for the same id, or the same email in the same connection.
func Create(tx *storage.Tx, u User) (*User, error) {
	if err := u.validate(User{}); err != nil {
		return nil, err
	}
	u.UID = storage.NewUID()
	u.Created = tx.Now()
	u.Updated = tx.Now()
	if err := users.Insert(tx, u.UID, record, u.row()); err != nil {
		return nil, taken(err)
	}
	return &u, errors.Join(listNew(tx, &u), audit.EnsureKey(tx, u.UID))
}

// Delete removes a user with all her rows except evidence.
//
// Errors: ErrUnknown.
func Delete(tx *storage.Tx, uid storage.UID) error {
	if _, err := Get(tx, uid); err != nil {
		return err
	}
	if err := unlist(tx, uid); err != nil {
		return err
	}
	_, err := storage.Purge(tx, uid, false, storage.MFA, storage.Account)
	return err
}

// row is the record as it is stored.
func (u *User) row() *User {
	row := *u
	row.UID = storage.UID{}
	return &row
}

// taken returns ErrExists for an index entry that another user has, and else err.
func taken(err error) error {
	if errors.Is(err, storage.ErrUnique) {
		return ErrExists
	}
	return err
}

// Ensure returns the user with u.ID, and makes one from u when there is none. A user who is there is not changed.
//
// Errors: ErrID; ErrProfile.
func Ensure(tx *storage.Tx, u User) (*User, error) {
	found, err := Find(tx, u.ID)
	if errors.Is(err, ErrUnknown) {
		return Create(tx, u)
	}
	return found, err
}

// Change reads the user, lets change work on the record, and writes it. Neither UID, ID nor Turns can be changed.
//
// Errors: ErrUnknown; ErrProfile; ErrExists, for an email that another user of the connection has; those of change.
func Change(tx *storage.Tx, uid storage.UID, change func(*User) error) (*User, error) {
	u, err := Get(tx, uid)
	if err != nil {
		return nil, err
	}
	// change may not move the record: uid and id are put back.
	before := *u
	if err := change(u); err != nil {
		return nil, err
	}
	u.UID = uid
	u.ID = before.ID
	u.Turns = before.Turns
	if u.Role != before.Role || u.Blocked != before.Blocked {
		u.Turns++
	}
	u.Updated = tx.Now()
	if err := u.validate(before); err != nil {
		return nil, err
	}
	if err := users.Put(tx, uid, record, u.row()); err != nil {
		return nil, taken(err)
	}
	return u, errors.Join(relist(tx, &before, u), audit.EnsureKey(tx, uid))
}

// Merge sets the members of change in metadata; null removes one. Only the first level is merged.
func Merge(metadata, change map[string]any) map[string]any {
	merged := maps.Clone(metadata)
	if merged == nil {
		merged = make(map[string]any, len(change))
	}
	for key, value := range change {
		if value == nil {
			delete(merged, key)
		} else {
			merged[key] = value
		}
	}
	return merged
}
