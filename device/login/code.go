package login

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
)

// mfaClaims are the claims of an mfa_token. Browsers read its exp.
type mfaClaims struct {
	ID      string `json:"txid"`
	Client  string `json:"azp"`
	Expires int64  `json:"exp"`
}

// MFAStart is what a client sends to start a login by grant.
type MFAStart struct {
	Client  string
	Name    string    // as the phone shows it
	TapOnly bool      // it cannot show a number
	User    user.User // the id, and what is known about a user not seen before
	IP      string    // of the browser that logs in; empty: unknown
	Agent   string    // of that browser
	Ticket  string    // lets a new user set up where the policy asks for one; her enrolment spends it
	Browser string    // the token of a remembered browser, or ""
	Actor   audit.Actor
}

// MFAStarted is a login that a grant will satisfy.
type MFAStarted struct {
	Token    string // the mfa_token
	State    user.State
	Phones   bool            // the user has a phone that answers approvals
	Passkeys []device.Factor // of the user's passkeys that let her in here, each once
	OTP      bool            // the user has an authenticator whose one-time codes count
	Codes    bool            // the user has a valid recovery code, and that factor is switched on
	AskCode  bool            // the recovery code is asked for: if the user has one, or has nothing else
	Created  bool            // StartMFA has made the user
	Enroll   []device.Factor // what a new user may enrol; nothing for any other

	Remembered *Remembered // a login that needs no factor; there is no mfa_token then
}

// StartMFA begins a login that a grant will satisfy. It makes the user when no user has that id.
//
// Errors: user.ErrID; ErrBlocked; ErrTooManyStarts; ErrTicketRequired; ErrNoFactor.
func (s *Service) StartMFA(ctx context.Context, start MFAStart) (MFAStarted, error) {
	random := storage.NewUID()
	var started MFAStarted
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		started = MFAStarted{}
		u, err := s.starting(tx, start, &started)
		if err != nil {
			return err
		}
		if started.Remembered, err = s.remembered(tx, u, start, started.State); err != nil || started.Remembered != nil {
			return err
		}
		ticket, err := s.devices.TicketKey(tx, u.UID, start.Ticket)
		if err != nil {
			return err
		}
		if err := maySetUp(tx, u, started.State, ticket != ""); err != nil {
			return err
		}
		if err := started.limitTo(tx, u.UID, ticket); err != nil {
			return err
		}
		if err := startMFA(tx, row{UID: u.UID, Key: random.String(), Record: start.login(tx.Now(), ticket)}, start); err != nil {
			return err
		}
		started.Token, err = s.ring.SignToken(keyring.MFAToken, mfaClaims{
			ID: s.idOf(mfaPrefix, u.UID, random.String()), Client: start.Client,
			Expires: s.store.Wall().Add(mfaTokenLife).Unix(),
		})
		return err
	})
	return started, err
}

// starting finds the user of a login by grant, or makes her, and says what can satisfy it.
//
// Errors: user.ErrID; ErrBlocked; ErrNoFactor.
func (s *Service) starting(tx *storage.Tx, start MFAStart, started *MFAStarted) (*user.User, error) {
	_, err := user.Find(tx, start.User.ID)
	started.Created = errors.Is(err, user.ErrUnknown)
	u, err := user.Ensure(tx, start.User)
	if err != nil {
		return nil, err
	}
	if u.Blocked {
		return nil, ErrBlocked
	}
	return u, s.waysIn(tx, u.UID, started)
}

// waysIn says what can satisfy the login of a user.
//
// Errors: ErrNoFactor.
func (s *Service) waysIn(tx *storage.Tx, uid storage.UID, m *MFAStarted) error {
	set, err := device.All(tx, uid)
	if err != nil {
		return err
	}
	if m.State, err = set.State(tx, uid); err != nil {
		return err
	}
	usable, err := s.usablePasskeys(tx, set)
	if err != nil {
		return err
	}
	m.Passkeys = factorsIn(usable)
	return m.requirements(tx, uid, set)
}

// requirements says what can satisfy the login of a user, or what a new user may enrol. Whoever has nothing else is asked for the
// recovery code, with or without one.
//
// Errors: ErrNoFactor.
func (m *MFAStarted) requirements(tx *storage.Tx, uid storage.UID, set device.Set) error {
	enabled, err := device.FactorsOn(tx, device.FactorPush, device.FactorOTP, device.FactorCode)
	if err != nil {
		return err
	}
	isOn := func(f device.Factor) bool { return slices.Contains(enabled, f) }
	if m.State == user.New {
		m.Enroll = slices.DeleteFunc(enabled, func(f device.Factor) bool { return f == device.FactorCode })
		if len(m.Enroll) == 0 {
			return ErrNoFactor
		}
		return nil
	}
	m.Phones = isOn(device.FactorPush) && len(set.Phones()) > 0
	m.OTP = isOn(device.FactorOTP) && len(set.OTP()) > 0
	holds, err := recovery.HasCode(tx, uid)
	m.Codes = isOn(device.FactorCode) && holds
	nothingElse := !m.Phones && !m.OTP && len(m.Passkeys) == 0
	m.AskCode = isOn(device.FactorCode) && (holds || nothingElse)
	if err == nil && nothingElse && !m.AskCode {
		err = ErrNoFactor
	}
	return err
}

// limitTo has a new user enrol no other factor than her ticket, which is "" for none.
func (m *MFAStarted) limitTo(tx *storage.Tx, uid storage.UID, ticket string) error {
	factor, err := device.FactorOfTicket(tx, uid, ticket)
	if err != nil || factor == "" || m.State != user.New {
		return err
	}
	m.Enroll, err = device.EnrollableBy(tx, factor)
	return err
}

// factorsIn returns the factors of enrollments, each once, in their order.
func factorsIn(set device.Set) (list []device.Factor) {
	for _, e := range set {
		if f := device.FactorOf(e.Type); !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	slices.Sort(list)
	return list
}

// login returns the login that is started. ticket is the key of the ticket that the client has shown, or "".
func (start MFAStart) login(now time.Time, ticket string) *Login {
	return &Login{
		Client:     start.Client,
		ClientName: start.Name,
		TapOnly:    start.TapOnly,
		IP:         start.IP,
		Agent:      start.Agent,
		Created:    now,
		Expires:    now.Add(mfaTokenLife),
		Ticket:     ticket,
		State:      Pending,
	}
}

// startMFA writes the login that is started.
//
// Errors: ErrTooManyStarts.
func startMFA(tx *storage.Tx, l row, start MFAStart) error {
	often, err := admitStart(tx, l.UID, l.Key, l.Record)
	if err != nil {
		return err
	}
	tx.Count(LoginsBegun, startedByGrant)
	actor := start.Actor
	if start.IP != "" || start.Agent != "" {
		actor = actor.WithOrigin(start.IP, start.Agent)
	}
	event := eventOf(l, audit.StartAuth, audit.Facts{audit.FactWay: audit.WayGrant})
	return errors.Join(
		add(tx, l.UID, l.Key, l.Record),
		note(tx, actor, event, l.Record.IP, often))
}

// maySetUp returns an error unless a new user may set up here. She may if she holds a ticket; without one she may if the policy
// allows it and she is no admin.
//
// Errors: ErrTicketRequired.
func maySetUp(tx *storage.Tx, u *user.User, state user.State, holdsTicket bool) error {
	policy, err := afterReset.Get(tx)
	if err != nil || state != user.New || holdsTicket || policy == "open" && u.Role == user.NoRole {
		return err
	}
	return ErrTicketRequired
}

// CodeOutcome is a login that a recovery code satisfied.
type CodeOutcome struct {
	Outcome
	Next recovery.Code // the code that replaces the spent one
}

// RedeemCode satisfies the login of an mfa_token with the user's recovery code. It spends the code and replaces it. The first
// answer may be lost: so a repeat of the call gets the same next code while the mfa_token lives.
//
// Errors: ErrMFAToken; ErrMFATokenExpired; ErrBlocked; recovery.ErrTypo, which counts nothing; recovery.ErrLimited;
// recovery.ErrWrongCode (kept); device.ErrFactorOff; ErrGrant when the login is decided already.
func (s *Service) RedeemCode(ctx context.Context, g Grant, typed string) (CodeOutcome, error) {
	if err := g.check(); err != nil || g.Pass.Enrols {
		return CodeOutcome{}, ErrMFAToken
	}
	code, typo := recovery.ParseCode(typed)
	var o CodeOutcome
	err := s.store.Update(ctx, func(tx *storage.Tx) (err error) {
		o, err = s.redeemCode(tx, g, code, typo)
		return err
	})
	return o, err
}

// redeemCode is RedeemCode in the open transaction, for a code as recovery.ParseCode returned it with its error typo.
func (s *Service) redeemCode(tx *storage.Tx, g Grant, code recovery.Code, typo error) (o CodeOutcome, err error) {
	l, err := s.byGrant(tx, g.Pass.Login)
	if err != nil {
		return o, err
	}
	if l.Record.State != Pending {
		return s.redeemedBefore(tx, l, code)
	}
	if typo != nil {
		return o, typo
	}
	l.Record.Collected = tx.Now() // the grant itself collects it
	next, err := s.redeem(tx, l, code, redeeming{enrols: g.Enrols, actor: g.Actor})
	if err != nil {
		return o, err
	}
	o.Next = next
	o.Outcome, err = completed(tx, l)
	o.EnrolUntil = l.Record.EnrolUntil
	return o, err
}

// redeeming says how a code is spent.
type redeeming struct {
	enrols bool // whoever spends it may enrol another phone
	actor  audit.Actor
}

// redeem satisfies a pending login with the recovery code, and keeps the next code for a repeat of the call.
//
// Errors: device.ErrFactorOff; recovery.ErrLimited; recovery.ErrWrongCode (kept).
func (s *Service) redeem(tx *storage.Tx, l row, code recovery.Code, how redeeming) (recovery.Code, error) {
	if err := device.RequireFactor(tx, device.FactorCode); err != nil {
		return "", err
	}
	since, err := recovery.CodeIssuedAt(tx, l.UID)
	if err != nil {
		return "", err
	}
	next, err := s.codes.Spend(tx, l.UID, recovery.LoginChannel, code, how.actor.WithClient(l.Record.Client))
	if err != nil {
		return "", err
	}
	if how.enrols {
		l.Record.EnrolUntil = tx.Now().Add(enrolFor)
	}
	// Note in the login what an enrolment token or a page may later rely on.
	l.Record.CodeSince = since
	if l.Record.CodeMark, err = recovery.MarkOf(tx, l.UID); err != nil {
		return "", err
	}
	if !l.Record.StepUp {
		if err := device.Vouch(tx, l.UID, how.actor.WithClient(l.Record.Client)); err != nil {
			return "", err
		}
	}
	d := decision{login: l}
	if err := d.approve(tx, how.actor, ByRecoveryCode); err != nil {
		return "", err
	}
	kept := recovery.Reply{Code: s.codes.HashForReply(l.UID, code), Body: []byte(next)}
	return next, recovery.KeepReply(tx, l.UID, replyKey(l), kept, l.Record.replyLife(tx.Now()))
}

// replyKey returns the key under which the reply to a redeemed code is kept.
func replyKey(l row) string { return "mfa:" + l.Key }

// redeemedBefore returns the outcome of a login that this same code has satisfied.
func (s *Service) redeemedBefore(tx *storage.Tx, found row, code recovery.Code) (CodeOutcome, error) {
	uid := found.UID
	kept, err := recovery.KeptReply(tx, uid, replyKey(found))
	if errors.Is(err, storage.ErrNotFound) || err == nil && !s.codes.RepliesTo(tx, kept, uid, code) {
		return CodeOutcome{}, ErrGrant
	}
	if err != nil {
		return CodeOutcome{}, err
	}
	u, err := user.Get(tx, uid)
	if err != nil {
		return CodeOutcome{}, err
	}
	return CodeOutcome{outcomeOf(u, found), recovery.Code(kept.Body)}, nil
}
