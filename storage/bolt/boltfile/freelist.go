package boltfile

import (
	"context"
	"fmt"
	"os"
)

// manyFree in the page's header means that the count did not fit there: it then stands before the list.
const manyFree = 0xffff

// freelistPage reads the list of free pages, if the file keeps one: bbolt writes it at a clean stop, and its tools do.
func (w *walker) freelistPage() (free []uint64, err error) {
	if w.freelist == noFreelist {
		return nil, nil
	}
	p, err := w.page(w.freelist, make([]byte, w.pageSize))
	if err != nil {
		return nil, err
	}
	if p.flags != freelistFlag {
		return nil, flaw("page %d: type %#x where the list of free pages should be", p.id, p.flags)
	}
	// A long list has its count before the list instead of in the header.
	at := pageHeaderSize
	count := int64(p.count)
	if count == manyFree {
		head, err := p.bytes(at, 8)
		if err != nil {
			return nil, err
		}
		at += 8
		count = int64(min(order.Uint64(head), w.high))
	}
	list, err := p.bytes(at, int(count)*8)
	if err != nil {
		return nil, err
	}
	for ; len(list) > 0; list = list[8:] {
		free = append(free, order.Uint64(list))
	}
	return free, nil
}

// freePages checks that each page that is listed as free exists, is listed once, and is not in use.
func (w *walker) freePages(free []uint64) error {
	if len(free) == 0 {
		return nil
	}
	listed := newPages(w.high)
	for _, id := range free {
		if id < 2 || id >= w.high || w.reached.Has(id) || !listed.add(id) {
			return flaw("page %d: listed as free, wrongly", id)
		}
	}
	return nil
}

// Freelist is the first page of the list of free pages.
func (s *State) Freelist() uint64 { return s.freelist }

// HasFreelist reports whether the file keeps the list of its free pages: bbolt then opens it without reading the tree.
func (s *State) HasFreelist() bool { return s.freelist != noFreelist }

// CheckFreelist checks, without reading the tree, that the list of free pages can be read and names each page at most
// once.
//
// Errors: a [*Flaw]; those of reading.
func (s *State) CheckFreelist() error {
	w := &walker{State: s, ctx: context.Background(), reached: newPages(s.high)}
	free, err := w.freelistPage()
	if err != nil {
		return err
	}
	return w.freePages(free)
}

// KeepFreelist commits the list of free pages to f, the file of s, which nobody else has open. used is the result of
// s.Walk. Without the list, bbolt.Open would walk the whole tree once more, on one processor.
//
// It writes the same as a commit of bbolt, in the same order: first the list, into free pages or after the last page;
// when that is on the disk, a new meta page over the older one. So the file is intact at every instant.
//
// Errors: those of the file, with the state as it was.
func (s *State) KeepFreelist(f *os.File, used Pages) error {
	var free []uint64
	for id := uint64(2); id < s.high; id++ {
		if !used.Has(id) {
			free = append(free, id)
		}
	}
	// The list's own pages: the first run of free pages that is long enough, or new pages. They are not listed as
	// free.
	next := s.meta
	count := uint64((pageHeaderSize+8*(len(free)+1))/s.pageSize + 1)
	next.freelist = s.high
	if i := runOf(free, count); i >= 0 {
		next.freelist = free[i]
		free = append(free[:i:i], free[i+int(count):]...)
	} else {
		next.high += count
		// A file grows by GrowthBytes at once, or it would look truncated (see least).
		if end := int64(next.high) * int64(s.pageSize); end > s.size {
			if err := f.Truncate(end + GrowthBytes); err != nil {
				return fmt.Errorf("make room for the list of free pages: %w", err)
			}
			s.size = end + GrowthBytes
		}
	}
	next.tx++

	list := encodeFreelist(next.freelist, free, count, s.pageSize)
	if err := writeSynced(f, list, int64(next.freelist)*int64(s.pageSize)); err != nil {
		return fmt.Errorf("write the list of free pages: %w", err)
	}
	page := make([]byte, s.pageSize)
	next.encode(page, next.tx%2)
	if err := writeSynced(f, page, int64(next.tx%2)*int64(s.pageSize)); err != nil {
		return fmt.Errorf("write a meta page: %w", err)
	}
	s.meta = next
	return nil
}

// runOf is where in the ascending list free the first count numbers without a gap begin; -1 when there are none.
func runOf(free []uint64, count uint64) int {
	for i := 0; i+int(count) <= len(free); i++ {
		if free[i+int(count)-1] == free[i]+count-1 {
			return i
		}
	}
	return -1
}

// encodeFreelist encodes the list of free pages for page id and the pages after it, count pages in all.
func encodeFreelist(id uint64, free []uint64, count uint64, pageSize int) []byte {
	page := make([]byte, int(count)*pageSize)
	order.PutUint64(page, id)
	order.PutUint16(page[8:], freelistFlag)
	order.PutUint32(page[12:], uint32(count-1))
	list := page[pageHeaderSize:]
	order.PutUint16(page[10:], uint16(min(len(free), manyFree)))
	if len(free) >= manyFree {
		order.PutUint64(list, uint64(len(free)))
		list = list[8:]
	}
	for i, id := range free {
		order.PutUint64(list[8*i:], id)
	}
	return page
}

func writeSynced(f *os.File, b []byte, off int64) error {
	if _, err := f.WriteAt(b, off); err != nil {
		return err
	}
	return f.Sync()
}
