package recovery

import (
	"errors"
	"time"

	"tutela/storage"
)

// AnswerLife is how long an answer that may have been lost on its way is kept, at most.
const AnswerLife = 15 * time.Minute

// Answer is an answer kept for a caller who asks again because the first was lost. Any rotation of the recovery
// code, reset, retirement, or first authenticated call of its enrollment erases it.
type Answer struct {
	Enrollment string    `json:"enrollment,omitempty"` // whose first call erases it
	Code       string    `json:"code,omitempty"`       // keyed hash of the code that it answered
	Body       []byte    `json:"body"`                 // sealed
	Expires    time.Time `json:"expires"`
}

var answers = storage.Declare(storage.Spec[Answer]{
	Name:    "answer",
	Class:   storage.MFA,
	Expires: func(a *Answer) time.Time { return a.Expires },
	Sealed:  func(a *Answer) []storage.Field { return []storage.Field{{Name: "body", Value: &a.Body}} },
})

// KeepAnswer keeps an answer under a key for life, at most AnswerLife.
func KeepAnswer(tx *storage.Tx, uid storage.UID, key string, a Answer, life time.Duration) error {
	a.Expires = tx.Now().Add(min(life, AnswerLife))
	return answers.Put(tx, uid, key, &a)
}

// KeptAnswer returns the answer that is kept under a key.
//
// Errors: storage.ErrNotFound.
func KeptAnswer(tx *storage.Tx, uid storage.UID, key string) (*Answer, error) {
	return answers.Get(tx, uid, key)
}

// ForgetAnswer erases the answer under a key.
func ForgetAnswer(tx *storage.Tx, uid storage.UID, key string) error {
	return answers.Delete(tx, uid, key)
}

// ForgetAnswersOf erases the answers of an enrollment: its first authenticated call shows that they arrived.
func ForgetAnswersOf(tx *storage.Tx, uid storage.UID, enrollment string) error {
	return forgetAnswers(tx, uid, func(a *Answer) bool { return a.Enrollment == enrollment })
}

// ForgetAnswers erases all answers of the user: a rotation of the code or the retirement of an enrollment does.
func ForgetAnswers(tx *storage.Tx, uid storage.UID) error {
	return forgetAnswers(tx, uid, func(*Answer) bool { return true })
}

// forgetAnswers erases those of the user's answers that which picks.
func forgetAnswers(tx *storage.Tx, uid storage.UID, which func(*Answer) bool) error {
	rows, err := answers.All(tx, uid)
	for _, row := range rows {
		if which(row.Record) {
			err = errors.Join(err, answers.Delete(tx, uid, row.Key))
		}
	}
	return err
}
