package device

import (
	"errors"
	"slices"

	"tutela/storage"
)

// MostEnrollments and MostRetired bound the enrollments of a user: those that are not retired, and those that are.
const (
	MostEnrollments = maxEnrollments
	MostRetired     = 64
)

// forgetRetired removes all but the newest MostRetired of the retired enrollments. Those that stay show that their user
// is not new.
func forgetRetired(tx *storage.Tx, uid storage.UID) error {
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	retired := set.where(func(e *Enrollment) bool { return e.Status == Retired })
	slices.SortStableFunc(retired, func(a, b *Enrollment) int { return b.Changed.Compare(a.Changed) })
	for _, e := range retired[min(len(retired), MostRetired):] {
		err = errors.Join(err,
			enrollments.Delete(tx, uid, e.ID),
			histories.Delete(tx, uid, e.ID),
			losses.Delete(tx, uid, lossKey(e.ID, false)),
			losses.Delete(tx, uid, lossKey(e.ID, true)))
	}
	return err
}
