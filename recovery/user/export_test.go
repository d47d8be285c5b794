package user

import (
	"errors"

	"tutela/storage"
)

// Unlist leaves a user in no list and uncounted, as an earlier release made them.
func Unlist(tx *storage.Tx, uid storage.UID) error {
	return errors.Join(
		unlist(tx, uid),
		listedOf.Delete(tx, uid, record),
		builtIndexes.Delete(tx, storage.House, lists))
}
