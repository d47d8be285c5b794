// Package outbox keeps work to do after a commit: pushes, notices, webhooks. An entry is added in the transaction that
// wants it done. So it is done if and only if that transaction was committed, even when the server dies in between. It
// may be done twice.
//
// An entry is a payload among its owner's rows and a pointer in a log. A purge removes the payload; the sender then
// drops the pointer.
//
// Pointers wait in one line for each destination: a kind of entry, or the service or host through which entries of a
// kind go. A [Sender] works on all lines at once, and gives each a share of its attempts: a destination that is slow
// or dead holds up its own line only.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// Kind is a kind of entry, whose payload is a P. The package that declares it adds its entries and handles them.
type Kind[P any] struct {
	name  string
	class storage.Class
	fault error // the declaration was wrong; every use returns this error
}

// Declare makes a kind. It is called once for each, from a package-level variable. name is made of lower-case letters,
// digits and underscores, begins with a letter, and never changes once released.
//
// class says what removes a waiting entry: with MFA a reset of its owner, with Account only the owner's deletion, with
// Evidence nothing. An entry that reports a reset has class Account or Evidence. Its payload must hold nothing that the
// reset removes: it holds an id that stays, and the handler reads the rest when it sends. Nothing removes an entry of
// the House, whatever its class.
func Declare[P any](name string, class storage.Class) *Kind[P] {
	return &Kind[P]{name: name, class: class, fault: kinds.declare(name, class)}
}

// Entry is one piece of work, as its handler gets it.
type Entry[P any] struct {
	ID       string
	Owner    storage.UID // whose row the payload is: a user's, or the House
	Payload  P
	Expires  time.Time // not worth doing after it
	Attempts int       // failed ones so far
}

// Then runs in the transaction that removes the entry, or postpones it. A handler returns it to write down its results.
// It may write the owner's rows, but no other user's.
type Then func(tx *storage.Tx) error

// Handler does the entries of one kind. It is made by [Kind.Handler].
type Handler struct {
	kind  string
	fault error
	do    func(ctx context.Context, row *stored, attempts int) (Then, error)
}

// Handler makes the handler of the kind. do does the work of one entry, outside of any transaction, and is called by
// many goroutines at once. It must first read the store again: what the entry is about may be over.
//
// When do fails or panics, the entry is tried again later, with growing pauses, until it expires, and not before the
// error's RetryAfter ([storage.Error]). [ErrGone] removes the entry at once. [ErrUnreachable] says that the destination
// is in trouble and not this entry: see [Unreachable].
//
// The Then that do returns (it may be nil) runs in each of these cases, unless the entry was purged meanwhile. If it
// fails, it may run again with another attempt. To write another user's rows, do calls [Entry.Once].
//
// ctx ends after a few seconds ([AttemptTime]), and soon after the sender was told to stop. do must heed it.
func (k *Kind[P]) Handler(do func(ctx context.Context, e Entry[P]) (Then, error)) Handler {
	decodeAndDo := func(ctx context.Context, row *stored, attempts int) (Then, error) {
		e := Entry[P]{
			ID:       row.ID,
			Owner:    row.Owner,
			Expires:  row.Expires,
			Attempts: attempts,
		}
		if err := json.Unmarshal(row.Payload, &e.Payload); err != nil {
			return nil, &payloadError{err}
		}
		return do(ctx, e)
	}
	return Handler{kind: k.name, fault: k.fault, do: decodeAndDo}
}

// Add adds an entry for owner (a user or the House), due at once, with the kind itself as its destination. payload is
// stored as JSON. If the entry is not done by expires, it is dropped.
func (k *Kind[P]) Add(tx *storage.Tx, owner storage.UID, payload P, expires time.Time) error {
	return k.AddTo(tx, owner, "", payload, expires)
}

// AddTo is Add for an entry that goes through a service or host, which where names. Entries with the same kind and
// where share a destination.
func (k *Kind[P]) AddTo(tx *storage.Tx, owner storage.UID, where string, payload P, expires time.Time) error {
	if k.fault != nil {
		return k.fault
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("outbox entry %s: %w", k.name, err)
	}
	row := &stored{
		ID:      storage.NewID("", idLength),
		Owner:   owner,
		Kind:    k.name,
		Payload: body,
		Expires: expires,
	}
	p := pointer{
		destination: destinationName(k.name, where),
		due:         tx.Now(),
		ID:          row.ID,
		Owner:       owner,
		Class:       k.class,
		Expires:     expires,
		Added:       tx.Now().UnixMilli(),
	}
	tx.Wake(storage.House) // senders watch the house
	return errors.Join(
		makeRoom(tx, p.table(), owner),
		p.table().Put(tx, owner, row.ID, row),
		p.put(tx))
}

// whereBytes bounds what Add keeps of where an entry goes: longer names that begin alike share a destination.
const whereBytes = 100

// destinationName joins a kind and where its entry goes. It replaces characters that are not printable ASCII by dots:
// where may come from outside, and becomes part of keys, log lines and figures.
func destinationName(kind, where string) string {
	if where == "" {
		return kind
	}
	clean := func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '.'
		}
		return r
	}
	where = strings.Map(clean, where)
	return kind + "/" + where[:min(len(where), whereBytes)]
}

// kindOf is the kind of the entries that go to a destination.
func kindOf(destination string) string {
	kind, _, _ := strings.Cut(destination, "/")
	return kind
}

// stored is an entry's payload as it lies among the owner's rows.
type stored struct {
	ID       string          `json:"id"`
	Owner    storage.UID     `json:"uid"`
	Kind     string          `json:"kind"`
	Payload  json.RawMessage `json:"payload"`
	Expires  time.Time       `json:"expires"`
	Attempts int             `json:"attempts,omitempty"` // of entries of version 0.1, whose pointers do not count
}

// The tables of payloads, one for each class of user's rows, and one for the House.
var (
	mfaPayloads      = storage.Declare(storage.Spec[stored]{Name: "outbox", Class: storage.MFA, Most: MostWaiting})
	accountPayloads  = storage.Declare(storage.Spec[stored]{Name: "outbox_account", Class: storage.Account, Most: MostWaiting})
	evidencePayloads = storage.Declare(storage.Spec[stored]{Name: "outbox_evidence", Class: storage.Evidence, Most: MostWaiting})
	housePayloads    = storage.Declare(storage.Spec[stored]{Name: "outbox_house", Class: storage.Settings})
)

// Waiting counts the entries of the kind that wait to go through a service or host, up to most. It is no transaction.
func (k *Kind[P]) Waiting(ctx context.Context, store *storage.Store, where string, most int) (n int, err error) {
	line := destinationName(k.name, where)
	err = pointers.Peek(ctx, store, line+"\x00", afterLine(line), false, func(string, []byte) bool {
		n++
		return n < most
	})
	return n, err
}
