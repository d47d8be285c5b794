package device

import (
	"slices"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// Set holds a user's enrollments from one read, oldest first. Each of its methods picks the enrollments for one rule, and
// says which types and statuses those have.
type Set []*Enrollment

// All returns the user's enrollments of every type and status, retired ones included.
func All(tx *storage.Tx, uid storage.UID) (Set, error) {
	rows, err := enrollments.All(tx, uid)
	if err != nil {
		return nil, err
	}
	set := make(Set, 0, len(rows))
	for _, row := range rows {
		row.Record.lapse(tx.Now())
		set = append(set, row.Record)
	}
	slices.SortStableFunc(set, func(a, b *Enrollment) int { return a.Enrolled.Compare(b.Enrolled) })
	return set, nil
}

// Named returns how many authenticators of each kind the user has, retired ones included, by the names that people
// know.
func Named(tx *storage.Tx, uid storage.UID) (list []recovery.Named, err error) {
	set, err := All(tx, uid)
	for _, kind := range []struct {
		of   Type
		name string
	}{{TypePush, "phone"}, {TypeOTP, "code app"}, {TypeRoaming, "security key"}, {TypePlatform, "passkey"}} {
		named := recovery.Named{Name: kind.name}
		for _, e := range set {
			if e.Type == kind.of {
				named.N++
			}
		}
		if named.N > 0 {
			list = append(list, named)
		}
	}
	return list, err
}

// Active returns the enrollments in use, of every type, without those that have left. A user who has none may set up a phone
// with any ticket.
func (s Set) Active() Set {
	return s.where(func(e *Enrollment) bool { return e.Status == Active })
}

// Phones returns the user's phones, which approvals ask and notices tell: push enrollments that are active, or that have
// left and may come back.
func (s Set) Phones() Set {
	return s.where(func(e *Enrollment) bool { return e.Type == TypePush && e.Answers() })
}

// Shown returns the enrollments that admins see and act on: all that are not retired, of every type. A user who has one of
// them has not lost her last.
func (s Set) Shown() Set { return s.where((*Enrollment).shown) }

func (e *Enrollment) shown() bool { return e.Status != Retired }

// Kept returns the enrollments that are not retired, of every type. Their number has a bound.
func (s Set) Kept() Set {
	return s.where(func(e *Enrollment) bool { return e.Status != Retired })
}

// Installations returns the apps that are not retired, whose keys and phones are in use: push enrollments that are active
// or suspended, or that left and may come back.
func (s Set) Installations() Set {
	return s.where(func(e *Enrollment) bool { return e.Type == TypePush && e.Status != Retired })
}

// Only returns the enrollment with an id; all of them for "".
func (s Set) Only(id string) Set {
	return s.where(func(e *Enrollment) bool { return id == "" || e.ID == id })
}

// leftLongestAgo returns the enrollments that have left, the earliest first.
func (s Set) leftLongestAgo() Set {
	left := s.where(func(e *Enrollment) bool { return e.Status == Left })
	slices.SortStableFunc(left, func(a, b *Enrollment) int { return a.Changed.Compare(b.Changed) })
	return left
}

func (s Set) where(holds func(*Enrollment) bool) Set {
	var picked Set
	for _, e := range s {
		if holds(e) {
			picked = append(picked, e)
		}
	}
	return picked
}

// State derives the user's MFA state from her enrollments. tx is the transaction that has read them.
func (s Set) State(tx *storage.Tx, uid storage.UID) (user.State, error) {
	facts := user.Facts{
		Active:       slices.ContainsFunc(s, (*Enrollment).Answers),
		EverEnrolled: len(s) > 0,
	}
	var err error
	if !facts.EverEnrolled { // otherwise the code makes no difference
		facts.CodeIssued, err = recovery.CodeIssued(tx, uid)
	}
	return user.MFAState(facts), err
}

// State derives the user's MFA state.
func State(tx *storage.Tx, uid storage.UID) (user.State, error) {
	set, err := All(tx, uid)
	if err != nil {
		return "", err
	}
	return set.State(tx, uid)
}
