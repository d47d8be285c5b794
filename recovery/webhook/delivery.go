package webhook

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// Status is how a delivery stands.
type Status string

// The statuses.
const (
	Waiting   Status = "waiting"   // it failed, and is tried again
	Delivered Status = "delivered" // the receiver has it
	Failed    Status = "failed"    // it is not tried again
)

// Delivery is what came of telling a webhook of an event. It holds nothing of an answer but the status, and nothing of a person.
type Delivery struct {
	ID       string     `json:"id"`
	Webhook  string     `json:"webhook"`
	Event    string     `json:"event"`
	Type     audit.Type `json:"type"`
	Status   Status     `json:"status"`
	Attempts int        `json:"attempts"`
	Answer   int        `json:"answer,omitempty"` // the HTTP status; 0: there was no answer
	Why      audit.Word `json:"why,omitempty"`    // there was none
	At       time.Time  `json:"at"`               // of the last attempt
	Until    time.Time  `json:"until,omitzero"`   // it is tried again
}

// deliveries remembers the last deliveries of each webhook, by webhook and delivery.
var deliveries = storage.Declare(storage.Spec[Delivery]{
	Name:    "webhook_delivery",
	Class:   storage.Settings,
	Expires: func(d *Delivery) time.Time { return d.At.Add(deliveryLife) },
})

const (
	mostFailed    = 512 // or waiting
	mostDelivered = 128
	deliveryLife  = 7 * 24 * time.Hour

	// trimEvery is how many deliveries are noted, on average, until those past the bounds are removed: a transaction that counted each
	// time would read what all others write.
	trimEvery = 32
)

func deliveriesOf(webhook string) string { return webhook + "/" }

func (d *Delivery) key() string { return deliveriesOf(d.Webhook) + d.ID }

// divide divides a webhook's deliveries, which are sorted, the newest first, into those that are kept and those that are more: the oldest
// of those that were taken, and of those that were not.
func divide(rows []storage.Row[Delivery]) (kept, more []storage.Row[Delivery]) {
	taken := 0
	failed := 0
	for _, row := range rows {
		var over bool
		if row.Record.Status == Delivered {
			taken++
			over = taken > mostDelivered
		} else {
			failed++
			over = failed > mostFailed
		}
		if over {
			more = append(more, row)
		} else {
			kept = append(kept, row)
		}
	}
	return kept, more
}

// newestFirst reads a webhook's deliveries, the newest attempt first.
func newestFirst(tx *storage.Tx, webhook string) ([]storage.Row[Delivery], error) {
	rows, err := deliveries.Prefixed(tx, storage.House, deliveriesOf(webhook))
	slices.SortStableFunc(rows, func(a, b storage.Row[Delivery]) int {
		return cmp.Or(b.Record.At.Compare(a.Record.At), strings.Compare(b.Record.Event, a.Record.Event))
	})
	return rows, err
}

// trim removes deliveries of a webhook that are past the bounds.
func trim(tx *storage.Tx, webhook string) error {
	rows, err := newestFirst(tx, webhook)
	_, more := divide(rows)
	for _, row := range more {
		err = errors.Join(err, deliveries.Delete(tx, storage.House, row.Key))
	}
	return err
}

// note writes down what came of an attempt: in the list of deliveries and, when it is new, at the webhook.
func note(tx *storage.Tx, e outbox.Entry[telling], r outbox.Answer) error {
	w, err := get(tx, e.Payload.Webhook)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	d := &Delivery{
		ID:       deliveryID(e.ID),
		Webhook:  w.ID,
		Event:    e.Payload.Event,
		Type:     e.Payload.Type,
		Status:   Delivered,
		Attempts: e.Attempts + 1,
		Answer:   r.Status,
		Why:      audit.Word(r.Word),
		At:       tx.Now(),
	}
	if !r.Taken() {
		d.Status = Waiting
		d.Until = e.Expires
		if r.Status == http.StatusGone {
			d.Until = tx.Now()
		}
	}
	return errors.Join(d.put(tx), noteAt(tx, w, r))
}

func deliveryID(entry string) string { return "dlv_" + entry }

// put writes the delivery, in place of what its attempt before has left.
func (d *Delivery) put(tx *storage.Tx) error {
	err := deliveries.Put(tx, storage.House, d.key(), d)
	if err == nil && rand.N(trimEvery) == 0 { //nolint:gosec // it spreads work, and guards nothing
		err = trim(tx, d.Webhook)
	}
	return err
}

// coarse is how exactly a webhook's last success is kept: a row that each delivery wrote would be written by all at once.
const coarse = time.Minute

// parkedAfter is how long a webhook may take nothing before it is parked.
const parkedAfter = 3 * 24 * time.Hour

// noteAt writes down at the webhook what an attempt has changed.
func noteAt(tx *storage.Tx, w *Webhook, r outbox.Answer) error {
	now := tx.Now()
	switch {
	case r.Taken() && w.Failing.IsZero() && now.Sub(w.LastSuccess) < coarse:
		return nil
	case r.Taken():
		w.Failing = time.Time{}
		w.LastSuccess = now
		return hooks.Put(tx, storage.House, w.ID, w)
	case r.Status == http.StatusGone:
		w.Enabled = false
		return park(tx, w, audit.WhyGone)
	case w.Failing.IsZero():
		w.Failing = now
		return hooks.Put(tx, storage.House, w.ID, w)
	case now.Sub(w.Failing) >= parkedAfter:
		return park(tx, w, audit.WhyUnreachable)
	default:
		return nil
	}
}

// park stops the deliveries of a webhook until somebody enables it again, and records that. Waiting messages are
// dropped.
func park(tx *storage.Tx, w *Webhook, why audit.Word) error {
	if !w.Parked.IsZero() {
		return nil
	}
	w.Parked = tx.Now()
	w.Why = why
	facts := audit.Facts{audit.FactWebhook: audit.Word(w.ID), audit.FactWhy: why}
	return errors.Join(
		put(tx, w),
		audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.WebhookParked, Facts: facts}, audit.Detail{}))
}

// Deliveries returns the last deliveries of a webhook, the newest attempt first: those of a status, or all when it is "". Those that
// failed are kept beside those that did not: at most 512 and 128, for seven days.
//
// Errors: ErrNone.
func (s *Service) Deliveries(ctx context.Context, id string, of Status) (list []Delivery, err error) {
	list = []Delivery{}
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		if _, err := get(tx, id); err != nil {
			return err
		}
		rows, err := newestFirst(tx, id)
		kept, _ := divide(rows)
		for _, row := range kept {
			d := *row.Record
			if d.Status == Waiting && !tx.Now().Before(d.Until) {
				d.Status = Failed
			}
			if of == "" || of == d.Status {
				list = append(list, d)
			}
		}
		return err
	})
	return list, err
}

// Retry has a webhook told again of what a delivery has told of, or tried to: at once, and as often as anew. The message has the
// same id.
//
// Errors: ErrNone; ErrNoDelivery, also when the event is kept no longer; ErrRefused; ErrInvalid for a webhook that is told of nothing.
func (s *Service) Retry(ctx context.Context, actor audit.Actor, id, delivery string) error {
	list, err := s.Deliveries(ctx, id, "")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(d Delivery) bool { return d.ID == delivery })
	if i < 0 {
		return ErrNoDelivery
	}
	event, err := audit.Get(ctx, s.store, list[i].Event)
	if errors.Is(err, audit.ErrNotFound) {
		return ErrNoDelivery.With("the event is kept no longer")
	}
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		w, err := get(tx, id)
		if err == nil {
			err = may(tx, actor, w.Mails)
		}
		if err != nil {
			return err
		}
		if !w.wants(event.Type) {
			return ErrInvalid.With("the webhook is told of nothing of this type now: it is disabled or parked, or its events are others")
		}
		return errors.Join(add(tx, id, event.Event), audit.RecordCall(tx, actor, storage.House))
	})
}

// Trial is what came of trying a webhook.
type Trial struct {
	Delivered bool
	Answer    int        // the HTTP status; 0: there was no answer
	Why       audit.Word // there was none
	Said      string     // the same for the operator: names the address and never the URL
}

// Test sends a message of type webhook.test to a webhook now, whether it is enabled or not, and says what came of it.
//
// Errors: ErrNone; ErrRefused.
func (s *Service) Test(ctx context.Context, actor audit.Actor, id string) (Trial, error) {
	var to *signer
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		w, err := get(tx, id)
		if err == nil {
			err = may(tx, actor, false)
		}
		if err != nil {
			return err
		}
		if to, err = signerOf(tx, w); err != nil {
			return err
		}
		return audit.RecordCall(tx, actor, storage.House)
	})
	if err != nil {
		return Trial{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, outbox.AttemptTime)
	defer cancel()
	message := Message{
		Type: TypeTest,
		Time: storage.FormatInstant(s.store.Now()),
		Data: struct {
			Webhook string `json:"webhook"`
		}{id},
	}
	r := s.post(ctx, to, storage.NewID("msg_test_", idLength), message)
	t := Trial{
		Delivered: r.Taken(),
		Answer:    r.Status,
		Why:       audit.Word(r.Word),
	}
	if r.Err != nil {
		t.Said = r.Err.Error()
	}
	return t, nil
}
