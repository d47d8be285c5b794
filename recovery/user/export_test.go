package user

import (
	"errors"

	"tutela/storage"
)

// ForgetWords leaves a user without words, as an earlier release made them.
func ForgetWords(tx *storage.Tx, uid storage.UID) error {
	return errors.Join(wordsOf.Delete(tx, uid, record), builtIndexes.Delete(tx, storage.House, wordIndex))
}
