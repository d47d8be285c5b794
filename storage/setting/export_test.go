package setting

import (
	"maps"

	"tutela/storage"
)

// PutUnchecked stores a value as an earlier version may have.
func PutUnchecked(tx *storage.Tx, name, to string) error {
	return table.Put(tx, storage.House, name, &value{Value: to})
}

// Faults returns what Check says of declarations, and takes them back.
func Faults(declare func()) error {
	kept := maps.Clone(declared.byName)
	defer func() {
		declared.byName = kept
		declared.faults = nil
	}()
	declare()
	return Check()
}
