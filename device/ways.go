package device

import (
	"tutela/recovery/ways"
	"tutela/storage"
)

// goodFor returns what the enrollment can be used for when another one is lost. One that has left does not count as in
// use.
func (e *Enrollment) goodFor() ways.Device {
	switch {
	case e == nil, e.Status != Active:
		return ways.NotInUse
	case e.Type == TypePush:
		return ways.Phone
	case e.Survives():
		return ways.Survivor
	default:
		return ways.Bound
	}
}

// GoodFor returns, by id, what each of the user's enrollments in use can be used for when another one is lost.
func GoodFor(tx *storage.Tx, uid storage.UID) (map[string]ways.Device, error) {
	set, err := All(tx, uid)
	good := make(map[string]ways.Device, len(set))
	for _, e := range set.Active() {
		good[e.ID] = e.goodFor()
	}
	return good, err
}
