package bolt

import (
	"fmt"
	"math"
	"syscall"

	"tutela/storage"
)

// ReserveBytes is the room on the data file's disk that Compact and CopyTo leave to others. A server with less left says
// that it is not ready.
const ReserveBytes = 64 << 20

// ErrNoRoom reports that the data file's disk has no room for a second file. Nothing was changed.
var ErrNoRoom = storage.NewError(storage.Exhausted, "the disk has no room for a second data file")

// freeBytes returns how many bytes can still be written in the folder. A file system that reports no size, such as an
// unlimited tmpfs, counts as having room.
func freeBytes(folder string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return 0, fmt.Errorf("look at the room in %s: %w", folder, err)
	}
	if fs.Blocks == 0 {
		return math.MaxInt64, nil
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}

// roomFor returns an error unless need bytes can be written beside the data file with ReserveBytes left.
//
// Errors: [ErrNoRoom]; those of the file system.
func (e *Engine) roomFor(need int64) error {
	free, err := e.options.free(e.Folder())
	if err != nil {
		return err
	}
	if free < need+e.options.reserve {
		return ErrNoRoom.With("this needs %s on the disk of %s, and %s are free, of which %s stay free for others",
			mebibytes(need), e.path, mebibytes(free), mebibytes(e.options.reserve))
	}
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// liveBytes is the approximate size of a file with the same content and no free pages.
func (d *data) liveBytes() (int64, error) {
	tx, err := d.db.Begin(false)
	if err != nil {
		return 0, unavailable(err)
	}
	defer tx.Rollback() //nolint:errcheck // ends a read transaction, which cannot fail
	stats := d.db.Stats()
	return tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*int64(d.db.Info().PageSize), nil
}
