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

// Besides the newest versions, a backup keeps the newest version of each of these days and weeks. So a broken app, or a
// thief of the phone's key, cannot displace all good versions within an hour.
const (
	keepDays  = 7
	keepWeeks = 4
	day       = 24 * time.Hour
)

// MostGenerations bounds the kept generations of all backups of a user together, because a reset removes them in one step.
// The latest of each backup is always kept.
const MostGenerations = 120

// superfluous returns the versions of a backup that are no longer kept. list is oldest first. It keeps the newest versions, and
// of the earlier ones the newest of each of the last seven days and of each of the last four weeks. Days and weeks are in
// UTC and include the present one; a week begins on Monday.
func superfluous(list []*Version, newest int, now time.Time) (gone []*Version) {
	days := make(map[time.Time]bool, keepDays)
	weeks := make(map[time.Time]bool, keepWeeks)
	today := now.UTC().Truncate(day)
	thisWeek := weekOf(today)
	for i := len(list) - 1 - newest; i >= 0; i-- {
		on := list[i].Created.UTC().Truncate(day)
		week := weekOf(on)
		ofDay := today.Sub(on) < keepDays*day && !days[on]
		ofWeek := thisWeek.Sub(week) < keepWeeks*7*day && !weeks[week]
		days[on] = true
		weeks[week] = true
		if !ofDay && !ofWeek {
			gone = append(gone, list[i])
		}
	}
	return gone
}

// weekOf returns the Monday of a day's week.
func weekOf(on time.Time) time.Time {
	return on.AddDate(0, 0, -(int(on.Weekday())+6)%7)
}

// thin removes the versions that are no longer kept.
func (b *Backup) thin(tx *storage.Tx, uid storage.UID, newest int) error {
	list, err := b.kept(tx, uid)
	if err != nil {
		return err
	}
	return errors.Join(
		b.remove(tx, uid, superfluous(list, newest, tx.Now())),
		boundGenerations(tx, uid))
}

// boundGenerations removes generations beyond MostGenerations. It takes the oldest of the backup with the most generations, so a
// thief of one phone's key pushes out none of another phone's.
func boundGenerations(tx *storage.Tx, uid storage.UID) error {
	total := 0
	of := make(map[string][]string) // the keys of a backup's versions, oldest first
	err := versions.Keys(tx, uid, "", func(key string) bool {
		total++
		id := key[:len(key)-generationBytes]
		of[id] = append(of[id], key)
		return true
	})
	for ; err == nil && total > MostGenerations; total-- {
		most := ""
		for id, keys := range of {
			if len(keys) > len(of[most]) || len(keys) == len(of[most]) && id < most {
				most = id
			}
		}
		if len(of[most]) <= 1 {
			break
		}
		oldest := of[most][0]
		of[most] = of[most][1:]
		err = errors.Join(versions.Delete(tx, uid, oldest), chunks.DeletePrefixed(tx, uid, oldest))
	}
	return err
}

// MostOrphans is how many backups a user can have to which none of her phones writes. She can have as many deleted ones.
const MostOrphans = 4

// MostBackups is how many backups a user has at most: one for each enrollment, plus orphaned and deleted ones. When
// many enrollments retire at once there may be more than MostOrphans orphans until the next backup begins, but then
// there are as many enrollments less.
const MostBackups = device.MostEnrollments + 2*MostOrphans

// boundOrphans removes orphaned backups beyond the newest MostOrphans. A person whose phone is gone needs the newest.
func boundOrphans(tx *storage.Tx, uid storage.UID) error {
	all, err := backups.All(tx, uid)
	if err != nil || len(all) <= MostOrphans {
		return err
	}
	// Find the orphans, and drop all but the newest of them.
	var orphans []*Backup
	for _, row := range all {
		if row.Record.deleted() {
			continue
		}
		e, err := Installation(tx, uid, row.Record.ID)
		if err != nil {
			return err
		}
		if e == nil {
			orphans = append(orphans, row.Record)
		}
	}
	slices.SortFunc(orphans, func(a, b *Backup) int {
		return cmp.Or(b.Changed.Compare(a.Changed), strings.Compare(a.ID, b.ID))
	})
	for _, b := range orphans[min(len(orphans), MostOrphans):] {
		err = errors.Join(err, b.drop(tx, uid))
	}
	return err
}

// drop removes the backup with all its versions.
func (b *Backup) drop(tx *storage.Tx, uid storage.UID) error {
	return errors.Join(
		dropVersions(tx, uid, b.ID),
		freshHandles.Delete(tx, uid, b.ID),
		backups.Delete(tx, uid, b.ID))
}

// dropVersions removes all versions of a backup. It does not read them, so it also removes a damaged one.
func dropVersions(tx *storage.Tx, uid storage.UID, id string) error {
	return errors.Join(
		versions.DeletePrefixed(tx, uid, id),
		chunks.DeletePrefixed(tx, uid, id))
}
