package device

import (
	"errors"
	"slices"

	"tutela/storage"
)

// HostedPrefix begins the id of the request of a hosted page.
const HostedPrefix = "hrq_"

// hostedKept bounds the tickets that hosted pages have made for a user. Beyond it the oldest is removed.
const hostedKept = 8

// ofHosted reports whether the ticket was made for a login by a hosted page. It is false for a handed-out ticket that
// such a login uses.
func (t *ticket) ofHosted() bool { return t.Hosted != "" && !t.HandedOut }

// HostedTicket makes a ticket for a login by a hosted page, valid until f.Until. f.Key is the key of the login. The
// ticket enrols once, by the rules of [Service.Offer]. Its enrolment page leads back to the login.
//
// Errors: ErrNoEnrollment, when the enrollment to be replaced is not the user's, or is retired.
func (s *Service) HostedTicket(tx *storage.Tx, uid storage.UID, f OfferFor) (secret, key string, err error) {
	if f.Replaces != "" {
		if _, err := replaceable(tx, uid, f.Replaces); err != nil {
			return "", "", err
		}
	}
	// Make room: the oldest tickets of hosted pages go.
	all, err := tickets.All(tx, uid)
	if err != nil {
		return "", "", err
	}
	roots := slices.DeleteFunc(slices.Clone(all), func(row storage.Row[ticket]) bool { return !row.Record.ofHosted() })
	if err := forgetOldest(tx, uid, all, roots, hostedKept); err != nil {
		return "", "", err
	}
	tx.Count(ticketsCounted, ticketMade)
	secret = storage.NewID("", ticketLength)
	key = storage.NewUID().String()
	r := Reserved{}.orNew()
	return secret, key, tickets.Insert(tx, uid, key, &ticket{
		Hash:       s.ring.Hash(ticketPurpose, []byte(secret)),
		Hosted:     f.Key,
		Plain:      f.Grant.Cause == "",
		Replaces:   f.Replaces,
		Grant:      f.Grant,
		Enrollment: r.ID,
		Secret:     r.Secret,
		Created:    tx.Now(),
		Expires:    f.Until,
	})
}

// Replace changes which enrollment an unused ticket of a hosted page will replace; "" means none.
//
// Errors: ErrTicket; ErrNoEnrollment.
func (s *Service) Replace(tx *storage.Tx, uid storage.UID, key, replaces string) error {
	t, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) || err == nil && (t.SpentBy != nil || !t.ofHosted()) {
		return ErrTicket
	}
	if err != nil {
		return err
	}
	if replaces != "" {
		if _, err := replaceable(tx, uid, replaces); err != nil {
			return err
		}
	}
	t.Replaces = replaces
	return tickets.Put(tx, uid, key, t)
}

// LeadBack makes the enrolment page of a handed-out ticket lead back to a login by a hosted page.
//
// Errors: ErrTicket.
func LeadBack(tx *storage.Tx, uid storage.UID, key, login string) error {
	t, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return ErrTicket
	}
	if err != nil {
		return err
	}
	t.Hosted = login
	t.HandedOut = true
	return tickets.Put(tx, uid, key, t)
}

// hostedID returns the id of the hosted page's request to which the ticket's page leads back; "" for none.
func (s *Service) hostedID(t *foundTicket) string {
	var random storage.UID
	if t.Record.Hosted == "" || random.UnmarshalText([]byte(t.Record.Hosted)) != nil {
		return ""
	}
	id, _ := s.ring.IDFor(HostedPrefix, t.UID, random)
	return id
}
