package backup

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"tutela/device"
	"tutela/storage"
)

// Tracked is what an admin sees of a backup: its latest version, and where it comes from.
type Tracked struct {
	ID               string
	Generation       int64
	Size             int
	Items            int
	Provider         Provider
	AutomaticRestore bool // what the phone said with the latest version
	Created          time.Time
	Updated          time.Time // when the latest version was put
	Enrollment       string    // id of the one that writes to it, or did last
	Device           string    // that phone's name
	Orphaned         bool      // its installation is gone; its handle still restores it
	Deleted          time.Time // it can be undeleted until UndeleteFor after; zero: it is not deleted
}

// List returns a user's backups, oldest first.
func List(tx *storage.Tx, uid storage.UID) ([]Tracked, error) {
	all, err := backups.All(tx, uid)
	if err != nil {
		return nil, err
	}
	list := make([]Tracked, 0, len(all))
	for _, row := range all {
		t, err := track(tx, uid, row.Record)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Tracked) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return list, nil
}

func track(tx *storage.Tx, uid storage.UID, b *Backup) (Tracked, error) {
	v, err := b.Latest(tx, uid)
	if err != nil {
		return Tracked{}, err
	}
	t := Tracked{
		ID:               b.ID,
		Generation:       b.Generation,
		Size:             v.Size,
		Items:            v.Items,
		Provider:         v.Provider,
		AutomaticRestore: v.AutomaticRestore,
		Created:          b.Created,
		Updated:          v.Created,
		Enrollment:       v.Enrollment,
		Deleted:          b.Deleted,
	}
	// The phone that writes to the backup; for an orphan, the phone that wrote the latest version.
	e, err := Installation(tx, uid, b.ID)
	if err == nil && e == nil {
		t.Orphaned = !b.deleted()
		e, err = device.Get(tx, uid, v.Enrollment)
	}
	if errors.Is(err, device.ErrNoEnrollment) {
		return t, nil
	}
	if err == nil {
		t.Enrollment = e.ID
		t.Device = e.Name
	}
	return t, err
}
