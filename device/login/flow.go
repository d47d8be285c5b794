package login

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/keyring"
)

// offerPrefix begins the txid of a flow by ticket; that of a flow by request token is the login's in its mfa_token.
const offerPrefix = "etx_"

// flowClaims are the claims of a flow's transaction token. Its page reads txid and exp.
type flowClaims struct {
	ID      string `json:"txid"`
	Client  string `json:"azp,omitempty"` // none in a flow by ticket
	Expires int64  `json:"exp"`
}

// Way is a kind of authenticator, as the browser client calls it.
//
// Source: guardian-wire.md §5.3.
type Way string

// The ways.
const (
	WayPush     Way = "push"
	WayOTP      Way = "otp"
	WayRecovery Way = "recovery-code"
	WayPasskey  Way = "webauthn"
	WayRoaming  Way = "webauthn-roaming"  // of an authenticator: a security key
	WayPlatform Way = "webauthn-platform" // of an authenticator: a passkey of a phone or computer
)

// Account is what a page of the browser client learns about an enrolled user.
type Account struct {
	ID      string // of the enrollment that was used last; "" for a user who has none
	Name    string // of its phone or app
	Methods []Way  // without the recovery code
	Types   []Way  // all that the user can log in with, the default first
}

// Flow is what a page of the browser client learns when it starts.
type Flow struct {
	Token   string        // the transaction token
	Offer   *device.Offer // for a user who must enrol
	Account Account       // for one who logs in
	Enroll  []Way         // by which the user may enrol
	LogIn   []Way         // by which she may log in, the default first
}

// Errors of flows.
var (
	ErrFlow       = storage.NewError(storage.Denied, "the transaction is over: start again")
	ErrEnrolsOnly = storage.NewError(storage.Denied, "a ticket enrols, and logs nobody in: start with a request token")
)

// StartFlow starts a flow for the login of a request token, which is an mfa_token. A user who has nothing enrolled is offered an
// enrolment; the same token gets the same offer again. For any other user StartFlow writes nothing.
//
// Errors: keyring.ErrToken; ErrFlow; ErrBlocked; ErrTicketRequired; ErrNoFactor.
func (s *Service) StartFlow(ctx context.Context, requestToken string) (Flow, error) {
	var t mfaClaims
	if err := s.ring.VerifyToken(keyring.MFAToken, requestToken, &t); err != nil {
		return Flow{}, err
	}
	var f Flow
	isNew := false
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		f, isNew, err = s.startFlow(tx, t.ID, false)
		return err
	})
	if err != nil || !isNew {
		return f, err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) (err error) {
		f, _, err = s.startFlow(tx, t.ID, true)
		return err
	})
	return f, err
}

// startFlow starts the flow of a login. For a new user it starts one only if mayOffer, since it writes then.
//
// Errors: those of flowLogin and offer.
func (s *Service) startFlow(tx *storage.Tx, id string, mayOffer bool) (f Flow, isNew bool, err error) {
	l, u, err := s.flowLogin(tx, id)
	if err != nil {
		return f, false, err
	}
	set, err := device.All(tx, l.UID)
	if err != nil {
		return f, false, err
	}
	state, err := set.State(tx, l.UID)
	isNew = state == user.New
	switch {
	case err != nil || isNew && !mayOffer:
		return f, isNew, err
	case isNew:
		f.Offer, err = s.offer(tx, l, u)
	default:
		f.Account, err = accountOf(tx, l, set)
		f.LogIn = f.Account.Types
	}
	if err == nil {
		err = f.addWays(tx)
	}
	if err == nil {
		f.Token, err = s.flowToken(flowClaims{ID: id, Client: l.Record.Client}, l.Record.Expires)
	}
	return f, isNew, err
}

// StartFlowByTicket starts a flow that can enrol the ticket's user, and cannot log in.
//
// Errors: device.ErrTicket; ErrNoFactor.
func (s *Service) StartFlowByTicket(ctx context.Context, ticket string) (Flow, error) {
	var f Flow
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, offer, err := s.devices.OfferByTicket(tx, ticket)
		if err != nil {
			return err
		}
		f.Offer = &offer
		if err := f.addWays(tx); err != nil {
			return err
		}
		f.Token, err = s.flowToken(flowClaims{ID: s.idOf(offerPrefix, uid, offer.Key)}, offer.Expires)
		return err
	})
	return f, err
}

// waysOf are the ways of the factors.
var waysOf = map[device.Factor]Way{
	device.FactorPush: WayPush,
	device.FactorOTP:  WayOTP,
	device.FactorCode: WayRecovery,

	device.FactorRoaming:  WayRoaming,
	device.FactorPlatform: WayPlatform,
}

// addWays adds by which ways the user may enrol, and, for one who has to, by which she may log in then.
//
// Errors: ErrNoFactor.
func (f *Flow) addWays(tx *storage.Tx) error {
	enabled, err := device.FactorsOn(tx, device.FactorPush, device.FactorOTP, device.FactorCode)
	if err != nil {
		return err
	}
	for _, factor := range enabled {
		if factor != device.FactorCode && (f.Offer == nil || device.TicketTakes(f.Offer.Factor, factor)) {
			f.Enroll = append(f.Enroll, waysOf[factor])
		}
		if f.Offer != nil {
			f.LogIn = append(f.LogIn, waysOf[factor])
		}
	}
	if f.Offer != nil && len(f.Enroll) == 0 || len(f.LogIn) == 0 {
		return ErrNoFactor
	}
	return nil
}

// CheckRequestToken returns an error unless this server made the request token. It does not read the store.
//
// Errors: keyring.ErrToken.
func (s *Service) CheckRequestToken(token string) error {
	var t mfaClaims
	return s.ring.VerifyToken(keyring.MFAToken, token, &t)
}

// CheckFlow returns an error unless this server made the transaction token. It returns the client whose login it is; "" for a
// flow by ticket. It does not read the store.
//
// Errors: keyring.ErrToken.
func (s *Service) CheckFlow(token string) (client string, err error) {
	t, err := s.readFlow(token)
	return t.Client, err
}

// flowToken makes a transaction token. It lives until the end of its flow plus the time in which an outcome can be
// collected.
func (s *Service) flowToken(t flowClaims, until time.Time) (string, error) {
	left := until.Add(collectFor).Sub(s.store.Now())
	t.Expires = s.store.Wall().Add(left).Unix()
	return s.ring.SignToken(keyring.FlowToken, t)
}

func (s *Service) readFlow(token string) (t flowClaims, err error) {
	err = s.ring.VerifyToken(keyring.FlowToken, token, &t)
	return t, err
}

// flowLogin reads the login that a flow is for, and its user. It may be decided.
//
// Errors: ErrFlow, when it is gone, or too old to be decided or collected; ErrEnrolsOnly, for the id of a flow by ticket;
// ErrBlocked.
func (s *Service) flowLogin(tx *storage.Tx, id string) (row, *user.User, error) {
	if _, _, isOffer := s.ring.ParseID(offerPrefix, id); isOffer {
		return row{}, nil, ErrEnrolsOnly
	}
	l, err := s.find(tx, mfaPrefix, id)
	if errors.Is(err, ErrGrant) || errors.Is(err, ErrExpired) {
		err = ErrFlow
	}
	if err != nil {
		return row{}, nil, err
	}
	u, err := user.Get(tx, l.UID)
	switch {
	case err != nil:
		return row{}, nil, err
	case u.Blocked:
		return row{}, nil, ErrBlocked
	case l.Record.State == Pending && !l.Record.pending(tx.Now()):
		return row{}, nil, ErrFlow
	}
	return l, u, nil
}

// undecidedFlow is flowLogin of a transaction token whose login must still wait for something.
//
// Errors: those of flowLogin; ErrNoLogin, when it is decided.
func (s *Service) undecidedFlow(tx *storage.Tx, t flowClaims) (row, *user.User, error) {
	l, u, err := s.flowLogin(tx, t.ID)
	if err == nil && l.Record.State != Pending {
		err = ErrNoLogin.With("the login was decided already")
	}
	return l, u, err
}

// offer offers an enrolment to the page of a new user's login.
//
// Errors: ErrTicketRequired; ErrFlow, when the offer was used, or its ticket.
func (s *Service) offer(tx *storage.Tx, l row, u *user.User) (*device.Offer, error) {
	ticket := l.Record.Ticket
	holds, err := s.devices.MayStillEnroll(tx, l.UID, ticket)
	if err != nil {
		return nil, err
	}
	if !holds {
		ticket = ""
	}
	if err := maySetUp(tx, u, user.New, holds); err != nil {
		return nil, err
	}
	o, err := s.devices.Offer(tx, l.UID, device.OfferFor{
		Key:   l.Key,
		Root:  ticket,
		Until: l.Record.Expires,
		Grant: device.GrantedBy{Client: l.Record.Client},
	})
	if errors.Is(err, device.ErrTicket) {
		err = ErrFlow
	}
	return &o, err
}

// accountOf returns what the user of a login can log in with.
func accountOf(tx *storage.Tx, l row, set device.Set) (Account, error) {
	phones := set.Phones()
	codes := set.OTP()
	var a Account
	if e := lastUsed(append(slices.Clone(codes), phones...)); e != nil {
		a.ID = e.ID
		a.Name = e.Name
	}
	enabled, err := device.FactorsOn(tx, device.FactorPush, device.FactorOTP, device.FactorCode)
	if err != nil {
		return a, err
	}
	if len(phones) > 0 && slices.Contains(enabled, device.FactorPush) {
		_, _, err := choose(tx, phones, l.Record.TapOnly)
		switch {
		case err == nil:
			a.Methods = append(a.Methods, WayPush)
		case !errors.Is(err, ErrTapOnly) && !errors.Is(err, ErrPresence):
			return a, err
		}
	}
	if len(codes) > 0 && slices.Contains(enabled, device.FactorOTP) {
		a.Methods = append(a.Methods, WayOTP)
	}
	a.Types = slices.Clone(a.Methods)
	holds, err := recovery.HasCode(tx, l.UID)
	if slices.Contains(enabled, device.FactorCode) && (holds || len(a.Methods) == 0) {
		a.Types = append(a.Types, WayRecovery)
	}
	return a, err
}

// lastUsed returns the enrollment that has satisfied a login last, or else the newest; nil for none.
func lastUsed(set device.Set) *device.Enrollment {
	if len(set) == 0 {
		return nil
	}
	return slices.MaxFunc(set, func(a, b *device.Enrollment) int {
		return cmp.Or(a.LastAuth.Compare(b.LastAuth), a.Enrolled.Compare(b.Enrolled))
	})
}
