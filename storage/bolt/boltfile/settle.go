package boltfile

import (
	"fmt"
	"os"
)

// Settle makes certain which state a file of bbolt holds after the sync of a commit has failed: it writes both meta pages
// again, as they can be read, and syncs the file. Afterwards the newest state that can be read is on the disk.
//
// The kernel reports only once that a page could not be written, and then takes it for written, so a second sync proves
// nothing. But a page that is written again is also synced again. Only the meta page is in doubt: bbolt writes it after
// everything else of a commit has been synced.
//
// Errors: a [*Flaw]; one that wraps [ErrForeign]; those of the file, with the state as uncertain as before.
func Settle(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s, err := Newest(f, info.Size())
	if err != nil {
		return err
	}
	pages := make([]byte, 2*s.pageSize)
	if _, err := f.ReadAt(pages, 0); err != nil {
		return fmt.Errorf("read the meta pages: %w", err)
	}
	if err := writeSynced(f, pages, 0); err != nil {
		return fmt.Errorf("write the meta pages again: %w", err)
	}
	return nil
}
