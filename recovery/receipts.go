package recovery

import (
	"cmp"
	"errors"
	"slices"

	"tutela/storage"
)

// mostReceipts bounds the receipts of a user, which stay for ever. Receipts of resets that removed nothing are dropped
// first, so a program that resets in a loop does not displace the others.
const mostReceipts = 64

// forgetReceipts makes room for one more receipt.
func forgetReceipts(tx *storage.Tx, uid storage.UID) error {
	return errors.Join(
		forgetOldest(tx, uid, receipts, func(a, b *Receipt) int {
			return cmp.Or(min(len(a.Removed), 1)-min(len(b.Removed), 1), a.At.Compare(b.At))
		}),
		forgetOldest(tx, uid, evidence, func(a, b *receiptEvidence) int {
			return cmp.Or(min(len(a.Removed), 1)-min(len(b.Removed), 1), a.At.Compare(b.At))
		}))
}

// forgetOldest removes the first rows of a table, in the given order, until there is room for one more.
func forgetOldest[T any](tx *storage.Tx, uid storage.UID, in *storage.Table[T], order func(a, b *T) int) error {
	rows, err := in.All(tx, uid)
	if err != nil || len(rows) < mostReceipts {
		return err
	}
	slices.SortStableFunc(rows, func(a, b storage.Row[T]) int { return order(a.Record, b.Record) })
	for _, row := range rows[:len(rows)-mostReceipts+1] {
		err = errors.Join(err, in.Delete(tx, uid, row.Key))
	}
	return err
}
