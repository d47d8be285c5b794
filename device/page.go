package device

import (
	"context"
	"crypto/hmac"
	"crypto/sha512"
	"errors"
	"math/big"
	"slices"
	"time"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// pageCodeLife is how long the page's own copy of a recovery code is kept, unless it is confirmed earlier.
const pageCodeLife = 10 * time.Minute

// ErrCodeEnd reports that what was typed is not the end of the recovery code.
var ErrCodeEnd = storage.NewError(storage.Invalid, "these are not the last four characters of the recovery code")

// TicketPage is what the enrolment page shows for a ticket.
type TicketPage struct {
	Account string    // the user of the ticket, as people write it
	Expires time.Time // until then the ticket can be used
	Spent   bool
	Started *StartedTicket // the ticket that this browser has started; nil: none
	Factors []Factor       // what it can enrol
	App     App            // the organisation's app
	Hosted  string         // id of the hosted page's request that continues after the enrolment; "": none

	// Holding is what is known about the user's recovery code. Before the phone has enrolled, it decides whether a code will
	// be shown. Afterwards, if no code can be shown, it decides what the page says about the existing one.
	Holding recovery.Holding
}

// Takes reports whether the ticket can enrol a factor.
func (p TicketPage) Takes(f Factor) bool { return slices.Contains(p.Factors, f) }

// StartedTicket is a ticket as a browser has started it.
type StartedTicket struct {
	URI      string // the text of the QR code; empty once enrolled
	TxID     string // what the person can type instead; empty once enrolled
	Secret   string // what she can type into an app that only shows codes, base32; empty once enrolled
	Expires  time.Time
	Enrolled bool
	Phone    string // the name of the phone that has enrolled
	Type     Type   // of what has enrolled; "" until then
	CodeKept bool   // the page can show the recovery code of the enrolment
}

// OpenTicket returns what the page shows. It changes nothing, because mail scanners open links. session is the browser's
// own, or empty.
//
// Errors: ErrTicket, for an unknown ticket, and for a spent or expired one that this browser has not started.
func (s *Service) OpenTicket(ctx context.Context, secret, session string) (page TicketPage, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		t, u, err := s.rootTicket(tx, secret)
		if err != nil {
			return err
		}
		page = TicketPage{Account: AccountLabel(u), Expires: t.Record.Expires, Spent: t.spent()}
		page.Hosted = s.hostedID(t)
		page.Factors, err = EnrollableBy(tx, t.Record.Factor)
		if err != nil {
			return err
		}
		page.App, err = ReadApp(tx)
		if err != nil {
			return err
		}
		page.Holding, err = recovery.HoldingOf(tx, t.UID)
		if err != nil {
			return err
		}
		started, err := s.startedBy(tx, t, session)
		if err != nil {
			return err
		}
		if started != nil {
			page.Started, err = s.showStarted(tx, started, session, page.Account)
			return err
		}
		if page.Spent || u.Blocked || !tx.Now().Before(t.Record.Expires) {
			return ErrTicket
		}
		return nil
	})
	return page, err
}

// rootTicket finds a ticket that was handed out. It does not find tickets that a page has started.
func (s *Service) rootTicket(tx *storage.Tx, secret string) (*foundTicket, *user.User, error) {
	t, err := s.findTicket(tx, secret)
	if err != nil {
		return nil, nil, err
	}
	if t.Record.started() {
		return nil, nil, ErrTicket
	}
	u, err := user.Get(tx, t.UID)
	return t, u, err
}

// startedBy finds the ticket below t that a browser session has started. It prefers the spent one, which has a recovery
// code to show, to the one whose QR code the page draws. It returns nil when there is none.
func (s *Service) startedBy(tx *storage.Tx, t *foundTicket, session string) (drawn *foundTicket, err error) {
	if session == "" {
		return nil, nil
	}
	rows, err := tickets.All(tx, t.UID)
	if err != nil {
		return nil, err
	}
	txID := txIDOf(t.Key, session)
	for _, row := range rows {
		r := row.Record
		if r.Root != t.Key || !s.ring.MatchesIn(tx, r.Page, pagePurpose, t.UID[:], []byte(session)) {
			continue
		}
		found := &foundTicket{Row: row, root: t.Record}
		if r.SpentBy != nil {
			return found, nil // at most one ticket below a root is spent
		}
		if s.ring.MatchesIn(tx, r.Hash, ticketPurpose, []byte(txID)) {
			drawn = found
		}
	}
	return drawn, nil
}

// showStarted returns the state of the ticket that a browser session has started for an account.
func (s *Service) showStarted(tx *storage.Tx, t *foundTicket, session, account string) (*StartedTicket, error) {
	shown := &StartedTicket{Expires: t.Record.Expires, Enrolled: t.Record.SpentBy != nil}
	if !shown.Enrolled {
		shown.TxID = txIDOf(t.Record.Root, session)
		shown.Secret = otp.Secret(t.Record.Secret).String()
		shown.URI = s.startedURI(account, shown.TxID, t.Record.Factor, t.reserved())
		return shown, nil
	}
	e, err := Get(tx, t.UID, t.Record.Enrollment)
	if err == nil {
		shown.Phone = e.Name
		shown.Type = e.Type
	} else if !errors.Is(err, ErrNoEnrollment) {
		return nil, err
	}
	_, err = t.shownCode(tx)
	shown.CodeKept = err == nil
	if errors.Is(err, ErrTicket) {
		err = nil
	}
	return shown, err
}

// startedURI returns the text of the QR code of a started ticket for a factor, or "" for any. Where apps that show codes alone may enrol
// it names no ticket, which an app that enrols itself would use in vain.
func (s *Service) startedURI(account, txID, factor string, r Reserved) string {
	if TicketTakes(factor, FactorPush) {
		return s.EnrollmentURI(account, txID, r)
	}
	return s.codesURI(account, otp.Secret(r.Secret).String())
}

// startsKept bounds how many tickets started from one may wait at a time, because everybody with the link can press Start.
const startsKept = 8

// forgetStarts makes room for one more ticket started from t. It removes the oldest.
func forgetStarts(tx *storage.Tx, t *foundTicket) error {
	rows, err := tickets.All(tx, t.UID)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(row storage.Row[ticket]) bool { return row.Record.Root != t.Key })
	slices.SortFunc(rows, func(a, b storage.Row[ticket]) int { return a.Record.Created.Compare(b.Record.Created) })
	for len(rows) >= startsKept {
		if err := tickets.Delete(tx, t.UID, rows[0].Key); err != nil {
			return err
		}
		rows = rows[1:]
	}
	return nil
}

// StartTicket makes the enrollment_tx_id that the page draws as a QR code. It is bound to session, which the caller has
// minted for it. The tickets that the browser has started in its session before move to the new one: a phone may be about
// to use one of them.
//
// Errors: ErrTicket.
func (s *Service) StartTicket(ctx context.Context, secret, before, session string) (started StartedTicket, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		t, u, err := s.rootTicket(tx, secret)
		if err != nil {
			return err
		}
		if t.spent() {
			return ErrTicket
		}
		if err := s.mayEnroll(tx, t); err != nil {
			return err
		}
		txID := txIDOf(t.Key, session)
		r := Reserved{}.orNew()
		child := &ticket{
			Hash:       s.ring.Hash(ticketPurpose, []byte(txID)),
			Root:       t.Key,
			Factor:     t.Record.Factor,
			Page:       s.pageHash(t.UID, session),
			Grant:      t.Record.Grant,
			Enrollment: r.ID,
			Secret:     r.Secret,
			Created:    tx.Now(),
			Expires:    tx.Now().Add(startedLife),
		}
		if t.Record.ofHosted() && t.Record.Expires.Before(child.Expires) {
			child.Expires = t.Record.Expires // it ends together with its login
		}
		started = StartedTicket{URI: s.startedURI(AccountLabel(u), txID, child.Factor, r), TxID: txID, Expires: child.Expires}
		return errors.Join(forgetStarts(tx, t), s.moveStarts(tx, t, before, session),
			tickets.Insert(tx, t.UID, storage.NewUID().String(), child))
	})
	return started, err
}

func (s *Service) pageHash(uid storage.UID, session string) string {
	return s.ring.Hash(pagePurpose, uid[:], []byte(session))
}

// moveStarts moves the tickets started from t from one browser session to another.
func (s *Service) moveStarts(tx *storage.Tx, t *foundTicket, before, session string) error {
	if before == "" {
		return nil
	}
	rows, err := tickets.All(tx, t.UID)
	for _, row := range rows {
		if row.Record.Root != t.Key || !s.ring.MatchesIn(tx, row.Record.Page, pagePurpose, t.UID[:], []byte(before)) {
			continue
		}
		row.Record.Page = s.pageHash(t.UID, session)
		err = errors.Join(err, tickets.Put(tx, t.UID, row.Key, row.Record))
	}
	return err
}

// txIDOf returns the enrollment_tx_id of a browser's Start. It follows from the session, which only the browser has. So the
// page can draw it again, though the store keeps only its hash.
func txIDOf(root, session string) string {
	mac := hmac.New(sha512.New, []byte(session))
	mac.Write([]byte("enrollment_tx_id\x00" + root))
	rest := new(big.Int).SetBytes(mac.Sum(nil)) // 512 bits, of which 32 characters take 191: no character is likelier
	base := big.NewInt(62)
	digit := new(big.Int)
	txID := make([]byte, ticketLength)
	for i := range txID {
		rest.DivMod(rest, base, digit)
		txID[i] = txIDCharacters[digit.Int64()]
	}
	return string(txID)
}

const txIDCharacters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// AwaitEnrolled waits until a phone has enrolled by the ticket that the browser session has started, or the QR code has
// expired. It waits at most wait, or until ctx ends. [Service.OpenTicket] then tells what has become of the ticket.
//
// Errors: those of OpenTicket.
func (s *Service) AwaitEnrolled(ctx context.Context, secret, session string, wait time.Duration) error {
	uid, err := s.userOfTicket(ctx, secret)
	if err != nil {
		return err
	}
	return s.store.Await(ctx, uid, wait, func(ctx context.Context, _ storage.Glance) (over bool, left time.Duration, err error) {
		page, err := s.OpenTicket(ctx, secret, session)
		if err != nil || page.Started == nil || page.Started.Enrolled {
			return true, 0, err
		}
		left = page.Started.Expires.Sub(s.store.Now())
		return left <= 0, left, nil
	})
}

// userOfTicket returns the user of a ticket.
//
// Errors: ErrTicket.
func (s *Service) userOfTicket(ctx context.Context, secret string) (uid storage.UID, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		t, _, err := s.rootTicket(tx, secret)
		if err == nil {
			uid = t.UID
		}
		return err
	})
	return uid, err
}

// pageKey returns the key of the page's own copy of the recovery code.
func (t *foundTicket) pageKey() string { return "page:" + t.Key }

// keepForPage keeps the code for the page that drew the QR code, if one did.
func (s *Service) keepForPage(tx *storage.Tx, t *foundTicket, code string) error {
	if t.Record.Page == "" || code == "" {
		return nil
	}
	return recovery.KeepReply(tx, t.UID, t.pageKey(), recovery.Reply{Body: []byte(code)}, pageCodeLife)
}

// ShowCode returns the recovery code of an enrolment to the browser session that drew its QR code, until the person confirms
// the code there, and for ten minutes at most. Once shown, the code counts as arrived.
//
// Errors: ErrTicket, also when the code was confirmed or replaced, or is too old.
func (s *Service) ShowCode(ctx context.Context, secret, session string) (code recovery.Code, err error) {
	var holding recovery.Holding
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		var t *foundTicket
		code, t, err = s.pageCode(tx, secret, session)
		if err == nil {
			holding, err = recovery.HoldingOf(tx, t.UID)
		}
		return err
	})
	if err != nil || holding.Arrived {
		return code, err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		var t *foundTicket
		code, t, err = s.pageCode(tx, secret, session)
		if err != nil {
			return err
		}
		return recovery.Arrived(tx, t.UID) // the copy goes with a rotation, so it is the code that counts
	})
	if err != nil {
		return "", err
	}
	return code, nil
}

// ConfirmCode notes that a person has saved the code and typed its end. It erases the page's copy, which is shown no more.
//
// Errors: ErrCodeEnd; those of ShowCode.
func (s *Service) ConfirmCode(ctx context.Context, secret, session, typed string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		code, t, err := s.pageCode(tx, secret, session)
		if err != nil {
			return err
		}
		if !code.Ends(typed) {
			return ErrCodeEnd
		}
		// The copy goes with a rotation, so it is the code that counts.
		return errors.Join(recovery.ForgetReply(tx, t.UID, t.pageKey()), recovery.Confirm(tx, t.UID))
	})
}

// pageCode returns the page's copy of a code, and the ticket of the QR code.
//
// Errors: ErrTicket.
func (s *Service) pageCode(tx *storage.Tx, secret, session string) (recovery.Code, *foundTicket, error) {
	t, _, err := s.rootTicket(tx, secret)
	if err != nil {
		return "", nil, err
	}
	started, err := s.startedBy(tx, t, session)
	if err == nil && started == nil {
		err = ErrTicket
	}
	if err != nil {
		return "", nil, err
	}
	code, err := started.shownCode(tx)
	return code, started, err
}

// shownCode returns the page's copy of a code, if it may be shown: not while the user is blocked or the phone suspended.
//
// Errors: ErrTicket.
func (t *foundTicket) shownCode(tx *storage.Tx) (recovery.Code, error) {
	u, err := user.Get(tx, t.UID)
	if err != nil {
		return "", err
	}
	e, err := Get(tx, t.UID, t.Record.Enrollment)
	if errors.Is(err, ErrNoEnrollment) || err == nil && (u.Blocked || e.Status == Suspended) {
		return "", ErrTicket
	}
	if err != nil {
		return "", err
	}
	kept, err := recovery.KeptReply(tx, t.UID, t.pageKey())
	if errors.Is(err, storage.ErrNotFound) {
		return "", ErrTicket
	}
	if err != nil {
		return "", err
	}
	return recovery.Code(kept.Body), nil
}
