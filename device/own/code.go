package own

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// keep keeps a code that is to be shown until it is confirmed.
func (h *held) keep(tx *storage.Tx, code recovery.Code, issued bool) {
	h.Code = []byte(code)
	h.Issued = issued
	h.CodeEnds = tx.Now().Add(codeShown)
}

// forget forgets the code that is to be shown.
func (h *held) forget() {
	h.Code = nil
	h.Issued = false
	h.CodeEnds = time.Time{}
}

// shown returns the code that is to be shown.
//
// Errors: ErrNoCode.
func (h *held) shown(now time.Time) (recovery.Code, error) {
	if len(h.Code) == 0 || !now.Before(h.CodeEnds) {
		return "", ErrNoCode
	}
	return recovery.Code(h.Code), nil
}

// NewCode draws a new recovery code, which is shown until it is confirmed and counts from then on: until then the present one does. So
// whoever closes the page too early has lost nothing. Once more is the same code.
//
// Errors: ErrSession; ErrStepUp.
func (s *Service) NewCode(ctx context.Context, token string) error {
	code := recovery.DrawCode()
	return s.actStrongly(ctx, token, func(tx *storage.Tx, h *held, _ login.Pass) error {
		if err := device.RequireFactor(tx, device.FactorCode); err != nil {
			return err
		}
		if _, err := h.shown(tx.Now()); err == nil {
			return nil
		}
		h.keep(tx, code, false)
		return h.put(tx)
	})
}

// ShownCode is a recovery code that the page shows.
type ShownCode struct {
	Code   recovery.Code
	Counts bool // already: it followed one that was used, or came with what was added
	Ends   time.Time
}

// ShowCode returns the code that is to be confirmed.
//
// Errors: ErrSession; ErrNoCode.
func (s *Service) ShowCode(ctx context.Context, token string) (shown ShownCode, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err != nil {
			return err
		}
		code, err := h.shown(tx.Now())
		shown = ShownCode{Code: code, Counts: h.Issued, Ends: h.CodeEnds}
		return err
	})
	if err != nil {
		return ShownCode{}, err
	}
	return shown, nil
}

// ConfirmCode notes that the user has saved the code that was shown, and typed its end. It is shown no more. One that was only drawn
// counts from now on, in the place of the present one, and her phones are told.
//
// Errors: ErrSession; ErrNoCode; device.ErrCodeEnd; ErrStepUp, for one that was only drawn.
func (s *Service) ConfirmCode(ctx context.Context, token, typed string, actor audit.Actor) error {
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		code, err := h.shown(tx.Now())
		if err != nil {
			return err
		}
		if !code.Ends(typed) {
			return device.ErrCodeEnd
		}
		if !h.Issued {
			if err := s.issue(tx, h, code, actor); err != nil {
				return err
			}
		}
		h.forget()
		return errors.Join(recovery.Confirm(tx, h.uid), h.put(tx))
	})
}

// issue has a drawn code count. What stands on the code that it replaces stands on the new one, in this session alone.
//
// Errors: ErrStepUp; device.ErrFactorOff.
func (s *Service) issue(tx *storage.Tx, h *held, code recovery.Code, actor audit.Actor) error {
	if _, err := s.strong(tx, h); err != nil {
		return err
	}
	if err := device.RequireFactor(tx, device.FactorCode); err != nil {
		return err
	}
	if err := s.codes.IssueDrawn(tx, h.uid, code); err != nil {
		return err
	}
	mark, err := recovery.MarkOf(tx, h.uid)
	if err != nil {
		return err
	}
	for _, p := range []*login.Proof{&h.Opened, &h.Proven} {
		if p.CodeMark == "" {
			continue
		}
		p.CodeMark = mark
		err = errors.Join(err, login.FollowCode(tx, h.uid, p.Login, mark))
	}
	return errors.Join(err,
		recovery.Notify(tx, h.uid, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged}),
		audit.Record(tx, actor.WithClient(h.Client), audit.Event{Type: audit.CodeReplaced, UID: h.uid}, audit.Detail{}))
}

// DropCode forgets a drawn code, which counts for nothing. One that counts already stays.
//
// Errors: ErrSession.
func (s *Service) DropCode(ctx context.Context, token string) error {
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		if len(h.Code) == 0 || h.Issued {
			return nil
		}
		h.forget()
		return h.put(tx)
	})
}

// Practise reports whether what the user has typed is her recovery code, without spending it. A right one counts as saved.
//
// Errors: ErrSession; recovery.ErrLimited.
func (s *Service) Practise(ctx context.Context, token, typed string, actor audit.Actor) (right bool, err error) {
	err = s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		right, err = s.codes.Practise(tx, h.uid, typed, actor.WithClient(h.Client))
		return err
	})
	return right, err
}
