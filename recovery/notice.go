package recovery

import (
	"errors"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

// Notice is the kind of outbox entry that informs a user's phones and asks nothing. Package device sends it to each phone.
var Notice = outbox.Declare[NoticePayload]("notice", storage.MFA)

// NoticePayload is the payload of a Notice.
type NoticePayload struct {
	Notice     NoticeWord    `json:"notice"`
	At         time.Time     `json:"at,omitzero"`          // Notify sets it: no two notices of a user have the same
	Restore    string        `json:"restore,omitempty"`    // id of the restore; for a replaced phone the id by which it disputes that
	Enrollment string        `json:"enrollment,omitempty"` // the only enrollment that gets it, even when retired; empty: all active ones
	Route      string        `json:"route,omitempty"`      // which of its push addresses: a word of package device's; "": all
	Address    string        `json:"address,omitempty"`    // the former push address to tell: a key of package device's
	About      string        `json:"about,omitempty"`      // the enrollment that the notice is about; that one does not get it
	Life       time.Duration `json:"-"`                    // how long its row is kept; 0: NoticeLife
}

// NoticeWord says what has happened. Apps know these words, and show the text of others.
type NoticeWord string

// The words of notices. Each has its text below.
const (
	NoticeCapabilitiesChanged NoticeWord = "capabilities_changed"  // the phone's app has given up what it could
	NoticeHandleChanged       NoticeWord = "backup_handle_changed" // the backup has another restore handle
	NoticeCodeChanged         NoticeWord = "code_changed"          // the recovery code was replaced
	NoticeCodeGuessed         NoticeWord = "code_guessed"          // ten wrong recovery codes were tried in a row
	NoticeCodeLost            NoticeWord = "code_lost"             // the recovery code was declared lost
	NoticeCodeRemoved         NoticeWord = "code_removed"          // an admin has taken the recovery code away
	NoticeDeviceAdded         NoticeWord = "device_added"          // another phone has enrolled
	NoticeDisowned            NoticeWord = "disowned"              // the phone was suspended: its user has said that it is not hers
	NoticeEmailChanged        NoticeWord = "email_changed"         // an admin has changed the user's email address
	NoticeDeviceRemoved       NoticeWord = "device_removed"        // one of the user's phones was removed, by somebody who had just proven a factor
	NoticeLeft                NoticeWord = "left"                  // the phone's enrollment was deleted by its device token alone
	NoticeNotMe               NoticeWord = "not_me"                // somebody has said on the user's own page that something was not she
	NoticeOTPGuessed          NoticeWord = "otp_guessed"           // ten, or a hundred, wrong one-time codes were tried in a row
	NoticePasskeyAdded        NoticeWord = "passkey_added"         // a passkey has enrolled
	NoticePasskeyCopied       NoticeWord = "passkey_copied"        // a passkey's count did not advance: there may be a copy of it
	NoticePushTokenChanged    NoticeWord = "push_token_changed"    // the phone's push token or identifier was changed
	NoticeReplaced            NoticeWord = "replaced"              // the same phone, or its key, has enrolled again, or a ticket has replaced it
	NoticeRestored            NoticeWord = "restored"              // another phone has taken over
	NoticeRestoreDisputed     NoticeWord = "restore_disputed"      // the phone that was retired says that it was not its person
	NoticeRestoreStarted      NoticeWord = "restore_started"       // another phone wants to take over
	NoticeTest                NoticeWord = "test"                  // an admin tests whether a message reaches the phone; it is not stored
	NoticeVetoLifted          NoticeWord = "veto_lifted"           // an admin has ended a veto on a restore
	NoticeVouched             NoticeWord = "vouched"               // a phone that was suspended as not hers is back, by a login with the recovery code
)

// noticeTexts holds the sentences that an app shows when it does not know the word, of at most 120 characters each.
var noticeTexts = map[NoticeWord]string{
	NoticeCapabilitiesChanged: "What the app on this phone can do was changed. Was it not you? Open this app, and tell an admin.",
	NoticeCodeChanged:         "Your recovery code was replaced. Was it not you? Tell an admin.",
	NoticeCodeGuessed:         "Somebody has tried ten wrong recovery codes for your account. Your code still works.",
	NoticeCodeLost:            "Your recovery code was reported as lost. It works until you get another. Was it not you? Tell an admin.",
	NoticeCodeRemoved:         "An admin has taken your recovery code away: it opens nothing any more. Did you not ask for that? Tell an admin.",
	NoticeDeviceAdded:         "Another phone was added to your account. Was it not you? Tell an admin.",
	NoticeDisowned:            "This phone was stopped: somebody says it is not yours. Is it? Log in with your recovery code.",
	NoticeEmailChanged:        "The email address of your account was changed by an admin. Did you not ask for that? Tell an admin.",
	NoticeDeviceRemoved:       "One of your phones was taken off your account. Was it not you? Tell an admin.",
	NoticeLeft:                "This phone was taken off your account. Was it not you? Open this app within 7 days: that keeps the phone.",
	NoticeNotMe:               "Somebody has said on your own page that something was not you. Was that not you either? Tell an admin.",
	NoticeOTPGuessed:          "Many wrong one-time codes were tried for your account. Was it not you? Change your password, and tell an admin.",
	NoticePasskeyAdded:        "A passkey was added to your account. Was it not you? Tell an admin.",
	NoticePasskeyCopied:       "A passkey of yours was used in a way that a copy of it would be. Was it not you? Tell an admin.",
	NoticePushTokenChanged:    "Where this phone gets its messages was changed. Was it not you? Open this app, and tell an admin.",
	NoticeHandleChanged:       "The backup of one of your phones has a new restore handle. Was it not you? Tell an admin.",
	NoticeReplaced:            "This phone is no longer enrolled: it enrolled again, or another took its place. Was it not you? Tell an admin.",
	NoticeRestored:            "Another phone has taken over with your recovery code. Was it not you? Tell an admin at once.",
	NoticeRestoreDisputed:     "The phone that was replaced says that the new one is not yours. Is that so? Tell an admin at once.",
	NoticeRestoreStarted:      "Another phone wants to take over from one of yours. Is it not you? Open this app and stop it.",
	NoticeTest:                "A test: an admin tries whether messages reach this phone. There is nothing to do.",
	NoticeVetoLifted:          "An admin has allowed a restore that was stopped. Did you not ask for that? Tell an admin.",
	NoticeVouched:             "A phone that was stopped counts again: you logged in with your recovery code. Was it not you? Tell an admin.",
}

// Text returns the word as a sentence for people, of at most 120 characters.
func (w NoticeWord) Text() string { return noticeTexts[w] }

// pushLife is how long a notice is worth pushing.
const pushLife = 24 * time.Hour

// Notify writes a notice down for the user's phones, wakes those that wait for one, and queues its pushes.
func Notify(tx *storage.Tx, uid storage.UID, notice NoticePayload) error {
	return NotifyThrough(tx, uid, "", notice)
}

// NotifyThrough is Notify for one phone. service names the push service that reaches it, so that a service that does
// not answer delays only its own phones.
func NotifyThrough(tx *storage.Tx, uid storage.UID, service string, notice NoticePayload) error {
	told, err := WriteNotice(tx, uid, notice)
	return errors.Join(err, PushNotice(tx, uid, service, told))
}

// PushNotice queues the push of a notice that was written before.
func PushNotice(tx *storage.Tx, uid storage.UID, service string, told NoticePayload) error {
	return Notice.AddTo(tx, uid, service, told, tx.Now().Add(pushLife))
}
