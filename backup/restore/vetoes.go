package restore

import (
	"errors"
	"slices"
	"time"

	"tutela/recovery"
	"tutela/storage"
)

// voice is one phone's part in a veto.
type voice struct {
	Enrollment string    `json:"enrollment"`
	Restores   []string  `json:"restores"` // ids, the latest last: namedKept at most
	At         time.Time `json:"at"`       // when the phone last vetoed; it counts for vetoLife from then
}

// The bounds of a veto's row. A user has no more phones at a time than voices are kept.
const (
	voicesKept = 50
	namedKept  = 8
)

// raise makes or renews the veto of a phone on a restore.
func raise(tx *storage.Tx, f row, enrollment string) error {
	v, err := vetoes.Get(tx, f.UID, f.Record.Backup)
	if errors.Is(err, storage.ErrNotFound) {
		v = &veto{}
	} else if err != nil {
		return err
	}
	v.At = tx.Now()
	mine := voice{Enrollment: enrollment}
	var others []voice
	for _, old := range v.By {
		switch {
		case old.Enrollment == enrollment:
			mine = old
		case tx.Now().Before(old.At.Add(vetoLife)):
			others = append(others, old)
		}
	}
	mine.At = tx.Now()
	mine.Restores = slices.DeleteFunc(mine.Restores, func(id string) bool { return id == f.Record.ID })
	mine.Restores = append(mine.Restores, f.Record.ID)
	mine.Restores = mine.Restores[max(0, len(mine.Restores)-namedKept):]
	others = append(others, mine)
	v.By = others[max(0, len(others)-voicesKept):]
	return vetoes.Put(tx, f.UID, f.Record.Backup, v)
}

// VetoedBy returns the ids of the restores that a phone's vetoes keep closed now. Suspending the phone lifts none: the
// admin who suspends a stolen phone sees them and decides.
func VetoedBy(tx *storage.Tx, uid storage.UID, enrollment string) ([]string, error) {
	rows, err := vetoes.All(tx, uid)
	var ids []string
	for _, row := range rows {
		for _, v := range row.Record.By {
			if v.Enrollment == enrollment && tx.Now().Before(v.At.Add(vetoLife)) {
				ids = append(ids, v.Restores...)
			}
		}
	}
	return ids, err
}

// LiftVetoes removes all vetoes on restores of the user, and wakes who waits. When there was one, every phone of hers is told,
// and of later starts anew.
func LiftVetoes(tx *storage.Tx, uid storage.UID) error {
	rows, err := vetoes.All(tx, uid)
	for _, row := range rows {
		err = errors.Join(err, vetoes.Delete(tx, uid, row.Key))
	}
	tx.Wake(uid)
	if err != nil || len(rows) == 0 {
		return err
	}
	return errors.Join(
		forgetTold(tx, uid),
		recovery.Notify(tx, uid, recovery.NoticePayload{Notice: recovery.NoticeVetoLifted}))
}

// forgetTold forgets which starts were announced to the user's phones.
func forgetTold(tx *storage.Tx, uid storage.UID) error {
	counts, err := startTable.All(tx, uid)
	for _, row := range counts {
		row.Record.Told = nil
		row.Record.Summed = time.Time{}
		err = errors.Join(err, startTable.Put(tx, uid, row.Key, row.Record))
	}
	if err != nil {
		return err
	}
	keys, err := namedKeys.All(tx, uid)
	for _, row := range keys {
		row.Record.Told = time.Time{}
		err = errors.Join(err, namedKeys.Put(tx, uid, row.Key, row.Record))
	}
	return err
}

// VetoedBackup is a backup that cannot be restored now, because one of the user's phones has vetoed a restore.
type VetoedBackup struct {
	Backup string
	Until  time.Time
}

// Vetoes returns the user's backups that are vetoed, in the order of their ids.
func Vetoes(tx *storage.Tx, uid storage.UID) ([]VetoedBackup, error) {
	rows, err := vetoes.All(tx, uid)
	if err != nil {
		return nil, err
	}
	list := make([]VetoedBackup, 0, len(rows))
	for _, row := range rows {
		list = append(list, VetoedBackup{Backup: row.Key, Until: row.Record.At.Add(vetoLife)})
	}
	return list, nil
}
