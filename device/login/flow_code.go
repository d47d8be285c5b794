package login

import (
	"context"
	"errors"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Recover satisfies the login of a flow with the user's recovery code, and returns the code that replaces it. The first answer may
// be lost: so a repeat of the call gets the same next code while the login lives.
//
// Errors: keyring.ErrToken; ErrFlow; ErrEnrolsOnly; ErrBlocked; recovery.ErrTypo, which counts nothing; recovery.ErrLimited;
// recovery.ErrWrongCode (kept); ErrNoLogin, when the login was satisfied otherwise.
func (s *Service) Recover(ctx context.Context, token, typed string, actor audit.Actor) (next recovery.Code, err error) {
	t, err := s.readFlow(token)
	if err != nil {
		return "", err
	}
	code, typo := recovery.ParseCode(typed)
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, _, err := s.flowLogin(tx, t.ID)
		if err != nil {
			return err
		}
		if l.Record.State != Pending {
			o, err := s.redeemedBefore(tx, l, code)
			if errors.Is(err, ErrGrant) {
				err = ErrNoLogin.With("the login was decided already")
			}
			next = o.Next
			return err
		}
		if typo != nil {
			return typo
		}
		next, err = s.redeem(tx, l, code, redeeming{actor: actor})
		return err
	})
	return next, err
}

// VerifyOTP satisfies the login of a flow with a one-time code. While the enrolment that the flow has offered is open, the code
// confirms that: it is the first that the new app shows, and it is spent for the login as well. The first answer may be lost: so a
// repeat with the same code has the same outcome while the login lives.
//
// Errors: keyring.ErrToken; ErrFlow; ErrBlocked; otp.ErrTypo, which counts nothing; device.ErrWrongOTP (kept); recovery.ErrLimited,
// whatever the code; device.ErrTicket, when the offer of a flow by ticket can enrol nobody any more; ErrNoLogin, when the login was
// decided otherwise.
func (s *Service) VerifyOTP(ctx context.Context, token, typed string, actor audit.Actor) error {
	t, err := s.readFlow(token)
	if err != nil {
		return err
	}
	code, typo := otp.Parse(typed)
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		if uid, key, isOffer := s.ring.ParseID(offerPrefix, t.ID); isOffer {
			_, err := s.devices.ConfirmOffer(tx, uid, key, code, typo, actor)
			return err
		}
		l, _, err := s.flowLogin(tx, t.ID)
		if err != nil {
			return err
		}
		if l.Record.State != Pending {
			_, err := s.otpBefore(tx, l, code)
			if errors.Is(err, ErrGrant) || errors.Is(err, ErrDenied) {
				err = ErrNoLogin.With("the login was decided already")
			}
			return err
		}
		return s.tryOTP(tx, l, code, typo, actor)
	})
}
