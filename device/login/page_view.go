package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// PageState is what a hosted page shows now.
type PageState string

// The states of a hosted page.
const (
	PageAsks      PageState = "asks"      // for a factor
	PageEnrols    PageState = "enrols"    // the browser is led to the enrolment page
	PageSaves     PageState = "saves"     // the next recovery code is shown until it is confirmed
	PageOffers    PageState = "offers"    // the person may set up a new phone, or go on
	PageReady     PageState = "ready"     // the browser can be sent back
	PageFinished  PageState = "finished"  // it was sent back, and its code was taken
	PageCancelled PageState = "cancelled" // the person has cancelled it
	PageBlocked   PageState = "blocked"   // the user is blocked
	PageOver      PageState = "over"      // it is too late
)

// Asking is how the approval stands that a hosted page has asked for.
type Asking string

// The ways in which an approval stands.
const (
	AskingNobody  Asking = ""        // none was asked for
	AskingWaits   Asking = "waits"   // for an answer
	AskingDenied  Asking = "denied"  // a phone said no
	AskingWrong   Asking = "wrong"   // somebody typed another number
	AskingExpired Asking = "expired" // nobody answered in time
)

// PageView is what a hosted page shows.
type PageView struct {
	State    PageState
	Mark     string // differs when what the page shows differs
	Purpose  PagePurpose
	Client   string // as people see it
	Account  string // as people write it
	Redirect string
	Message  string    // shown on both screens
	Until    time.Time // until when it can be decided, in the store's time

	// Of a page that asks.
	Asking    Asking
	Number    string // the digits to type on the phone; empty when the approval is tapped
	Delivery  Delivery
	Answer    time.Time // until when the phone can answer, in the store's time
	Phones    []PagePhone
	Asks      bool // the phones can be asked
	OTP       bool
	Passkey   bool
	Code      bool // the recovery code is asked for
	OnlyCode  bool // the user has nothing else that opens a login
	Offers    bool // it offers to remember the browser
	Remember  bool
	Waits     Waits
	NeedsLink bool // who was reset sets up with a link that the help desk makes; else alone

	Ticket string        // of a page that enrols: what the enrolment page is opened with
	Next   recovery.Code // of a page that saves
}

// PagePhone is a phone of the user, as her page shows it.
type PagePhone struct {
	ID       string
	Name     string
	Enrolled time.Time
}

// OpenPage returns what a hosted page shows to a browser. The first browser that opens it has it from then on: it asks the user's phones
// then, if they can be asked, or lets a remembered browser in. Later calls of the same browser write nothing, but where the person has
// something new.
//
// Errors: ErrPage; ErrPageTaken; ErrPageCookies.
func (s *Service) OpenPage(ctx context.Context, v Visit) (view PageView, err error) {
	if v.Browser == "" {
		return view, ErrPageCookies
	}
	var writes bool
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		l, u, bound, err := s.visited(tx, v)
		if err != nil {
			return err
		}
		if view, err = s.pageView(tx, l, u); err != nil {
			return err
		}
		writes = !bound
		if view.State == PageSaves {
			holding, err := recovery.HoldingOf(tx, l.UID)
			writes = !holding.Arrived
			return err
		}
		writes = writes || view.State == PageEnrols && view.Ticket == ""
		return nil
	})
	if err != nil || !writes {
		return view, err
	}
	random := storage.NewUID()
	nonce := newChallenge()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, u, bound, err := s.visited(tx, v)
		if err != nil {
			return err
		}
		if !bound {
			if err := s.bindPage(tx, l, u, v, approvalDraw{random, nonce}); err != nil {
				return err
			}
		}
		if view, err = s.pageView(tx, l, u); err != nil {
			return err
		}
		switch {
		case view.State == PageSaves:
			return recovery.Arrived(tx, l.UID) // a rotation ends what is kept, so it is the code that counts
		case view.State == PageEnrols && view.Ticket == "":
			view.Ticket, err = s.leadToEnrol(tx, l)
		}
		return err
	})
	return view, err
}

// approvalDraw holds what is random in an approval.
type approvalDraw struct {
	random storage.UID
	nonce  string
}

// bindPage gives a page to the browser that opens it first.
func (s *Service) bindPage(tx *storage.Tx, l row, u *user.User, v Visit, draw approvalDraw) error {
	p := l.Record.Page
	p.Browser = s.hashPageBrowser(l, v.Browser)
	if l.Record.IP == "" && l.Record.Agent == "" {
		l.Record.IP = v.IP
		l.Record.Agent = v.Agent
	}
	offers, ticked, err := recovery.OfferToRemember(tx)
	if err != nil {
		return err
	}
	p.Remember = offers && ticked && p.Purpose == PageLogin
	if !l.Record.pending(tx.Now()) || u.Blocked {
		return logins.Put(tx, l.UID, l.Key, l.Record)
	}
	if done, err := s.letRemembered(tx, l, u, v); err != nil || done {
		return err
	}
	if err := logins.Put(tx, l.UID, l.Key, l.Record); err != nil || p.New {
		return err
	}
	err = s.askPage(tx, l, u, draw)
	for _, other := range []error{ErrNoPhone, ErrRecovery, ErrUnknownUser, ErrPresence, ErrTapEnrols, ErrTooMany} {
		if errors.Is(err, other) {
			return nil // the page offers what is left, and says why
		}
	}
	return err
}

// letRemembered satisfies a login by a browser that is remembered, if it is one.
func (s *Service) letRemembered(tx *storage.Tx, l row, u *user.User, v Visit) (done bool, err error) {
	if l.Record.Page.Purpose != PageLogin {
		return false, nil
	}
	state, err := device.State(tx, l.UID)
	if err != nil {
		return false, err
	}
	for _, token := range v.Remembered {
		found, err := s.remembered(tx, u, MFAStart{
			Client:  l.Record.Client,
			Browser: token,
			IP:      l.Record.IP,
			Agent:   l.Record.Agent,
			Actor:   v.Actor,
		}, state)
		if err != nil {
			return false, err
		}
		if found == nil {
			continue
		}
		l.Record.State = Approved
		l.Record.Method = found.Method
		l.Record.Decided = found.Proved
		l.Record.Collected = tx.Now()
		l.Record.Page.Before = true
		l.Record.count(tx, string(Approved), string(found.Method))
		return true, errors.Join(logins.Put(tx, l.UID, l.Key, l.Record), settle(tx, l))
	}
	return false, nil
}

// leadToEnrol makes the ticket by which a new user enrols, or takes the one that her login system has shown.
//
// Errors: ErrTicketRequired; device.ErrTicket.
func (s *Service) leadToEnrol(tx *storage.Tx, l row) (secret string, err error) {
	u, err := user.Get(tx, l.UID)
	if err != nil {
		return "", err
	}
	secrets, err := l.Record.pageSecrets()
	if err != nil {
		return "", err
	}
	holds, err := s.devices.MayStillEnroll(tx, l.UID, l.Record.Ticket)
	if err != nil {
		return "", err
	}
	if err := maySetUp(tx, u, user.New, holds); err != nil {
		return "", err
	}
	l.Record.Expires = tx.Now().Add(pageSetUp)
	if holds {
		l.Record.Page.Ticket = l.Record.Ticket
		err = device.LeadBack(tx, l.UID, l.Record.Ticket, l.Key)
	} else {
		secrets.Ticket, l.Record.Page.Ticket, err = s.devices.HostedTicket(tx, l.UID, device.OfferFor{
			Key:   l.Key,
			Until: tx.Now().Add(mfaTokenLife),
			Grant: device.GrantedBy{Client: l.Record.Client},
		})
	}
	return secrets.Ticket, errors.Join(err, l.Record.sealPage(secrets), logins.Put(tx, l.UID, l.Key, l.Record))
}

// pageView reads what the page of a login shows. It writes nothing.
func (s *Service) pageView(tx *storage.Tx, l row, u *user.User) (v PageView, err error) {
	p := l.Record.Page
	v = PageView{
		Purpose:  p.Purpose,
		Client:   cmp.Or(l.Record.ClientName, l.Record.Client),
		Account:  device.AccountLabel(u),
		Redirect: p.Redirect,
		Message:  l.Record.Message,
		Until:    l.Record.Expires,
		Remember: p.Remember,
	}
	if v.State, err = s.pageState(tx, l, u); err != nil {
		return v, err
	}
	switch v.State {
	case PageAsks:
		err = s.viewAsking(tx, l, &v)
	case PageEnrols:
		secrets, errSecrets := l.Record.pageSecrets()
		err = errSecrets
		if p.Ticket != "" {
			v.Ticket = secrets.Ticket
		}
	case PageSaves:
		v.Next, err = nextCode(tx, l)
	case PageOffers:
		v.Phones, err = pagePhones(tx, l)
	}
	v.Mark = fmt.Sprint(v.State, l.Record.Approval, v.Asking, v.Delivery)
	return v, err
}

// pageState says what the page of a login shows.
func (s *Service) pageState(tx *storage.Tx, l row, u *user.User) (PageState, error) {
	p := l.Record.Page
	switch {
	case !p.Taken.IsZero():
		return PageFinished, nil
	case p.Cancelled:
		return PageCancelled, nil
	case u.Blocked:
		return PageBlocked, nil
	case l.Record.State == Pending:
		return s.undecidedPage(tx, l)
	case l.Record.State == Denied:
		return PageOver, nil
	}
	if err := l.Record.stands(tx, u); errors.Is(err, ErrDenied) {
		return PageOver, nil
	} else if err != nil {
		return "", err
	}
	if l.Record.Method != ByRecoveryCode || p.GoesOn {
		return PageReady, nil
	}
	if p.Saved.IsZero() {
		_, err := nextCode(tx, l)
		if !errors.Is(err, storage.ErrNotFound) {
			return PageSaves, err
		}
	}
	taken, err := hasTaken(tx, l)
	if err != nil || taken != nil {
		return PageReady, err
	}
	return PageOffers, nil
}

// undecidedPage is pageState of a login that is not decided.
func (s *Service) undecidedPage(tx *storage.Tx, l row) (PageState, error) {
	if !l.Record.pending(tx.Now()) {
		return PageOver, nil
	}
	if !l.Record.Page.New {
		return PageAsks, nil
	}
	taken, err := hasTaken(tx, l)
	if err != nil || taken != nil {
		return PageReady, err
	}
	state, err := device.State(tx, l.UID)
	if err == nil && state != user.New { // she has enrolled elsewhere meanwhile
		return PageAsks, nil
	}
	return PageEnrols, err
}

// hasTaken returns the enrollment that was made by the ticket that a page has led to; nil when there is none.
func hasTaken(tx *storage.Tx, l row) (*device.Enrollment, error) {
	if l.Record.Page.Ticket == "" {
		return nil, nil
	}
	taken, err := device.TakenOffer(tx, l.UID, l.Record.Page.Ticket)
	if errors.Is(err, device.ErrTicket) {
		return nil, nil
	}
	return taken.Enrollment, err
}

// nextCode returns the recovery code that a page has to show.
//
// Errors: storage.ErrNotFound.
func nextCode(tx *storage.Tx, l row) (recovery.Code, error) {
	kept, err := recovery.KeptReply(tx, l.UID, replyKey(l))
	if err != nil {
		return "", err
	}
	return recovery.Code(kept.Body), nil
}

// viewAsking reads what a page shows that asks for a factor.
func (s *Service) viewAsking(tx *storage.Tx, l row, v *PageView) error {
	var can MFAStarted
	if err := s.waysIn(tx, l.UID, &can); err != nil && !errors.Is(err, ErrNoFactor) {
		return err
	}
	v.OTP = can.OTP
	v.Passkey = len(can.Passkeys) > 0
	v.Code = can.AskCode
	v.OnlyCode = !can.Phones && !can.OTP && !v.Passkey
	var err error
	if v.Phones, err = pagePhones(tx, l); err != nil {
		return err
	}
	if v.Asks, err = s.asksPhones(tx, l, can); err != nil {
		return err
	}
	if v.Offers, _, err = recovery.OfferToRemember(tx); err != nil {
		return err
	}
	v.Offers = v.Offers && v.Purpose == PageLogin && !v.OnlyCode
	policy, err := afterReset.Get(tx)
	if err != nil {
		return err
	}
	v.NeedsLink = policy != "open"
	if v.Waits, err = s.waits(tx, l); err != nil {
		return err
	}
	return v.approval(tx, l)
}

// asksPhones reports whether a page can ask the user's phones.
func (s *Service) asksPhones(tx *storage.Tx, l row, can MFAStarted) (bool, error) {
	if !can.Phones {
		return false, nil
	}
	set, err := device.All(tx, l.UID)
	if err != nil {
		return false, err
	}
	_, matching, err := choose(tx, set.Phones(), false)
	if errors.Is(err, ErrPresence) {
		return false, nil
	}
	return matching || l.Record.Page.Purpose != PageManage, err
}

// approval reads how the approval stands that a page has asked for last.
func (v *PageView) approval(tx *storage.Tx, l row) error {
	a, known, err := approvalOf(tx, l)
	switch {
	case err != nil || l.Record.Approval == "":
		return err
	case known && a.Record.State == Denied && a.Record.Wrong:
		v.Asking = AskingWrong
	case known && a.Record.State == Denied:
		v.Asking = AskingDenied
	case known && a.Record.pending(tx.Now()):
		v.Asking = AskingWaits
		v.Number = a.Record.Number
		v.Delivery = a.Record.Delivery
		v.Answer = a.Record.Expires
	default:
		v.Asking = AskingExpired
	}
	return nil
}

// pagePhones returns the user's phones, the one that was used last first.
func pagePhones(tx *storage.Tx, l row) (list []PagePhone, err error) {
	set, err := device.All(tx, l.UID)
	if err != nil {
		return nil, err
	}
	phones := set.Phones()
	slices.SortStableFunc(phones, func(a, b *device.Enrollment) int {
		return cmp.Or(b.LastAuth.Compare(a.LastAuth), b.Enrolled.Compare(a.Enrolled))
	})
	for _, e := range phones {
		list = append(list, PagePhone{ID: e.ID, Name: e.Name, Enrolled: e.Enrolled})
	}
	return list, nil
}

// AwaitPage returns what a page shows when its mark is no longer the one that is given, or after at most wait, or when ctx ends.
//
// Errors: those of OpenPage.
func (s *Service) AwaitPage(ctx context.Context, v Visit, mark string, wait time.Duration) (view PageView, err error) {
	uid, _, ok := s.ring.ParseID(device.HostedPrefix, v.Request)
	if !ok {
		return view, ErrPage
	}
	err = s.store.Await(ctx, uid, wait, func(ctx context.Context, _ storage.Glance) (over bool, again time.Duration, err error) {
		if view, err = s.OpenPage(ctx, v); err != nil {
			return true, 0, err
		}
		again = view.Until.Sub(s.store.Now())
		if view.Asking == AskingWaits {
			again = min(again, view.Answer.Sub(s.store.Now()))
		}
		return view.Mark != mark, max(again, 0), nil
	})
	return view, err
}
