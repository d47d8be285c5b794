// Package device keeps a user's enrollments: the tickets by which they come about, the phones and their keys, and
// what a phone may do with its own enrollment.
package device

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
)

// Service is the use cases of enrollments. Safe for concurrent use.
type Service struct {
	store    *storage.Store
	ring     *keyring.Ring
	recovery *recovery.Service
	bases    Bases
	issuer   string
	deliver  push.Deliverer
	verified verified
}

// Options says how the service presents itself.
type Options struct {
	Bases   Bases
	Issuer  string         // the organisation's name, as apps show it
	Deliver push.Deliverer // nil without a push service: apps pull
}

// New makes the service.
func New(store *storage.Store, ring *keyring.Ring, codes *recovery.Service, o Options) *Service {
	return &Service{store: store, ring: ring, recovery: codes, bases: o.Bases, issuer: o.Issuer, deliver: o.Deliver}
}

// Issuer is the organisation's name, as apps show it.
func (s *Service) Issuer() string { return s.issuer }

// PublicURL is the URL under which people reach the server.
func (s *Service) PublicURL() string { return s.bases.Public() }

// The bounds of what an app says about itself, in bytes.
const (
	maxIdentifierBytes = 512
	maxNameBytes       = 256
	maxPushTokenBytes  = 4096
	maxCapabilities    = 16
)

// Installation is what an app says about itself.
type Installation struct {
	Identifier   string
	Name         string
	Push         *push.Target
	Key          Key
	Capabilities []string
}

// ErrInstallation is that of an app that says something about itself that cannot be.
var ErrInstallation = storage.NewError(storage.Invalid, "the description of the app is not valid")

// Validate checks the bounds and the form; the key was checked by ParseKey.
//
// Errors: ErrInstallation.
func (i *Installation) Validate() error {
	switch {
	case !fits(i.Identifier, maxIdentifierBytes):
		return ErrInstallation.With("identifier must be text of 1 to %d bytes", maxIdentifierBytes)
	case !fits(i.Name, maxNameBytes):
		return ErrInstallation.With("name must be text of 1 to %d bytes", maxNameBytes)
	case len(i.Capabilities) > maxCapabilities:
		return ErrInstallation.With("at most %d capabilities", maxCapabilities)
	}
	for _, c := range i.Capabilities {
		if !fits(c, maxNameBytes) {
			return ErrInstallation.With("a capability must be text of 1 to %d bytes", maxNameBytes)
		}
	}
	return validateTarget(i.Push)
}

func validateTarget(to *push.Target) error {
	if to == nil {
		return nil
	}
	if !to.Service.Valid() {
		return ErrInstallation.With("push_credentials.service is GCM, FCM or APNS")
	}
	if !fits(to.Token, maxPushTokenBytes) {
		return ErrInstallation.With("push_credentials.token must be text of 1 to %d bytes", maxPushTokenBytes)
	}
	return nil
}

func fits(s string, most int) bool { return s != "" && len(s) <= most && utf8.ValidString(s) }

// Answer is what an app gets when it has enrolled or restored.
//
// Source: Guardian wire protocol §1.5.
type Answer struct {
	ID           string `json:"id"`
	URL          string `json:"url"`
	Issuer       string `json:"issuer"`
	UserID       string `json:"user_id"`
	Token        string `json:"token"`
	RecoveryCode string `json:"recovery_code,omitempty"`
	TOTP         *TOTP  `json:"totp,omitempty"`
}

// TOTP is what an app needs to show one-time codes; the numbers are JSON numbers and the algorithm is lower-case, as
// the iOS SDK wants them.
type TOTP struct {
	Secret    string `json:"secret"` // base32
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"`
}

// The parameters of one-time codes, as every authenticator app takes them (RFC 6238).
const (
	totpAlgorithm   = "sha1"
	totpDigits      = 6
	totpPeriod      = 30
	totpSecretBytes = 20
)

// Bind makes an enrollment of an installation for a user and returns it with the answer for its app. It is for
// whoever has found, in the same transaction, that the installation may be bound; an active enrollment of the same
// phone (its identifier) is replaced. id and secret may be given, when a QR code has them already.
//
// Errors: ErrKeyInUse, for an active or suspended enrollment of the user other than retiring that has the key;
// ErrInstallation, when the presence policy refuses the app; ErrTooMany.
func (s *Service) Bind(tx *storage.Tx, uid storage.UID, in Installation, r Reserved, retiring string, actor audit.Actor) (*Enrollment, *Answer, error) {
	u, err := user.Get(tx, uid)
	if err != nil {
		return nil, nil, err
	}
	if err := s.admits(tx, in); err != nil {
		return nil, nil, err
	}
	if err := s.replace(tx, uid, in, retiring, actor); err != nil {
		return nil, nil, err
	}
	r = r.orNew()
	token := storage.NewID("dt_", 43) // 256 bits
	e := &Enrollment{
		ID: r.ID, Identifier: in.Identifier, Name: in.Name, Key: in.Key,
		Token:        s.ring.Hash(tokenPurpose, uid[:], []byte(r.ID), []byte(token)),
		Capabilities: in.Capabilities, TOTPSecret: r.Secret, Status: Active, Enrolled: tx.Now(), Changed: tx.Now(),
	}
	e.setPush(in.Push)
	tx.Wake(uid)
	answer := &Answer{
		ID: e.ID, URL: s.bases.API(), Issuer: s.issuer, UserID: u.ID, Token: token,
		TOTP: &TOTP{Secret: encodeSecret(r.Secret), Algorithm: totpAlgorithm, Digits: totpDigits, Period: totpPeriod},
	}
	return e, answer, errors.Join(
		enrollments.Insert(tx, uid, e.ID, e),
		audit.Record(tx, actor, audit.Event{Type: audit.EnrollComplete, UID: uid}, e.detail()))
}

const tokenPurpose = "device-token"

func (e *Enrollment) setPush(to *push.Target) {
	if to != nil {
		e.PushService, e.PushToken = to.Service, []byte(to.Token)
	}
}

// admits tells whether the presence policy lets the app enrol.
func (s *Service) admits(tx *storage.Tx, in Installation) error {
	policy, err := PresencePolicy(tx)
	if err != nil {
		return err
	}
	e := &Enrollment{Capabilities: in.Capabilities}
	if policy == PresenceNumber && !e.Can(NumberMatching) {
		return ErrInstallation.With("this installation asks for number matching, which the app does not offer")
	}
	return nil
}

// maxEnrollments bounds the enrollments of a user that are not retired: each is asked and told, and read at every login.
const maxEnrollments = 50

// replace looks at the user's other enrollments: the same key is a conflict, the same phone is replaced. So is one that
// Left and has the key, which would else come back beside the new one.
func (s *Service) replace(tx *storage.Tx, uid storage.UID, in Installation, retiring string, actor audit.Actor) error {
	others, err := Of(tx, uid, Active, Suspended, Left)
	if err != nil {
		return err
	}
	kept := 0
	for _, other := range others {
		if other.ID == retiring {
			continue
		}
		sameKey := other.Key.Same(in.Key)
		if sameKey && other.Status != Left {
			return ErrKeyInUse
		}
		if !sameKey && other.Identifier != in.Identifier {
			kept++
			continue
		}
		event := audit.Event{Type: audit.Unenroll, UID: uid, Facts: map[string]string{"why": "replaced"}}
		err := errors.Join(Retire(tx, uid, other, nil),
			audit.Record(tx, actor, event, other.detail()))
		if err != nil {
			return err
		}
	}
	if kept >= maxEnrollments {
		return ErrTooMany
	}
	return nil
}

// Reserved is the id and one-time-code secret of an enrollment to come. The zero value has them drawn.
type Reserved struct {
	ID     string
	Secret []byte
}

func (r Reserved) orNew() Reserved {
	if r.ID == "" {
		r.ID = storage.NewID("dev_", 16)
	}
	if len(r.Secret) == 0 {
		r.Secret = make([]byte, totpSecretBytes)
		_, _ = rand.Read(r.Secret)
	}
	return r
}

func encodeSecret(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// Enroll spends a ticket and binds an installation to the ticket's user. A repeat with the same ticket and the same
// key gets the same answer again, while that is kept: the first may have been lost.
//
// Errors: ErrInstallation; ErrTicket; ErrKeyInUse; ErrTooMany.
func (s *Service) Enroll(ctx context.Context, ticket string, in Installation, actor audit.Actor) (*Answer, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	var answer *Answer
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		t, err := s.findTicket(tx, ticket)
		if err != nil {
			return err
		}
		if t.spent() {
			answer, err = s.enrolledBefore(tx, t, in.Key)
			return err
		}
		if err := s.mayEnroll(tx, t); err != nil {
			return err
		}
		answer, err = s.enroll(tx, t, in, actor)
		return err
	})
	return answer, err
}

// enroll does what Enroll promises for a ticket that is good.
func (s *Service) enroll(tx *storage.Tx, t *foundTicket, in Installation, actor audit.Actor) (*Answer, error) {
	e, answer, err := s.Bind(tx, t.uid, in, Reserved{ID: t.row.Enrollment, Secret: t.row.Secret}, "", actor)
	if err != nil {
		return nil, err
	}
	has, err := recovery.HasCode(tx, t.uid)
	if err != nil {
		return nil, err
	}
	if !has {
		code, err := s.recovery.Issue(tx, t.uid)
		if err != nil {
			return nil, err
		}
		answer.RecoveryCode = string(code)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	kept := recovery.Answer{Enrollment: e.ID, Body: body}
	return answer, errors.Join(
		recovery.KeepAnswer(tx, t.uid, t.answerKey(), kept, recovery.AnswerLife),
		s.keepForPage(tx, t, answer.RecoveryCode),
		s.spend(tx, t, in.Key, e.ID))
}

// enrolledBefore returns the kept answer of a spent ticket to the key that spent it.
func (s *Service) enrolledBefore(tx *storage.Tx, t *foundTicket, key Key) (*Answer, error) {
	if !t.spentBy(key) {
		return nil, ErrTicket
	}
	u, err := user.Get(tx, t.uid)
	if err != nil {
		return nil, err
	}
	if u.Blocked {
		return nil, ErrTicket
	}
	kept, err := recovery.KeptAnswer(tx, t.uid, t.answerKey())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrTicket
	}
	if err != nil {
		return nil, err
	}
	var answer Answer
	return &answer, json.Unmarshal(kept.Body, &answer)
}

// Change is what a phone changes of its own enrollment; nil is left as it is.
type Change struct {
	Identifier   *string
	Name         *string
	Push         *push.Target
	Capabilities *[]string // only by a call signed by its key
}

// Read returns the caller's enrollment.
//
// Errors: those of Check.
func (s *Service) Read(ctx context.Context, p Proof) (e *Enrollment, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		e, err = s.Check(tx, p)
		return err
	})
	return e, err
}

// Patch changes the caller's enrollment. A new push token or identifier is an event, and the old push token is told.
//
// Errors: those of Check; ErrInstallation; ErrUnsigned, for capabilities by the device token.
func (s *Service) Patch(ctx context.Context, p Proof, c Change, actor audit.Actor) (e *Enrollment, err error) {
	if c.Capabilities != nil && p.ByToken {
		return nil, ErrUnsigned.With("capabilities are changed only by a call that the device key signs")
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if e, err = s.Check(tx, p); err != nil {
			return err
		}
		return s.patch(tx, p.UID, e, c, actor)
	})
	return e, err
}

func (s *Service) patch(tx *storage.Tx, uid storage.UID, e *Enrollment, c Change, actor audit.Actor) error {
	before := *e
	c.apply(e)
	after := Installation{Identifier: e.Identifier, Name: e.Name, Push: c.Push, Capabilities: e.Capabilities}
	if err := after.Validate(); err != nil {
		return err
	}
	was, _ := before.PushTarget()
	is, _ := e.PushTarget()
	if e.Identifier == before.Identifier && is == was {
		return Put(tx, uid, e)
	}
	return errors.Join(tellOldAddress(tx, uid, &before), Put(tx, uid, e),
		audit.Record(tx, actor, audit.Event{Type: audit.UpdateDevice, UID: uid}, e.detail()))
}

func (c Change) apply(e *Enrollment) {
	if c.Identifier != nil {
		e.Identifier = *c.Identifier
	}
	if c.Name != nil {
		e.Name = *c.Name
	}
	if c.Capabilities != nil {
		e.Capabilities = *c.Capabilities
	}
	e.setPush(c.Push)
}

// Leave deletes the caller's enrollment. By the device token alone, which whoever has stolen a platform backup may
// have, it is gone for all to see, but a signed call within seven days brings it back.
//
// Errors: those of Check.
func (s *Service) Leave(ctx context.Context, p Proof, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.Check(tx, p)
		if err != nil {
			return err
		}
		if p.ByToken {
			e.Status, e.Changed = Left, tx.Now()
			tx.Wake(p.UID)
			err = Put(tx, p.UID, e)
		} else {
			err = Retire(tx, p.UID, e, nil)
		}
		event := audit.Event{Type: audit.Unenroll, UID: p.UID, Facts: map[string]string{"why": "device"}}
		return errors.Join(err, audit.Record(tx, actor, event, e.detail()))
	})
}

// RemoveEnrollment is an admin's removal of an enrollment. When no other confirmed one is left, suspended ones
// included, it is a reset of the user's MFA, with a receipt.
//
// Errors: ErrNoEnrollment; user.ErrRefused.
func (s *Service) RemoveEnrollment(ctx context.Context, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, e, err := findShown(tx, id)
		if err != nil {
			return err
		}
		if _, err := user.GetFor(tx, actor, user.ChangeFactors, uid); err != nil {
			return err
		}
		return s.removeByAdmin(ctx, tx, uid, e, actor)
	})
}

func (s *Service) removeByAdmin(ctx context.Context, tx *storage.Tx, uid storage.UID, e *Enrollment, actor audit.Actor) error {
	left, err := Of(tx, uid, Active, Suspended)
	if err != nil {
		return err
	}
	if len(left) == 1 {
		_, err := s.recovery.ResetIn(ctx, tx, uid, recovery.ResetRequest{Reason: "the last enrollment was removed", Actor: actor})
		return err
	}
	event := audit.Event{Type: audit.Unenroll, UID: uid, Facts: map[string]string{"why": "admin"}}
	return errors.Join(Retire(tx, uid, e, nil),
		audit.Record(tx, actor, event, e.detail()),
		audit.RecordCall(tx, actor, uid))
}

// Practise tells whether a code is the recovery code of the caller's user, without spending it.
//
// Errors: those of CheckSigned; recovery.ErrLimited.
func (s *Service) Practise(ctx context.Context, p Proof, typed string, actor audit.Actor) (valid bool, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if _, err := s.CheckSigned(tx, p); err != nil {
			return err
		}
		valid, err = s.recovery.Practise(tx, p.UID, typed, actor)
		return err
	})
	return valid, err
}
