package login

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
)

// FlowState is what a page of the browser client learns when it asks for the state of its flow.
//
// Source: guardian-wire.md §5.4.
type FlowState struct {
	ID       string // the txid of the transaction token
	State    State
	Enrolled *Account // of the enrolment that was offered; nil until it is confirmed
	Token    string   // the result token, of a login that was approved
	Number   string   // the digits of a pending approval that matches numbers
	Delivery Delivery // of a pending approval
}

// Result is the outcome of a flow's login, for the token that its client verifies.
type Result struct {
	ID     string // the txid, which is in the client's mfa_token too
	Client string
	UserID string
	Method Method
	At     time.Time // when it was approved, by the wall clock
}

// ResultLife is how long a result token lives, and how long a page that asks again gets the same one.
const ResultLife = keptFor

// LookAtFlow returns the state of a flow. The first page that asks collects an approved login: sign makes the result
// token. The answer may be lost on its way, so for ResultLife every page of the flow gets the same token. polls says
// how often the flow may ask; it is set with ErrTooManyPolls, too.
//
// Errors: keyring.ErrToken; ErrFlow, also when the token was told and is over; ErrBlocked; ErrTooManyPolls; those of sign.
func (s *Service) LookAtFlow(ctx context.Context, token string, sign func(Result) (string, error)) (state FlowState, polls Polls, err error) {
	t, err := s.readFlow(token)
	if err != nil {
		return FlowState{}, Polls{}, err
	}
	if polls, err = s.flowPolls.take(t.ID); err != nil {
		return FlowState{}, polls, err
	}
	var seen seenFlow
	err = s.store.View(ctx, func(tx *storage.Tx) (err error) {
		seen, err = s.seeFlow(tx, t)
		return err
	})
	if err == nil && seen.unseen {
		err = s.store.Update(ctx, func(tx *storage.Tx) error { return device.SawTaken(tx, seen.uid, seen.key) })
	}
	if err != nil || !seen.collectable {
		return seen.FlowState, polls, err
	}
	signed, err := sign(seen.result)
	if err != nil {
		return FlowState{}, polls, err
	}
	seen.Token, err = s.collectFlow(context.WithoutCancel(ctx), t, signed)
	return seen.FlowState, polls, err
}

// seenFlow is what a read of a flow found.
type seenFlow struct {
	FlowState
	uid         storage.UID
	key         string // of the offer
	unseen      bool   // the page learns of its enrolment only now
	collectable bool   // the login is approved, and nobody has its token yet
	result      Result // of a collectable one
}

// seeFlow reads how a flow stands, and writes nothing.
func (s *Service) seeFlow(tx *storage.Tx, t flowClaims) (seenFlow, error) {
	seen := seenFlow{FlowState: FlowState{ID: t.ID, State: Pending}}
	if uid, key, isOffer := s.ring.ParseID(offerPrefix, t.ID); isOffer {
		return s.seeOffer(tx, seen, uid, key)
	}
	l, u, err := s.flowLogin(tx, t.ID)
	if err != nil {
		return seen, err
	}
	if _, _, err := seen.enrolment(tx, l); err != nil && !errors.Is(err, device.ErrTicket) {
		return seen, err
	}
	if l.Record.State == Pending {
		err := seen.approval(tx, l)
		return seen, err
	}
	switch err := l.Record.stands(tx, u); {
	case errors.Is(err, ErrDenied):
		seen.State = Denied
		return seen, nil
	case err != nil:
		return seen, err
	}
	seen.State = Approved
	seen.Token, err = keptToken(tx, l)
	seen.collectable = seen.Token == ""
	seen.result = Result{
		ID:     t.ID,
		Client: l.Record.Client,
		UserID: u.ID,
		Method: l.Record.Method,
		At:     s.store.Wall().Add(l.Record.Decided.Sub(tx.Now())),
	}
	return seen, err
}

// seeOffer reads how a flow by ticket stands. It logs nobody in: it is over when a one-time code has confirmed it, and stays
// pending when a phone has.
func (s *Service) seeOffer(tx *storage.Tx, seen seenFlow, uid storage.UID, key string) (seenFlow, error) {
	blocked, err := isBlocked(tx, uid)
	if err != nil {
		return seen, err
	}
	if blocked {
		return seen, ErrBlocked
	}
	until, isOTP, err := seen.enrolment(tx, row{UID: uid, Key: key, Record: &Login{}})
	if errors.Is(err, device.ErrTicket) || err == nil && seen.Enrolled == nil && !tx.Now().Before(until) {
		err = ErrFlow
	}
	if isOTP {
		seen.State = Approved
	}
	return seen, err
}

// enrolment reads the state of the enrolment that was offered to the page of a login, and until when it can be
// confirmed. isOTP reports whether an app that only shows one-time codes has confirmed it.
//
// Errors: device.ErrTicket, when none was offered.
func (seen *seenFlow) enrolment(tx *storage.Tx, l row) (until time.Time, isOTP bool, err error) {
	taken, err := device.TakenOffer(tx, l.UID, l.Key)
	if err != nil || taken.Enrollment == nil {
		return taken.Expires, false, err
	}
	seen.uid = l.UID
	seen.key = l.Key
	seen.unseen = taken.Unseen
	a, err := accountOf(tx, l, device.Set{taken.Enrollment})
	seen.Enrolled = &a
	return taken.Expires, taken.Enrollment.Type == device.TypeOTP, err
}

// approval reads the state of the approval that the page of an undecided login has asked for.
func (seen *seenFlow) approval(tx *storage.Tx, l row) error {
	a, known, err := approvalOf(tx, l)
	switch {
	case err != nil || !known:
		return err
	case a.Record.State == Denied:
		seen.State = Denied
	case a.Record.pending(tx.Now()):
		seen.Number = a.Record.Number
		seen.Delivery = a.Record.Delivery
	}
	return nil
}

// keptToken returns the result token that was made for a login; "" while there is none.
//
// Errors: ErrFlow, when the token is over, or a grant has collected the login.
func keptToken(tx *storage.Tx, l row) (string, error) {
	if l.Record.Collected.IsZero() {
		return "", nil
	}
	kept, err := recovery.KeptReply(tx, l.UID, flowKey(l))
	if errors.Is(err, storage.ErrNotFound) {
		return "", ErrFlow
	}
	if err != nil {
		return "", err
	}
	return string(kept.Body), nil
}

// flowKey returns the key under which the result token of a login is kept.
func flowKey(l row) string { return "flow:" + l.Key }

// collectFlow collects an approved login and keeps its result token. If another page has collected it meanwhile, collectFlow
// returns that page's token.
func (s *Service) collectFlow(ctx context.Context, t flowClaims, token string) (told string, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		seen, err := s.seeFlow(tx, t)
		if err != nil {
			return err
		}
		if told = seen.Token; told != "" {
			return nil
		}
		if !seen.collectable {
			return ErrFlow
		}
		l, err := s.find(tx, mfaPrefix, t.ID)
		if err != nil {
			return err
		}
		l.Record.Collected = tx.Now()
		told = token
		_, err = completed(tx, l)
		return errors.Join(err,
			logins.Put(tx, l.UID, l.Key, l.Record),
			recovery.KeepReply(tx, l.UID, flowKey(l), recovery.Reply{Body: []byte(token)}, ResultLife))
	})
	return told, err
}
