package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

// Inspect reads the data file at path without changing it, and tells whether a store can be opened on it: both meta
// pages, and every page that can be reached from the newest one. It reads by plain reads, and so survives any file.
// It does not lock: the file must not be a running server's.
//
// Errors, each one line for the operator: [storage.ErrForeign], [ErrDamaged] (which includes a truncated and an
// empty file), and those of the file system.
//
// What it cannot see: bbolt keeps no checksum but that of its meta page, so a changed byte within a value passes,
// and so does a page that went back to an older state of itself.
func Inspect(path string) error {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	return inspect(context.Background(), path, f)
}

// inspect is Inspect on an open file.
func inspect(ctx context.Context, path string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s, err := boltfile.Newest(f, info.Size())
	if err == nil {
		_, err = s.Walk(ctx)
	}
	var flaw *boltfile.Flaw
	switch {
	case err == nil:
		return nil
	case errors.Is(err, boltfile.ErrForeign):
		return storage.ErrForeign.With("%s is no data file of tutela: %s", path, err)
	case errors.As(err, &flaw):
		return ErrDamaged.With("%s is damaged: %s; restore it from a backup with `tutela restore-db`", path, flaw)
	default:
		return fmt.Errorf("inspect %s: %w", path, err)
	}
}
