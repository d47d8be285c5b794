// Package boltfile reads a data file of bbolt by plain reads, and trusts nothing that it finds there.
//
// bbolt reads through a memory map and takes every page for whole: on a damaged file it ends the process, from a
// goroutine where nobody can catch it. So whatever has not been read here first is not shown to bbolt. This package
// knows the format of the bbolt [Version] that go.mod names, and nothing of what tutela keeps in the file but the name
// of its one bucket.
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

// GrowthBytes is how much longer than its pages a file becomes when it must grow. Who opens a file in bbolt sets
// DB.AllocSize to it: [Newest] tells by it whether a file was cut.
const GrowthBytes = 16 << 20

// ErrForeign is wrapped by what makes a file somebody else's.
var ErrForeign = errors.New("not written by tutela")

func foreign(format string, args ...any) error {
	return fmt.Errorf("%s (%w)", fmt.Sprintf(format, args...), ErrForeign)
}

// Flaw is what is wrong with a file that is, or was, tutela's.
type Flaw struct{ message string }

// Error names the page and what is wrong with it.
func (e *Flaw) Error() string { return e.message }

func flaw(format string, args ...any) error { return &Flaw{fmt.Sprintf(format, args...)} }

// State is one committed state of a bbolt file: what a meta page says, and the file that it speaks of.
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

// least is how many bytes the file must have at least: its pages, or one growth when it is longer than them.
//
// A file ends with its last page when it was just made, copied or compacted, until bbolt makes room for more: then
// it is GrowthBytes longer than its pages at that time, so of that size or more for ever. One that is neither was
// cut, also when nothing but free room is gone: whoever sees a cut file start would trust it. (With a map smaller
// than GrowthBytes, the file is as long as the map: a power of two.)
func (s *State) least() int64 {
	pages := int64(s.high) * int64(s.pageSize)
	if s.size <= pages || s.size&(s.size-1) == 0 {
		return pages
	}
	return max(pages, GrowthBytes)
}

// Seen returns the state that tx sees, of the file that it reads. It holds as long as tx is open.
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
