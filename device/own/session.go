package own

import (
	"context"
	"errors"
	"strings"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// mostSessions bounds the sessions of a user. Past it the oldest ends.
const mostSessions = 16

// session is a visit of a user to her own page, by one browser.
type session struct {
	Hash    string      `json:"hash"` // keyed, of the secret that the browser keeps
	Client  string      `json:"client"`
	Name    string      `json:"client_name,omitempty"`
	Back    string      `json:"back,omitempty"`  // where the browser goes when she leaves
	State   []byte      `json:"state,omitempty"` // that it brings there; sealed
	Began   time.Time   `json:"began"`
	Expires time.Time   `json:"expires"`
	Opened  login.Proof `json:"opened"` // what has opened it
	Proven  login.Proof `json:"proven"` // what she has proven last; at first the same

	Asks  string `json:"asks,omitempty"`  // key of the login by which she steps up
	Asked string `json:"asked,omitempty"` // id of the approval that this waits for

	Adds     device.Type `json:"adds,omitempty"`      // what she is adding
	AddsBy   string      `json:"adds_by,omitempty"`   // id of the association
	AddsCode []byte      `json:"adds_code,omitempty"` // the recovery code that counts once it is confirmed; sealed
	Code     []byte      `json:"code,omitempty"`      // a recovery code to confirm; sealed
	Issued   bool        `json:"issued,omitempty"`    // that counts already
	CodeEnds time.Time   `json:"code_ends,omitzero"`  // when it is shown no more
	Denied   []Denial    `json:"not_me,omitempty"`    // the lines of which she has said that it was not she
}

var sessions = storage.Declare(storage.Spec[session]{
	Name:    "own_session",
	Class:   storage.MFA,
	Most:    mostSessions,
	Expires: func(s *session) time.Time { return s.Expires },
	Sealed: func(s *session) []storage.Field {
		return []storage.Field{{Name: "state", Value: &s.State}, {Name: "code", Value: &s.Code}, {Name: "adds_code", Value: &s.AddsCode}}
	},
})

// Finished is a hosted request with purpose manage that its person has proven.
type Finished struct {
	UID        storage.UID
	Login      string // key of the login that she has satisfied
	ClientName string // as people see it
	Exit       Exit
}

// Exit is where a browser goes when its person leaves her page.
type Exit struct {
	Redirect string // "": nowhere
	State    string // the client's own, which it brings there
}

const (
	sessionPrefix   = "own_"
	sessionPurpose  = "own-session"
	secretLength    = 32
	tokenCharacters = 255 // none of ours is longer
)

func (s *Service) hash(uid storage.UID, key, secret string) string {
	return s.ring.Hash(sessionPurpose, uid[:], []byte(key), []byte(secret))
}

// OpenFor is Open for the browser of a visit, which has finished a hosted request.
//
// Errors: those of login.Service.TakeManaged; those of Open.
func (s *Service) OpenFor(ctx context.Context, v login.Visit, actor audit.Actor) (token string, err error) {
	finished := func(tx *storage.Tx) (Finished, error) {
		m, err := s.logins.TakeManaged(tx, v)
		return Finished{
			UID:        m.UID,
			Login:      m.Login,
			ClientName: m.ClientName,
			Exit:       Exit{Redirect: m.Redirect, State: m.State},
		}, err
	}
	return s.Open(ctx, finished, actor)
}

// Open opens a session of the person's own page for the browser that has finished a hosted request with purpose manage.
// It returns the session's token, which only that browser has. finished reads and spends the request in the
// transaction. Opening the same login again gives a new token and ends the one before.
//
// Errors: those of finished; login.ErrTapped; login.ErrUndecided; login.ErrExpired; ErrSession, when what was proven does not stand.
func (s *Service) Open(ctx context.Context, finished func(tx *storage.Tx) (Finished, error), actor audit.Actor) (token string, err error) {
	random := storage.NewUID()
	secret := storage.NewID("", secretLength)
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		m, err := finished(tx)
		if err != nil {
			return err
		}
		// What has the login proven, and is it recent enough?
		p, err := s.logins.ProofOf(tx, m.UID, m.Login)
		if err != nil {
			return err
		}
		if !tx.Now().Before(p.At.Add(lasts)) {
			return ErrSession
		}
		id, key := s.ring.IDFor(sessionPrefix, m.UID, random)
		token = id + "." + secret
		made := &session{
			Hash:    s.hash(m.UID, key, secret),
			Client:  p.Client,
			Name:    m.ClientName,
			Back:    m.Exit.Redirect,
			State:   []byte(m.Exit.State),
			Began:   tx.Now(),
			Expires: tx.Now().Add(lasts),
			Opened:  p,
			Proven:  p,
		}
		if _, err := s.stands(tx, m.UID, made); err != nil {
			return err
		}
		event := audit.Event{Type: audit.OwnPageOpened, UID: m.UID, Facts: audit.Facts{audit.FactMethod: audit.Word(p.Method)}}
		return errors.Join(
			makeRoom(tx, m.UID, p.Login),
			sessions.Put(tx, m.UID, key, made),
			audit.Record(tx, actor.WithClient(p.Client), event, audit.Detail{Enrollment: p.By}))
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// makeRoom ends the session that a login has opened before, and the oldest past the bound.
func makeRoom(tx *storage.Tx, uid storage.UID, opens string) error {
	rows, err := sessions.All(tx, uid)
	if err != nil {
		return err
	}
	oldest := -1
	kept := 0
	for i, row := range rows {
		if row.Record.Opened.Login == opens {
			err = errors.Join(err, sessions.Delete(tx, uid, row.Key))
			continue
		}
		kept++
		if oldest < 0 || row.Record.Began.Before(rows[oldest].Record.Began) {
			oldest = i
		}
	}
	if kept >= mostSessions {
		err = errors.Join(err, sessions.Delete(tx, uid, rows[oldest].Key))
	}
	return err
}

// held is the session of a call, with its place in the store.
type held struct {
	*session
	uid  storage.UID
	key  string
	user *user.User
}

// enter returns the session of a token, if it stands.
//
// Errors: ErrSession.
func (s *Service) enter(tx *storage.Tx, token string) (*held, error) {
	id, secret, found := strings.Cut(token, ".")
	if !found || len(token) > tokenCharacters {
		return nil, ErrSession
	}
	uid, key, ok := s.ring.ParseID(sessionPrefix, id)
	if !ok {
		return nil, ErrSession
	}
	row, err := sessions.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrSession
	}
	if err != nil {
		return nil, err
	}
	if !s.ring.MatchesIn(tx, row.Hash, sessionPurpose, uid[:], []byte(key), []byte(secret)) {
		return nil, ErrSession
	}
	u, err := s.stands(tx, uid, row)
	return &held{
		session: row,
		uid:     uid,
		key:     key,
		user:    u,
	}, err
}

// stands returns the user of a session, if all is there that it stands on.
//
// Errors: ErrSession.
func (s *Service) stands(tx *storage.Tx, uid storage.UID, row *session) (*user.User, error) {
	u, err := user.Get(tx, uid)
	if errors.Is(err, user.ErrUnknown) || err == nil && u.Blocked {
		err = ErrSession
	}
	for _, p := range []login.Proof{row.Opened, row.Proven} {
		if err == nil {
			err = s.devices.Stands(tx, uid, p.StandsOn())
		}
	}
	if errors.Is(err, device.ErrTicket) {
		err = ErrSession
	}
	return u, err
}

// put writes a session that was changed.
func (h *held) put(tx *storage.Tx) error { return sessions.Put(tx, h.uid, h.key, h.session) }

// strong returns the enrolment token that the session is, if what was proven in it is enough for one and is young enough.
//
// Errors: ErrStepUp.
func (s *Service) strong(tx *storage.Tx, h *held) (login.Pass, error) {
	if !h.isStrong(tx.Now()) {
		return login.Pass{}, ErrStepUp
	}
	return s.logins.PassOf(h.uid, h.Proven), nil
}

func (h *held) isStrong(now time.Time) bool { return now.Before(h.Proven.Until) }

// act runs a use case that changes something in the transaction of its session.
//
// Errors: ErrSession; those of change.
func (s *Service) act(ctx context.Context, token string, change func(tx *storage.Tx, h *held) error) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err != nil {
			return err
		}
		return change(tx, h)
	})
}

// actStrongly is act for what asks for the proof of an enrolment token.
//
// Errors: ErrSession; ErrStepUp; those of change.
func (s *Service) actStrongly(ctx context.Context, token string, change func(tx *storage.Tx, h *held, p login.Pass) error) error {
	return s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		p, err := s.strong(tx, h)
		if err != nil {
			return err
		}
		return change(tx, h, p)
	})
}

// SignOut ends the session, and returns where the browser goes. Nothing of a drawn code is left.
//
// Errors: ErrSession.
func (s *Service) SignOut(ctx context.Context, token string) (out Exit, err error) {
	err = s.act(ctx, token, func(tx *storage.Tx, h *held) error {
		out = Exit{Redirect: h.Back, State: string(h.State)}
		tx.Wake(h.uid) // a page of another tab may wait for something
		return sessions.Delete(tx, h.uid, h.key)
	})
	return out, err
}
