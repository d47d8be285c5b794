package outbox

import (
	"context"
	"errors"
	"time"

	"tutela/storage"
)

// leaseTime is how long an entry is one sender's before another may take it: longer than an attempt, with room for
// clocks of servers that differ by a few seconds.
const leaseTime = 10 * time.Second

// claims keep two senders over one store from working on the same entry.
type claims interface {
	// take claims the entry that a pointer was found for, and reads it. held is where its pointer lies from then on.
	//
	// Errors: errNotHere; errPurged; storage.ErrDamaged for a payload that cannot be read; those of the store.
	take(ctx context.Context, p pointer) (held pointer, row *stored, err error)
}

// errNotHere reports a pointer that lies there no longer: its entry was settled, or another sender has taken it.
var errNotHere = errors.New("the entry is not here any more")

// errPurged reports a pointer whose payload is gone with its owner's rows.
var errPurged = errors.New("the entry was purged")

// alone is the claims of the one process that has the store open. Its sender knows what it has in hand, which is all
// there is to know: nothing is written, and what a process leaves behind when it dies is due at the next start.
type alone struct{ store *storage.Store }

func (a alone) take(ctx context.Context, p pointer) (pointer, *stored, error) {
	var row *stored
	err := a.store.View(ctx, func(tx *storage.Tx) (err error) {
		row, err = p.read(tx)
		return err
	})
	return p, row, err
}

// leases are claims that several processes share through the store. A claim moves the entry's pointer to where it is
// due again when the lease ends, so the entry of a server that dies comes back by itself, and nobody has to find out
// who is alive. A sender that was slow finds the pointer moved on by the next one, and changes nothing.
type leases struct{ store *storage.Store }

func (l leases) take(ctx context.Context, p pointer) (held pointer, row *stored, err error) {
	err = l.store.Update(ctx, func(tx *storage.Tx) error {
		if row, err = p.read(tx); err != nil {
			return err
		}
		held = p
		held.due = tx.Now().Add(leaseTime)
		return errors.Join(p.remove(tx), held.put(tx))
	})
	return held, row, err
}

// read returns the payload of a pointer.
//
// Errors: errNotHere; errPurged; storage.ErrDamaged.
func (p *pointer) read(tx *storage.Tx) (*stored, error) {
	there, err := p.there(tx)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNotHere
	}
	row, err := p.table().Get(tx, p.Owner, p.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errPurged
	}
	return row, err
}
