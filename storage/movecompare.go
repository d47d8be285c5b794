package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"iter"
)

// moveDigests is the result of a comparison.
type moveDigests struct {
	source, target string
	rows           int64
}

// verify compares both sides row by row. Rows may differ after an interrupted attempt, when the source was written to
// since: verify corrects the target and compares once more.
//
// Errors: ErrDiffers, when they differ again; those of the engines.
func (m *mover) verify(ctx context.Context) (mended int64, digests moveDigests, err error) {
	for range 2 {
		differed, found, err := m.compare(ctx)
		if err != nil {
			return 0, moveDigests{}, err
		}
		if differed == 0 && found.source == found.target {
			return mended, found, nil
		}
		mended += differed
	}
	return 0, moveDigests{}, ErrDiffers
}

// compare goes through both sides together and makes the target's rows equal to the source's.
func (m *mover) compare(ctx context.Context) (differed int64, found moveDigests, err error) {
	source := openSide(ctx, m.from)
	defer source.stop()
	target := openSide(ctx, m.to)
	defer target.stop()
	batch := newMoveBatch()
	for source.more || target.more {
		// A side that failed looks like a side at its end: do not take the other's rows for missing ones.
		if err := errOr(source.err, target.err); err != nil {
			return 0, found, err
		}
		order := source.against(target)
		if order < 0 || order == 0 && !bytes.Equal(source.value, target.value) {
			batch.put(source.key, source.value)
			differed++
		}
		if order > 0 {
			batch.ws.Delete(target.key)
			differed++
		}
		if order <= 0 {
			source.take()
		}
		if order >= 0 {
			target.take()
		}
		if batch.full() {
			if err := m.write(ctx, batch); err != nil {
				return 0, found, err
			}
			batch = newMoveBatch()
		}
	}
	if err := errOr(source.err, target.err); err != nil {
		return 0, found, err
	}
	if batch.ws.Len() > 0 {
		err = m.write(ctx, batch)
	}
	return differed, moveDigests{
		source: source.digest(),
		target: target.digest(),
		rows:   source.rows,
	}, err
}

// moveSide is one side of a comparison: the row at its head, and a digest of those before.
type moveSide struct {
	key, value []byte
	more       bool
	rows       int64
	err        error

	sum  hash.Hash
	next func() ([]byte, []byte, bool)
	stop func()
}

func openSide(ctx context.Context, e Engine) *moveSide {
	s := &moveSide{sum: sha256.New()}
	s.next, s.stop = iter.Pull2(func(yield func(key, value []byte) bool) {
		s.err = e.Peek(ctx, Range{}, func(key, value []byte) bool { return own(key) || yield(key, value) })
	})
	s.key, s.value, s.more = s.next()
	return s
}

// against compares the heads of two sides: negative when other does not have this key.
func (s *moveSide) against(other *moveSide) int {
	switch {
	case !s.more:
		return 1
	case !other.more:
		return -1
	}
	return bytes.Compare(s.key, other.key)
}

// take adds the row at the head to the digest, each part with its length before it, and goes on to the next.
func (s *moveSide) take() {
	length := make([]byte, 0, binary.MaxVarintLen64)
	for _, part := range [][]byte{s.key, s.value} {
		s.sum.Write(binary.AppendUvarint(length, uint64(len(part))))
		s.sum.Write(part)
	}
	s.rows++
	s.key, s.value, s.more = s.next()
}

func (s *moveSide) digest() string { return hex.EncodeToString(s.sum.Sum(nil)) }
