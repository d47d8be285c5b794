package signal

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// item is one SET that waits for a stream. It holds nothing of a person but the uid.
type item struct {
	Stream string      `json:"stream"`
	Number string      `json:"number"`         // sorts as time; with the stream it is the jti
	UID    storage.UID `json:"uid,omitzero"`   // whom it is about; none: the stream itself
	Event  string      `json:"event,omitzero"` // id of what is told
	Index  int         `json:"index,omitzero"` // which of all that is told of it
	Type   string      `json:"type"`
	State  string      `json:"state,omitempty"`  // of a verification
	Status Status      `json:"status,omitempty"` // of a stream that was updated
	Reason string      `json:"reason,omitempty"`
	Added  time.Time   `json:"added"`
}

// held is what waits to be polled, and what waits for a stream that is paused, by stream and number. What a stream that is not
// enabled is told of itself lies apart.
var held = storage.DeclareLog("signal_held")

// pushed is what waits to be pushed. It belongs to the house, so that it outlives the reset or the deletion of whom it is about.
var pushed = outbox.Declare[item]("signal", storage.Evidence)

// The lines of what waits for a stream.
const (
	ofEvents = "/"
	ofItself = "!"
)

func (i *item) line() string {
	if i.Type == StreamUpdated {
		return i.Stream + ofItself
	}
	return i.Stream + ofEvents
}

func (i *item) key() string { return i.line() + i.Number }

// past ends the keys of a line.
func past(line string) string { return line + "~" }

// where names a stream's line in the outbox. Each has its own share of attempts and its own breaker.
func where(stream string) string { return "STREAM/" + stream }

// followerName is by what name the event log knows this package.
const followerName = "signal"

func init() { audit.OnRecord(followerName, queue) }

// queue writes down what streams are to be told of an event, in the transaction that records it.
func queue(tx *storage.Tx, e audit.Event) error {
	says := saidOf(e)
	if len(says) == 0 || e.UID.IsZero() {
		return nil
	}
	list, err := all(tx)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Status == Disabled {
			continue
		}
		if err := s.queue(tx, e, says); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) queue(tx *storage.Tx, e audit.Event, says []said) error {
	delivered := s.Delivered()
	left := false
	for n, what := range says {
		if !slices.Contains(delivered, what.typ) {
			continue
		}
		if !left {
			left = true
			out, err := removedSubjects.Has(tx, e.UID, s.ID)
			if err != nil || out {
				return err
			}
		}
		err := s.add(tx, &item{
			Number: fmt.Sprintf("%s.%d", e.ID, n),
			UID:    e.UID,
			Event:  e.ID,
			Index:  n,
			Type:   what.typ,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// add has an item wait: in the outbox, when it can be pushed now, and else until somebody polls or the stream goes on.
func (s *Stream) add(tx *storage.Tx, i *item) error {
	i.Stream = s.ID
	if i.Added.IsZero() {
		i.Added = tx.Now()
	}
	if s.Method == Push && (s.Status == Enabled || i.Type == StreamUpdated) {
		return pushed.AddTo(tx, storage.House, where(s.ID), *i, i.Added.Add(Life))
	}
	value, err := json.Marshal(i)
	if err != nil {
		return err
	}
	tx.Wake(s.Line)
	return held.Append(tx, storage.House, i.key(), value)
}

// newNumber makes the number of what is no event: as audit makes the ids of events.
func newNumber(tx *storage.Tx) string {
	return fmt.Sprintf("%019d%06d.0", tx.Stamp(), rand.IntN(1_000_000)) //nolint:gosec // it tells two servers apart, and guards nothing
}

// numberDigits is how long the first part of a number is.
const numberDigits = 25

// isNumber reports whether a text could be an item's number.
func isNumber(text string) bool {
	first, second, ok := strings.Cut(text, ".")
	if !ok || len(first) != numberDigits || len(second) != 1 {
		return false
	}
	_, err := strconv.ParseUint(first[:19], 10, 64)
	_, err2 := strconv.ParseUint(first[19:]+second, 10, 64)
	return err == nil && err2 == nil
}

// jti is the id of an item's SET. Source: RFC 8417 §2.2.
func (i *item) jti() string { return i.Number + "-" + i.Stream }

// numberOf returns the number in a jti of a stream; "" when it is none.
func numberOf(stream, jti string) string {
	number, ok := strings.CutSuffix(jti, "-"+stream)
	if !ok || !isNumber(number) {
		return ""
	}
	return number
}

// follow has the event log tell of what some stream wants; while none wants anything, of nothing.
func follow(tx *storage.Tx) error {
	list, err := all(tx)
	if err != nil {
		return err
	}
	var types []audit.Type
	for _, s := range list {
		if s.Status == Disabled {
			continue
		}
		for _, t := range s.Delivered() {
			types = append(types, typesFor(t)...)
		}
	}
	slices.Sort(types)
	return audit.SetFollowed(tx, followerName, slices.Compact(types))
}

// errNoItem reports an item that cannot be told any more: the event is kept no longer, or whom it is about is no more.
var errNoItem = errors.New("there is nothing to tell")
