package device

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// Lives of a ticket.
//
// Source: NIST SP 800-63B-4 §4.1 (a binding code of fewer than 112 bits lives 10 minutes; a ticket has 190 bits).
const (
	ticketLife  = 5 * 24 * time.Hour
	startedLife = 10 * time.Minute // of an enrollment_tx_id, which a page shows as a QR code
)

const (
	ticketLength  = 32
	ticketPurpose = "ticket"
	pagePurpose   = "page-session"
)

// ticket is a single-use secret that lets its holder enrol for one user. To start a ticket on a page makes another one below
// it, for the page's QR code, with a shorter life. The first of them that is used spends the root.
type ticket struct {
	Hash       string    `json:"hash"`               // keyed
	Root       string    `json:"root,omitempty"`     // key of the ticket that this one was started from
	Page       string    `json:"page,omitempty"`     // keyed hash of the page session that started it
	Flow       []byte    `json:"flow,omitempty"`     // what a page of the browser client was told of its offer; sealed
	Mark       string    `json:"mark,omitempty"`     // of the recovery code that the page was told of, once that counts
	Factor     string    `json:"factor,omitempty"`   // what it may enrol; empty: any
	Hosted     string    `json:"hosted,omitempty"`   // key of the login by a hosted page that goes on when it has enrolled
	HandedOut  bool      `json:"handed,omitempty"`   // with Hosted: it was not made for that login
	Plain      bool      `json:"plain,omitempty"`    // enrols only a user who has no active enrollment
	Replaces   string    `json:"replaces,omitempty"` // id of the enrollment that the new one replaces
	Grant      grantedBy `json:"grant,omitzero"`     // of one that a login system let: what it stands on
	Enrollment string    `json:"enrollment"`         // id reserved for the future enrollment
	Secret     []byte    `json:"secret"`             // one-time-code secret reserved for it; sealed
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	SpentBy    *Key      `json:"spent_by,omitempty"`
	Spent      time.Time `json:"spent,omitzero"`
}

var (
	tickets = storage.Declare(storage.Spec[ticket]{
		Name:  "ticket",
		Class: storage.MFA,
		Most:  (ticketsKept+hostedKept)*(1+startsKept) + flowsKept,
		// The row outlives the ticket: a page may have started another from it at the last moment, and a spent ticket
		// still repeats its answer.
		Expires: func(t *ticket) time.Time { return t.Expires.Add(startedLife + recovery.ReplyLife) },
		Sealed: func(t *ticket) []storage.Field {
			return []storage.Field{{Name: "secret", Value: &t.Secret}, {Name: "flow", Value: &t.Flow}}
		},
	})
	ticketByHash = tickets.Unique("hash", func(t *ticket) []string { return []string{t.Hash} })
)

// Errors of tickets.
var (
	ErrTicket = storage.NewError(storage.NotFound, "the enrolment ticket is unknown, spent or expired: ask for a new one")
	ErrFactor = storage.NewError(storage.Invalid, "this factor is not available here")
)

// CheckFactor returns an error unless a ticket can be for a factor; "" means any that is switched on.
//
// Errors: ErrFactor.
func CheckFactor(tx *storage.Tx, factor string) error {
	if factor != "" && !slices.Contains(enrollable, Factor(factor)) {
		return ErrFactor.With("this factor is not available here; push-notification, otp, webauthn-roaming and webauthn-platform are")
	}
	ways, err := EnrollableBy(tx, factor)
	if err == nil && len(ways) == 0 {
		err = ErrFactor.With("nothing can be enrolled: the factors for that are switched off here")
	}
	return err
}

// enrollable are the factors that tickets enrol.
var enrollable = []Factor{FactorPush, FactorOTP, FactorPlatform, FactorRoaming}

// EnrollableBy returns the factors that a ticket for a factor, or "" for any, can enrol now.
func EnrollableBy(tx *storage.Tx, factor string) ([]Factor, error) {
	enabled, err := FactorsOn(tx, enrollable...)
	return slices.DeleteFunc(enabled, func(f Factor) bool { return !TicketTakes(factor, f) }), err
}

// FactorOfTicket returns the factor that alone the user's ticket with a key enrols, as [Service.TicketKey] returned the key; "" for any,
// and for no ticket.
func FactorOfTicket(tx *storage.Tx, uid storage.UID, key string) (string, error) {
	if key == "" {
		return "", nil
	}
	t, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return t.Factor, nil
}

// TicketFor says what a ticket is made for.
type TicketFor struct {
	Factor   string // as CheckFactor accepts it
	Another  bool   // it also enrols while the user has an active enrollment
	Replaces string // id of the enrollment that is retired when the ticket enrols; its backup goes to the new one
}

// AddTicket makes a ticket for a user: 32 characters of A–Z a–z 0–9, which nobody can read again. Without Another and
// Replaces, the ticket enrols only while the user has no active enrollment. That is checked when the ticket is used, since
// she may enrol meanwhile.
//
// Errors: ErrNoEnrollment, when the enrollment to be replaced is not the user's, or is retired.
func (s *Service) AddTicket(tx *storage.Tx, uid storage.UID, f TicketFor) (secret string, err error) {
	if err := forgetTickets(tx, uid); err != nil {
		return "", err
	}
	if f.Replaces != "" {
		if _, err := replaceable(tx, uid, f.Replaces); err != nil {
			return "", err
		}
	}
	tx.Count(ticketsCounted, ticketMade)
	secret = storage.NewID("", ticketLength)
	r := Reserved{}.orNew()
	t := &ticket{
		Hash:       s.ring.Hash(ticketPurpose, []byte(secret)),
		Factor:     f.Factor,
		Plain:      !f.Another && f.Replaces == "",
		Replaces:   f.Replaces,
		Enrollment: r.ID,
		Secret:     r.Secret,
		Created:    tx.Now(),
		Expires:    tx.Now().Add(ticketLife),
	}
	return secret, tickets.Insert(tx, uid, storage.NewUID().String(), t)
}

// replaceable returns the user's enrollment that a ticket names, unless it is retired.
//
// Errors: ErrNoEnrollment.
func replaceable(tx *storage.Tx, uid storage.UID, id string) (*Enrollment, error) {
	e, err := Get(tx, uid, id)
	if err == nil && e.Status == Retired {
		err = ErrNoEnrollment
	}
	return e, err
}

// ticketsKept bounds the tickets that were made for a user, spent ones included.
const ticketsKept = 32

// forgetTickets makes room for one more ticket of the user. It removes the oldest, with those that pages have started from it.
// So a program that makes endless tickets never removes the newest ones.
func forgetTickets(tx *storage.Tx, uid storage.UID) error {
	all, err := tickets.All(tx, uid)
	if err != nil {
		return err
	}
	roots := slices.DeleteFunc(slices.Clone(all), func(row storage.Row[ticket]) bool {
		return row.Record.started() || row.Record.ofHosted()
	})
	return forgetOldest(tx, uid, all, roots, ticketsKept)
}

// forgetOldest makes room for one more among roots, of which keep are kept. It removes the oldest, with those of all that were started
// from them.
func forgetOldest(tx *storage.Tx, uid storage.UID, all, roots []storage.Row[ticket], keep int) (err error) {
	if len(roots) < keep {
		return nil
	}
	slices.SortFunc(roots, func(a, b storage.Row[ticket]) int { return a.Record.Created.Compare(b.Record.Created) })
	gone := make(map[string]bool, 1)
	for _, row := range roots[:len(roots)-keep+1] {
		gone[row.Key] = true
	}
	for _, row := range all {
		if gone[row.Key] || gone[row.Record.Root] {
			err = errors.Join(err, tickets.Delete(tx, uid, row.Key))
		}
	}
	return err
}

// OpenTicket is a ticket that can still enrol, as an admin sees it.
type OpenTicket struct {
	Created  time.Time
	Expires  time.Time
	Via      Via    // how it would enrol a phone now
	Replaces string // id of the enrollment that it will replace; empty: none
	Factor   string // what alone it enrols; empty: any
}

// OpenTickets returns the user's tickets that are neither spent nor expired, oldest first. It leaves out tickets that a page
// has made from another one: they are spent together.
func OpenTickets(tx *storage.Tx, uid storage.UID) ([]OpenTicket, error) {
	rows, err := tickets.All(tx, uid)
	if err != nil {
		return nil, err
	}
	onPage := map[string]bool{} // those whose QR code a page shows now
	for _, row := range rows {
		if t := row.Record; t.Root != "" && tx.Now().Before(t.Expires) {
			onPage[t.Root] = true
		}
	}
	var list []OpenTicket
	for _, row := range rows {
		t := row.Record
		if t.started() || t.ofHosted() || t.SpentBy != nil || !tx.Now().Before(t.Expires) {
			continue
		}
		open := OpenTicket{
			Created:  t.Created,
			Expires:  t.Expires,
			Via:      ViaTicket,
			Replaces: t.Replaces,
			Factor:   t.Factor,
		}
		if onPage[row.Key] {
			open.Via = ViaPage
		}
		list = append(list, open)
	}
	slices.SortFunc(list, func(a, b OpenTicket) int { return a.Created.Compare(b.Created) })
	return list, nil
}

// foundTicket is a ticket with its place in the store and with the ticket that it was started from.
type foundTicket struct {
	storage.Row[ticket]
	root *ticket // Record itself when it has no root
}

// replyKey returns the key of the reply that is kept for the phone that spent the ticket.
func (t *foundTicket) replyKey() string { return "ticket:" + t.Key }

func (t *foundTicket) reserved() Reserved {
	return Reserved{ID: t.Record.Enrollment, Secret: t.Record.Secret}
}

func (t *foundTicket) spent() bool { return t.root.SpentBy != nil }

// spentBy reports whether the key has spent this ticket, and not another one of the same root.
func (t *foundTicket) spentBy(key Key) bool {
	return t.Record.SpentBy != nil && t.Record.SpentBy.Same(key)
}

// ReadTicket takes a ticket out of what a person has typed or pasted: blanks do not matter, and a whole link will do, or the
// text of a QR code.
func ReadTicket(typed string) string {
	typed = strings.Join(strings.Fields(typed), "")
	_, query, isLink := strings.Cut(typed, "?")
	if !isLink {
		return typed
	}
	query, _, _ = strings.Cut(query, "#")
	values, err := url.ParseQuery(query)
	if err != nil {
		return typed
	}
	for _, name := range []string{"ticket", "enrollment_tx_id"} {
		if found := values.Get(name); found != "" {
			return found
		}
	}
	return typed
}

// findTicket looks a ticket up by its secret, as [ReadTicket] reads it.
//
// Errors: ErrTicket.
func (s *Service) findTicket(tx *storage.Tx, secret string) (*foundTicket, error) {
	secret = ReadTicket(secret)
	for _, hash := range s.ring.Hashes(ticketPurpose, []byte(secret)) {
		row, err := ticketByHash.Find(tx, hash)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return withRoot(tx, row)
	}
	return nil, ErrTicket
}

// withRoot adds to a ticket the one that it was started from.
//
// Errors: ErrTicket, when that is gone.
func withRoot(tx *storage.Tx, found storage.Row[ticket]) (t *foundTicket, err error) {
	t = &foundTicket{Row: found, root: found.Record}
	if found.Record.Root != "" {
		if t.root, err = tickets.Get(tx, found.UID, found.Record.Root); errors.Is(err, storage.ErrNotFound) {
			err = ErrTicket
		}
	}
	return t, err
}

// mayEnroll returns an error unless a ticket that is not spent can enrol now.
//
// Errors: ErrTicket.
func (s *Service) mayEnroll(tx *storage.Tx, t *foundTicket) error {
	if !tx.Now().Before(t.Record.Expires) {
		return ErrTicket
	}
	u, err := user.Get(tx, t.UID)
	if err != nil {
		return err
	}
	if u.Blocked {
		return ErrTicket
	}
	if ways, err := EnrollableBy(tx, t.Record.Factor); err != nil || len(ways) == 0 {
		return cmp.Or(err, error(ErrTicket.With("what the ticket enrols is switched off here: ask for another way in")))
	}
	if err := s.standsFor(tx, t); err != nil {
		return err
	}
	if t.root.Replaces != "" {
		_, err := replaceable(tx, t.UID, t.root.Replaces)
		if errors.Is(err, ErrNoEnrollment) {
			err = ErrTicket.With("the phone that the ticket was to replace is gone already: ask for a new ticket")
		}
		return err
	}
	if !t.root.Plain {
		return nil
	}
	set, err := All(tx, t.UID)
	if err == nil && len(set.Active()) > 0 {
		err = ErrTicket.With("the user is enrolled already: ask for a ticket that lets another phone enrol")
	}
	return err
}

// takes returns an error unless a ticket that is not spent can enrol a factor now.
//
// Errors: ErrTicket; ErrFactorOff.
func (s *Service) takes(tx *storage.Tx, t *foundTicket, f Factor) error {
	if err := s.mayEnroll(tx, t); err != nil {
		return err
	}
	if !TicketTakes(t.Record.Factor, f) {
		return ErrTicket.With("the ticket is for %s alone: ask for another one", t.Record.Factor)
	}
	return RequireFactor(tx, f)
}

// CheckTicket returns an error unless a ticket is still of use: it can enrol now, or it is spent and its reply is kept. It
// writes nothing. [Service.Enroll] checks again.
//
// Errors: ErrTicket.
func (s *Service) CheckTicket(ctx context.Context, secret string) error {
	return s.store.View(ctx, func(tx *storage.Tx) error {
		t, err := s.findTicket(tx, secret)
		if err != nil {
			return err
		}
		if !t.spent() {
			return s.mayEnroll(tx, t)
		}
		_, err = recovery.KeptReply(tx, t.UID, t.replyKey())
		if errors.Is(err, storage.ErrNotFound) {
			err = ErrTicket
		}
		return err
	})
}

// spend marks the ticket and its root as spent by a key for an enrollment.
func (s *Service) spend(tx *storage.Tx, t *foundTicket, key Key, enrollment string) error {
	tx.Count(ticketsCounted, ticketSpent)
	t.Record.SpentBy = &key
	t.Record.Spent = tx.Now()
	t.Record.Enrollment = enrollment
	if t.Record.ofFlow() {
		t.Record.Flow = []byte(told) // the code is told no more
	}
	err := tickets.Put(tx, t.UID, t.Key, t.Record)
	if t.Record.Root == "" {
		return err
	}
	t.root.SpentBy = &key
	t.root.Spent = tx.Now()
	t.root.Enrollment = enrollment
	return errors.Join(err, tickets.Put(tx, t.UID, t.Record.Root, t.root))
}

// spendOthers removes everything else that could enrol a user who had no phone: her other plain tickets, and all that pages
// have started. Otherwise a forgotten ticket could enrol a second phone days later.
func spendOthers(tx *storage.Tx, t *foundTicket) error {
	rows, err := tickets.All(tx, t.UID)
	for _, row := range rows {
		own := row.Key == t.Key || row.Key == t.Record.Root
		if !own && (row.Record.Plain || row.Record.started()) {
			err = errors.Join(err, tickets.Delete(tx, t.UID, row.Key))
		}
	}
	return err
}

// TicketURL returns the link to the page of a ticket.
func (s *Service) TicketURL(secret string) string {
	return s.bases.Public() + "/mfa/enrollment?ticket=" + url.QueryEscape(secret)
}

// EnrollmentURI returns the text of a started ticket's QR code. Apps read enrollment_tx_id from it; a plain TOTP app reads
// secret. It clips the organisation's name and the account, because a camera cannot read a code with too many modules. The
// name has no colon, because apps cut the label at the first colon.
//
// Source: guardian-wire.md §1.1.
func (s *Service) EnrollmentURI(account, txID string, r Reserved) string {
	return s.appURI(account, txID, r.ID, otp.Secret(r.Secret).String())
}

// appURI is EnrollmentURI for a secret in base32.
func (s *Service) appURI(account, txID, id, secret string) string {
	return s.labelled(account, [][2]string{
		{"enrollment_tx_id", txID}, {"secret", secret}, {"issuer", ""}, {"id", id},
		{"base_url", s.bases.API()}, {"algorithm", otp.Algorithm}, {"digits", "6"}, {"counter", "0"}, {"period", "30"},
	})
}

// labelled returns the text of a QR code with the organisation's name and an account. It puts the name into the pair issuer.
func (s *Service) labelled(account string, pairs [][2]string) string {
	room := max(qrBytes-len(enrollmentURI("", "", pairs)), leastLabelBytes)
	issuer := clip(strings.Join(strings.Fields(strings.ReplaceAll(s.issuer, ":", " ")), " "), room/4)
	pairs[slices.IndexFunc(pairs, func(p [2]string) bool { return p[0] == "issuer" })][1] = issuer
	return enrollmentURI(issuer, clip(account, room-2*len(escapePart(issuer))), pairs)
}

const (
	qrBytes         = 450 // what a QR code of version 16 and level M holds: 89 modules wide with its margin
	leastLabelBytes = 80  // for the organisation's name, twice, and the account, however long the base URL is
)

func enrollmentURI(issuer, account string, pairs [][2]string) string {
	var query strings.Builder
	for i, pair := range pairs {
		if i > 0 {
			query.WriteByte('&')
		}
		query.WriteString(pair[0] + "=" + escapePart(pair[1]))
	}
	return "otpauth://totp/" + escapePart(issuer) + ":" + escapePart(account) + "?" + query.String()
}

// clip shortens a text until it takes at most room bytes when it is percent-encoded, and marks the cut.
func clip(text string, room int) string {
	if len(escapePart(text)) <= room {
		return text
	}
	left := room - len(escapePart(ellipsis))
	for i, r := range text {
		if left -= len(escapePart(string(r))); left < 0 {
			return strings.TrimRight(text[:i], " ") + ellipsis
		}
	}
	return text
}

const ellipsis = "…"

// escapePart percent-encodes as JavaScript's encodeURIComponent does. It writes a space as %20, which every reader
// understands; + means a space only in forms.
func escapePart(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// TicketURI returns the text of the QR code of a bare ticket, for a terminal; "" for a ticket that no app on a phone enrols with, which
// needs its page.
//
// Errors: ErrTicket.
func (s *Service) TicketURI(ctx context.Context, secret string) (uri string, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		t, err := s.findTicket(tx, secret)
		if err != nil {
			return err
		}
		if !TicketTakes(t.Record.Factor, FactorPush) {
			return nil
		}
		u, err := user.Get(tx, t.UID)
		if err == nil {
			uri = s.EnrollmentURI(AccountLabel(u), secret, Reserved{ID: t.Record.Enrollment, Secret: t.Record.Secret})
		}
		return err
	})
	return uri, err
}

// AccountLabel returns an account as people write it: the address, else the name, else the id.
func AccountLabel(u *user.User) string {
	for _, label := range []string{u.Email, u.Name, u.ID} {
		if label != "" {
			return label
		}
	}
	return ""
}
