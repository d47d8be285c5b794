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
	Lost       bool // the address is lost, and tried once more
	Message    push.Message
	Attempts   int // that failed
}

// Delivery is what came of a dispatch.
type Delivery struct {
	// Err is what the outbox is to do: nothing more (nil, or outbox.ErrGone when the message is not carried), or to try again.
	Err error

	// Failure says why the message was not taken, for an event; nil when it was, or is not carried.
	Failure audit.Facts

	note func(tx *storage.Tx) error
}

// Note writes down what the push service has said of the address, in the transaction that settles the outbox entry.
func (d Delivery) Note(tx *storage.Tx) error {
	if d.note == nil {
		return nil
	}
	return d.note(tx)
}

// Deliver brings a message to an address, and settles what the push service says of it. Only a word about this very address
// retires it: it is lost then, for all enrollments that have it. What the service says of this server is its own trouble or
// ours: the message is tried again until its outbox entry expires. Safe for concurrent use.
func (s *Service) Deliver(ctx context.Context, d Dispatch) Delivery {
	begun := s.store.Now()
	err := s.deliver.Deliver(ctx, d.To, d.Message)
	if err == nil {
		return s.taken(ctx, d)
	}
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

// failure is what an event says of a message that was not taken.
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

// The pauses of a message that its service has refused: asking again soon would not help.
const (
	firstSlow   = 30 * time.Second
	longestSlow = time.Hour
)

// slowly marks an error as one after which the message is tried again late.
func (d Dispatch) slowly(err error) error {
	pause := min(firstSlow<<min(d.Attempts, 10), longestSlow)
	return fmt.Errorf("%w: %w", push.ErrRefused.After(pause), err)
}

// Words and answers that are about some addresses of a service and not all: others who use the service are not to wait for them. A host
// of Web Push answers 401 and 403 for a subscription that was made with another server's VAPID key.
const (
	ofOneToken = "TooManyRequests"        // APNs', for a phone, and not a server, that is sent too much
	ofSomeApps = "THIRD_PARTY_AUTH_ERROR" // FCM's, for iPhones and browsers: Android phones get their messages all the same
)

// busy leaves the service alone for as long as it asks. When it may be one phone that is sent too much, or whose distributor is
// away, this message alone waits so long, until several users' have been answered so.
//
// Source: ntfy answers 507 for a topic of UnifiedPush that nobody has read lately.
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

// taken notes that a message was taken. An address that was lost is well again, for all enrollments that have it.
func (s *Service) taken(ctx context.Context, d Dispatch) Delivery {
	s.traffic.count(d.To.Through(), s.store.Now(), false)
	if !d.Lost {
		return Delivery{}
	}
	err := s.tellHolders(ctx, d, Said{})
	return Delivery{Err: err, note: func(tx *storage.Tx) error { return NotePush(tx, d.UID, d.Enrollment, d.To, Said{}) }}
}

// gone settles the word of a service that nobody uses the address any more. It knows that as of some time; what the app has
// named since then is tried again.
func (s *Service) gone(ctx context.Context, d Dispatch, r *push.Refusal, begun time.Time) Delivery {
	through := d.To.Through()
	s.traffic.count(through, s.store.Now(), true)
	word := r.Word(d.To.Service)
	asOf := begun
	if !r.Since.IsZero() { // by their clock, as our wall has it
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

// tellHolders notes what the service has said of the address with all other enrollments that have it, each in a transaction
// of its own, since none writes two users' rows. Done again it changes nothing.
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

// keptOf returns where an address is kept; nil when the phone no longer has it.
func (e *Enrollment) keptOf(to push.Address) *push.KeptAddress {
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Open() == to {
			return kept
		}
	}
	return nil
}

// setupWindow is how often a wrong set-up is recorded.
const setupWindow = time.Hour

// recordSetup records that a service takes nothing from this server as it is set up.
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
