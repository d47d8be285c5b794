package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

// Inspect reads the data file at path without changing it, and reports whether a store can be opened on it: both meta
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
	_, _, err = inspect(context.Background(), path, f)
	return err
}

// inspect is Inspect on an open file. It returns the file's newest state, and which pages that uses.
func inspect(ctx context.Context, path string, f *os.File) (s *boltfile.State, used boltfile.Pages, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if s, err = boltfile.Newest(f, info.Size()); err == nil {
		used, err = s.Walk(ctx)
	}
	var flaw *boltfile.Flaw
	switch {
	case err == nil:
		return s, used, nil
	case errors.Is(err, boltfile.ErrForeign):
		return nil, nil, storage.ErrForeign.With("%s is no data file of tutela: %s", path, err)
	case errors.As(err, &flaw):
		return nil, nil, ErrDamaged.With("%s is damaged: %s; restore it from a backup with `tutela restore-db`", path, flaw)
	default:
		return nil, nil, fmt.Errorf("inspect %s: %w", path, err)
	}
}
