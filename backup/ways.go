package backup

import (
	"time"

	"tutela/recovery/ways"
	"tutela/storage"
)

// putOn returns the day of the backup's last put, or of its last move to another phone; zero when the backup cannot be
// restored.
func (b *Backup) putOn() time.Time {
	if b == nil || b.deleted() {
		return time.Time{}
	}
	return ways.Day(b.Changed)
}

// PutOn returns putOn for each of the user's backups, by their ids.
func PutOn(tx *storage.Tx, uid storage.UID) (map[string]time.Time, error) {
	rows, err := backups.All(tx, uid)
	days := make(map[string]time.Time, len(rows))
	for _, row := range rows {
		days[row.Key] = row.Record.putOn()
	}
	return days, err
}
