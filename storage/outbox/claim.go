package outbox

import (
	"context"
	"errors"
	"time"

	"tutela/storage"
)

// leaseTime is how long a sender holds an entry before another may take it: longer than an attempt, plus a few seconds
// by which the servers' clocks may differ.
const leaseTime = 10 * time.Second

// claims makes sure that two senders over one store do not work on the same entry.
type claims interface {
	// take claims the entry that a pointer was found for, and reads it. held is where its pointer lies from then on.
	//
	// Errors: errNotHere; errPurged; storage.ErrDamaged for a payload that cannot be read; those of the store.
	take(ctx context.Context, p pointer) (held pointer, row *stored, err error)
}

// errNotHere reports a pointer that is gone: its entry was settled, or another sender has taken it.
var errNotHere = errors.New("the entry is not here any more")

// errPurged reports a pointer whose payload was purged with its owner's rows.
var errPurged = errors.New("the entry was purged")

// alone implements claims for the only process that has the store open. Its sender knows which entries it works on, so
// alone writes nothing. If the process dies, its entries are due at the next start.
type alone struct{ store *storage.Store }

func (a alone) take(ctx context.Context, p pointer) (pointer, *stored, error) {
	var row *stored
	err := a.store.View(ctx, func(tx *storage.Tx) (err error) {
		row, err = p.read(tx)
		return err
	})
	return p, row, err
}

// leases implements claims for several processes over one store. A claim moves the entry's pointer to the time at which
// the lease ends. So when a server dies, its entries become due again by themselves. A sender that was too slow finds
// that another has moved the pointer, and changes nothing.
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
