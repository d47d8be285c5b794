package ways

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"tutela/storage"
)

// counts is how many users have each way and risk. There are several rows, by the first byte of the uid, so that users who change at
// once rarely write the same.
type counts struct {
	Counts map[string]int64 `json:"counts"`
}

var counted = storage.Declare(storage.Spec[counts]{Name: "recoverability_count", Class: storage.Settings})

// mostCountRows is how many rows the counts are spread over.
const mostCountRows = 64

// What is counted beside ways and risks.
const (
	countUsers       = "users"
	countRecoverable = "recoverable"
	countWay         = "way:"
	countRisk        = "risk:"
)

// counted returns under which names a user is counted.
func (f *facts) counted() []string {
	names := []string{countUsers}
	if len(f.Ways) > 0 {
		names = append(names, countRecoverable)
	}
	for _, way := range f.Ways {
		names = append(names, countWay+string(way))
	}
	for _, risk := range f.Risks {
		names = append(names, countRisk+string(risk))
	}
	return names
}

// count counts a user under other names than before.
func count(tx *storage.Tx, uid storage.UID, before, now []string) error {
	if slices.Equal(before, now) {
		return nil
	}
	key := hex.EncodeToString([]byte{uid[0] % mostCountRows})
	c, err := counted.Get(tx, storage.House, key)
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
		c = &counts{Counts: map[string]int64{}}
	}
	if err != nil {
		return err
	}
	for _, name := range before {
		c.Counts[name]--
	}
	for _, name := range now {
		c.Counts[name]++
	}
	return counted.Put(tx, storage.House, key, c)
}

// Totals is how many users have each way and risk.
type Totals struct {
	Users       int64 // who are not new
	Recoverable int64 // who have a way
	Ways        map[Way]int64
	Risks       map[Risk]int64
}

// ReadTotals returns how many users have each way and risk. What time alone changes is in it some seconds later.
func ReadTotals(tx *storage.Tx) (Totals, error) {
	rows, err := counted.All(tx, storage.House)
	if err != nil {
		return Totals{}, err
	}
	sum := func(name string) (n int64) {
		for _, row := range rows {
			n += row.Record.Counts[name]
		}
		return n
	}
	t := Totals{
		Users:       sum(countUsers),
		Recoverable: sum(countRecoverable),
		Ways:        map[Way]int64{},
		Risks:       map[Risk]int64{},
	}
	for _, way := range Ways {
		t.Ways[way] = sum(countWay + string(way))
	}
	for _, risk := range Risks {
		t.Risks[risk] = sum(countRisk + string(risk))
	}
	return t, nil
}

// Page returns the users who have a risk, in the order of their uids: at most take of those after the uid after (zero: from the first).
// It is no transaction: users who change meanwhile may or may not be among them.
func Page(ctx context.Context, s *storage.Store, risk Risk, after storage.UID, take int) (uids []storage.UID, err error) {
	span := storage.Span{Prefix: string(risk), Exact: true}
	if !after.IsZero() {
		span.After = storage.Place{Value: span.Prefix, UID: after, Key: record}
	}
	err = byRisk.PeekSpan(ctx, s, span, func(at storage.Place) bool {
		uids = append(uids, at.UID)
		return len(uids) < take
	})
	return uids, err
}
