package recovery

import (
	"errors"
	"time"

	"tutela/storage"
)

// ReplyLife is how long a reply is kept at most, in case it was lost on its way.
const ReplyLife = 15 * time.Minute

// Reply is the answer to a call, kept for a caller who asks again because the first was lost. Any rotation of the
// recovery code, reset, retirement, suspension, or first authenticated call of its enrollment erases it.
type Reply struct {
	Enrollment string    `json:"enrollment,omitempty"` // id of the one whose first call erases it
	Code       string    `json:"code,omitempty"`       // keyed hash of the code that the call redeemed
	Body       []byte    `json:"body"`                 // sealed
	Expires    time.Time `json:"expires"`
}

// mostReplies bounds the replies that are kept for a user: those of her logins, of at most a dozen a minute, and of her
// enrolments.
const mostReplies = 256

var replies = storage.Declare(storage.Spec[Reply]{
	Name:    "answer",
	Class:   storage.MFA,
	Most:    mostReplies,
	Expires: func(r *Reply) time.Time { return r.Expires },
	Sealed:  func(r *Reply) []storage.Field { return []storage.Field{{Name: "body", Value: &r.Body}} },
})

// KeepReply keeps a reply under a key for life, at most ReplyLife.
func KeepReply(tx *storage.Tx, uid storage.UID, key string, r Reply, life time.Duration) error {
	r.Expires = tx.Now().Add(min(life, ReplyLife))
	return replies.Put(tx, uid, key, &r)
}

// KeptReply returns the reply that is kept under a key.
//
// Errors: storage.ErrNotFound.
func KeptReply(tx *storage.Tx, uid storage.UID, key string) (*Reply, error) {
	return replies.Get(tx, uid, key)
}

// ForgetReply erases the reply under a key.
func ForgetReply(tx *storage.Tx, uid storage.UID, key string) error {
	return replies.Delete(tx, uid, key)
}

// ForgetReplies erases all replies that are kept for the user. Callers use it when the code is replaced or an enrollment is
// retired.
func ForgetReplies(tx *storage.Tx, uid storage.UID) error {
	return forgetReplies(tx, uid, func(*Reply) bool { return true })
}

// ForgetRepliesOf erases the replies kept about a suspended enrollment, so that whoever has its phone cannot get them
// again.
func ForgetRepliesOf(tx *storage.Tx, uid storage.UID, enrollment string) error {
	return forgetReplies(tx, uid, func(r *Reply) bool { return r.Enrollment == enrollment })
}

// forgetReplies erases the user's replies for which which is true.
func forgetReplies(tx *storage.Tx, uid storage.UID, which func(*Reply) bool) error {
	rows, err := replies.All(tx, uid)
	for _, row := range rows {
		if which(row.Record) {
			err = errors.Join(err, replies.Delete(tx, uid, row.Key))
		}
	}
	return err
}
