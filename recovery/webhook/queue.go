package webhook

import (
	"slices"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// telling is the payload of an entry that waits to be sent. It holds nothing of a person: what is told is read when it is sent.
type telling struct {
	Webhook string     `json:"webhook"`
	Event   string     `json:"event"` // its id
	Type    audit.Type `json:"type"`
}

// queued is the kind of entry that tells a webhook of an event. It outlives the reset and the deletion that it may report; of
// somebody who was deleted meanwhile, it tells that something happened and not to whom.
var queued = outbox.Declare[telling]("webhook", storage.Evidence)

// Life is how long what is to be told is kept for a webhook that does not take it.
const Life = 3 * 24 * time.Hour

// where names a webhook's line in the outbox. Each has its own share of attempts and its own breaker.
func where(id string) string { return "WEBHOOK/" + id }

// followerName is by what name the event log knows this package.
const followerName = "webhook"

func init() { audit.OnRecord(followerName, queue) }

// queue adds an entry for each webhook that wants an event, in the transaction that records it.
func queue(tx *storage.Tx, e audit.Event) error {
	list, err := all(tx)
	if err != nil {
		return err
	}
	for _, w := range list {
		if !w.wants(e.Type) {
			continue
		}
		if err := add(tx, w.ID, e); err != nil {
			return err
		}
	}
	return nil
}

func add(tx *storage.Tx, id string, e audit.Event) error {
	t := telling{
		Webhook: id,
		Event:   e.ID,
		Type:    e.Type,
	}
	return queued.AddTo(tx, e.UID, where(id), t, tx.Now().Add(Life))
}

// wants reports whether a webhook now gets events of a type.
func (w *Webhook) wants(t audit.Type) bool {
	return w.active() && (slices.Contains(w.Events, t) || slices.Contains(w.Events, audit.EveryType))
}

func (w *Webhook) active() bool { return w.Enabled && w.Parked.IsZero() }

// follow has the event log tell of what some webhook wants; while none wants anything, of nothing.
func follow(tx *storage.Tx) error {
	list, err := all(tx)
	if err != nil {
		return err
	}
	var types []audit.Type
	for _, w := range list {
		if w.active() {
			types = append(types, w.Events...)
		}
	}
	slices.Sort(types)
	return audit.SetFollowed(tx, followerName, slices.Compact(types))
}
