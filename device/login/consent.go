package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
)

// consentPrefix begins the id by which a phone asks for the details of a login.
const consentPrefix = "cns_"

// consentsKept bounds how often a phone is shown the details of one login: each proof counts once, so all of them are
// remembered.
const consentsKept = 20

// Errors of consents.
var (
	ErrNoConsent    = storage.NewError(storage.NotFound, "the login has no details to show")
	ErrConsentOften = storage.NewError(storage.Limited, "the details of the login were asked for too often")
)

// Consent is what a login is about, for the phone that is asked.
//
// Source: guardian-wire.md §4.5.
type Consent struct {
	ID        string
	Created   time.Time // by the wall, as are all times that phones see
	Expires   time.Time
	Requested json.RawMessage // as Requested
}

// Requested are the details as they are shown. audience is never empty, since the iOS SDK cannot do without it.
type Requested struct {
	Audience       string          `json:"audience"`
	Scope          []string        `json:"scope"`
	BindingMessage string          `json:"binding_message,omitempty"`
	Details        json.RawMessage `json:"authorization_details,omitempty"`
}

// shown is what a phone was shown of a login.
type shown struct {
	Digest string   `json:"digest"` // base64url of the SHA-256 of the details as JSON
	Proofs []string `json:"proofs"` // hashes of the jti of the proofs that asked for them
}

// hasConsent reports whether there are details that a phone can ask for.
func (l *Login) hasConsent() bool { return len(l.Details) > 0 || l.Message != "" }

// requested returns the details as JSON.
func (l *Login) requested() (json.RawMessage, error) {
	r := Requested{
		Audience:       l.Audience,
		Scope:          strings.Fields(l.Scope),
		BindingMessage: l.Message,
		Details:        l.Details,
	}
	if r.Audience == "" {
		r.Audience = l.Client // as the access token names it
	}
	return json.Marshal(r)
}

// consentID returns the id by which phones ask for the details of a login; "" when there are none.
func (s *Service) consentID(l row) string {
	if !l.Record.hasConsent() {
		return ""
	}
	return s.idOf(consentPrefix, l.UID, l.Key)
}

// Consent returns the details of a login to a phone that is asked, for the txtkn of its message and a proof that it
// holds the enrolled key. Each proof counts once. It notes in the login what was shown; the event of the phone's answer
// will say so.
//
// Errors: keyring.ErrToken, for a txtkn that this server did not make; device.ErrPossession; ErrNoLogin, also when the login is
// decided or over; device.ErrSuspended; ErrNoConsent, for another id or a login without details; ErrConsentOften.
func (s *Service) Consent(ctx context.Context, id, txtkn, proof string) (Consent, error) {
	var t transactionClaims
	if err := s.ring.VerifyToken(keyring.TransactionToken, txtkn, &t); err != nil {
		return Consent{}, err
	}
	// A signature takes time, so it is verified outside of the transaction, which looks at the key again.
	var key device.Key
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		_, e, err := s.showable(tx, id, t)
		if err == nil {
			key = e.Push.Key
		}
		return err
	})
	if err != nil {
		return Consent{}, err
	}
	call := device.Call{Method: http.MethodGet, Path: "/rich-consents/" + id, Token: txtkn}
	jti, err := s.bases.Possession(key, proof, call)
	if err != nil {
		return Consent{}, err
	}
	var c Consent
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, e, err := s.showable(tx, id, t)
		if err != nil {
			return err
		}
		if !e.Push.Key.Same(key) {
			return ErrNoLogin
		}
		c, err = s.show(tx, l, e, jti)
		c.ID = id
		return err
	})
	return c, err
}

// showable returns the login of a txtkn and the enrollment that it was made for, if the login waits for an answer of that phone and
// id is that of its details.
//
// Errors: ErrNoLogin; ErrNoConsent; device.ErrSuspended.
func (s *Service) showable(tx *storage.Tx, id string, t transactionClaims) (row, *device.Enrollment, error) {
	l, err := s.find(tx, transactionPrefix, t.ID)
	if errors.Is(err, ErrGrant) || errors.Is(err, ErrExpired) {
		err = ErrNoLogin
	}
	if err != nil {
		return row{}, nil, err
	}
	blocked, err := isBlocked(tx, l.UID)
	if err != nil {
		return row{}, nil, err
	}
	e, err := device.Get(tx, l.UID, t.Enrollment)
	switch {
	case errors.Is(err, device.ErrNoEnrollment), err == nil && blocked:
		return row{}, nil, ErrNoLogin
	case err != nil:
		return row{}, nil, err
	case e.Status == device.Suspended:
		return row{}, nil, device.ErrSuspended
	case !l.Record.pending(tx.Now()) || !e.Answers() || !slices.Contains(l.Record.Asked, e.ID):
		return row{}, nil, ErrNoLogin
	}
	uid, key, ok := s.ring.ParseID(consentPrefix, id)
	if !ok || uid != l.UID || key != l.Key || !l.Record.hasConsent() {
		return row{}, nil, ErrNoConsent
	}
	return l, e, nil
}

// show notes that a phone is shown the details of a login, by a proof with a jti.
//
// Errors: device.ErrPossession, for a jti that came before; ErrConsentOften.
func (s *Service) show(tx *storage.Tx, found row, e *device.Enrollment, jti string) (Consent, error) {
	l := found.Record
	requested, err := l.requested()
	if err != nil {
		return Consent{}, err
	}
	// Each proof once, and not too many.
	was := l.Shown[e.ID]
	used := shortHash([]byte(jti))
	if slices.Contains(was.Proofs, used) {
		return Consent{}, device.ErrPossession.With("the proof was used before: sign another")
	}
	left := l.Expires.Sub(tx.Now())
	if len(was.Proofs) >= consentsKept {
		return Consent{}, ErrConsentOften.After(left)
	}
	if l.Shown == nil {
		l.Shown = make(map[string]shown, 1)
	}
	digest := sha256.Sum256(requested)
	l.Shown[e.ID] = shown{
		Digest: base64.RawURLEncoding.EncodeToString(digest[:]),
		Proofs: append(was.Proofs, used),
	}
	// Times for the phone are by the wall clock.
	wall := tx.Wall()
	c := Consent{
		Created:   wall.Add(l.Created.Sub(tx.Now())),
		Expires:   wall.Add(left),
		Requested: requested,
	}
	return c, logins.Put(tx, found.UID, found.Key, l)
}

// shortHash returns 12 bytes of a hash, enough to tell the few proofs of a login apart.
func shortHash(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// noteConsent adds to the event of an answer what its phone was shown of the details of the login. A phone that has asked for none may
// have shown the binding message, which comes with the question.
func (l *Login) noteConsent(e *device.Enrollment, facts audit.Facts, detail *audit.Detail) {
	seen, asked := l.Shown[e.ID]
	switch {
	case asked:
		facts[audit.FactConsent] = audit.ConsentShown
		detail.Shown = seen.Digest
	case len(l.Details) > 0:
		facts[audit.FactConsent] = audit.ConsentUnseen
	}
}
