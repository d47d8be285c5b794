// Package audit keeps the event log: what happened, when, to whom, by whom. An event holds words from fixed lists and,
// of a person, the uid: no address, no name, and no id of a phone or a backup, which a reset must leave nothing of.
// Those lie in its detail, a row of the user's. A reader gets both joined, until the user's rows are removed.
//
// An event's bytes are written once and never changed. A hash lies beside them, the leaf, so that the log can be proven
// later: see leaf.go and docs/events.md. What happens often is counted in one row for a while, which then becomes one
// event: see [Fold].
package audit

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// Type is what happened.
type Type string

// The types of events.
const (
	StartEnroll       Type = "gd_start_enroll"
	EnrollComplete    Type = "gd_enrollment_complete"
	UpdateDevice      Type = "gd_update_device_account"
	Unenroll          Type = "gd_unenroll"
	StartAuth         Type = "gd_start_auth"
	SendPush          Type = "gd_send_pn"
	SendPushFailure   Type = "gd_send_pn_failure"
	AuthSucceed       Type = "gd_auth_succeed"
	AuthFailed        Type = "gd_auth_failed"
	AuthRejected      Type = "gd_auth_rejected"
	OTPRateLimit      Type = "gd_otp_rate_limit_exceed"
	RecoverySucceed   Type = "gd_recovery_succeed"
	RecoveryFailed    Type = "gd_recovery_failed"
	RecoveryRateLimit Type = "gd_recovery_rate_limit_exceed"
	UserDelete        Type = "gd_user_delete"
	TenantUpdate      Type = "gd_tenant_update"
	ManagementCall    Type = "sapi"
	ManagementFailed  Type = "fapi"
	TokenGiven        Type = "seccft"
	TokenRefused      Type = "feccft"
	BackupPut         Type = "td_backup_put"
	BackupDeleted     Type = "td_backup_deleted"
	BackupHandle      Type = "td_backup_handle_changed"
	BackupUndeleted   Type = "td_backup_undeleted"
	RestoreStarted    Type = "td_restore_started"
	RestoreDone       Type = "td_restore_done"
	RestoreVetoed     Type = "td_restore_vetoed"
	RestoreAllowed    Type = "td_restore_allowed"
	RestoreGivenUp    Type = "td_restore_given_up"
	RestoreRepeated   Type = "td_restore_repeated"
	RestoreDisputed   Type = "td_restore_disputed"
	Reset             Type = "td_reset"
	PushMuted         Type = "td_push_muted"
	PushLost          Type = "td_push_lost"
	PushSetup         Type = "td_push_setup"
	PushWave          Type = "td_push_wave"
	TapApproval       Type = "td_tap_approval"
	ConcurrentLogin   Type = "td_concurrent_login"
	DeviceMoved       Type = "td_device_moved"
	ClientAdded       Type = "td_client_added"
	KeyRotated        Type = "td_key_rotated"
	CodeLost          Type = "td_code_lost"
	CallerChecked     Type = "td_caller_check"
	PasskeyChanged    Type = "td_passkey_changed"
	AdminLogin        Type = "td_admin_login"
	WebhookParked     Type = "td_webhook_parked"
	StreamDisabled    Type = "td_stream_disabled"
	CodeReplaced      Type = "td_code_replaced"
	OwnPageOpened     Type = "td_own_page_opened"
	NotMe             Type = "td_not_me"
)

// Damaged is the type under which a reader shows an event whose bytes cannot be read. No event is recorded with it.
const Damaged Type = "td_damaged"

// EveryType stands for all types of events in what a follower wants; see [OnRecord].
const EveryType Type = "*"

// Event is one line of the log.
type Event struct {
	V      int         `json:"v,omitempty"` // the form, see leaf.go; 0 for an event older than it
	ID     string      `json:"id"`          // digits that sort as time
	Type   Type        `json:"type"`
	Time   time.Time   `json:"time"`
	UID    storage.UID `json:"uid,omitzero"`     // to whom; none for what concerns the installation
	Client string      `json:"client,omitempty"` // the client's id
	By     string      `json:"by,omitempty"`     // who did it, when not the user: "operator:<uid>", "client:<id>", "user:<uid>"
	Facts  Facts       `json:"facts,omitempty"`  // words from fixed lists, and ids of what is nobody's or stays: a key, a policy, a receipt
	Folded Folded      `json:"folded,omitzero"`  // of a fold
	Digest string      `json:"digest,omitempty"` // of the detail, when there is one
}

// Detail is what an event says about a person. It is a row of the user's, and is removed with the user's other rows of
// its class. The detail of an event of the installation holds only who acted as the operator by sudo, and stays as long
// as the event.
type Detail struct {
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Device    string `json:"device,omitempty"` // the phone's name
	Text      string `json:"text,omitempty"`   // a reason, in somebody's words
	Sudo      string `json:"sudo,omitempty"`   // who acted as the operator by sudo; in no detail that a reset removes

	// Ids of what a reset removes.
	Enrollment string `json:"enrollment,omitempty"`
	Successor  string `json:"successor,omitempty"` // the enrollment that took its place
	Backup     string `json:"backup,omitempty"`

	Shown string `json:"shown,omitempty"` // base64url of the SHA-256 of the details of a login, as the phone was shown them
}

// Entry is an event as read, with its detail when that is still there.
type Entry struct {
	Event
	Detail Detail
	Damage string // what is wrong with it in the store, for people; empty when nothing is
}

var (
	events = storage.DeclareLog("event")
	// ofUser points from a user to the events about him. The value is the event's type; empty, from an earlier release.
	ofUser = storage.Declare(storage.Spec[[]byte]{
		Name:  "event",
		Class: storage.Evidence,
		Most:  MostEvents,
		Raw:   true,
	})
	// details hold the bytes of details, in JSON; the digest in the event is over them.
	details = storage.Declare(storage.Spec[[]byte]{
		Name:  "event_detail",
		Class: storage.MFA,
		Most:  MostEvents,
		Raw:   true,
	})
	// accountDetails are the details that outlive a reset.
	accountDetails = storage.Declare(storage.Spec[[]byte]{
		Name:  "event_account_detail",
		Class: storage.Account,
		Most:  MostEvents,
		Raw:   true,
	})
	// houseDetails are those of the installation's events, and go with them.
	houseDetails = storage.Declare(storage.Spec[[]byte]{Name: "event_detail_house", Class: storage.Settings, Raw: true})
)

// Record writes an event that actor has brought about, and its detail among the user's rows of class mfa. Record sets V,
// ID, Time, By and Digest; Client, unless the event is about a client; and the detail's IP and UserAgent.
//
// An event without UID concerns the installation. Its detail is of class settings and has Sudo alone, whatever d holds.
func Record(tx *storage.Tx, actor Actor, e Event, d Detail) error {
	if e.UID.IsZero() {
		return recordHouse(tx, actor, e)
	}
	return record(tx, actor.sign(e), actor.describe(d), details)
}

// RecordAccount is Record for a detail that outlives a reset: class account.
func RecordAccount(tx *storage.Tx, actor Actor, e Event, d Detail) error {
	if e.UID.IsZero() {
		return recordHouse(tx, actor, e)
	}
	d.Sudo = actor.sudo
	return record(tx, actor.sign(e), actor.describe(d), accountDetails)
}

// recordHouse writes an event of the installation. Where the call came from is not kept: no purge would ever remove it.
func recordHouse(tx *storage.Tx, actor Actor, e Event) error {
	return record(tx, actor.sign(e), Detail{Sudo: actor.sudo}, houseDetails)
}

func record(tx *storage.Tx, e Event, d Detail, in *storage.Table[[]byte]) error {
	if err := write(tx, events, e, d, in); err != nil {
		return fmt.Errorf("record %s: %w", e.Type, err)
	}
	return nil
}

// write writes an event into a log and its detail into a table. About a user there is a bound: see count.
func write(tx *storage.Tx, into storage.Log, e Event, d Detail, in *storage.Table[[]byte]) error {
	if into == events {
		tx.Count(eventsRecorded, string(e.Type))
	}
	if err := readAhead(tx, e.UID); err != nil {
		return err
	}
	e.ID = newID(tx)
	e.Time = tx.Now()
	err := writeUncounted(tx, into, e, d, in)
	if err == nil && !e.UID.IsZero() {
		err = count(tx, e.UID, into == passing)
	}
	if err == nil && into == events {
		err = tellFollowers(tx, e)
	}
	return err
}

// readAhead reads, in one round trip, the rows that recording any event needs.
func readAhead(tx *storage.Tx, uid storage.UID) error {
	if uid.IsZero() {
		return nil
	}
	return tx.ReadAhead(logKeys.Ref(uid, ""), counts.Ref(uid, theCount), following.Ref(storage.House, ""))
}

// writeUncounted writes an event that has its ID and Time.
func writeUncounted(tx *storage.Tx, into storage.Log, e Event, d Detail, in *storage.Table[[]byte]) error {
	e.V = formVersion
	// The detail comes first: the event holds its digest.
	var detail []byte
	var err error
	if d != (Detail{}) {
		if detail, err = encodeDetail(d, newSalt()); err != nil {
			return err
		}
		e.Digest = digestOf(detail)
	}
	event, err := json.Marshal(e)
	if err != nil {
		return err
	}
	format, opening, err := openingFor(tx, e)
	if err != nil {
		return err
	}
	// From here on the bytes are never encoded again.
	err = into.Append(tx, e.UID, e.ID, seal(format, opening, event))
	if err == nil && !e.UID.IsZero() {
		pointer := []byte(e.Type)
		err = ofUser.Add(tx, e.UID, e.ID, &pointer)
	}
	if err == nil && detail != nil {
		err = in.Add(tx, e.UID, e.ID, &detail)
	}
	return err
}

// newID makes an id of 25 digits: nanoseconds of Unix time, which no two events of one server share, then six random
// digits, so that the ids of two servers differ.
func newID(tx *storage.Tx) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails: see crypto/rand
	return fmt.Sprintf("%019d%06d", tx.Stamp(), binary.BigEndian.Uint32(random[:])%1_000_000)
}

// stampSlack is by how much the stamp in an event's id may be after its time.
const stampSlack = time.Second

// idAt is the smallest id of an instant.
func idAt(at time.Time) string { return fmt.Sprintf("%019d", max(at.UnixNano(), 0)) }

// timeOf is the instant that an id begins with; the zero time if s is not an id.
func timeOf(id string) time.Time {
	ns, err := strconv.ParseInt(id[:min(19, len(id))], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// validID reports whether s could be an event's id.
func validID(s string) bool {
	if len(s) != 25 {
		return false
	}
	_, err := strconv.ParseUint(s[:19], 10, 64)
	_, err2 := strconv.ParseUint(s[19:], 10, 64)
	return err == nil && err2 == nil
}
