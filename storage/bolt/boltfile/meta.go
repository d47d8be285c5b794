package boltfile

import (
	"encoding/binary"
	"hash/fnv"
	"io"
)

// The format of the pages. Source: go.etcd.io/bbolt, internal/common, of [Version]. Numbers are in the machine's order.
const (
	pageHeaderSize   = 16 // id, 8 bytes; flags, 2; count of elements, 2; overflow, 4: the pages that follow as part
	elementSize      = 16 // of both kinds of element
	bucketHeaderSize = 16 // root page, 8; sequence, 8

	branchFlag   = 0x01
	leafFlag     = 0x02
	metaFlag     = 0x04
	freelistFlag = 0x10

	bucketEntry = 0x01 // flag of a leaf's element whose value is a bucket

	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = ^uint64(0) // the list of free pages is not kept

	minPageSize = 1 << 10
	maxPageSize = 1 << 24
)

var order = binary.NativeEndian

// meta is the content of a meta page. There are two, pages 0 and 1; commits write them in turn. The valid one with the
// higher transaction number is the newest.
type meta struct {
	pageSize int
	root     uint64 // page of the root bucket
	sequence uint64 // of the root bucket; bbolt's, without use here
	freelist uint64 // page of the list of free pages, or noFreelist
	high     uint64 // all pages are below it
	tx       uint64 // the transaction that wrote it
}

// encode writes m as page id, which is 0 or 1, into a page of zeros.
func (m meta) encode(page []byte, id uint64) {
	order.PutUint64(page, id)
	order.PutUint16(page[8:], metaFlag)
	b := page[pageHeaderSize:]
	order.PutUint32(b, metaMagic)
	order.PutUint32(b[4:], metaVersion)
	order.PutUint32(b[8:], uint32(m.pageSize))
	order.PutUint64(b[16:], m.root)
	order.PutUint64(b[24:], m.sequence)
	order.PutUint64(b[32:], m.freelist)
	order.PutUint64(b[40:], m.high)
	order.PutUint64(b[48:], m.tx)
	order.PutUint64(b[56:], metaSum(b))
}

// metaSum is the checksum of a meta page, over what lies before it.
func metaSum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize-8]) // a hash takes everything
	return h.Sum64()
}

// metaAt is what was read where a meta page should be.
type metaAt struct {
	meta
	magic, version, sum bool // which of them are right
}

func (m metaAt) valid() bool { return m.magic && m.version && m.sum }

// readMeta reads a meta page at offset off. If that is past the end of the file, the result is not valid.
func readMeta(file io.ReaderAt, off int64) (metaAt, error) {
	var buf [pageHeaderSize + metaSize]byte
	if _, err := file.ReadAt(buf[:], off); err == io.EOF {
		return metaAt{}, nil
	} else if err != nil {
		return metaAt{}, err
	}
	b := buf[pageHeaderSize:]
	return metaAt{
		meta: meta{
			pageSize: int(order.Uint32(b[8:])),
			root:     order.Uint64(b[16:]),
			sequence: order.Uint64(b[24:]),
			freelist: order.Uint64(b[32:]),
			high:     order.Uint64(b[40:]),
			tx:       order.Uint64(b[48:]),
		},
		magic:   order.Uint32(b) == metaMagic,
		version: order.Uint32(b[4:]) == metaVersion,
		sum:     order.Uint64(b[56:]) == metaSum(b),
	}, nil
}

// readMetas returns the newest valid meta. One of the two may be torn, if the machine lost power while it was written;
// the other then holds the commit before. If page 0 is torn, the page size is not known, and page 1 is looked for at
// all powers of two, as bbolt does.
func readMetas(file io.ReaderAt, size int64) (meta, error) {
	first, err := readMeta(file, 0)
	if err != nil {
		return meta{}, err
	}
	from := int64(minPageSize)
	to := int64(maxPageSize)
	if first.valid() {
		from = int64(first.pageSize)
		to = int64(first.pageSize)
		if from < minPageSize || from > maxPageSize || from&(from-1) != 0 {
			return meta{}, flaw("its meta page speaks of pages of %d bytes", from)
		}
	}
	// Find page 1: at one place, or at every power of two.
	second := metaAt{}
	magic := first.magic
	for off := from; off <= to && off < size; off *= 2 {
		m, err := readMeta(file, off)
		if err != nil {
			return meta{}, err
		}
		magic = magic || m.magic
		if first.valid() && m.valid() && m.pageSize != first.pageSize {
			return meta{}, flaw("its meta pages contradict each other")
		}
		if m.valid() && int64(m.pageSize) == off {
			second = m
			break
		}
	}
	switch {
	case second.valid() && (!first.valid() || second.tx > first.tx):
		return second.meta, nil
	case first.valid():
		return first.meta, nil
	case first.magic && first.sum:
		return meta{}, foreign("it is of another version of bbolt")
	case magic:
		return meta{}, flaw("both meta pages are broken")
	}
	return meta{}, foreign("it has no head of a bbolt file")
}
