package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

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
		used, err = walk(ctx, s, f, info.Size())
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

// walk is s.Walk on a file that the kernel is asked for beforehand. Nothing uses f any more when it returns.
func walk(ctx context.Context, s *boltfile.State, f *os.File, size int64) (used boltfile.Pages, err error) {
	walking, walked := context.WithCancel(ctx)
	var ahead sync.WaitGroup
	ahead.Go(func() { readAhead(walking, f, size) })
	defer ahead.Wait()
	defer walked()
	return s.Walk(ctx)
}

// readAheadBytes is how much the kernel is asked for at a time. It takes no more than that from one call.
const readAheadBytes = 1 << 20

// readAhead asks the kernel for the whole file in its order, until ctx ends. The walk reads the tree in the order of
// keys, page by page from all over the file, which takes a disk several times as long (BenchmarkOpen: cold). A file that
// would fill half of the memory is left alone: its pages would be gone again before the walk comes to them.
func readAhead(ctx context.Context, f *os.File, size int64) {
	var memory unix.Sysinfo_t
	if unix.Sysinfo(&memory) != nil || uint64(size) > uint64(memory.Totalram)*uint64(memory.Unit)/2 { //nolint:unconvert // 32 bits on machines of 32
		return
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	for off := int64(0); off < size && ctx.Err() == nil && err == nil; off += readAheadBytes {
		// It is advice: where it is not taken the walk is slower.
		err = raw.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, readAheadBytes, unix.FADV_WILLNEED) })
	}
}
