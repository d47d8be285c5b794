package recovery

import (
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

// Notice is the kind of outbox entry that informs a user's phones and asks nothing. Package device sends it to each phone.
var Notice = outbox.Declare[NoticePayload]("notice", storage.MFA)

// NoticePayload is the payload of a Notice.
type NoticePayload struct {
	Notice     NoticeWord `json:"notice"`
	Restore    string     `json:"restore,omitempty"`    // the restore's id
	Enrollment string     `json:"enrollment,omitempty"` // only this one is told, though it may be retired; else all active ones
	Address    string     `json:"address,omitempty"`    // it is told where it was reached before: a key of package device's
	About      string     `json:"about,omitempty"`      // the enrollment that the notice names; it is not told itself
}

// NoticeWord says what has happened. Apps know these words and ignore others.
type NoticeWord string

// The words of notices.
const (
	NoticeCodeChanged      NoticeWord = "code_changed"       // the recovery code was replaced
	NoticeCodeGuessed      NoticeWord = "code_guessed"       // ten wrong recovery codes were tried in a row
	NoticeDeviceAdded      NoticeWord = "device_added"       // another phone has enrolled
	NoticePushTokenChanged NoticeWord = "push_token_changed" // the phone's push token or identifier was changed
	NoticeReplaced         NoticeWord = "replaced"           // the same phone, or its key, has enrolled anew
	NoticeRestored         NoticeWord = "restored"           // another phone has taken over
	NoticeRestoreStarted   NoticeWord = "restore_started"    // another phone wants to take over
)

// noticeLife is how long a notice is worth delivering.
const noticeLife = 24 * time.Hour

// Notify queues a notice to the user's phones.
func Notify(tx *storage.Tx, uid storage.UID, notice NoticePayload) error {
	return NotifyThrough(tx, uid, "", notice)
}

// NotifyThrough is Notify for a notice to one phone, which the push service named service reaches. So a service that does
// not answer delays only its own phones.
func NotifyThrough(tx *storage.Tx, uid storage.UID, service string, notice NoticePayload) error {
	return Notice.AddTo(tx, uid, service, notice, tx.Now().Add(noticeLife))
}
