// Package boltfile reads a data file of bbolt by plain reads, and trusts nothing that it finds there.
//
// bbolt trusts every page that it reads through its memory map: a damaged file would end the process with a panic that
// nobody can recover. So a file is checked here before bbolt opens it. This package knows the format of the bbolt
// [Version] that go.mod names. Of tutela's content it knows only the name of the one bucket.
package boltfile

import (
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Version is the bbolt whose file format this package knows. A test compares it with go.mod.
const Version = "v1.5.0"

// Bucket is the name of the only bucket of a data file.
const Bucket = "tutela"

// GrowthBytes is by how much a file grows beyond its pages. Code that opens a file in bbolt must set DB.AllocSize to
// it, since [Newest] uses it to detect a truncated file.
const GrowthBytes = 16 << 20

// ErrForeign reports a file that tutela did not write.
var ErrForeign = errors.New("not written by tutela")

func foreign(format string, args ...any) error {
	return fmt.Errorf("%s (%w)", fmt.Sprintf(format, args...), ErrForeign)
}

// Flaw describes damage in a file that tutela wrote.
type Flaw struct{ message string }

// Error names the page and what is wrong with it.
func (e *Flaw) Error() string { return e.message }

func flaw(format string, args ...any) error { return &Flaw{fmt.Sprintf(format, args...)} }

// State is one committed state of a bbolt file: a meta page and its file.
type State struct {
	meta
	file io.ReaderAt
	size int64 // of file, in bytes
}

// Newest finds the state that bbolt would open in a file of size bytes.
//
// Errors: a [*Flaw]; one that wraps [ErrForeign]; those of reading.
func Newest(file io.ReaderAt, size int64) (*State, error) {
	if size == 0 {
		return nil, flaw("it is empty (0 bytes)")
	}
	found, err := readMetas(file, size)
	if err != nil {
		return nil, err
	}
	s := &State{meta: found, file: file, size: size}
	if s.high < 3 || s.high > uint64(1)<<48/uint64(s.pageSize) {
		return nil, flaw("its meta page speaks of %d pages", s.high)
	}
	if need := s.least(); size < need {
		return nil, flaw("it is truncated: %d bytes of at least %d", size, need)
	}
	return s, nil
}

// least is how many bytes the file must have at least.
//
// A file that was just made, copied or compacted ends with its last page. When bbolt first grows it, it becomes
// GrowthBytes longer than its pages, and never gets shorter again. A file of any other size was truncated. That counts
// as damage even when only free room is missing, since nobody should trust a file that was cut. (With a map smaller
// than GrowthBytes, the file is as long as the map: a power of two.)
func (s *State) least() int64 {
	pages := int64(s.high) * int64(s.pageSize)
	if s.size <= pages || s.size&(s.size-1) == 0 {
		return pages
	}
	return max(pages, GrowthBytes)
}

// Seen returns the state that tx sees. It is valid while tx is open.
func Seen(tx *bbolt.Tx, file io.ReaderAt) *State {
	root := tx.Cursor().Bucket()
	size := tx.DB().Info().PageSize
	return &State{
		meta: meta{
			pageSize: size,
			root:     uint64(root.Root()),
			sequence: root.Sequence(),
			freelist: noFreelist,
			high:     uint64(tx.Size()) / uint64(size),
			tx:       uint64(tx.ID()),
		},
		file: file,
		size: tx.Size(),
	}
}

// Tx is the number of the bbolt transaction that wrote the state.
func (s *State) Tx() uint64 { return s.tx }

// Pages is how many pages the state has, those that are free included; PageSize is how many bytes each has.
func (s *State) Pages() uint64 { return s.high }

// PageSize is the size of a page in bytes.
func (s *State) PageSize() int { return s.pageSize }
