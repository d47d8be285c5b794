package own

import (
	"context"
	"errors"
	"time"

	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// stepUp returns the login by which the session steps up. If there is none under way it begins one, whose key is
// random.
//
// Errors: login.ErrTooManyStarts.
func (s *Service) stepUp(tx *storage.Tx, h *held, random storage.UID, actor audit.Actor) (login.StepUp, error) {
	if h.Asks != "" {
		open, err := login.StepsUp(tx, h.uid, h.Asks)
		if open || err != nil {
			return h.stepUp(actor), err
		}
	}
	ip, agent := actor.Origin()
	err := s.logins.BeginStepUp(tx, h.uid, random, login.MFAStart{
		Client: h.Client,
		Name:   h.Name,
		IP:     ip,
		Agent:  agent,
		Actor:  actor.WithClient(h.Client),
	})
	h.Asks = random.String()
	h.Asked = ""
	return h.stepUp(actor), errors.Join(err, h.put(tx))
}

func (h *held) stepUp(actor audit.Actor) login.StepUp {
	return login.StepUp{
		UID:    h.uid,
		Key:    h.Asks,
		Client: h.Client,
		Actor:  actor.WithClient(h.Client),
	}
}

// adopt has the session stand on what the login of its step-up has proven.
func (s *Service) adopt(tx *storage.Tx, h *held) error {
	p, err := s.logins.ProofOf(tx, h.uid, h.Asks)
	if err != nil {
		return err
	}
	// A code that was proven again replaces the one that has opened the session.
	if h.Opened.Method == login.ByRecoveryCode && p.Method == login.ByRecoveryCode {
		h.Opened.CodeMark = p.CodeMark
	}
	h.Proven = p
	h.Asks = ""
	h.Asked = ""
	h.Adds = ""
	return h.put(tx)
}

// Ring asks the user's phones for a number, which the page shows. Once more rings again, for the same number while it waits.
//
// Errors: ErrSession; login.ErrTooManyStarts; those of login.Service.Challenge.
func (s *Service) Ring(ctx context.Context, token string, actor audit.Actor) (asked login.Challenged, err error) {
	random := storage.NewUID()
	approval := storage.NewUID()
	nonce := login.NewNonce()
	err = s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		up, err := s.stepUp(tx, h, random, actor)
		if err != nil {
			return err
		}
		if asked, err = s.logins.RingForStepUp(tx, up, approval, nonce); err != nil {
			return err
		}
		h.Asked = asked.ID
		return h.put(tx)
	})
	return asked, err
}

// Rung returns how the approval stands for which Ring has asked.
//
// Errors: ErrSession; login.ErrExpired, when nothing is asked.
func (s *Service) Rung(ctx context.Context, token string) (r login.Ringing, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err != nil {
			return err
		}
		if h.Asks == "" {
			return login.ErrExpired
		}
		r, err = s.logins.Ringing(tx, h.uid, h.Asks)
		return err
	})
	return r, err
}

// AwaitRung waits until the approval for which Ring has asked is decided or over, at most for wait, or until ctx ends.
//
// Errors: those of Rung.
func (s *Service) AwaitRung(ctx context.Context, token string, wait time.Duration) (r login.Ringing, err error) {
	err = s.await(ctx, token, wait, func(ctx context.Context) (over bool, left time.Duration, err error) {
		r, err = s.Rung(ctx, token)
		left = r.Expires.Sub(s.store.Now())
		return r.State != login.Pending || left <= 0, left, err
	})
	return r, err
}

// await waits for something of the user of a session.
func (s *Service) await(ctx context.Context, token string, wait time.Duration, look func(ctx context.Context) (bool, time.Duration, error)) error {
	var uid storage.UID
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err == nil {
			uid = h.uid
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.store.Await(ctx, uid, wait, func(ctx context.Context, _ storage.Glance) (bool, time.Duration, error) { return look(ctx) })
}

// StepUpByNumber steps up by the approval for which Ring has asked, once the phone has given it.
//
// Errors: ErrSession; login.ErrExpired; login.ErrUndecided; login.ErrRejected; login.ErrWeakProof; those of login.Service.RedeemOOB.
func (s *Service) StepUpByNumber(ctx context.Context, token string, actor audit.Actor) error {
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		if h.Asks == "" || h.Asked == "" {
			return login.ErrExpired
		}
		if err := s.logins.CollectStepUp(tx, h.stepUp(actor), h.Asked); err != nil {
			return err
		}
		return s.adopt(tx, h)
	})
}

// StepUpByCode steps up by the recovery code. The next one is shown until it is confirmed.
//
// Errors: ErrSession; login.ErrTooManyStarts; those of login.Service.RedeemCode.
func (s *Service) StepUpByCode(ctx context.Context, token, typed string, actor audit.Actor) error {
	random := storage.NewUID()
	code, typo := recovery.ParseCode(typed)
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		up, err := s.stepUp(tx, h, random, actor)
		if err != nil {
			return err
		}
		next, err := s.logins.StepUpByCode(tx, up, code, typo)
		if err != nil {
			return err
		}
		h.keep(tx, next, true)
		return s.adopt(tx, h)
	})
}

// StepUpByOTP steps up by a one-time code, where that is enough.
//
// Errors: ErrSession; login.ErrTooManyStarts; those of login.Service.RedeemOTP.
func (s *Service) StepUpByOTP(ctx context.Context, token, typed string, actor audit.Actor) error {
	random := storage.NewUID()
	code, typo := otp.Parse(typed)
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		up, err := s.stepUp(tx, h, random, actor)
		if err != nil {
			return err
		}
		if err := s.logins.StepUpByOTP(tx, up, code, typo); err != nil {
			return err
		}
		return s.adopt(tx, h)
	})
}

// AskPasskey returns the request options for the user's passkeys, for her browser.
//
// Errors: ErrSession; login.ErrTooManyStarts; login.ErrNoChallenge; those of passkey.Service.Begin.
func (s *Service) AskPasskey(ctx context.Context, token string, actor audit.Actor) (asked login.Challenged, err error) {
	random := storage.NewUID()
	err = s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		up, err := s.stepUp(tx, h, random, actor)
		if err != nil {
			return err
		}
		asked, err = s.logins.AskPasskey(tx, up)
		return err
	})
	return asked, err
}

// StepUpByPasskey steps up by what a passkey has signed for the challenge of AskPasskey.
//
// Errors: ErrSession; login.ErrExpired, when nothing is asked; those of login.Service.RedeemPasskey.
func (s *Service) StepUpByPasskey(ctx context.Context, token string, r passkey.Response, actor audit.Actor) error {
	var up login.StepUp
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err == nil && h.Asks == "" {
			err = login.ErrExpired
		}
		if err == nil {
			up = h.stepUp(actor)
		}
		return err
	})
	if err != nil {
		return err
	}
	signed, err := s.logins.VerifyStepUp(ctx, up, r)
	if err != nil {
		return err
	}
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		if h.Asks != up.Key {
			return login.ErrExpired
		}
		if err := s.logins.StepUpByPasskey(tx, up, signed, r); err != nil {
			return err
		}
		return s.adopt(tx, h)
	})
}
