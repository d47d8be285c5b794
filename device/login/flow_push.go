package login

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/storage"
)

// Asked is what a page of the browser client learns about an approval that it has asked for.
type Asked struct {
	Number   string // the digits to show; empty when the approval is tapped
	Delivery Delivery
}

// AskPhone asks the phones of a flow's user for an approval, by the same rules as Begin. While the last approval of the flow is
// pending the phones are asked for that one again, with the same number; after a denial, or when it is too old, for a new one.
// What the phone approves satisfies the flow's login.
//
// Errors: keyring.ErrToken; ErrFlow; ErrEnrolsOnly; ErrBlocked; ErrNoLogin; ErrUnknownUser; ErrRecovery; ErrNoPhone; ErrPresence;
// ErrTapOnly; ErrTooMany.
func (s *Service) AskPhone(ctx context.Context, token string) (Asked, error) {
	t, err := s.readFlow(token)
	if err != nil {
		return Asked{}, err
	}
	random := storage.NewUID()
	challenge := newChallenge()
	var asked Asked
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, u, err := s.undecidedFlow(tx, t)
		if err != nil {
			return err
		}
		phones, err := phonesOf(tx, u)
		if err != nil {
			return err
		}
		a, err := s.askFor(tx, l, phones, newApproval(tx, l, random, challenge), "")
		if err == nil {
			asked = Asked{Number: a.Record.Number, Delivery: a.Record.Delivery}
		}
		return err
	})
	return asked, err
}

// askFor asks phones for an approval that satisfies a login: again for the last one while that is pending and for the same purpose,
// else for a fresh one. With only it asks that phone alone.
func (s *Service) askFor(tx *storage.Tx, l row, phones device.Set, fresh row, only string) (row, error) {
	a, known, err := approvalOf(tx, l)
	if err != nil {
		return row{}, err
	}
	if known && a.Record.pending(tx.Now()) && a.Record.Purpose == fresh.Record.Purpose {
		if again := stillAskedBy(a.Record, phones.Only(only)); len(again) > 0 {
			return a, s.askAgain(tx, l, a, again)
		}
	}
	return fresh, errors.Join(endApproval(tx, l), s.askFirst(tx, l, fresh, phones, only))
}

// approvalOf reads the approval that the flow of a login has asked for last. known is false when there is none.
func approvalOf(tx *storage.Tx, l row) (a row, known bool, err error) {
	if l.Record.Approval == "" {
		return row{}, false, nil
	}
	a, err = read(tx, l.UID, l.Record.Approval)
	if errors.Is(err, storage.ErrNotFound) {
		return row{}, false, nil
	}
	return a, err == nil, err
}

// stillAskedBy returns the phones that an approval asks.
func stillAskedBy(a *Login, phones device.Set) (asked device.Set) {
	for _, e := range phones {
		if a != nil && slices.Contains(a.Asked, e.ID) {
			asked = append(asked, e)
		}
	}
	return asked
}

// newApproval returns an approval that satisfies a login by grant.
func newApproval(tx *storage.Tx, l row, random storage.UID, challenge string) row {
	return row{UID: l.UID, Key: random.String(), Record: &Login{
		Client:     l.Record.Client,
		ClientName: l.Record.ClientName,
		IP:         l.Record.IP,
		Agent:      l.Record.Agent,
		Created:    tx.Now(),
		Expires:    approvalEnd(tx, l),
		Challenge:  challenge,
		Flow:       l.Key,
		State:      Pending,
	}}
}

// approvalEnd returns when an approval for the login, asked for now, is over: never after the login.
func approvalEnd(tx *storage.Tx, l row) time.Time {
	end := tx.Now().Add(DefaultLife)
	if end.After(l.Record.Expires) {
		return l.Record.Expires
	}
	return end
}

// askFirst asks the phones for a new approval, and notes it in the login.
func (s *Service) askFirst(tx *storage.Tx, l, a row, phones device.Set, only string) error {
	b, err := budgetOf(tx, l.UID, l.Record.Client)
	if err != nil {
		return err
	}
	p, err := paceOf(tx, l.UID)
	if err != nil {
		return err
	}
	pending, err := p.pending(tx, l.UID)
	if err != nil {
		return err
	}
	place := b.placeOf(tx.Now(), Network(l.Record.IP))
	if err := p.admit(tx.Now(), newRecent(a.Key, a.Record, place)); err != nil {
		return err
	}
	how := asking{
		tapOnly:    l.Record.TapOnly,
		concurrent: len(pending) > 0,
		only:       only,
	}
	if err := s.ask(tx, a, b, phones, how); err != nil {
		return err
	}
	l.Record.Approval = a.Key
	return errors.Join(
		paces.Put(tx, l.UID, thePace, p),
		logins.Put(tx, l.UID, l.Key, l.Record),
		add(tx, l.UID, a.Key, a.Record))
}

// askAgain rings the phones that a pending approval asks once more, and lets it live as long as a new one would.
func (s *Service) askAgain(tx *storage.Tx, l, a row, asked device.Set) error {
	b, err := budgetOf(tx, l.UID, l.Record.Client)
	if err != nil {
		return err
	}
	p, err := paceOf(tx, l.UID)
	if err != nil {
		return err
	}
	a.Record.Expires = approvalEnd(tx, l)
	again := newRecent(a.Key, a.Record, b.placeOf(tx.Now(), Network(l.Record.IP)))
	again.Began = tx.Now().UnixNano()
	p.forget(a.Key)
	if err := p.admit(tx.Now(), again); err != nil {
		return err
	}
	return errors.Join(
		s.send(tx, a, b, asked),
		paces.Put(tx, l.UID, thePace, p),
		logins.Put(tx, l.UID, a.Key, a.Record))
}

// passOn carries a decision over between the two logins of a flow: a decided approval satisfies its login, and a login
// that was satisfied in another way ends its approval.
//
// Errors: ErrNoLogin, when the login of an approval is decided, or gone.
func passOn(tx *storage.Tx, decided row) error {
	switch {
	case decided.Record.Flow != "" && decided.Record.State == Approved:
		return satisfy(tx, decided)
	case decided.Record.Approval != "":
		return endApproval(tx, decided)
	default:
		return nil
	}
}

// satisfy satisfies the login of an approval.
func satisfy(tx *storage.Tx, a row) error {
	l, err := read(tx, a.UID, a.Record.Flow)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !l.Record.pending(tx.Now()) {
		return ErrNoLogin.With("the login is decided already, or over")
	}
	if err != nil {
		return err
	}
	l.Record.State = Approved
	l.Record.Decided = a.Record.Decided
	l.Record.By = a.Record.By
	l.Record.Method = a.Record.Method
	return errors.Join(logins.Put(tx, l.UID, l.Key, l.Record), settle(tx, l))
}

// endApproval ends the approval of a login that does not need it any more: no phone is asked, and none can answer.
func endApproval(tx *storage.Tx, l row) error {
	a, known, err := approvalOf(tx, l)
	if err != nil || !known || !a.Record.pending(tx.Now()) {
		return err
	}
	a.Record.Expires = tx.Now()
	return errors.Join(logins.Put(tx, l.UID, a.Key, a.Record), settle(tx, a))
}
