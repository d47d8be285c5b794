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

// Inspect checks, without changing it, whether the data file at path can be opened: both meta pages, and every page
// that can be reached from the newest one. It uses plain reads and so survives any file. It takes no lock: do not use
// it on the file of a running server.
//
// Errors, each one line for the operator: [storage.ErrForeign], [ErrDamaged] (which includes a truncated and an
// empty file), and those of the file system.
//
// What it cannot see: bbolt has a checksum for its meta pages only. So a changed byte within a value passes, and so
// does a page that has gone back to an older state.
func Inspect(path string) error {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	_, _, err = inspect(context.Background(), path, f)
	return err
}

// inspect is Inspect on an open file. It returns the file's newest state and the pages that this state uses.
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
		return nil, nil, storage.ErrForeign.With("%s is not a data file of tutela: %s", path, err)
	case errors.As(err, &flaw):
		return nil, nil, ErrDamaged.With("%s is damaged: %s; restore it from a backup with `tutela restore-db`", path, flaw)
	default:
		return nil, nil, fmt.Errorf("inspect %s: %w", path, err)
	}
}

// walk is s.Walk with a kernel read-ahead of the file. When it returns, nothing uses f any more.
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

// readAhead asks the kernel to read the whole file sequentially, until ctx ends. The walk reads pages in the order of
// keys, from all over the file, which takes a disk several times as long (BenchmarkOpen: cold). A file larger than half
// of the memory is not read ahead: its pages would be evicted before the walk needs them.
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
		// This is advice to the kernel: if it is ignored, the walk is only slower.
		err = raw.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, readAheadBytes, unix.FADV_WILLNEED) })
	}
}
