package boltfile

import (
	"io"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// Pages is a set of page numbers below a bound.
type Pages []uint64

func newPages(bound uint64) Pages { return make(Pages, bound/64+1) }

// Has reports whether page id is in the set.
func (s Pages) Has(id uint64) bool { return s[id/64]&(1<<(id%64)) != 0 }

// add puts id in, and reports whether it is new. Safe for concurrent use with itself.
func (s Pages) add(id uint64) bool {
	bit := uint64(1) << (id % 64)
	return atomic.OrUint64(&s[id/64], bit)&bit == 0
}

// page is a page with its overflow pages, or the inline page of a small bucket.
type page struct {
	id    uint64
	flags uint16
	count int
	size  int    // with its overflow, in bytes
	head  []byte // its first bytes: all of it, mostly

	file io.ReaderAt // where the rest is read from
	at   int64
}

// page reads page id, which must not have been reached before, into buf.
func (w *walker) page(id uint64, buf []byte) (*page, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	if id < 2 || id >= w.high {
		return nil, flaw("page %d: referred to, but there are only %d", id, w.high)
	}
	p := &page{file: w.file, at: int64(id) * int64(w.pageSize), head: buf}
	if _, err := w.file.ReadAt(p.head, p.at); err != nil {
		return nil, err
	}
	p.decodeHeader()
	overflow := uint64(order.Uint32(p.head[12:]))
	if p.id != id {
		return nil, flaw("page %d: says that it is page %d", id, p.id)
	}
	if overflow >= w.high-id {
		return nil, flaw("page %d: its end lies past the end of the file", id)
	}
	for i := id; w.reached != nil && i <= id+overflow; i++ {
		if !w.reached.add(i) {
			return nil, flaw("page %d: used twice", i)
		}
	}
	p.size = int(overflow+1) * w.pageSize
	return p, nil
}

// inlinePage reads the page that lies in the entry of a small bucket.
func inlinePage(b []byte) (*page, error) {
	if len(b) < pageHeaderSize {
		return nil, flaw("the bucket's entry is cut short")
	}
	p := &page{head: b, size: len(b)}
	p.decodeHeader()
	if p.flags != leafFlag {
		return nil, flaw("the bucket's entry holds a page of type %#x", p.flags)
	}
	return p, nil
}

func (p *page) decodeHeader() {
	p.id = order.Uint64(p.head)
	p.flags = order.Uint16(p.head[8:])
	p.count = int(order.Uint16(p.head[10:]))
}

// bytes returns n bytes at offset off within the page.
func (p *page) bytes(off, n int) ([]byte, error) {
	if off < 0 || n < 0 || n > p.size-off {
		return nil, flaw("page %d: something lies past its end", p.id)
	}
	if off+n <= len(p.head) {
		return p.head[off : off+n], nil
	}
	b := make([]byte, n)
	if _, err := p.file.ReadAt(b, p.at+int64(off)); err != nil {
		return nil, err
	}
	return b, nil
}

// element is one of a page's elements; offsets are within the page.
type element struct {
	flags        uint32 // of a leaf's
	child        uint64 // of a branch's
	key, keySize int
	valueSize    int // of a leaf's; the value follows the key
}

// element reads element i, and checks that its key and value lie within the page, after the elements.
func (p *page) element(i int) (e element, err error) {
	at := pageHeaderSize + i*elementSize
	b, err := p.bytes(at, elementSize)
	if err != nil {
		return e, err
	}
	var pos uint32
	if p.flags == branchFlag {
		pos = order.Uint32(b)
		e.keySize = int(order.Uint32(b[4:]))
		e.child = order.Uint64(b[8:])
	} else {
		e.flags = order.Uint32(b)
		pos = order.Uint32(b[4:])
		e.keySize = int(order.Uint32(b[8:]))
		e.valueSize = int(order.Uint32(b[12:]))
	}
	e.key = at + int(pos)
	if e.keySize < 1 || e.keySize > bbolt.MaxKeySize {
		return e, flaw("page %d: key %d is %d bytes", p.id, i, e.keySize)
	}
	if e.key < pageHeaderSize+p.count*elementSize || e.key > p.size || e.keySize > p.size-e.key ||
		e.valueSize > p.size-e.key-e.keySize {
		return e, flaw("page %d: key %d lies outside of the page", p.id, i)
	}
	return e, nil
}
