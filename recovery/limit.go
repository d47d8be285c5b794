package recovery

import (
	"errors"
	"time"

	"tutela/storage"
)

// Channel is a way on which a code can be guessed. Each counts for itself: a flood on one closes no other.
type Channel string

// The channels.
const (
	LoginChannel    Channel = "login"
	RestoreChannel  Channel = "restore"
	PracticeChannel Channel = "practice"
)

// The limits on guessing. A code has 115 bits, so they are for hygiene, and locking the owner out would be the
// greater harm.
//
// Source: NIST SP 800-63B-4 §3.2.2 (no more than 100 consecutive failed attempts; a growing wait of 30 s to 1 h).
const (
	freeFailures  = 9 // wrong ones in a row that cost no wait
	firstWait     = 30 * time.Second
	longestWait   = time.Hour
	closeFailures = 100
	closedFor     = 24 * time.Hour
)

// ErrLimited reports a try that comes too soon, with the time to wait.
var ErrLimited = storage.NewError(storage.Limited, "too many attempts; wait before you try again")

// limit is how a user's channel stands. It never expires by time alone.
type limit struct {
	Failures int       `json:"failures"` // in a row
	Until    time.Time `json:"until,omitzero"`
}

var limits = storage.Declare(storage.Spec[limit]{Name: "limit", Class: storage.MFA})

// Admit reports whether a try on the channel is looked at now.
//
// Errors: ErrLimited.
func Admit(tx *storage.Tx, uid storage.UID, ch Channel) error {
	l, err := limitOf(tx, uid, ch)
	if err != nil {
		return err
	}
	if wait := l.Until.Sub(tx.Now()); wait > 0 {
		return ErrLimited.After(wait)
	}
	return nil
}

// Closed reports whether the channel is closed: too many failures, not merely a wait.
func Closed(tx *storage.Tx, uid storage.UID, ch Channel) (bool, error) {
	l, err := limitOf(tx, uid, ch)
	return l.Failures >= closeFailures && tx.Now().Before(l.Until), err
}

// fail counts a wrong code, and reports whether the channel waits or is closed from here on.
func fail(tx *storage.Tx, uid storage.UID, ch Channel) (waits bool, err error) {
	l, err := limitOf(tx, uid, ch)
	if err != nil {
		return false, err
	}
	l.Failures++
	if wait := waitAfter(l.Failures); wait > 0 {
		l.Until = tx.Now().Add(wait)
		waits = true
	}
	return waits, limits.Put(tx, uid, string(ch), &l)
}

// waitAfter is the wait that the n-th wrong code in a row makes.
func waitAfter(n int) time.Duration {
	switch doublings := n - freeFailures - 1; {
	case doublings < 0:
		return 0
	case n >= closeFailures:
		return closedFor
	case doublings >= 7: // 30 s × 2⁷ is past an hour
		return longestWait
	default:
		return firstWait << doublings
	}
}

// clearLimit forgets the failures of a channel.
func clearLimit(tx *storage.Tx, uid storage.UID, ch Channel) error {
	return limits.Delete(tx, uid, string(ch))
}

// OpenAll forgets the failures of all channels: an accepted signed approval of the user, or an admin, does.
func OpenAll(tx *storage.Tx, uid storage.UID) error {
	rows, err := limits.All(tx, uid)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := limits.Delete(tx, uid, row.Key); err != nil {
			return err
		}
	}
	return nil
}

// Block is a channel that is closed or waiting.
type Block struct {
	Channel Channel   `json:"channel"`
	Until   time.Time `json:"until"`
}

// Blocks returns the user's channels that are closed or waiting.
func Blocks(tx *storage.Tx, uid storage.UID) ([]Block, error) {
	rows, err := limits.All(tx, uid)
	if err != nil {
		return nil, err
	}
	blocks := []Block{}
	for _, row := range rows {
		if tx.Now().Before(row.Record.Until) {
			blocks = append(blocks, Block{Channel: Channel(row.Key), Until: row.Record.Until})
		}
	}
	return blocks, nil
}

func limitOf(tx *storage.Tx, uid storage.UID, ch Channel) (limit, error) {
	l, err := limits.Get(tx, uid, string(ch))
	if errors.Is(err, storage.ErrNotFound) {
		return limit{}, nil
	}
	if err != nil {
		return limit{}, err
	}
	return *l, nil
}
