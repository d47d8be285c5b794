package own

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Rename gives one of the user's authenticators another name.
//
// Errors: ErrSession; device.ErrName; device.ErrNoEnrollment.
func (s *Service) Rename(ctx context.Context, token, id, name string, actor audit.Actor) error {
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		return device.RenameBy(tx, h.uid, id, name, actor.WithClient(h.Client))
	})
}

// Remove takes one of the user's authenticators away, by the rules of an enrolment token. The session ends when it stands on that one;
// but what has opened it may go, once she has proven something else here.
//
// Errors: ErrSession; ErrStepUp; device.ErrNoEnrollment; device.ErrLastFactor.
func (s *Service) Remove(ctx context.Context, token, id string, actor audit.Actor) error {
	return s.actStrongly(ctx, token, func(tx *storage.Tx, h *held, p login.Pass) error {
		err := s.logins.RemoveAuthenticatorIn(tx, p, id, actor)
		if err != nil || h.Opened.By != id || h.Proven.By == id {
			return err
		}
		h.Opened = h.Proven
		return h.put(tx)
	})
}

// Adding is an authenticator that the user is adding.
type Adding struct {
	Type    device.Type
	URI     string             // the text of the QR code, of an app
	Secret  string             // of one-time codes, in base32
	Expires time.Time          // when it can be added no more
	Made    *device.Enrollment // that has been added; nil: none yet
}

// Add offers the enrolment of an authenticator, by the rules of an enrolment token: one for each proof. Once more is the same offer. For
// a passkey it returns the creation options, for her browser.
//
// Errors: ErrSession; ErrStepUp, also when what was proven has added something already; device.ErrFactorOff; those of
// passkey.Service.BeginRegistration.
func (s *Service) Add(ctx context.Context, token string, typ device.Type, actor audit.Actor) (options []byte, err error) {
	err = s.actStrongly(ctx, token, func(tx *storage.Tx, h *held, p login.Pass) error {
		made, err := s.logins.AssociateIn(tx, login.Association{Pass: p, Type: typ, Actor: actor.WithClient(h.Client)})
		if errors.Is(err, login.ErrEnrolment) {
			err = ErrStepUp
		}
		if err != nil {
			return err
		}
		options = made.Options
		h.Adds = typ
		h.AddsBy = made.ID
		h.AddsCode = []byte(made.Code)
		return h.put(tx)
	})
	return options, err
}

// Adding returns what is to be shown of what the user adds.
//
// Errors: ErrSession; ErrStepUp, when she adds nothing.
func (s *Service) Adding(ctx context.Context, token string) (a Adding, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err != nil {
			return err
		}
		a, err = s.adding(tx, h)
		return err
	})
	return a, err
}

func (s *Service) adding(tx *storage.Tx, h *held) (a Adding, err error) {
	if h.Adds == "" {
		return a, ErrStepUp
	}
	a.Type = h.Adds
	a.Made, err = s.logins.AssociatedBy(tx, s.logins.PassOf(h.uid, h.Proven))
	switch {
	case err == nil:
		return a, nil
	case !errors.Is(err, login.ErrUndecided):
		return a, ErrStepUp
	}
	uri, o, err := s.logins.AssociationOf(tx, h.uid, h.Proven.Login, h.Adds)
	a.URI = uri
	a.Secret = o.Secret
	a.Expires = o.Expires
	return a, err
}

// AwaitAdded waits until what the user adds is there, at most for wait, or until ctx ends.
//
// Errors: those of Adding.
func (s *Service) AwaitAdded(ctx context.Context, token string, wait time.Duration) (a Adding, err error) {
	err = s.await(ctx, token, wait, func(ctx context.Context) (over bool, left time.Duration, err error) {
		a, err = s.Adding(ctx, token)
		left = a.Expires.Sub(s.store.Now())
		return a.Made != nil || left <= 0, left, err
	})
	return a, err
}

// ConfirmApp confirms an app that only shows one-time codes, by the first code that it shows.
//
// Errors: ErrSession; ErrStepUp; otp.ErrTypo; device.ErrWrongOTP; device.ErrTooMany; device.ErrFactorOff.
func (s *Service) ConfirmApp(ctx context.Context, token, typed string, actor audit.Actor) error {
	return s.actStrongly(ctx, token, func(tx *storage.Tx, h *held, p login.Pass) error {
		if h.Adds != device.TypeOTP {
			return ErrStepUp
		}
		return s.logins.ConfirmByOTP(tx, p, typed, actor)
	})
}

// AddPasskey adds the passkey that a browser has made by the options of Add.
//
// Errors: ErrSession; ErrStepUp; device.ErrRegistered; device.ErrTooMany; device.ErrFactorOff; those of
// passkey.Service.VerifyRegistration.
func (s *Service) AddPasskey(ctx context.Context, token string, r passkey.Response, actor audit.Actor) error {
	var c login.PasskeyConfirmation
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err != nil {
			return err
		}
		p, err := s.strong(tx, h)
		if err == nil && !h.Adds.IsPasskey() {
			err = ErrStepUp
		}
		if err == nil {
			c = login.PasskeyConfirmation{
				Pass:     p,
				OOBCode:  h.AddsBy,
				Response: r,
				Actor:    actor.WithClient(h.Client),
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	made, err := s.logins.VerifyNewPasskey(ctx, c)
	if err != nil {
		return err
	}
	return s.actStrongly(ctx, token, func(tx *storage.Tx, h *held, p login.Pass) error {
		if h.AddsBy != c.OOBCode {
			return ErrStepUp
		}
		_, err := s.logins.AddPasskey(tx, c, made)
		return err
	})
}

// Added notes that the page knows that what the user was adding is there. A recovery code that has come with it is shown, until it is
// confirmed.
//
// Errors: ErrSession; ErrStepUp, when nothing was added.
func (s *Service) Added(ctx context.Context, token string) (e *device.Enrollment, err error) {
	err = s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		a, err := s.adding(tx, h)
		if err == nil && a.Made == nil {
			err = ErrStepUp
		}
		if err != nil {
			return err
		}
		e = a.Made
		if len(h.AddsCode) > 0 {
			h.keep(tx, recovery.Code(h.AddsCode), true)
		}
		h.Adds = ""
		h.AddsBy = ""
		h.AddsCode = nil
		return h.put(tx)
	})
	return e, err
}

// ForgetBrowsers has every browser ask again that the user had told to remember her.
//
// Errors: ErrSession.
func (s *Service) ForgetBrowsers(ctx context.Context, token string) error {
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		_, err := recovery.ForgetBrowsers(tx, h.uid)
		return err
	})
}
