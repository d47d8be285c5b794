package login

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
)

// RedeemOOB satisfies the login of an mfa_token by what its oob_code names: an approval that a phone has given, or an association that
// a phone has confirmed by enrolling. With an enrolment token it confirms the association that was made by it, and logs nobody in: the
// outcome is that of the proof before. It does not wait. When something undecided is polled faster than its interval, it returns
// ErrSlowDown with the new interval. The first answer may be lost: so a repeat of the call gets the same outcome, without an enrolment
// token, while the mfa_token lives and the phone is in service.
//
// Errors: ErrGrant, for another login's oob_code, or when the login was decided otherwise; ErrMFATokenExpired; ErrEnrolment; ErrBlocked;
// ErrUndecided; ErrSlowDown; ErrRejected; ErrExpired; ErrDenied, when the phone is out of service; ErrUnnamed; ErrWeakProof.
func (s *Service) RedeemOOB(ctx context.Context, g Grant, oobCode string) (Outcome, error) {
	if err := g.check(); err != nil {
		return Outcome{}, err
	}
	// Most polls find nothing to collect, so the first look writes nothing.
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		_, err := s.lookAtOOB(tx, g, oobCode)
		return err
	})
	if errors.Is(err, ErrUndecided) {
		err = s.polls.undecided(g.Pass.Client, oobCode)
	}
	if err != nil {
		return Outcome{}, err
	}
	var o Outcome
	err = s.store.Update(context.WithoutCancel(ctx), func(tx *storage.Tx) (err error) {
		o, err = s.redeemOOB(tx, g, oobCode)
		return err
	})
	return o, err
}

// redeemOOB is RedeemOOB in the open transaction, without an interval.
func (s *Service) redeemOOB(tx *storage.Tx, g Grant, oobCode string) (o Outcome, err error) {
	found, err := s.lookAtOOB(tx, g, oobCode)
	if err != nil {
		return o, err
	}
	o, err = s.collectOOB(tx, g, found)
	switch {
	case err != nil || g.Pass.Enrols:
	case found.again:
		o.Remember, err = s.rememberAgain(tx, g, found.login)
	default:
		o.Remember, err = s.remember(tx, g, found.login)
	}
	return o, err
}

// foundOOB is what an oob_code names, when there is something to collect.
type foundOOB struct {
	login    row
	user     *user.User
	enrolled *device.Enrollment // that has confirmed an association; nil for an approval
	offer    string             // key of the association
	again    bool               // it was collected before
}

// lookAtOOB reads what an oob_code names. It writes nothing.
func (s *Service) lookAtOOB(tx *storage.Tx, g Grant, oobCode string) (foundOOB, error) {
	if g.Pass.Enrols {
		return s.lookAtEnrolment(tx, g, oobCode)
	}
	l, u, err := s.collecting(tx, g.Pass.Login)
	if err != nil {
		return foundOOB{}, err
	}
	if uid, key, ok := s.ring.ParseID(setUpPrefix, oobCode); ok {
		if uid != l.UID || key != l.Key {
			return foundOOB{}, ErrGrant
		}
		return lookAtSetUp(tx, l, u)
	}
	uid, key, ok := s.ring.ParseID(approvalPrefix, oobCode)
	if !ok || uid != l.UID {
		return foundOOB{}, ErrGrant
	}
	a, err := read(tx, uid, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return foundOOB{}, ErrExpired
	case err != nil:
		return foundOOB{}, err
	case a.Record.Flow != l.Key:
		return foundOOB{}, ErrGrant
	}
	return lookAtApproval(tx, g, l, a, u)
}

// collecting reads a login by grant and its user, until a login that was decided in time can be collected no more.
//
// Errors: ErrGrant; ErrMFATokenExpired; ErrBlocked.
func (s *Service) collecting(tx *storage.Tx, id string) (row, *user.User, error) {
	l, err := s.find(tx, mfaPrefix, id)
	if errors.Is(err, ErrExpired) || err == nil && l.Record.State == Pending && !l.Record.pending(tx.Now()) {
		err = ErrMFATokenExpired
	}
	if err != nil {
		return row{}, nil, err
	}
	u, err := user.Get(tx, l.UID)
	if err == nil && u.Blocked {
		err = ErrBlocked
	}
	return l, u, err
}

// lookAtApproval reads how an approval of a login stands.
func lookAtApproval(tx *storage.Tx, g Grant, l, a row, u *user.User) (foundOOB, error) {
	found := foundOOB{login: l, user: u, again: l.Record.ByOOB}
	switch {
	case l.Record.State == Approved && (l.Record.Approval != a.Key || a.Record.State != Approved),
		l.Record.State == Approved && !l.Record.Collected.IsZero() && !l.Record.ByOOB:
		return found, ErrGrant.With("the login was satisfied otherwise")
	case l.Record.State == Approved && g.Enrols && !found.again && (a.Record.Purpose != ToAddDevice || a.Record.Number == ""):
		return found, ErrUnnamed
	case l.Record.State == Approved:
		return found, l.Record.stands(tx, u)
	case a.Record.State == Denied:
		return found, ErrRejected
	case a.Record.pending(tx.Now()):
		return found, ErrUndecided
	default:
		return found, ErrExpired
	}
}

// lookAtSetUp reads how the association of a new user's login stands.
func lookAtSetUp(tx *storage.Tx, l row, u *user.User) (foundOOB, error) {
	found := foundOOB{
		login: l,
		user:  u,
		offer: l.Key,
		again: l.Record.ByOOB,
	}
	if l.Record.State == Approved && !l.Record.ByOOB {
		return found, ErrGrant.With("the login was satisfied otherwise")
	}
	var err error
	found.enrolled, err = enrolledBy(tx, l.UID, l.Key)
	return found, err
}

// lookAtEnrolment reads how the association of an enrolment token stands.
func (s *Service) lookAtEnrolment(tx *storage.Tx, g Grant, oobCode string) (foundOOB, error) {
	l, u, err := s.enrolment(tx, g.Pass)
	if err != nil {
		return foundOOB{}, err
	}
	uid, key, ok := s.ring.ParseID(enrolmentPrefix, oobCode)
	if !ok || uid != l.UID || key != l.Key {
		return foundOOB{}, ErrGrant
	}
	found := foundOOB{login: l, user: u, offer: enrolmentKey(l)}
	found.enrolled, err = enrolledBy(tx, l.UID, found.offer)
	if errors.Is(err, ErrUndecided) {
		// It can be confirmed only while all is there that the token stands on.
		err = s.devices.Stands(tx, l.UID, s.proofOf(l))
		if errors.Is(err, device.ErrTicket) {
			return found, ErrEnrolment
		}
		if err == nil {
			err = ErrUndecided
		}
	}
	return found, err
}

// enrolledBy returns the enrollment that has confirmed an association.
//
// Errors: ErrUndecided; ErrExpired; ErrDenied, when the enrollment is out of service.
func enrolledBy(tx *storage.Tx, uid storage.UID, key string) (*device.Enrollment, error) {
	taken, err := device.TakenOffer(tx, uid, key)
	switch {
	case errors.Is(err, device.ErrTicket):
		return nil, ErrExpired.With("the association is over: another was confirmed first, or none was made")
	case err != nil:
		return nil, err
	case taken.Open && tx.Now().Before(taken.Expires):
		return nil, ErrUndecided
	case taken.Open:
		return nil, ErrExpired.With("nobody has confirmed the association in time")
	case taken.Enrollment == nil:
		return nil, ErrDenied.With("the phone that has enrolled is out of service")
	}
	return taken.Enrollment, nil
}

// collectOOB hands over the outcome of what an oob_code names.
//
// Errors: ErrWeakProof.
func (s *Service) collectOOB(tx *storage.Tx, g Grant, found foundOOB) (Outcome, error) {
	l := found.login
	if found.enrolled != nil {
		// Only the answer of the association says the oob_code: so that has arrived, with the recovery code in it.
		if err := device.SawTaken(tx, l.UID, found.offer); err != nil {
			return Outcome{}, err
		}
	}
	if g.Pass.Enrols || found.again {
		return outcomeOf(found.user, l), nil
	}
	l.Record.ByOOB = true
	l.Record.Collected = tx.Now()
	if found.enrolled != nil {
		method := ByKey
		if found.enrolled.Type.IsPasskey() {
			method = ByPasskey
		}
		d := decision{login: l, by: found.enrolled, detail: found.enrolled.Detail()}
		if err := d.approve(tx, g.Actor, method); err != nil {
			return Outcome{}, err
		}
		return completed(tx, l)
	}
	if g.Enrols {
		if err := s.mayEnrolBy(tx, l.UID, ByKey); err != nil {
			return Outcome{}, err
		}
		l.Record.EnrolUntil = l.Record.Decided.Add(enrolFor)
	}
	if err := logins.Put(tx, l.UID, l.Key, l.Record); err != nil {
		return Outcome{}, err
	}
	o, err := completed(tx, l)
	o.EnrolUntil = l.Record.EnrolUntil
	return o, err
}
