package device

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Offer is an enrolment as a page of the browser client shows it until an authenticator confirms it.
//
// Source: guardian-wire.md §5.2, §5.3.
type Offer struct {
	Key     string        // of the ticket behind it, among the user's
	ID      string        // of the future enrollment
	Secret  string        // of its one-time codes, in base32
	TxID    string        // enrollment_tx_id, which the QR code carries
	Code    recovery.Code // valid once the enrolment is confirmed; "" when the user keeps the code that she has
	Factor  string        // the only factor that may be enrolled, as CheckFactor accepts it; "" means any
	Expires time.Time
}

// offered is what only the page was told. It is stored so that a page whose answer was lost gets it again.
type offered struct {
	TxID string        `json:"tx_id"`
	Code recovery.Code `json:"code,omitempty"`
}

// ofFlow reports whether a page of the browser client made the ticket.
func (t *ticket) ofFlow() bool { return len(t.Flow) > 0 }

// started reports whether a page made the ticket. Any other ticket was handed out to a person, and a page can start
// from it.
func (t *ticket) started() bool { return t.Root != "" || t.ofFlow() }

// offerOf reads the offer of a ticket that a page of the browser client has made.
func offerOf(key string, t *ticket) (Offer, error) {
	var o offered
	err := json.Unmarshal(t.Flow, &o)
	return Offer{
		Key:     key,
		ID:      t.Enrollment,
		Secret:  otp.Secret(t.Secret).String(),
		TxID:    o.TxID,
		Code:    o.Code,
		Factor:  t.Factor,
		Expires: t.Expires,
	}, err
}

// drawnCode returns the recovery code that the ticket's page was told; "" when it was told none.
func (t *foundTicket) drawnCode() (recovery.Code, error) {
	if !t.Record.ofFlow() {
		return "", nil
	}
	var o offered
	err := json.Unmarshal(t.Record.Flow, &o)
	return o.Code, err
}

// told replaces the Flow of a used ticket: its page gets no answer again.
const told = `{}`

// flowsKept bounds the open offers of a user's logins. Beyond it the oldest is removed.
const flowsKept = 32

// Offer makes an offer to enrol for a login, valid until f.Until. The same f.Key gets the same offer again, with the
// present f.Replaces. With f.Root the enrolment spends that ticket. Without f.Root, and without a proof
// (f.Grant.Cause), it is refused once the user has an active enrollment.
//
// Errors: ErrTicket, when the ticket cannot enrol any more or the offer was used; ErrNoEnrollment, when the enrollment
// to be replaced is not the user's, or is retired.
func (s *Service) Offer(tx *storage.Tx, uid storage.UID, f OfferFor) (Offer, error) {
	if f.Replaces != "" {
		if _, err := replaceable(tx, uid, f.Replaces); err != nil {
			return Offer{}, err
		}
	}
	// Is there an offer under this key already?
	before, err := tickets.Get(tx, uid, f.Key)
	switch {
	case err == nil && before.SpentBy == nil && tx.Now().Before(before.Expires):
		return offeredBefore(tx, uid, f, before)
	case err == nil:
		return Offer{}, ErrTicket
	case !errors.Is(err, storage.ErrNotFound):
		return Offer{}, err
	}
	if f.Root == "" {
		if err := forgetFlows(tx, uid); err != nil {
			return Offer{}, err
		}
		return s.offer(tx, uid, f.Key, &ticket{
			Plain:    f.Grant.Cause == "",
			Replaces: f.Replaces,
			Grant:    f.Grant,
			Expires:  f.Until,
		})
	}
	t, err := s.rootByKey(tx, uid, f.Root)
	if err != nil {
		return Offer{}, err
	}
	if err := forgetStarts(tx, t); err != nil {
		return Offer{}, err
	}
	return s.offer(tx, uid, f.Key, &ticket{
		Root:    f.Root,
		Factor:  t.Record.Factor,
		Grant:   f.Grant,
		Expires: f.Until,
	})
}

// offeredBefore returns an unused offer again, with the present f.Replaces.
func offeredBefore(tx *storage.Tx, uid storage.UID, f OfferFor, before *ticket) (Offer, error) {
	if before.Replaces != f.Replaces && f.Grant.Cause != "" {
		before.Replaces = f.Replaces
		if err := tickets.Put(tx, uid, f.Key, before); err != nil {
			return Offer{}, err
		}
	}
	return offerOf(f.Key, before)
}

// OfferByTicket offers the enrolment of a ticket to a page that shows the ticket. Every page gets an offer of its own.
//
// Errors: ErrTicket.
func (s *Service) OfferByTicket(tx *storage.Tx, secret string) (storage.UID, Offer, error) {
	t, _, err := s.rootTicket(tx, secret)
	if err != nil {
		return storage.UID{}, Offer{}, err
	}
	if t.spent() {
		return t.UID, Offer{}, ErrTicket
	}
	if err := s.mayEnroll(tx, t); err != nil {
		return t.UID, Offer{}, err
	}
	if err := forgetStarts(tx, t); err != nil {
		return t.UID, Offer{}, err
	}
	o, err := s.offer(tx, t.UID, storage.NewUID().String(), &ticket{
		Root:    t.Key,
		Factor:  t.Record.Factor,
		Expires: tx.Now().Add(startedLife),
	})
	return t.UID, o, err
}

// rootByKey reads a handed-out ticket that can enrol now.
//
// Errors: ErrTicket.
func (s *Service) rootByKey(tx *storage.Tx, uid storage.UID, key string) (*foundTicket, error) {
	record, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrTicket
	}
	if err != nil {
		return nil, err
	}
	t := &foundTicket{Row: storage.Row[ticket]{UID: uid, Key: key, Record: record}, root: record}
	if t.spent() {
		return nil, ErrTicket
	}
	return t, s.mayEnroll(tx, t)
}

// offer completes the ticket of an offer and writes it. It draws the recovery code; the code is issued, and opens
// something, only when the enrolment is confirmed.
func (s *Service) offer(tx *storage.Tx, uid storage.UID, key string, t *ticket) (Offer, error) {
	o := offered{TxID: storage.NewID("", ticketLength)}
	holding, err := recovery.HoldingOf(tx, uid)
	if err != nil {
		return Offer{}, err
	}
	if holding.ByNobody() {
		o.Code = recovery.DrawCode()
	}
	if t.Flow, err = json.Marshal(o); err != nil {
		return Offer{}, err
	}
	r := Reserved{}.orNew()
	t.Hash = s.ring.Hash(ticketPurpose, []byte(o.TxID))
	t.Enrollment = r.ID
	t.Secret = r.Secret
	t.Created = tx.Now()
	if err := tickets.Insert(tx, uid, key, t); err != nil {
		return Offer{}, err
	}
	return offerOf(key, t)
}

// forgetFlows makes room for one more offer to a login of the user. It removes the oldest.
func forgetFlows(tx *storage.Tx, uid storage.UID) error {
	rows, err := tickets.All(tx, uid)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(row storage.Row[ticket]) bool { return !row.Record.ofFlow() || row.Record.Root != "" })
	slices.SortFunc(rows, func(a, b storage.Row[ticket]) int {
		return cmp.Or(a.Record.Created.Compare(b.Record.Created), cmp.Compare(a.Key, b.Key))
	})
	for len(rows) >= flowsKept {
		if err := tickets.Delete(tx, uid, rows[0].Key); err != nil {
			return err
		}
		rows = rows[1:]
	}
	return nil
}

// TicketKey returns the key of the ticket that secret is, or was started from, if it is the user's and can enrol now; else "".
func (s *Service) TicketKey(tx *storage.Tx, uid storage.UID, secret string) (string, error) {
	if secret == "" {
		return "", nil
	}
	t, err := s.findTicket(tx, secret)
	if err == nil && (t.UID != uid || t.spent() || t.Record.ofFlow() && t.Record.Root == "") {
		return "", nil
	}
	if err == nil {
		err = s.mayEnroll(tx, t)
	}
	if errors.Is(err, ErrTicket) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return cmp.Or(t.Record.Root, t.Key), nil
}

// MayStillEnroll reports whether the user's ticket with a key, as TicketKey returned it, can enrol now.
func (s *Service) MayStillEnroll(tx *storage.Tx, uid storage.UID, key string) (bool, error) {
	if key == "" {
		return false, nil
	}
	_, err := s.rootByKey(tx, uid, key)
	if errors.Is(err, ErrTicket) {
		return false, nil
	}
	return err == nil, err
}

// Taken is the present state of an offer.
type Taken struct {
	Expires    time.Time   // of the offer
	Open       bool        // nobody has confirmed it yet
	Enrollment *Enrollment // the enrollment that has confirmed the offer, while it answers; else nil
	Unseen     bool        // the page has a recovery code to show and does not know yet that the offer was confirmed
}

// TakenOffer returns the state of the user's offer under a key.
//
// Errors: ErrTicket, when there is no such offer.
func TakenOffer(tx *storage.Tx, uid storage.UID, key string) (Taken, error) {
	t, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return Taken{}, ErrTicket
	}
	if err != nil {
		return Taken{}, err
	}
	if t.SpentBy == nil {
		return Taken{Expires: t.Expires, Open: true}, nil
	}
	e, err := Get(tx, uid, t.Enrollment)
	if errors.Is(err, ErrNoEnrollment) || err == nil && !e.Answers() {
		return Taken{Expires: t.Expires}, nil
	}
	if err != nil {
		return Taken{}, err
	}
	unseen, err := t.unseen(tx, uid)
	return Taken{Expires: t.Expires, Enrollment: e, Unseen: unseen}, err
}

// ConfirmOffer confirms the user's offer under a key by a one-time code, as ConfirmOTPIn confirms a ticket.
//
// Errors: those of ConfirmOTPIn.
func (s *Service) ConfirmOffer(tx *storage.Tx, uid storage.UID, key string, code otp.Code, typo error, actor audit.Actor) (*Enrollment, error) {
	record, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrTicket
	}
	if err != nil {
		return nil, err
	}
	t, err := withRoot(tx, storage.Row[ticket]{UID: uid, Key: key, Record: record})
	if err != nil {
		return nil, err
	}
	e, _, err := s.confirmOTP(tx, t, code, typo, actor)
	return e, err
}

// unseen reports whether the recovery code that the ticket's page was told is still valid, and not known to have
// arrived.
func (t *ticket) unseen(tx *storage.Tx, uid storage.UID) (bool, error) {
	if t.Mark == "" {
		return false, nil
	}
	mark, err := recovery.MarkOf(tx, uid)
	if err != nil || mark != t.Mark {
		return false, err
	}
	holding, err := recovery.HoldingOf(tx, uid)
	return !holding.Arrived, err
}

// SawTaken notes that the page of an offer knows of the confirmation, and so shows its recovery code.
func SawTaken(tx *storage.Tx, uid storage.UID, key string) error {
	t, err := TakenOffer(tx, uid, key)
	if err != nil || !t.Unseen {
		return err
	}
	return recovery.Arrived(tx, uid)
}
