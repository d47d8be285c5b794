package storage

import "tutela/storage/meter"

// Count adds one to a figure of this server, in the series that words name, when the transaction commits. The closure
// may run more than once or be rolled back, so it must not add to the counter directly. In a View it counts nothing.
func (tx *Tx) Count(c *meter.Counter, words ...string) { tx.CountN(c, 1, words...) }

// CountN is Count for n at once.
func (tx *Tx) CountN(c *meter.Counter, n uint64, words ...string) {
	if tx.ws != nil && n > 0 {
		tx.counts = append(tx.counts, count{cell: c.Cell(tx.store.meter, words...), n: n})
	}
}

// CountTry is Count that also counts when the closure's own error rolls the transaction back. It is for events that
// happened all the same, such as a try that came too soon.
func (tx *Tx) CountTry(c *meter.Counter, words ...string) {
	if tx.ws != nil {
		tx.counts = append(tx.counts, count{cell: c.Cell(tx.store.meter, words...), n: 1, refused: true})
	}
}

// counts are the additions to figures that wait for the end of a transaction.
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
