package restore

import (
	"time"

	"tutela/storage"
)

// VetoedBackup is a backup of which nothing is restored, since one of the user's phones has said that it was not she.
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
