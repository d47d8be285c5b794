package recovery

import (
	"errors"
	"slices"
	"time"

	"tutela/storage"
)

// Channel is a way to try codes. Each channel counts for itself, so a flood on one does not block another.
type Channel string

// The channels.
const (
	LoginChannel    Channel = "login"
	RestoreChannel  Channel = "restore"
	PracticeChannel Channel = "practice"
	OTPChannel      Channel = "otp" // one-time codes; see otp.go in this package
)

// codeChannels are the channels of the recovery code.
var codeChannels = []Channel{LoginChannel, RestoreChannel, PracticeChannel}

// The limits on guessing. Those on the recovery code apply only to wrong codes; a right code always passes. A recovery
// code has 115 bits, so guessing cannot succeed, and locking the owner out would be the greater harm. The waits only
// keep the log and the phones quiet. A one-time code has 20 bits, so its channel closes for right codes, too.
//
// Source: NIST SP 800-63B-4 §3.2.2 (throttling). A right recovery code is exempt on purpose: docs/security.md says why.
const (
	freeFailures  = 9 // wrong codes in a row without a wait
	firstWait     = 30 * time.Second
	longestWait   = time.Hour
	closeFailures = 100 // wrong one-time codes in a row that close their channel
	closedFor     = 24 * time.Hour
)

// ErrLimited reports a wrong code that comes too soon after others, with the time to wait.
var ErrLimited = storage.NewError(storage.Limited, "too many wrong codes; wait before you try another")

// limit counts the wrong codes on a channel. Time alone never ends it.
type limit struct {
	Failures int       `json:"failures"` // in a row
	Until    time.Time `json:"until,omitzero"`
}

var limits = storage.Declare(storage.Spec[limit]{Name: "limit", Class: storage.MFA, Most: 4})

// fail counts a wrong code. While the channel waits it counts nothing and returns ErrLimited. guessed is true for the code that
// makes the channel wait.
//
// Errors: ErrLimited.
func fail(tx *storage.Tx, uid storage.UID, ch Channel) (guessed bool, err error) {
	l, err := countWrong(tx, uid, ch)
	return l.Failures == freeFailures+1, err
}

// countWrong counts a wrong code, and returns the channel's limit as it is now. While the channel waits it counts nothing.
//
// Errors: ErrLimited.
func countWrong(tx *storage.Tx, uid storage.UID, ch Channel) (limit, error) {
	l, err := limitOf(tx, uid, ch)
	if err != nil {
		return limit{}, err
	}
	if err := l.refuse(tx); err != nil {
		return limit{}, err
	}
	l.Failures++
	if wait := ch.waitAfter(l.Failures); wait > 0 {
		l.Until = tx.Now().Add(wait)
	}
	err = limits.Put(tx, uid, string(ch), &l)
	return l, err
}

// refuse returns ErrLimited, with the time to wait, while the channel takes no codes.
func (l limit) refuse(tx *storage.Tx) error {
	if wait := l.Until.Sub(tx.Now()); wait > 0 {
		return ErrLimited.After(wait)
	}
	return nil
}

// waitAfter returns the wait after the n-th wrong code in a row on the channel.
func (ch Channel) waitAfter(n int) time.Duration {
	switch doublings := n - freeFailures - 1; {
	case ch == OTPChannel && n >= closeFailures:
		return closedFor
	case doublings < 0:
		return 0
	case doublings >= 7: // 30 s × 2⁷ is past an hour
		return longestWait
	default:
		return firstWait << doublings
	}
}

// OpenAll forgets the failures of all channels. Callers use it for an admin's Unlock.
func OpenAll(tx *storage.Tx, uid storage.UID) error {
	return open(tx, uid, append([]Channel{OTPChannel}, codeChannels...))
}

// OpenCode forgets the failures of the channels of the recovery code. Call it after a right code, or an approval that
// the user has signed. It leaves the channel of one-time codes as it is, since neither proves a one-time code.
func OpenCode(tx *storage.Tx, uid storage.UID) error { return open(tx, uid, codeChannels) }

func open(tx *storage.Tx, uid storage.UID, channels []Channel) error {
	rows, err := limits.All(tx, uid)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if !slices.Contains(channels, Channel(row.Key)) {
			continue
		}
		if err := limits.Delete(tx, uid, row.Key); err != nil {
			return err
		}
	}
	return nil
}

// Block is a channel that waits.
type Block struct {
	Channel Channel   `json:"channel"`
	Until   time.Time `json:"until"`
}

// Blocks returns the user's channels that wait.
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
