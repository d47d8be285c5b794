package recovery

import (
	"errors"

	"tutela/storage"
	"tutela/storage/audit"
)

// Holding says what is known about who holds a user's recovery code. It is zero for a user without a valid code.
type Holding struct {
	Counts  bool `json:"counts"`   // the user has a valid code
	Arrived bool `json:"arrived"`  // the person has received it, as far as a server can know
	ByAdmin bool `json:"by_admin"` // an admin has made it, and has seen it
	Lost    bool `json:"lost"`     // it was declared lost
}

// ByNobody reports whether perhaps nobody but an admin holds the code. Then it is replaced where a new one will be shown.
func (h Holding) ByNobody() bool { return !h.Counts || !h.Arrived || h.ByAdmin || h.Lost }

// HoldingOf returns what is known about the user's recovery code.
func HoldingOf(tx *storage.Tx, uid storage.UID) (Holding, error) {
	s, err := codeOf(tx, uid)
	if err != nil || !s.valid(tx.Now()) {
		return Holding{}, err
	}
	return Holding{
		Counts:  true,
		Arrived: !s.Underway,
		ByAdmin: s.AdminIssued,
		Lost:    !s.Lost.IsZero(),
	}, nil
}

// Arrived notes that the user has received her recovery code: a page has shown it, the answer to a grant or an association has
// brought it, or she has practised it.
func Arrived(tx *storage.Tx, uid storage.UID) error {
	return arrived(tx, uid, func(*saved) bool { return true })
}

// Carried notes that the user's new code goes to the app of an enrollment, which shows it. The code counts as arrived with the
// app's first authenticated call.
func Carried(tx *storage.Tx, uid storage.UID, enrollment string) error {
	s, err := codeOf(tx, uid)
	if err != nil || s == nil || !s.Underway {
		return err
	}
	s.Carrier = enrollment
	return codes.Put(tx, uid, theCode, s)
}

// Called notes the first authenticated call of an enrollment's app, which has received what was sent to it. So Called erases the
// kept replies about the enrollment, and a code that the app was to show counts as arrived.
func Called(tx *storage.Tx, uid storage.UID, enrollment string) error {
	return errors.Join(
		forgetReplies(tx, uid, func(r *Reply) bool { return r.Enrollment == enrollment }),
		arrived(tx, uid, func(s *saved) bool { return s.Carrier == enrollment }))
}

// arrived notes that the user's code has arrived, if which is true for it.
func arrived(tx *storage.Tx, uid storage.UID, which func(*saved) bool) error {
	s, err := codeOf(tx, uid)
	if err != nil || s == nil || !s.Underway || !which(s) {
		return err
	}
	s.Underway = false
	s.Carrier = ""
	return codes.Put(tx, uid, theCode, s)
}

// DeclareLost notes that the user's recovery code is lost, and tells her phones. The code stays valid until another is issued,
// because the person who says so may be wrong. For a user without a code, or with a code that was declared lost before, it
// does nothing.
func DeclareLost(tx *storage.Tx, uid storage.UID, actor audit.Actor, detail audit.Detail) error {
	s, err := codeOf(tx, uid)
	if err != nil || !s.valid(tx.Now()) || !s.Lost.IsZero() {
		return err
	}
	s.Lost = tx.Now()
	return errors.Join(
		codes.Put(tx, uid, theCode, s),
		Notify(tx, uid, NoticePayload{Notice: NoticeCodeLost}),
		audit.Record(tx, actor, audit.Event{Type: audit.CodeLost, UID: uid}, detail))
}
