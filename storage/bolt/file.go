package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

// bucketName is the only bucket of a data file.
var bucketName = []byte(boltfile.Bucket)

const (
	// pageSize is fixed, so that a file is the same on machines whose memory pages are larger, and so that a commit
	// writes no more than a block of the file system for a row.
	pageSize = 4096

	// mapBytes is how much of the address space is set aside for the file (32-bit: 1 GiB). When a file outgrows its
	// map the writer waits for all readers, a backup included; this much is not outgrown by ten million users of
	// 6 KiB. It costs nothing: pages of the map exist only where the file does and was read.
	mapBytes = 1 << (30 + 6*(strconv.IntSize/64))

	// lockWait is how long another program's lock on the data file is waited for.
	lockWait = 100 * time.Millisecond

	// fileMode keeps the file to the user that runs the server.
	fileMode = 0o600
)

// The files that are built beside the data file: they are renamed over it when they are whole and synced, or removed.
const (
	newSuffix     = ".new"     // by Open, of an empty store; by Restore
	compactSuffix = ".compact" // by Compact
	copySuffix    = ".copy"    // by CopyTo, and removed before it is sent
)

// data is an open data file of bbolt.
type data struct {
	db  *bbolt.DB
	raw *os.File // bbolt's own handle, for plain reads; closed with db

	durable atomic.Int64 // the bbolt transaction that was synced last

	mu    sync.Mutex
	sync  chan struct{} // closed when the commit that is being synced has its outcome; nil when there is none
	stuck bool          // bbolt panicked and holds its own locks: closing it would wait for ever
}

// openOrCreate opens the data file at path, or makes one. The caller holds the lock of path.
func openOrCreate(ctx context.Context, path string, o Options) (*data, error) {
	err := checkFile(ctx, path, o)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, suffix := range []string{newSuffix, compactSuffix, copySuffix} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove what a crash left: %w", err)
		}
	}
	if err := removeMark(path); err != nil {
		return nil, err
	}
	if err != nil {
		if err := create(path, o); err != nil {
			return nil, err
		}
	}
	return openData(path)
}

// create makes a data file with an empty bucket at path: nothing is there before it is whole.
func create(path string, o Options) error {
	building := path + newSuffix
	err := buildEmpty(building)
	o.step("built")
	if err == nil {
		err = publish(building, path, o)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make a new data file: %w", err), removed(building))
	}
	return nil
}

// buildEmpty makes an empty data file that is only as long as its pages: it grows as it is written, not ahead
// (NoGrowSync), and its last sync also covers its length.
func buildEmpty(path string) error {
	d, err := openData(path)
	if err != nil {
		return err
	}
	d.db.NoGrowSync = true
	err = d.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucketName)
		return err
	})
	return errors.Join(err, d.close())
}

// publish renames a synced file to path, and makes the name durable.
func publish(building, path string, o Options) error {
	if err := os.Rename(building, path); err != nil {
		return err
	}
	o.step("renamed")
	return syncDir(path)
}

// syncDir makes the names in the folder of path durable.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// removed removes a file if it is there.
func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openData opens an intact or new file in bbolt, and syncs it: the process before may have been killed between a commit
// and its sync.
func openData(path string) (*data, error) {
	d := &data{}
	o := &bbolt.Options{
		Timeout:  lockWait,
		PageSize: pageSize,
		// The list of free pages is not written with each commit, but at a clean stop (keepFreelist), or from the
		// tree before the file is opened (checkFile). bbolt reads it when it opens the file.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			d.raw = f
			return f, err
		},
	}
	db, err := openMapped(path, o)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, ErrInUse.With("%s is in use by another program", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open data file %s: %w", path, err)
	}
	d.db = db
	db.AllocSize = boltfile.GrowthBytes
	if err := db.Sync(); err != nil {
		return nil, errors.Join(fmt.Errorf("sync data file %s: %w", path, err), db.Close())
	}
	d.durable.Store(d.newest())
	return d, nil
}

// openMapped opens the file with the largest memory map that the process may have (ulimit -v).
func openMapped(path string, o *bbolt.Options) (*bbolt.DB, error) {
	for size := mapBytes; ; size /= 4 {
		o.InitialMmapSize = size
		db, err := bbolt.Open(path, fileMode, o)
		if err == nil || size == 0 || !errors.Is(err, syscall.ENOMEM) {
			return db, err
		}
	}
}

// newest is the newest bbolt transaction that a reader would see, durable or not; -1 when there can be no reader.
func (d *data) newest() int64 {
	tx, err := d.db.Begin(false)
	if err != nil {
		return -1
	}
	id := tx.ID()
	if tx.Rollback() != nil {
		return -1
	}
	return int64(id)
}

// syncing marks that a commit has begun. The caller calls synced when the commit has succeeded or failed.
func (d *data) syncing() (synced func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := make(chan struct{})
	d.sync = done
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.sync = nil
		close(done)
	}
}

// settled waits until the bbolt transaction id is synced, or has failed. bbolt shows a commit to new readers as soon
// as its meta page is written, while the sync of that page is on its way: what a reader tells the world then could
// be gone after a power cut.
func (d *data) settled(ctx context.Context, id int) error {
	if int64(id) <= d.durable.Load() {
		return nil
	}
	d.mu.Lock()
	sync := d.sync
	d.mu.Unlock()
	if sync == nil {
		return nil
	}
	select {
	case <-sync:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveUp rolls back a failed write transaction, unless bbolt has done so itself.
func (d *data) giveUp(tx *bbolt.Tx) {
	if err := rollback(tx); err != nil && !errors.Is(err, berrors.ErrTxClosed) {
		d.mu.Lock()
		d.stuck = true
		d.mu.Unlock()
	}
}

// keepFreelist makes bbolt write the list of free pages, unless the last commit wrote it.
func (d *data) keepFreelist() error {
	if d.isStuck() {
		return errNotClean
	}
	info, err := d.raw.Stat()
	if err != nil {
		return err
	}
	if s, err := boltfile.Newest(d.raw, info.Size()); err != nil || s.HasFreelist() {
		return err
	}
	d.db.NoFreelistSync = false
	return d.db.Update(func(*bbolt.Tx) error { return nil })
}

// close waits for the readers and closes the file.
func (d *data) close() error {
	if d.isStuck() {
		return nil // the process's end closes it
	}
	return d.db.Close()
}

func (d *data) isStuck() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stuck
}

// checkFile makes sure that bbolt can open the file at path, that this process may write it, and that no other program
// has it open. When there is no file it returns fs.ErrNotExist.
//
// A file that has not changed since its clean stop is trusted. Any other file is checked as [Inspect] does. Its list of
// free pages is written then, since bbolt would otherwise read the whole file once more.
func checkFile(ctx context.Context, path string, o Options) error {
	f, err := openRegular(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // what was written to it is synced
	// bbolt takes the same lock; it is free again when f is closed.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return ErrInUse.With("%s is in use by another program", path)
	}
	if cleanlyStopped(path, f) {
		return nil
	}
	o.step("walk")
	state, used, err := inspect(ctx, path, f)
	if err != nil || state.HasFreelist() {
		return err
	}
	if err := state.KeepFreelist(f, used); err != nil {
		o.Logger.Warn("the start takes longer: the free pages of the data file cannot be written down", "err", err)
	}
	return nil
}

// openRegular opens a regular file; it refuses folders, pipes and devices.
func openRegular(path string, flag int) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, storage.ErrForeign.With("%s is not a file but %s", path, kind(info.Mode()))
	}
	return os.OpenFile(path, flag, 0)
}

func kind(m fs.FileMode) string {
	if m.IsDir() {
		return "a folder"
	}
	return "a device, pipe or socket"
}
