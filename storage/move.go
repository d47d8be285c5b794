package storage

import (
	"context"
	"fmt"
	"slices"
)

// moveName is the meta key of the mark of an unfinished move.
const moveName = "move"

// moveMark stands in the target until a move is finished.
type moveMark struct {
	Source Identity `json:"source"`
	Next   []byte   `json:"next"` // the first key that is not copied yet
	Rows   int64    `json:"rows"` // that were copied
}

// Moved is the result of a move.
type Moved struct {
	Rows     int64  // in all, with those that an earlier attempt has copied
	Mended   int64  // rows that an earlier attempt had copied, and that have changed since
	Source   string // SHA-256 over the rows of the source, in hexadecimal
	Target   string // the same over those of the target
	Identity Identity
}

// Reasons why a move is refused.
var (
	ErrNotEmpty  = NewError(Conflict, "the target is not empty")
	ErrMoved     = NewError(Conflict, "the target holds this installation already: it has been moved")
	ErrHalfMoved = NewError(Conflict, "the data comes from an unfinished move between engines: run tutela migrate-store again with the same arguments")
	ErrDiffers   = NewError(Conflict, "the target differs from the source: something else writes to one of them")
)

// How much a move writes in one transaction: few enough rows for a database to lock, few enough bytes to hold several
// times in memory.
const (
	movedRows  = 1000
	movedBytes = 1 << 20
)

// Move copies everything in from to an engine that is empty or holds an unfinished move from the same source. Then it
// compares both sides row by row and begins a new epoch in the target. Nobody else may use either engine meanwhile.
// from is not changed. told, if not nil, is called now and then with the number of rows copied so far.
//
// It keeps at most a few MiB of rows in memory. If it is interrupted at any point, the target cannot be opened as a
// [Store], and the same call continues the move.
//
// Errors: ErrNotEmpty; ErrMoved; [ErrForeign], when from holds no installation; ErrDiffers; those of the engines.
func Move(ctx context.Context, from, to Engine, told func(rows int64)) (Moved, error) {
	m := &mover{from: from, to: to, told: told}
	if m.told == nil {
		m.told = func(int64) {}
	}
	if err := m.begin(ctx); err != nil {
		return Moved{}, err
	}
	if err := m.copy(ctx); err != nil {
		return Moved{}, fmt.Errorf("copy the rows: %w", err)
	}
	mended, digests, err := m.verify(ctx)
	if err != nil {
		return Moved{}, fmt.Errorf("compare the rows: %w", err)
	}
	identity, err := m.end(ctx)
	if err != nil {
		return Moved{}, fmt.Errorf("end the move: %w", err)
	}
	return Moved{
		Rows:     digests.rows,
		Mended:   mended,
		Source:   digests.source,
		Target:   digests.target,
		Identity: identity,
	}, nil
}

// mover is a move under way.
type mover struct {
	from, to Engine
	told     func(rows int64)

	mark   moveMark
	schema schema // of the source
	shards shards // of the source
}

// own reports whether key is one that the move itself writes at its end.
func own(key []byte) bool {
	switch string(key) {
	case "m" + identityName, "m" + schemaName, "m" + shardsName, "m" + moveName:
		return true
	}
	return false
}

// begin reads the source's identity and makes sure that the target is empty or holds an unfinished move from this
// source.
func (m *mover) begin(ctx context.Context) error {
	var source Identity
	err := m.from.View(ctx, func(r Reader) error {
		tx := &Tx{r: r}
		found, err := tx.getMeta(schemaName, &m.schema)
		if err != nil || !found || m.schema.Product != product {
			return errOr(err, ErrForeign)
		}
		half, err := tx.getMeta(moveName, &moveMark{})
		if err != nil || half {
			return errOr(err, ErrHalfMoved)
		}
		if m.shards, found, err = tx.shardsOf(); err != nil || !found {
			return errOr(err, ErrForeign.With("the source has not been opened by this version yet"))
		}
		source, err = ReadIdentity(r)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	err = m.to.Update(ctx, func(r Reader) (*WriteSet, error) {
		tx := &Tx{r: r, ws: NewWriteSet()}
		m.mark = moveMark{Source: source}
		found, err := tx.getMeta(moveName, &m.mark)
		switch {
		case err != nil:
			return nil, err
		case found && m.mark.Source != source:
			return nil, ErrNotEmpty.With("the target holds an unfinished move of another source, %s in epoch %s: empty it", m.mark.Source.Installation, m.mark.Source.Epoch)
		case !found:
			err = tx.mayMoveInto(source)
		}
		return tx.ws, errOr(err, tx.putMeta(moveName, m.mark))
	})
	if err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	return nil
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// mayMoveInto returns an error unless a new move from source may begin in this store.
//
// Errors: ErrMoved; ErrNotEmpty.
func (tx *Tx) mayMoveInto(source Identity) error {
	there, err := ReadIdentity(tx.r)
	switch {
	case err != nil:
		return ErrNotEmpty.With("the target is not empty, and holds no installation of tutela: name another, or empty it")
	case there.Installation == source.Installation && there.Epoch.Number > source.Epoch.Number:
		return ErrMoved
	case there.Installation == source.Installation && there.Installation != "":
		return ErrNotEmpty.With("the target holds an older state of this installation, of epoch %s: empty it", there.Epoch)
	case there.Installation != "":
		return ErrNotEmpty.With("the target holds the installation %s: name another, or empty it", there.Installation)
	}
	if tx.mustBeEmpty() != nil {
		return ErrNotEmpty.With("the target is not empty, and holds no installation of tutela: name another, or empty it")
	}
	return nil
}

// copy copies the rows, starting where an earlier attempt stopped: each batch stores the next key together with its
// rows.
func (m *mover) copy(ctx context.Context) error {
	batch := newMoveBatch()
	var failed error
	err := m.from.Peek(ctx, Range{From: m.mark.Next}, func(key, value []byte) bool {
		if own(key) {
			return true
		}
		batch.put(key, value)
		m.mark.Rows++
		if batch.full() {
			m.mark.Next = slices.Concat(key, []byte{0})
			failed = m.write(ctx, batch)
			batch = newMoveBatch()
			m.told(m.mark.Rows)
		}
		return failed == nil
	})
	if err = errOr(err, failed); err != nil {
		return err
	}
	return m.write(ctx, batch)
}

// write writes a batch together with the move's progress.
func (m *mover) write(ctx context.Context, batch *moveBatch) error {
	return m.to.Update(ctx, func(r Reader) (*WriteSet, error) {
		ws := NewWriteSet()
		_ = batch.ws.Each(func(key string, value []byte) error {
			if value == nil {
				ws.Delete([]byte(key))
			} else {
				ws.Put([]byte(key), value)
			}
			return nil
		})
		tx := &Tx{r: r, ws: ws}
		return ws, tx.putMeta(moveName, m.mark)
	})
}

// moveBatch gathers what one transaction of a move writes.
type moveBatch struct {
	ws    *WriteSet
	bytes int
}

func newMoveBatch() *moveBatch { return &moveBatch{ws: NewWriteSet()} }

func (b *moveBatch) put(key, value []byte) {
	b.ws.Put(key, value)
	b.bytes += len(key) + len(value)
}

func (b *moveBatch) full() bool { return b.ws.Len() >= movedRows || b.bytes >= movedBytes }

// end makes the target a store in a new epoch. From then on it can be opened.
func (m *mover) end(ctx context.Context) (identity Identity, err error) {
	err = m.to.Update(ctx, func(r Reader) (ws *WriteSet, err error) {
		identity, ws, err = BeginEpoch(r, m.mark.Source)
		if err != nil {
			return nil, err
		}
		tx := &Tx{r: r, ws: ws}
		ws.Delete(metaKey(moveName))
		return ws, errOr(tx.putMeta(schemaName, m.schema), tx.putMeta(shardsName, m.shards.moved(m.to.Shards())))
	})
	return identity, err
}
