package login

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
)

// Challenge is a client's request that a user prove herself.
type Challenge struct {
	Pass     Pass   // an mfa_token
	Push     bool   // an approval will do
	OTP      bool   // a one-time code will do
	Passkey  bool   // a passkey will do; it comes before the others
	Only     string // id of the enrollment that is to prove it; "": any
	ToEnroll bool   // an enrolment token is to come of it
}

// Challenged is what a user is asked.
type Challenged struct {
	By       Way             // push, otp or webauthn
	ID       string          // of push: the oob_code
	Number   string          // of push: the digits to show; empty when the approval is tapped
	Delivery Delivery        // of push
	Options  json.RawMessage // of a passkey: the request options for the browser
}

// Errors of challenges.
var (
	ErrNoChallenge = storage.NewError(storage.Invalid, "the user has no authenticator of the challenge types that were asked for")
	ErrTapEnrols   = storage.NewError(storage.Denied, "an approval that is tapped lets no other phone enrol: use the recovery code")
)

// Challenge asks for one of the user's factors: for a passkey if it can, else for an approval on her phones by the
// rules of Begin, else for a one-time code. A repeat rings for the same approval again, with the same number. An
// approval that lets another phone enrol says so on the phone, and is refused where it would only be tapped.
//
// Errors: ErrMFAToken; ErrMFATokenExpired; ErrBlocked; ErrGrant, when the login is decided; ErrNoChallenge; ErrPresence; ErrTapOnly;
// ErrTooMany; ErrTapEnrols; ErrWeakProof.
func (s *Service) Challenge(ctx context.Context, asks Challenge) (Challenged, error) {
	random := storage.NewUID()
	nonce := newChallenge()
	var asked Challenged
	err := s.store.Update(ctx, func(tx *storage.Tx) (err error) {
		asked, err = s.challenge(tx, asks, random, nonce)
		return err
	})
	return asked, err
}

// challenge is Challenge in the open transaction. A new approval has the key random and the challenge nonce.
func (s *Service) challenge(tx *storage.Tx, c Challenge, random storage.UID, nonce string) (asked Challenged, err error) {
	if c.Pass.Enrols {
		return asked, ErrMFAToken
	}
	l, err := s.byGrant(tx, c.Pass.Login)
	if err == nil && l.Record.State != Pending {
		err = ErrGrant
	}
	if err != nil {
		return asked, err
	}
	// Which of the requested factors are on, and does the user have any?
	if err := c.leaveOutWhatIsOff(tx); err != nil {
		return asked, err
	}
	set, err := device.All(tx, l.UID)
	if err != nil {
		return asked, err
	}
	state, err := set.State(tx, l.UID)
	if err == nil && state != user.Enrolled {
		err = ErrNoChallenge
	}
	if err != nil {
		return asked, err
	}
	// A passkey comes first, then an approval, then a one-time code.
	if made, is, err := c.byPasskey(tx, s, l, set); err != nil || is {
		return made, err
	}
	phones, err := c.phones(tx, s, l, set)
	if err != nil {
		return asked, err
	}
	if len(phones) == 0 {
		return c.byOTP(tx, s, l, set)
	}
	fresh := newApproval(tx, l, random, nonce)
	if c.ToEnroll {
		fresh.Record.Purpose = ToAddDevice
		fresh.Record.Message = addDeviceMessage
	}
	a, err := s.askFor(tx, l, phones, fresh, c.Only)
	return Challenged{
		By:       WayPush,
		ID:       s.idOf(approvalPrefix, a.UID, a.Key),
		Number:   a.Record.Number,
		Delivery: a.Record.Delivery,
	}, err
}

// leaveOutWhatIsOff asks for no factor that is switched off.
func (c *Challenge) leaveOutWhatIsOff(tx *storage.Tx) error {
	enabled, err := device.FactorsOn(tx, device.FactorPush, device.FactorOTP)
	c.Push = c.Push && slices.Contains(enabled, device.FactorPush)
	c.OTP = c.OTP && slices.Contains(enabled, device.FactorOTP)
	return err
}

// addDeviceMessage is what an app that does not know purposes shows for an approval that lets another phone enrol.
const addDeviceMessage = "Add a new phone to your account"

// phones returns the phones to ask for an approval; none when a one-time code is to be asked for instead.
//
// Errors: ErrNoChallenge; ErrPresence; ErrTapOnly; ErrTapEnrols; ErrWeakProof.
func (c Challenge) phones(tx *storage.Tx, s *Service, l row, set device.Set) (device.Set, error) {
	phones := set.Phones()
	if !c.Push || len(phones) == 0 || len(phones.Only(c.Only)) == 0 {
		return nil, nil
	}
	asked, matching, err := choose(tx, phones, l.Record.TapOnly)
	mayDoWithout := c.OTP && c.Only == ""
	switch {
	case mayDoWithout && (errors.Is(err, ErrPresence) || errors.Is(err, ErrTapOnly)):
		return nil, nil
	case err != nil:
		return nil, err
	case len(asked.Only(c.Only)) == 0:
		return nil, ErrNoChallenge.With("this phone is not asked while another matches numbers")
	case c.ToEnroll && !matching:
		return nil, ErrTapEnrols
	case c.ToEnroll:
		err = s.mayEnrolBy(tx, l.UID, ByKey)
	}
	return phones, err
}

// byOTP challenges the user for a one-time code.
//
// Errors: ErrNoChallenge; ErrWeakProof.
func (c Challenge) byOTP(tx *storage.Tx, s *Service, l row, set device.Set) (Challenged, error) {
	if !c.OTP || len(set.OTP().Only(c.Only)) == 0 {
		return Challenged{}, ErrNoChallenge
	}
	if c.ToEnroll {
		if err := s.mayEnrolBy(tx, l.UID, ByOTP); err != nil {
			return Challenged{}, err
		}
	}
	return Challenged{By: WayOTP}, nil
}
