package login

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// A caller check asks a person's phones whether it is she who rings the help desk. It is an approval that lets nobody in: it
// yields no token, counts as no login, and costs no push budget.

// The times and bounds of caller checks.
const (
	callerLife     = MaxLife
	callerCounts   = 15 * time.Minute // how long after its approval a check lets a reset name it
	callersAnHour  = 3
	callerFreeze   = time.Hour // how long a denial stops what an admin does to the user
	maxNoteBytes   = 256
	mostDenials    = device.MostEnrollments
	callerPrefix   = "chk_"
	theCallerCheck = ""
)

// purposeCaller is the purpose of a caller check, as phones are told.
//
// Source: app-api.md "Answer an approval".
const purposeCaller Purpose = "caller_check"

// callerChecks is what a user's phones were asked about who rings the help desk, and what they denied.
type callerChecks struct {
	Asked  []askedCaller        `json:"asked,omitempty"`  // of the last hour
	Denied map[string]time.Time `json:"denied,omitempty"` // by enrollment: until when its denial counts
}

type askedCaller struct {
	Key string    `json:"key"` // of the login's row
	At  time.Time `json:"at"`
}

var callers = storage.Declare(storage.Spec[callerChecks]{
	Name:  "caller_check",
	Class: storage.MFA,
	Most:  1,
	Expires: func(c *callerChecks) time.Time {
		var last time.Time
		for _, asked := range c.Asked {
			last = later(last, asked.At.Add(time.Hour))
		}
		for _, until := range c.Denied {
			last = later(last, until)
		}
		return last
	},
})

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Errors of caller checks.
var (
	ErrNote          = storage.NewError(storage.Invalid, "the note of a caller check is not valid")
	ErrNoCallerPhone = storage.NewError(storage.Conflict, "the user has no phone that can show that it is she who rings: check her in another way")
	ErrCallersOften  = storage.NewError(storage.Limited, "the user's phones were asked three times within an hour who rings: check her in another way")
	ErrNoCallerCheck = storage.NewError(storage.NotFound, "there is no such caller check of this caller and user, or it is too old")
	ErrCallerUnsure  = storage.NewError(storage.Denied, "the caller check was not approved by the user's phone")
)

// CallerQuestion is what a help desk asks the phones of who seems to ring.
type CallerQuestion struct {
	By   string // the actor who asks
	Name string // the help desk's, as the phone shows it
	Note string // shown on the phone; may be empty
}

// CallerAsked is a caller check that waits for its answer.
type CallerAsked struct {
	ID      string
	Number  string // that the agent reads aloud
	Expires time.Duration
}

// CallerState is how a caller check stands.
type CallerState string

// The states of a caller check.
const (
	CallerPending  CallerState = "pending"
	CallerApproved CallerState = "approved"
	CallerDenied   CallerState = "denied"    // by a phone, whose person says that it is not she who rings
	CallerSilent   CallerState = "no_answer" // nobody answered in time, or somebody typed a wrong number
)

// AskCaller asks the proven phones of a user whether it is she who rings: those that are active, match numbers, and
// have signed something. It uses only addresses that their keys have proven.
//
// Errors: ErrNote; ErrBlocked; ErrNoCallerPhone; ErrCallersOften.
func (s *Service) AskCaller(tx *storage.Tx, u *user.User, q CallerQuestion) (CallerAsked, error) {
	if err := legible.Check("note", q.Note, maxNoteBytes); err != nil && q.Note != "" {
		return CallerAsked{}, ErrNote.With("%v", err)
	}
	// Which phones can answer, and were they asked too often?
	phones, err := callable(tx, u)
	if err != nil {
		return CallerAsked{}, err
	}
	c, err := callersOf(tx, u.UID)
	if err != nil {
		return CallerAsked{}, err
	}
	if err := c.admit(tx.Now()); err != nil {
		return CallerAsked{}, err
	}
	// Make an approval that lets nobody in, and queue its pushes.
	random := storage.NewUID()
	l := row{UID: u.UID, Key: random.String(), Record: &Login{
		Purpose:    purposeCaller,
		Client:     q.By,
		ClientName: q.Name,
		Message:    q.Note,
		Created:    tx.Now(),
		Expires:    tx.Now().Add(callerLife),
		State:      Pending,
		Challenge:  newChallenge(),
		Delivery:   Pull,
	}}
	if l.Record.Number, err = newNumber(tx); err != nil {
		return CallerAsked{}, err
	}
	for _, e := range phones {
		l.Record.Asked = append(l.Record.Asked, e.ID)
		err = errors.Join(err, s.queueProven(tx, l, e))
	}
	c.Asked = append(c.Asked, askedCaller{Key: l.Key, At: tx.Now()})
	tx.Wake(u.UID)
	return CallerAsked{
			ID:      s.idOf(callerPrefix, l.UID, l.Key),
			Number:  l.Record.Number,
			Expires: callerLife,
		}, errors.Join(err,
			add(tx, l.UID, l.Key, l.Record),
			callers.Put(tx, l.UID, theCallerCheck, c))
}

// queueProven adds the push of an approval to the phone's proven address, if it has one that is carried.
func (s *Service) queueProven(tx *storage.Tx, l row, e *device.Enrollment) error {
	for _, r := range e.Routes() {
		carries, err := s.deliver.Carries(tx, r.To)
		if err != nil {
			return err
		}
		if r.Unproven || !carries {
			continue
		}
		l.Record.Delivery = Push
		what := sending{Login: l.Key, Enrollment: e.ID}
		if err := approvals.AddTo(tx, l.UID, r.To.Through(), what, l.Record.Expires); err != nil {
			return err
		}
	}
	return nil
}

// callable returns the phones that can show who rings.
//
// Errors: ErrBlocked; ErrNoCallerPhone.
func callable(tx *storage.Tx, u *user.User) (device.Set, error) {
	if u.Blocked {
		return nil, ErrBlocked
	}
	set, err := device.All(tx, u.UID)
	if err != nil {
		return nil, err
	}
	phones := slices.DeleteFunc(set.Phones(), func(e *device.Enrollment) bool {
		return e.Status != device.Active || e.Push.Signed.IsZero() || !e.Push.Can(device.NumberMatching)
	})
	enabled, err := device.FactorOn(tx, device.FactorPush)
	if err == nil && (!enabled || len(phones) == 0) {
		err = ErrNoCallerPhone
	}
	return phones, err
}

func callersOf(tx *storage.Tx, uid storage.UID) (*callerChecks, error) {
	c, err := callers.Get(tx, uid, theCallerCheck)
	if errors.Is(err, storage.ErrNotFound) {
		return &callerChecks{}, nil
	}
	return c, err
}

// admit forgets what is over, and returns an error when the phones were asked too often.
//
// Errors: ErrCallersOften, with the time to wait.
func (c *callerChecks) admit(now time.Time) error {
	c.Asked = slices.DeleteFunc(c.Asked, func(a askedCaller) bool { return !now.Before(a.At.Add(time.Hour)) })
	if len(c.Asked) < callersAnHour {
		return nil
	}
	return ErrCallersOften.After(c.Asked[0].At.Add(time.Hour).Sub(now))
}

// pendingCallers returns the caller checks of the user that can still be answered, oldest first.
func pendingCallers(tx *storage.Tx, uid storage.UID) (list []row, err error) {
	c, err := callersOf(tx, uid)
	if err != nil {
		return nil, err
	}
	for _, asked := range c.Asked {
		l, err := read(tx, uid, asked.Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if l.Record.pending(tx.Now()) {
			list = append(list, l)
		}
	}
	return list, nil
}

// decideCaller writes the answer of a phone to a caller check. It remembers a denial. A wrong number is not a denial,
// since the person has not said no.
//
// Errors: ErrNumber (kept).
func (s *Service) decideCaller(tx *storage.Tx, a signedAnswer, d decision, actor audit.Actor) error {
	l := d.login.Record
	state := Denied
	if *a.claims.Accepted && !l.Wrong {
		state = Approved
	}
	if err := d.take(tx, state); err != nil {
		return err
	}
	answered := audit.CallerDenied
	var err error
	switch {
	case state == Approved:
		l.Method = ByKey
		answered = audit.CallerApproved
	case l.Wrong:
		answered = audit.CallerWrong
	default:
		err = denyCaller(tx, d.login.UID, d.by.ID)
	}
	e := audit.Event{
		Type:  audit.CallerChecked,
		UID:   d.login.UID,
		Facts: audit.Facts{audit.FactStatus: answered},
	}
	err = errors.Join(err,
		logins.Put(tx, d.login.UID, d.login.Key, l),
		device.Authenticated(tx, d.login.UID, d.by, device.Showing{Signed: true}),
		audit.Record(tx, actor, e, d.detail))
	if err == nil && l.Wrong {
		return storage.Kept(ErrNumber)
	}
	return err
}

// denyCaller remembers that a phone has said no.
func denyCaller(tx *storage.Tx, uid storage.UID, enrollment string) error {
	c, err := callersOf(tx, uid)
	if err != nil {
		return err
	}
	kept := map[string]time.Time{enrollment: tx.Now().Add(callerFreeze)}
	for by, until := range c.Denied {
		if tx.Now().Before(until) && by != enrollment && len(kept) < mostDenials {
			kept[by] = until
		}
	}
	c.Denied = kept
	return callers.Put(tx, uid, theCallerCheck, c)
}

// CallerDeniedUntil returns until when a denied caller check stops an admin's changes to the user; the zero time when
// none does. A denial does not count while its phone is suspended, nor after the phone was removed while suspended.
func CallerDeniedUntil(tx *storage.Tx, uid storage.UID) (last time.Time, err error) {
	c, err := callersOf(tx, uid)
	if err != nil || len(c.Denied) == 0 {
		return last, err
	}
	for by, until := range c.Denied {
		e, err := device.Get(tx, uid, by)
		if err != nil && !errors.Is(err, device.ErrNoEnrollment) {
			return last, err
		}
		if err == nil && (e.Status == device.Suspended || e.Was == device.Suspended) || !tx.Now().Before(until) {
			continue
		}
		last = later(last, until)
	}
	return last, nil
}

// CallerCheck returns how a caller check stands, for the actor who has asked. It waits at most wait for an answer.
//
// Errors: ErrNoCallerCheck; storage.ErrHeld.
func (s *Service) CallerCheck(ctx context.Context, by, userID, id string, wait time.Duration) (state CallerState, err error) {
	uid, _, ok := s.ring.ParseID(callerPrefix, id)
	if !ok {
		return "", ErrNoCallerCheck
	}
	err = s.store.Await(ctx, uid, wait, func(ctx context.Context, at storage.Glance) (over bool, again time.Duration, err error) {
		err = s.store.View(ctx, func(tx *storage.Tx) error {
			u, err := user.Find(tx, userID)
			if err != nil {
				return err
			}
			l, err := s.callerCheck(tx, by, u.UID, id)
			if err != nil {
				return err
			}
			state = l.Record.callerState(tx.Now())
			again = l.Record.Expires.Sub(tx.Now())
			return nil
		})
		return state != CallerPending || at.Last, again, err
	})
	return state, err
}

// callerCheck finds a caller check that an actor has asked of a user.
//
// Errors: ErrNoCallerCheck.
func (s *Service) callerCheck(tx *storage.Tx, by string, uid storage.UID, id string) (row, error) {
	l, err := s.find(tx, callerPrefix, id)
	if errors.Is(err, ErrGrant) || errors.Is(err, ErrExpired) {
		err = ErrNoCallerCheck
	}
	if err == nil && (l.UID != uid || l.Record.Purpose != purposeCaller || l.Record.Client != by) {
		err = ErrNoCallerCheck
	}
	return l, err
}

func (l *Login) callerState(now time.Time) CallerState {
	switch {
	case l.State == Approved:
		return CallerApproved
	case l.State == Denied && !l.Wrong:
		return CallerDenied
	case l.pending(now):
		return CallerPending
	default:
		return CallerSilent
	}
}

// CallerAnswered returns an error unless a phone of the user has approved a caller check of this actor in the last 15 minutes.
//
// Errors: ErrNoCallerCheck; ErrCallerUnsure.
func (s *Service) CallerAnswered(tx *storage.Tx, by string, uid storage.UID, id string) error {
	l, err := s.callerCheck(tx, by, uid, id)
	if err != nil {
		return err
	}
	if l.Record.State != Approved {
		return ErrCallerUnsure
	}
	if !tx.Now().Before(l.Record.Decided.Add(callerCounts)) {
		return ErrNoCallerCheck
	}
	return nil
}
