package device

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tutela/device/push"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// Dispatch is a message on its way to an address of an enrollment.
type Dispatch struct {
	UID        storage.UID
	Enrollment string
	To         push.Address
	Lost       bool // a push service has said that the address is gone; it is tried once more
	Message    push.Message
	Attempts   int // failed ones so far
}

// Delivery is the result of a dispatch.
type Delivery struct {
	// Err tells the outbox what to do: nothing more (nil, or outbox.ErrGone when no service carries the message),
	// or to try again.
	Err error

	// Failure says why the service did not accept the message, for an event; nil when it did, or when no service
	// carries it.
	Failure audit.Facts

	note func(tx *storage.Tx) error
}

// Note stores what the push service has said about the address, in the transaction that settles the outbox entry.
func (d Delivery) Note(tx *storage.Tx) error {
	if d.note == nil {
		return nil
	}
	return d.note(tx)
}

// Deliver sends a message to an address and handles the push service's answer. Only an answer about this very address
// makes it lost, for all enrollments that have it. After any other trouble, of the service or of our set-up, the
// message is tried again until its outbox entry expires. Safe for concurrent use.
func (s *Service) Deliver(ctx context.Context, d Dispatch) Delivery {
	begun := s.store.Now()
	err := s.deliver.Deliver(ctx, d.To, d.Message)
	if err == nil {
		return s.taken(ctx, d)
	}
	// Get the service's refusal, if it has answered at all.
	var r *push.Refusal
	switch {
	case errors.Is(err, push.ErrNotCarried):
		return Delivery{Err: outbox.ErrGone}
	case errors.As(err, &r):
	case errors.Is(err, push.ErrTokenGone):
		r = &push.Refusal{Verdict: push.Gone}
	default:
		return Delivery{Err: outbox.Unreachable(err), Failure: d.failure(audit.WhyUnreachable, "")}
	}
	// Who is at fault: the address, our set-up, the app, the message or the service?
	word := r.Word(d.To.Service)
	switch r.Verdict {
	case push.Gone:
		return s.gone(ctx, d, r, begun)
	case push.Setup:
		if failed := s.recordSetup(ctx, d, word); failed != nil {
			err = errors.Join(err, failed)
		}
		failure := d.failure(audit.WhySetup, word)
		if d.To.Service == push.WebPush || r.Reason == ofSomeApps {
			return Delivery{Err: outbox.Doubtful(d.UID.String(), word, d.slowly(err)), Failure: failure}
		}
		return Delivery{Err: outbox.UnreachableSaying(word, err), Failure: failure}
	case push.Mismatch:
		return Delivery{Err: outbox.Doubtful(d.UID.String(), word, d.slowly(err)), Failure: d.failure(audit.WhyMismatch, word)}
	case push.Unfit:
		return Delivery{Failure: d.failure(audit.WhyUnfit, word)}
	default:
		return d.busy(r, word, err)
	}
}

// failure returns the facts of an event about a message that was not accepted.
func (d Dispatch) failure(why audit.Word, word string) audit.Facts {
	facts := audit.Facts{
		audit.FactService: audit.Word(d.To.Service.Provider()),
		audit.FactWhy:     why,
	}
	if word != "" {
		facts[audit.FactReason] = audit.Word(word)
	}
	return facts
}

// The pauses of a message that its service has refused: trying again soon would not help.
const (
	firstSlow   = 30 * time.Second
	longestSlow = time.Hour
)

// slowly adds a long pause to an error, which grows with the attempts.
func (d Dispatch) slowly(err error) error {
	pause := min(firstSlow<<min(d.Attempts, 10), longestSlow)
	return fmt.Errorf("%w: %w", push.ErrRefused.After(pause), err)
}

// Answers that are about some addresses of a service only, so that other users of the service must not wait for them.
// (A host of Web Push also answers 401 and 403 for a subscription that was made with another server's VAPID key.)
const (
	ofOneToken = "TooManyRequests"        // of APNs: too many messages to one phone (not from one server)
	ofSomeApps = "THIRD_PARTY_AUTH_ERROR" // of FCM: about iPhones and browsers; Android phones still get their messages
)

// busy leaves the service alone for as long as it asks. If the cause may be a single phone (too many messages, or its
// distributor is away), only this message waits, until several users' messages have got the same answer.
//
// Source: ntfy answers 507 for a UnifiedPush topic that nobody has read lately.
func (d Dispatch) busy(r *push.Refusal, word string, err error) Delivery {
	failure := d.failure(audit.WhyBusy, word)
	if r.Status != http.StatusTooManyRequests && r.Status != http.StatusInsufficientStorage {
		return Delivery{Err: outbox.UnreachableSaying(word, err), Failure: failure}
	}
	if r.After == 0 {
		err = d.slowly(err)
	}
	if r.Reason != ofOneToken {
		err = outbox.Doubtful(d.UID.String(), word, err)
	}
	return Delivery{Err: err, Failure: failure}
}

// taken handles an accepted message. If the address was lost, it is good again, for all enrollments that have it.
func (s *Service) taken(ctx context.Context, d Dispatch) Delivery {
	s.traffic.count(d.To.Through(), s.store.Now(), false)
	if !d.Lost {
		return Delivery{}
	}
	err := s.tellHolders(ctx, d, Said{})
	return Delivery{Err: err, note: func(tx *storage.Tx) error { return NotePush(tx, d.UID, d.Enrollment, d.To, Said{}) }}
}

// gone handles the answer that nobody uses the address any more. The service knows that as of some time; an address
// that the app has named since then is tried again.
func (s *Service) gone(ctx context.Context, d Dispatch, r *push.Refusal, begun time.Time) Delivery {
	through := d.To.Through()
	s.traffic.count(through, s.store.Now(), true)
	word := r.Word(d.To.Service)
	asOf := begun
	if !r.Since.IsZero() { // a time by the service's clock; compare it with our wall clock
		asOf = begun.Add(r.Since.Sub(s.store.Wall()))
	}
	var kept push.KeptAddress
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := Get(tx, d.UID, d.Enrollment)
		if err == nil && e.Status != Retired && e.keptOf(d.To) != nil {
			kept = *e.keptOf(d.To)
		}
		return ignoreGone(err)
	})
	if err != nil {
		return Delivery{Err: err}
	}
	failure := d.failure(audit.WhyGone, word)
	if kept.Named.After(asOf) {
		return Delivery{Err: d.slowly(r), Failure: failure}
	}
	said := Said{Gone: true, AsOf: asOf, Why: word}
	if !kept.IsZero() && !kept.Lost {
		may, err := s.mayRetire(ctx, through)
		if err != nil {
			return Delivery{Err: err}
		}
		if !may {
			return Delivery{Err: d.slowly(r), Failure: d.failure(audit.WhyWave, word)}
		}
		if err := s.tellHolders(ctx, d, said); err != nil {
			return Delivery{Err: err}
		}
		said.Counted = true
	}
	return Delivery{
		Failure: failure,
		note:    func(tx *storage.Tx) error { return NotePush(tx, d.UID, d.Enrollment, d.To, said) },
	}
}

// tellHolders stores what the service has said about the address at all other enrollments that have it. Each has a
// transaction of its own, since no transaction writes two users' rows. A repeat changes nothing.
func (s *Service) tellHolders(ctx context.Context, d Dispatch, said Said) error {
	var all []holder
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		all, err = s.holders(tx, d.To)
		return err
	})
	for _, other := range all {
		if err != nil {
			break
		}
		if other.id == d.Enrollment {
			continue
		}
		err = s.store.Update(ctx, func(tx *storage.Tx) error { return NotePush(tx, other.uid, other.id, d.To, said) })
	}
	return err
}

// keptOf returns the stored address that equals to; nil when the phone no longer has it.
func (e *Enrollment) keptOf(to push.Address) *push.KeptAddress {
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Open() == to {
			return kept
		}
	}
	return nil
}

// setupWindow is the least time between two events about a wrong set-up.
const setupWindow = time.Hour

// recordSetup records that a service refuses everything from this server because of its set-up.
func (s *Service) recordSetup(ctx context.Context, d Dispatch, word string) error {
	facts := audit.Facts{audit.FactService: audit.Word(d.To.Service.Provider())}
	if word != "" {
		facts[audit.FactReason] = audit.Word(word)
	}
	event := audit.Event{Type: audit.PushSetup, Facts: facts}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		return audit.FoldRepeats(tx, audit.Actor{}, event, audit.Detail{}, "", setupWindow)
	})
}
