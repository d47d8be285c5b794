package boltfile

import (
	"context"
	"io"
)

// chunkPages is how many pages are copied between two looks at the context.
const chunkPages = 256

// CopyTo writes the state as a file in which the pages that are not in used are zeros, and returns its size.
//
// Errors: ctx's; those of reading and of w.
func (s *State) CopyTo(ctx context.Context, w io.Writer, used Pages) (n int64, err error) {
	buf := make([]byte, chunkPages*s.pageSize)
	for from := uint64(0); from < s.high; from += chunkPages {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		chunk := buf[:min(chunkPages, s.high-from)*uint64(s.pageSize)]
		if _, err := s.file.ReadAt(chunk, int64(from)*int64(s.pageSize)); err != nil {
			return n, err
		}
		for id := from; id < min(from+chunkPages, s.high); id++ {
			page := chunk[(id-from)*uint64(s.pageSize):][:s.pageSize]
			if !used.Has(id) {
				clear(page)
			}
			if id < 2 {
				s.encode(page, id)
			}
		}
		written, err := w.Write(chunk)
		n += int64(written)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
