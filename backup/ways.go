package backup

import (
	"time"

	"tutela/recovery/ways"
	"tutela/storage"
)

// putOn returns the day on which the backup was put last, or moved to the phone that puts it from then on; zero when it brings nothing
// back.
func (b *Backup) putOn() time.Time {
	if b == nil || b.deleted() {
		return time.Time{}
	}
	return ways.Day(b.Changed)
}

// PutOn returns the days on which the user's backups were put last, by their ids.
func PutOn(tx *storage.Tx, uid storage.UID) (map[string]time.Time, error) {
	rows, err := backups.All(tx, uid)
	days := make(map[string]time.Time, len(rows))
	for _, row := range rows {
		days[row.Key] = row.Record.putOn()
	}
	return days, err
}
