package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Request is what a login system sends to begin a login.
type Request struct {
	Client   string // its id
	Name     string // as the phone shows it
	TapOnly  bool   // it cannot show a number
	UserID   string
	Scope    string
	Audience string
	Message  string // shown on both screens
	Details  json.RawMessage
	IP       string // of the browser that logs in
	Agent    string
	LoginID  string        // one per browser session; a repeat gets the same login
	Life     time.Duration // at most MaxLife

	Ping      string // the URL to call when the login is decided; empty: the client polls
	PingToken string // sent to that URL as Bearer token
}

// Begun is a login that waits for its answer.
type Begun struct {
	ID       string // auth_req_id
	Expires  time.Duration
	Number   string // the digits to show; empty when the approval is tapped
	Delivery Delivery
}

// Begin asks a user's phones for an approval. Every request gets an approval and a number of its own: if Begin merged two, a
// thief of the password could join the owner's login, and her one honest answer would let both in. Only a repeat by the
// same client, with the same LoginID and parameters, gets the same login, while that is pending.
//
// Errors: ErrLife; ErrUnknownUser; ErrRecovery; ErrNoPhone; ErrBlocked; ErrPresence; ErrTapOnly; ErrLoginID; ErrTooMany.
func (s *Service) Begin(ctx context.Context, req Request) (Begun, error) {
	if req.Life <= 0 || req.Life > MaxLife {
		return Begun{}, ErrLife
	}
	// Draw outside of the closure, which may run more than once.
	params := req.hash()
	random := storage.NewUID()
	challenge := newChallenge()
	var begun Begun
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, phones, err := s.askable(tx, req.UserID)
		if err != nil {
			return err
		}
		b, err := budgetOf(tx, uid, req.Client)
		if err != nil {
			return err
		}
		p, err := paceOf(tx, uid)
		if err != nil {
			return err
		}
		pending, err := p.pending(tx, uid)
		if err != nil {
			return err
		}
		if again, err := repeated(pending, req, params); err != nil || again != nil {
			if again != nil {
				begun = s.begun(tx, *again)
				err = pingBy(tx, *again, req.PingToken)
			}
			return err
		}
		l := row{UID: uid, Key: random.String(), Record: req.login(tx.Now())}
		l.Record.Params = params
		l.Record.Challenge = challenge
		place := b.placeOf(tx.Now(), Network(req.IP))
		if err := p.admit(tx.Now(), newRecent(l.Key, l.Record, place)); err != nil {
			return err
		}
		if err := s.ask(tx, l, b, phones, asking{tapOnly: req.TapOnly, concurrent: len(pending) > 0}); err != nil {
			return err
		}
		begun = s.begun(tx, l)
		tx.Count(LoginsBegun, string(l.Record.Delivery))
		return errors.Join(paces.Put(tx, uid, thePace, p), add(tx, uid, l.Key, l.Record))
	})
	return begun, err
}

// login returns the login that the request begins.
func (r Request) login(now time.Time) *Login {
	return &Login{
		Client:     r.Client,
		ClientName: r.Name,
		LoginID:    r.LoginID,
		Scope:      r.Scope,
		Audience:   r.Audience,
		Message:    r.Message,
		Details:    r.Details,
		IP:         r.IP,
		Agent:      r.Agent,
		Created:    now,
		Expires:    now.Add(r.Life),
		State:      Pending,
		Ping:       r.Ping,
		PingSealed: []byte(r.PingToken),
	}
}

// askable finds the user and returns those of her phones that can be asked.
func (s *Service) askable(tx *storage.Tx, userID string) (storage.UID, device.Set, error) {
	u, err := user.Find(tx, userID)
	if errors.Is(err, user.ErrUnknown) {
		return storage.UID{}, nil, ErrUnknownUser.With("the user is unknown")
	}
	if err != nil {
		return storage.UID{}, nil, err
	}
	phones, err := phonesOf(tx, u)
	return u.UID, phones, err
}

// phonesOf returns the phones of a user that can be asked.
//
// Errors: ErrBlocked; ErrUnknownUser; ErrRecovery; ErrNoPhone.
func phonesOf(tx *storage.Tx, u *user.User) (device.Set, error) {
	if u.Blocked {
		return nil, ErrBlocked
	}
	set, err := device.All(tx, u.UID)
	if err != nil {
		return nil, err
	}
	state, err := set.State(tx, u.UID)
	if err != nil {
		return nil, err
	}
	enabled, err := device.FactorOn(tx, device.FactorPush)
	phones := set.Phones()
	switch {
	case err != nil:
		return nil, err
	case state == user.New:
		return nil, ErrUnknownUser.With("the user has nothing enrolled: ask for a ticket")
	case state == user.RecoveryOnly:
		return nil, ErrRecovery
	case !enabled:
		return nil, ErrNoPhone.With("approvals on phones are switched off here: offer another factor")
	case len(phones) == 0:
		return nil, ErrNoPhone
	}
	return phones, nil
}

// hash returns a hash of the parameters, which a repeat under the same LoginID must share.
func (r Request) hash() string {
	if r.LoginID == "" {
		return ""
	}
	r.LoginID = ""
	r.PingToken = "" // each request has a new one
	encoded, err := json.Marshal(r)
	if err != nil {
		return "" // cannot happen: it would need Details that are not JSON, which the edge has refused
	}
	sum := sha256.Sum256(encoded)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// repeated finds the pending login that the request repeats.
func repeated(pending []row, req Request, params string) (*row, error) {
	if req.LoginID == "" {
		return nil, nil
	}
	for _, l := range pending {
		if l.Record.Client != req.Client || l.Record.LoginID != req.LoginID {
			continue
		}
		if l.Record.Params != params {
			return nil, ErrLoginID
		}
		return &l, nil
	}
	return nil, nil
}

func (s *Service) begun(tx *storage.Tx, l row) Begun {
	return Begun{
		ID:       s.idOf(requestPrefix, l.UID, l.Key),
		Expires:  l.Record.Expires.Sub(tx.Now()),
		Number:   l.Record.Number,
		Delivery: l.Record.Delivery,
	}
}

// idOf returns the id by which others know a login.
func (s *Service) idOf(prefix string, uid storage.UID, key string) string {
	var random storage.UID
	_ = random.UnmarshalText([]byte(key)) // a key of ours, 32 hex digits
	id, _ := s.ring.IDFor(prefix, uid, random)
	return id
}

// asking holds what decides who is asked.
type asking struct {
	tapOnly    bool   // the client cannot show a number
	concurrent bool   // other logins of the user are pending
	only       string // id of the only enrollment to ask; "": all
}

// ask completes the approval: which phones are asked, with which number, and how they learn of it.
func (s *Service) ask(tx *storage.Tx, begun row, b *budget, phones device.Set, how asking) error {
	l := begun.Record
	asked, matching, err := choose(tx, phones, how.tapOnly)
	if err != nil {
		return err
	}
	// Whom to ask, with which number.
	asked = asked.Only(how.only)
	if matching {
		if l.Number, err = newNumber(tx); err != nil {
			return err
		}
	}
	for _, e := range asked {
		l.Asked = append(l.Asked, e.ID)
	}
	if err := s.send(tx, begun, b, asked); err != nil {
		return err
	}
	// Record it. A silent approval costs no budget, so it may be caused any number of times.
	often := l.Delivery == Silent
	if how.concurrent {
		if err := note(tx, audit.Actor{}, eventOf(begun, audit.ConcurrentLogin, nil), l.IP, often); err != nil {
			return err
		}
	}
	facts := audit.Facts{audit.FactPresence: audit.Word(l.presence())}
	browser := audit.ByUser().WithOrigin(l.IP, l.Agent)
	return note(tx, browser, eventOf(begun, audit.StartAuth, facts), l.IP, often)
}

// note records an event about a login that begins. With often, somebody may cause many such events. Then note records
// only the first of an hour from each network and counts the others.
func note(tx *storage.Tx, actor audit.Actor, e audit.Event, ip string, often bool) error {
	if often {
		return audit.FoldRepeats(tx, actor, e, audit.Detail{}, Network(ip), time.Hour)
	}
	return audit.Record(tx, actor, e, audit.Detail{})
}

// choose picks the phones to ask, and reports whether they match a number. Under PreferNumber it picks only phones that match
// numbers, if one of them has signed something lately. Otherwise a lost phone, or one in a drawer, would keep the phone in
// her hand from ringing.
//
// Errors: ErrTapOnly; ErrPresence.
func choose(tx *storage.Tx, phones device.Set, tapOnly bool) (asked device.Set, matching bool, err error) {
	policy, err := device.ReadPresencePolicy(tx)
	if err != nil {
		return nil, false, err
	}
	if policy == device.AlwaysTap || policy == device.PreferNumber && tapOnly {
		return phones, false, nil
	}
	if tapOnly {
		return nil, false, ErrTapOnly
	}
	// Which phones match numbers, and is one of them in use?
	stale, err := device.Stale(tx)
	if err != nil {
		return nil, false, err
	}
	lately := false
	for _, e := range phones {
		if e.Push.Can(device.NumberMatching) {
			asked = append(asked, e)
			lately = lately || e.SignedWithin(tx.Now(), stale)
		}
	}
	onlyMatching := policy == device.AlwaysNumber || lately || len(asked) == len(phones)
	switch {
	case len(asked) > 0 && onlyMatching:
		return asked, true, nil
	case policy == device.AlwaysNumber:
		return nil, false, ErrPresence
	default:
		return phones, false, nil
	}
}

// send decides how the phones learn of the approval, within the push budget.
func (s *Service) send(tx *storage.Tx, begun row, b *budget, asked device.Set) error {
	uid := begun.UID
	l := begun.Record
	ok, why, err := b.take(tx, uid, l.Client, l.IP)
	if err != nil {
		return err
	}
	if !ok {
		l.Delivery = Silent
		return note(tx, audit.Actor{}, eventOf(begun, audit.PushMuted, audit.Facts{audit.FactWhy: why}), l.IP, true)
	}
	tx.Wake(uid)
	l.Delivery = Pull
	for _, e := range asked {
		queued, err := s.queue(tx, begun, e)
		if err != nil {
			return err
		}
		if queued {
			l.Delivery = Push
		}
	}
	return nil
}

// presence returns how the login's approval shows that the person who answers sits at the screen.
func (l *Login) presence() device.Presence {
	if l.Number == "" {
		return device.PresenceTap
	}
	return device.PresenceNumber
}

func newChallenge() string {
	var nonce [32]byte
	_, _ = rand.Read(nonce[:])
	return base64.RawURLEncoding.EncodeToString(nonce[:])
}

// newNumber draws the digits of a login.
func newNumber(tx *storage.Tx) (string, error) {
	n, err := digits.Get(tx)
	if err != nil {
		return "", err
	}
	drawn, err := rand.Int(rand.Reader, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%0*d", n, drawn), nil
}
