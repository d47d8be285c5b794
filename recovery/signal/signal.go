// Package signal is a transmitter of OpenID Shared Signals: it tells receivers, in Security Event Tokens (SETs), what happened to
// the account of a user. A receiver is a client, and makes streams; a stream is pushed to a URL of the receiver's, or polled.
//
// What always holds:
//
//   - What is to be told is written down in the transaction that records the event, so that it is told if and only if it happened.
//     It may be told twice, under the same jti, and in any order.
//   - What waits holds the id of an event and a uid, and nothing of a person: a SET is made when it is sent. So nothing waits that a
//     reset removes, and the SET that reports a reset outlives it.
//   - A receiver sees its own streams alone.
//   - What waits for a stream is bounded, and a stream that takes nothing is disabled.
//
// Sources: OpenID Shared Signals Framework 1.0, CAEP 1.0, RISC Profile 1.0; RFC 8417 (SET), RFC 8935 (push), RFC 8936 (poll),
// RFC 9493 (subject identifiers); docs/shared-signals.md.
package signal

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// Method is how SETs reach a receiver.
type Method string

// The methods.
const (
	Push Method = "urn:ietf:rfc:8935"
	Poll Method = "urn:ietf:rfc:8936"
)

// Status is whether a stream is told of anything.
type Status string

// The statuses. Source: SSF 1.0, "Stream Status".
const (
	Enabled  Status = "enabled"
	Paused   Status = "paused"   // what happens is held
	Disabled Status = "disabled" // what happens is not held
)

// Stream is where a receiver has SETs go.
type Stream struct {
	ID          string      `json:"id"`
	Client      string      `json:"client"` // the receiver: aud
	Description string      `json:"description,omitempty"`
	Requested   []string    `json:"requested,omitempty"` // types of events; nil: all that there are
	Method      Method      `json:"method"`
	URL         string      `json:"url,omitempty"` // of a receiver that is pushed to
	Status      Status      `json:"status"`
	Reason      string      `json:"reason,omitempty"` // of the status, in words of whoever set it
	From        string      `json:"from"`             // what has a smaller number is not told: it happened while the stream was disabled
	Line        storage.UID `json:"line"`             // by which a poll is woken
	Created     time.Time   `json:"created"`
	Verified    time.Time   `json:"verified,omitzero"`     // when a verification was last asked for
	LastSuccess time.Time   `json:"last_success,omitzero"` // of a push, to the minute
	Failing     time.Time   `json:"failing,omitzero"`      // since when each push has failed
}

// secret is what a receiver wants to be shown with each push. It lies apart, so that an event which looks at the streams opens no seal.
type secret struct {
	Authorization []byte `json:"authorization"`
}

var (
	streams = storage.Declare(storage.Spec[Stream]{Name: "signal_stream", Class: storage.Settings})
	secrets = storage.Declare(storage.Spec[secret]{
		Name:  "signal_secret",
		Class: storage.Settings,
		Sealed: func(s *secret) []storage.Field {
			return []storage.Field{{Name: "authorization", Value: &s.Authorization}}
		},
	})
)

// Errors of this package.
var (
	ErrNone     = storage.NewError(storage.NotFound, "there is no such stream")
	ErrReceiver = storage.NewError(storage.NotFound, "there is no such receiver")
	ErrInvalid  = storage.NewError(storage.Invalid, "the stream cannot be so")
	ErrRefused  = storage.NewError(storage.Denied, "streams are for clients with the scope ssf.manage, and for the operator")
	ErrTooMany  = storage.NewError(storage.Conflict, "there are too many streams")
	ErrSubject  = storage.NewError(storage.NotFound, "there is no such subject")
	ErrDisabled = storage.NewError(storage.Invalid, "the stream is disabled")
	ErrTooSoon  = storage.NewError(storage.Limited, "a verification was asked for just now")
)

// The scopes of receivers. Source: CAEP Interoperability Profile 1.0.
const (
	ScopeRead   = "ssf.read"
	ScopeManage = "ssf.manage"
)

// Bounds.
const (
	maxStreams      = 50 // each event looks at all of them
	maxOfClient     = 10
	maxURLBytes     = 2000
	maxTextBytes    = 1000
	maxRequested    = 100
	maxTypeBytes    = 255
	maxHeaderBytes  = 4096
	idLength        = 16
	VerifyEvery     = 10 * time.Second   // min_verification_interval
	Life            = 7 * 24 * time.Hour // for which what waits is kept
	unreachableTime = 3 * 24 * time.Hour // for which a receiver may take nothing
	mostWaiting     = 100_000            // for one stream
	coarse          = time.Minute        // how exactly a stream's last success is kept
)

// Options say how streams are signed and reached.
type Options struct {
	Issuer string // iss of SETs and of their subjects

	// Sign makes a SET of its claims: a JWS with typ secevent+jwt.
	Sign func(ctx context.Context, claims []byte) (string, error)

	// Ready has a key made for Sign, if there is none yet. It is called before the first stream is made.
	Ready func(ctx context.Context) error

	// Receives reports whether a client is there still and has one of the scopes.
	Receives func(tx *storage.Tx, client string, scopes ...string) (bool, error)

	Allow []netip.Prefix // addresses that are pushed to though they are not of the internet, also over plain http
}

// Service is the use cases of streams. Safe for concurrent use.
type Service struct {
	Options
	store  *storage.Store
	poster *outbox.Poster
}

// New makes the service.
func New(store *storage.Store, o Options) *Service {
	return &Service{
		Options: o,
		store:   store,
		poster:  outbox.NewPoster(outbox.GuardOptions{What: "receiver of a stream", Flag: "--webhook-allow", Allow: o.Allow}),
	}
}

// Close closes the idle connections.
func (s *Service) Close() { s.poster.Close() }

// all returns the streams. One whose row is damaged is left out: no login hangs on it.
func all(tx *storage.Tx) (list []*Stream, err error) {
	var ids []string
	if err := streams.Keys(tx, storage.House, "", func(id string) bool {
		ids = append(ids, id)
		return true
	}); err != nil {
		return nil, err
	}
	for _, id := range ids {
		s, err := get(tx, id)
		switch {
		case err == nil:
			list = append(list, s)
		case !errors.Is(err, ErrNone):
			return nil, err
		}
	}
	return list, nil
}

// get returns a stream.
//
// Errors: ErrNone, also for one whose row is damaged.
func get(tx *storage.Tx, id string) (*Stream, error) {
	s, err := streams.Get(tx, storage.House, id)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDamaged) {
		return nil, ErrNone
	}
	return s, err
}

// own returns a stream of the client that acts; the operator's are all.
//
// Errors: ErrRefused; ErrNone, also for another client's.
func own(tx *storage.Tx, actor audit.Actor, id string, scopes ...string) (*Stream, error) {
	if err := may(actor, scopes...); err != nil {
		return nil, err
	}
	s, err := get(tx, id)
	if err == nil && !isOf(actor, s) {
		err = ErrNone
	}
	return s, err
}

// isOf reports whether a stream is there for an actor: it is the client's own, or he is the operator.
func isOf(actor audit.Actor, s *Stream) bool { return actor.IsOperator() || s.Client == actor.Client() }

// may is the rule on who has streams: clients with one of the scopes, and the operator.
//
// Errors: ErrRefused.
func may(actor audit.Actor, scopes ...string) error {
	if !actor.IsOperator() && (!actor.IsClient() || !slices.ContainsFunc(scopes, actor.Has)) {
		return ErrRefused
	}
	return nil
}

// put writes a stream, and has the events told that some stream wants.
func put(tx *storage.Tx, s *Stream) error {
	tx.Wake(s.Line)
	return errors.Join(streams.Put(tx, storage.House, s.ID, s), follow(tx))
}

// Streams returns the streams of the client that acts, and to the operator all, the oldest first.
//
// Errors: ErrRefused.
func (s *Service) Streams(ctx context.Context, actor audit.Actor) (list []Stream, err error) {
	if err := may(actor, ScopeRead, ScopeManage); err != nil {
		return nil, err
	}
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		found, err := all(tx)
		list = []Stream{}
		for _, one := range found {
			if isOf(actor, one) {
				list = append(list, *one)
			}
		}
		return err
	})
	slices.SortFunc(list, func(a, b Stream) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return list, err
}

// Stream returns one stream of the client that acts.
//
// Errors: ErrRefused; ErrNone.
func (s *Service) Stream(ctx context.Context, actor audit.Actor, id string) (found Stream, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		one, err := own(tx, actor, id, ScopeRead, ScopeManage)
		if err == nil {
			found = *one
		}
		return err
	})
	return found, err
}
