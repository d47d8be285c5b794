package recovery

import (
	"errors"

	"tutela/storage"
	"tutela/storage/audit"
)

// Holding is what is known of who holds a user's recovery code. The zero Holding is of a user without one that counts.
type Holding struct {
	Counts  bool `json:"counts"`   // there is a code, and it counts
	Arrived bool `json:"arrived"`  // the person has got it, as far as a server can know
	ByAdmin bool `json:"by_admin"` // an admin has made it, and has seen it
	Lost    bool `json:"lost"`     // it was declared lost
}

// ByNobody reports whether nobody may hold the code, so that it is to be replaced where a new one will be shown.
func (h Holding) ByNobody() bool { return !h.Counts || !h.Arrived || h.ByAdmin || h.Lost }

// HoldingOf returns what is known of the user's recovery code.
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

// Arrived notes that the user's recovery code has arrived: a page has shown it, an answer of a grant or an association has
// carried it, or she has practised it.
func Arrived(tx *storage.Tx, uid storage.UID) error {
	return arrived(tx, uid, func(*saved) bool { return true })
}

// Carried notes that the user's new code goes to the app of an enrollment, which shows it: the app's first authenticated
// call says that it has arrived.
func Carried(tx *storage.Tx, uid storage.UID, enrollment string) error {
	s, err := codeOf(tx, uid)
	if err != nil || s == nil || !s.Underway {
		return err
	}
	s.Carrier = enrollment
	return codes.Put(tx, uid, theCode, s)
}

// Called notes the first authenticated call of an enrollment's app. What went to it has arrived: the kept replies about it
// are erased, and a code that it was to show counts as arrived.
func Called(tx *storage.Tx, uid storage.UID, enrollment string) error {
	return errors.Join(
		forgetReplies(tx, uid, func(r *Reply) bool { return r.Enrollment == enrollment }),
		arrived(tx, uid, func(s *saved) bool { return s.Carrier == enrollment }))
}

// arrived notes that the user's code has arrived if it is one that which picks.
func arrived(tx *storage.Tx, uid storage.UID, which func(*saved) bool) error {
	s, err := codeOf(tx, uid)
	if err != nil || s == nil || !s.Underway || !which(s) {
		return err
	}
	s.Underway = false
	s.Carrier = ""
	return codes.Put(tx, uid, theCode, s)
}

// DeclareLost notes that nobody holds the user's recovery code any more, and tells her phones. It stays valid until the code
// that replaces it is issued: who says so may be wrong. For a user without a code, or of one that is declared lost already, it
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
