package storage

import "tutela/storage/meter"

// Count adds one to a figure of this server when the transaction has been committed, in the series of these words. The closure
// may run more than once, and what it does may be rolled back: so it must not add by itself. In a View it counts nothing.
func (tx *Tx) Count(c *meter.Counter, words ...string) { tx.CountN(c, 1, words...) }

// CountN is Count for n at once.
func (tx *Tx) CountN(c *meter.Counter, n uint64, words ...string) {
	if tx.ws != nil && n > 0 {
		tx.counts = append(tx.counts, count{cell: c.Cell(tx.store.meter, words...), n: n})
	}
}

// CountTry is Count for what has happened also when the transaction is refused by its own error, such as a try that came too
// soon after others.
func (tx *Tx) CountTry(c *meter.Counter, words ...string) {
	if tx.ws != nil {
		tx.counts = append(tx.counts, count{cell: c.Cell(tx.store.meter, words...), n: 1, refused: true})
	}
}

// counts are what a transaction adds to figures when it is over.
type counts []count

type count struct {
	cell    *meter.Cell
	n       uint64
	refused bool // also when nothing was committed
}

func (list counts) settle(committed bool) {
	for _, c := range list {
		if committed || c.refused {
			c.cell.Add(c.n)
		}
	}
}
