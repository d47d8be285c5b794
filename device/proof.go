package device

import (
	"context"
	"errors"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// The bounds of a device JWT's times. Apps read their clock twice, so we add a minute to the two hours of the SDKs.
const (
	maxDeviceJWTLife = 2*time.Hour + time.Minute
	maxClockSkew     = 5 * time.Minute
)

// Proof says which enrollment a phone has proven to be, and how. It was true when it was made; a transaction that acts on it
// must check again ([Service.Check]).
type Proof struct {
	UID     storage.UID
	ID      string // of the enrollment
	ByToken bool   // by the device token alone, which opens only the enrollment's own record
	key     Key
	next    string // keyed hash of the device token, when it was the next one
}

// Errors of proofs.
var (
	ErrToken    = storage.NewError(storage.Denied, "the device token or JWT is not valid for this enrollment")
	ErrUnsigned = storage.NewError(storage.Denied, "this call wants a JWT that the device key signs, not the device token")
)

// Prove checks the bearer token of a call to an enrollment: a JWT signed by the enrolled key or, unless signedOnly, the
// device token. The first call of an enrollment erases the replies kept for it. A signed call is reported to a restore that
// watches, revives an enrollment that Left, and makes a lost push address be tried again. The device token still opens an
// enrollment that Left, but does not revive it. Safe for concurrent use.
//
// Errors: ErrNoEnrollment; ErrSuspended; ErrToken, ErrSignature, ErrClaims; ErrClockSkew; ErrUnsigned, for the right device
// token where only a JWT is accepted.
func (s *Service) Prove(ctx context.Context, id, bearer string, signedOnly bool) (Proof, error) {
	p, e, err := s.identify(ctx, id, bearer, signedOnly)
	if err != nil {
		return p, err
	}
	return p, s.settle(ctx, p, e)
}

// identify is the part of Prove that checks only the bearer token.
func (s *Service) identify(ctx context.Context, id, bearer string, signedOnly bool) (p Proof, e *Enrollment, err error) {
	var u *user.User
	p.ID = id
	err = s.store.View(ctx, func(tx *storage.Tx) (err error) {
		if p.UID, e, err = findInstallation(tx, id); err != nil {
			return err
		}
		u, err = user.Get(tx, p.UID)
		return err
	})
	if err != nil {
		return p, nil, err
	}
	p.key = e.Push.Key
	next := e.isNext(bearer)
	switch {
	case strings.Count(bearer, ".") == 2:
		err = s.checkDeviceJWT(e, u.ID, bearer)
	case !next && !s.ring.Matches(e.Push.Token, tokenPurpose, p.UID[:], []byte(e.ID), []byte(bearer)):
		err = ErrToken
	case signedOnly:
		err = ErrUnsigned
	default:
		p.ByToken = true
		if next {
			p.next = s.ring.Hash(tokenPurpose, p.UID[:], []byte(e.ID), []byte(bearer))
		}
	}
	return p, e, err
}

// settle is the part of Prove that checks the state of the enrollment.
func (s *Service) settle(ctx context.Context, p Proof, e *Enrollment) error {
	if e.wantsTouch(s.store.Now(), p) {
		return s.touch(ctx, p)
	}
	return e.usable()
}

// findInstallation finds an enrollment of type push. No other type makes calls: it has neither key nor device token.
//
// Errors: ErrNoEnrollment.
func findInstallation(tx *storage.Tx, id string) (storage.UID, *Enrollment, error) {
	uid, e, err := Find(tx, id)
	if err == nil && e.Type != TypePush {
		err = ErrNoEnrollment
	}
	return uid, e, err
}

// checkDeviceJWT verifies a device JWT.
//
// Source: guardian-wire.md §2.1.
func (s *Service) checkDeviceJWT(e *Enrollment, userID, token string) error {
	payload, err := s.verified.payload(e.Push.Key, token)
	if err != nil {
		return err
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return ErrClaims
	}
	if c.Issuer != e.ID || c.Subject != userID || !s.bases.Names(c.Audience, "/api/device-accounts") {
		return ErrClaims.With("the token's iss, sub or aud is not that of this enrollment")
	}
	issued, expires, err := c.Life(maxDeviceJWTLife)
	if err != nil {
		return err
	}
	if now := s.store.Wall(); issued.After(now.Add(maxClockSkew)) || expires.Before(now.Add(-maxClockSkew)) {
		return ErrClockSkew
	}
	return nil
}

// usable returns an error unless the status of the enrollment allows its use.
func (e *Enrollment) usable() error {
	switch e.Status {
	case Active, Left:
		return nil
	case Suspended:
		return ErrSuspended
	default:
		return ErrNoEnrollment
	}
}

// wantsTouch reports whether a proven call changes something of the enrollment.
func (e *Enrollment) wantsTouch(now time.Time, p Proof) bool {
	if e.Status == Active && !e.Push.Seen || p.next != "" {
		return true
	}
	return !p.ByToken && (e.revivable() || e.watched(now) || e.Status == Active && (e.signedLongAgo(now) || e.hasLost()))
}

// touch notes that the enrollment has made a proven call.
func (s *Service) touch(ctx context.Context, p Proof) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := Get(tx, p.UID, p.ID)
		if err != nil {
			return err
		}
		if !e.Push.Key.Same(p.key) {
			return ErrNoEnrollment
		}
		if !p.ByToken && e.revivable() {
			if err := revive(tx, p.UID, e); err != nil {
				return err
			}
		}
		if !p.ByToken {
			e.noteCall(tx.Now())
			e.noteSigned(tx.Now())
			e.retryLost()
		}
		s.takeNext(p.UID, e, p.next)
		if err := e.usable(); err != nil {
			return err
		}
		e.Push.Seen = true
		return errors.Join(Put(tx, p.UID, e), recovery.Called(tx, p.UID, e.ID))
	})
}

// Check checks a proof again, inside a transaction: the enrollment must still exist, have the same key and be usable.
//
// Errors: ErrNoEnrollment; ErrSuspended.
func (s *Service) Check(tx *storage.Tx, p Proof) (*Enrollment, error) {
	e, err := Get(tx, p.UID, p.ID)
	if err != nil {
		return nil, err
	}
	if !e.Push.Key.Same(p.key) {
		return nil, ErrNoEnrollment
	}
	if err := e.usable(); err != nil {
		return nil, err
	}
	return e, nil
}

// CheckSigned does what Check does, and also refuses a proof by the device token alone.
//
// Errors: those of Check; ErrUnsigned.
func (s *Service) CheckSigned(tx *storage.Tx, p Proof) (*Enrollment, error) {
	if p.ByToken {
		return nil, ErrUnsigned
	}
	return s.Check(tx, p)
}

// Showing is what an enrollment has shown in a login.
type Showing struct {
	Signed    bool // by a signature of an app's key; else by a one-time code or a passkey
	Satisfied bool // it has satisfied the login, and not denied it
}

// Authenticated notes what the enrollment, as read in tx, has shown in a login. A signature also counts as an authenticated call of
// its app, and brings back an enrollment that Left. A one-time code does neither for an app on a phone: another app may show
// it, which has scanned the same QR code.
func Authenticated(tx *storage.Tx, uid storage.UID, e *Enrollment, shown Showing) error {
	now := tx.Now()
	first := e.Type == TypePush && !e.Push.Seen && shown.Signed || e.Type == TypeOTP && e.LastAuth.IsZero() && shown.Satisfied
	stamps := shown.Signed && (e.signedLongAgo(now) || e.watched(now))
	revived := shown.Signed && e.revivable()
	if !first && !stamps && !revived && !shown.Satisfied {
		return nil
	}
	if revived {
		if err := revive(tx, uid, e); err != nil {
			return err
		}
	}
	if shown.Satisfied {
		e.LastAuth = now
	}
	if stamps {
		e.noteCall(now)
		e.noteSigned(now)
	}
	if !first {
		return Put(tx, uid, e)
	}
	e.Push.Seen = e.Type == TypePush
	return errors.Join(Put(tx, uid, e), recovery.Called(tx, uid, e.ID))
}
