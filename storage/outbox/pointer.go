package outbox

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// pointer is an entry in the log: where the entry goes, when it is due, and whose row holds its payload. No purge
// removes it, so it holds nothing personal.
//
// Its key is destination ‖ 0 ‖ due (19 digits, Unix nanoseconds) ‖ id, so the pointers of a destination are a line in
// the order in which they are due. Version 0.1 wrote due ‖ id alone: those make a line of their own, the destination
// "", which sorts before all others.
type pointer struct {
	destination string
	due         time.Time

	ID       string        `json:"id"`
	Owner    storage.UID   `json:"uid"`
	Class    storage.Class `json:"class,omitempty"`    // of the payload's table; version 0.1 had MFA only
	Expires  time.Time     `json:"expires,omitzero"`   // as the payload says; version 0.1 has it there alone
	Attempts int           `json:"attempts,omitempty"` // that failed
	Added    int64         `json:"added,omitempty"`    // Unix milliseconds; 0 in one of an earlier release
}

var pointers = storage.DeclareLog("outbox")

const (
	dueDigits = 19
	idLength  = 16
)

// key is the pointer's key in the log.
func (p *pointer) key() string {
	digits := strconv.AppendInt(make([]byte, 0, dueDigits), p.due.UnixNano(), 10)
	key := make([]byte, 0, len(p.destination)+1+dueDigits+len(p.ID))
	if p.destination != "" {
		key = append(append(key, p.destination...), 0)
	}
	for range dueDigits - len(digits) {
		key = append(key, '0')
	}
	return string(append(append(key, digits...), p.ID...))
}

// put writes the pointer into its line.
func (p *pointer) put(tx *storage.Tx) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return pointers.Append(tx, p.Owner, p.key(), value)
}

// there reports whether the pointer is still where it was found, so that the entry was neither settled nor taken by
// another sender.
func (p *pointer) there(tx *storage.Tx) (bool, error) {
	value, err := pointers.Get(tx, p.Owner, p.key())
	return value != nil, err
}

func (p *pointer) remove(tx *storage.Tx) error { return pointers.Delete(tx, p.Owner, p.key()) }

// table returns the table that holds the payload.
func (p *pointer) table() *storage.Table[stored] {
	switch {
	case p.Owner.IsZero():
		return housePayloads
	case p.Class == storage.Account:
		return accountPayloads
	case p.Class == storage.Evidence:
		return evidencePayloads
	default:
		return mfaPayloads
	}
}

// splitKey splits a pointer's key. ok is false for a key that no version has written.
func splitKey(key string) (destination string, due time.Time, id string, ok bool) {
	rest := key
	if before, after, found := strings.Cut(key, "\x00"); found {
		destination = before
		rest = after
		if !isKindName(kindOf(destination)) {
			return "", time.Time{}, "", false
		}
	}
	if len(rest) <= dueDigits {
		return "", time.Time{}, "", false
	}
	ns, err := strconv.ParseInt(rest[:dueDigits], 10, 64)
	if err != nil || ns < 0 {
		return "", time.Time{}, "", false
	}
	return destination, time.Unix(0, ns), rest[dueDigits:], true
}

// afterLine returns the smallest key after all pointers of a destination.
func afterLine(destination string) string {
	if destination == "" {
		return ":" // follows the digits
	}
	return destination + "\x01"
}

var errKey = errors.New("the key is not a pointer's")

// parsePointer reads a pointer as the log holds it.
//
// Errors: that it is damaged.
func parsePointer(key string, value []byte) (pointer, error) {
	destination, due, id, ok := splitKey(key)
	if !ok {
		return pointer{}, errKey
	}
	var p pointer
	if err := json.Unmarshal(value, &p); err != nil {
		return pointer{}, fmt.Errorf("the value: %w", err)
	}
	if p.ID != id {
		return pointer{}, errors.New("key and value name different entries")
	}
	p.destination = destination
	p.due = due
	p.Class = cmp.Or(p.Class, storage.MFA)
	return p, nil
}
