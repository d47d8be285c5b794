package signin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"tutela/device/passkey"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// session is an admin who is signed in, in one browser.
type session struct {
	Hash    string    `json:"hash"`            // keyed, of the secret in the cookie
	Passkey string    `json:"passkey"`         // id of the one that was shown: it ends with that
	Turns   int       `json:"turns,omitempty"` // of the user: another role, or a block, has ended it
	Started time.Time `json:"started"`
	Used    time.Time `json:"used"`   // to the minute
	Proved  time.Time `json:"proved"` // when a passkey was shown last
	Address string    `json:"address,omitempty"`
	Agent   string    `json:"agent,omitempty"`
}

// mostSessions bounds the sessions of an admin. Past it the one ends that was used longest ago.
const mostSessions = 16

// usedEvery is how exactly it is known when a session was used last.
const usedEvery = time.Minute

var (
	sessions = storage.Declare(storage.Spec[session]{
		Name:    "admin_session",
		Class:   storage.MFA,
		Most:    mostSessions,
		Expires: (*session).ends,
	})
	sessionByHash = sessions.Unique("hash", func(s *session) []string { return []string{s.Hash} })
)

// ends returns when the session ends if nobody uses it.
func (s *session) ends() time.Time {
	idle := s.Used.Add(IdleLife)
	most := s.Started.Add(MostLife)
	if idle.Before(most) {
		return idle
	}
	return most
}

// Session is an admin who is signed in.
type Session struct {
	ID      string // opens nothing
	User    user.User
	Passkey string // the name of the one that was shown
	Started time.Time
	Used    time.Time // to the minute
	Proved  time.Time
	Ends    time.Time // if nobody uses it
	Address string
	Agent   string
	Fresh   bool // a passkey was shown in the last five minutes
}

// Scopes returns what the session may call: see [Scopes].
func (s Session) Scopes() []string { return Scopes(s.User.Role, s.Fresh) }

// Actor returns the admin as events name him.
func (s Session) Actor() audit.Actor { return audit.ByAdmin(s.User.UID, s.Scopes()) }

// Ask draws a challenge for any passkey that opens the dashboard; see [passkey.Service.Ask].
//
// Errors: passkey.ErrNoDomain.
func (s *Service) Ask() (options json.RawMessage, sealed string, err error) { return s.passkeys.Ask() }

// SignIn signs in whose passkey has answered a challenge of Ask, and returns the secret of the session.
//
// Errors: those of passkey.Service.VerifyEntry and Enter.
func (s *Service) SignIn(ctx context.Context, sealed string, r passkey.Response, actor audit.Actor) (secret string, err error) {
	e, err := s.passkeys.VerifyEntry(ctx, sealed, r)
	if err != nil {
		return "", err
	}
	secret = NewSecret()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		shown, err := s.passkeys.Enter(tx, e, actor)
		if err != nil {
			return err
		}
		u, err := user.Get(tx, e.UID)
		if err != nil {
			return err
		}
		return s.start(tx, u, secret, shown.ID, audit.SessionStarted, actor)
	})
	return secret, err
}

// start makes a session of a user who has just shown a passkey.
func (s *Service) start(tx *storage.Tx, u *user.User, secret, passkeyID string, how audit.Word, actor audit.Actor) error {
	rows, err := sessions.All(tx, u.UID)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b storage.Row[session]) int { return a.Record.Used.Compare(b.Record.Used) })
	for len(rows) >= mostSessions {
		err = errors.Join(err, sessions.Delete(tx, u.UID, rows[0].Key))
		rows = rows[1:]
	}
	made := &session{
		Hash:    s.ring.Hash(sessionPurpose, []byte(secret)),
		Passkey: passkeyID,
		Turns:   u.Turns,
		Started: tx.Now(),
		Used:    tx.Now(),
		Proved:  tx.Now(),
	}
	made.Address, made.Agent = actor.Origin()
	return errors.Join(err,
		sessions.Insert(tx, u.UID, storage.NewUID().String(), made),
		record(tx, actor, u, how))
}

// record writes down that an admin signed in, or that a session ended.
func record(tx *storage.Tx, actor audit.Actor, u *user.User, what audit.Word) error {
	facts := audit.Facts{audit.FactSession: what, audit.FactRole: audit.Word(u.Role)}
	return audit.RecordAccount(tx, actor, audit.Event{Type: audit.AdminLogin, UID: u.UID, Facts: facts}, audit.Detail{})
}

// found is a session with its place in the store, and with what rules it.
type found struct {
	storage.Row[session]
	user    *user.User
	passkey passkey.Admin
}

// find returns the session of a secret that has not ended.
//
// Errors: ErrNoSession.
func (s *Service) find(tx *storage.Tx, secret string) (*found, error) {
	for _, hash := range s.ring.Hashes(sessionPurpose, []byte(secret)) {
		row, err := sessionByHash.Find(tx, hash)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return ruled(tx, row)
	}
	return nil, ErrNoSession
}

// ruled returns a session with whose it is, unless it has ended.
//
// Errors: ErrNoSession.
func ruled(tx *storage.Tx, row storage.Row[session]) (*found, error) {
	u, err := user.Get(tx, row.UID)
	if errors.Is(err, user.ErrUnknown) {
		return nil, ErrNoSession
	}
	if err != nil {
		return nil, err
	}
	if u.Blocked || u.Role == user.NoRole || u.Turns != row.Record.Turns || !tx.Now().Before(row.Record.ends()) {
		return nil, ErrNoSession
	}
	list, err := passkey.AdminsOf(tx, row.UID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(a passkey.Admin) bool { return a.ID == row.Record.Passkey })
	if i < 0 {
		return nil, ErrNoSession
	}
	return &found{Row: row, user: u, passkey: list[i]}, nil
}

// session returns the session as others see it.
func (f *found) session(tx *storage.Tx) Session {
	r := f.Record
	return Session{
		ID:      f.Key,
		User:    *f.user,
		Passkey: f.passkey.Name,
		Started: r.Started,
		Used:    r.Used,
		Proved:  r.Proved,
		Ends:    r.ends(),
		Address: r.Address,
		Agent:   r.Agent,
		Fresh:   tx.Now().Before(r.Proved.Add(ProofLife)),
	}
}

// Open returns who is signed in by a secret. used says that the person has done something: what a page asks by itself, again and
// again, keeps no session open.
//
// Errors: ErrNoSession.
func (s *Service) Open(ctx context.Context, secret string, used bool) (open Session, err error) {
	touch := false
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		f, err := s.find(tx, secret)
		if err != nil {
			return err
		}
		open = f.session(tx)
		touch = used && !tx.Now().Before(f.Record.Used.Add(usedEvery))
		return nil
	})
	if err != nil || !touch {
		return open, err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		f, err := s.find(tx, secret)
		if err != nil {
			return err
		}
		f.Record.Used = tx.Now()
		open = f.session(tx)
		return sessions.Put(tx, f.UID, f.Key, f.Record)
	})
	return open, err
}

// ProveAgain takes another answer to a challenge of Ask from the admin of a session, who may do what is grave for five minutes then.
//
// Errors: ErrNoSession; ErrSomebodyElse; those of passkey.Service.VerifyEntry and Enter.
func (s *Service) ProveAgain(ctx context.Context, secret, sealed string, r passkey.Response, actor audit.Actor) error {
	if _, err := s.Open(ctx, secret, false); err != nil {
		return err // before the passkey: it may have gone with the session
	}
	e, err := s.passkeys.VerifyEntry(ctx, sealed, r)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		f, err := s.find(tx, secret)
		if err != nil {
			return err
		}
		if f.UID != e.UID {
			return ErrSomebodyElse
		}
		shown, err := s.passkeys.Enter(tx, e, actor)
		if err != nil {
			return err
		}
		f.Record.Passkey = shown.ID
		f.Record.Proved = tx.Now()
		f.Record.Used = tx.Now()
		return errors.Join(
			sessions.Put(tx, f.UID, f.Key, f.Record),
			record(tx, actor, f.user, audit.SessionProved))
	})
}

// SignOut ends the session of a secret. One that has ended is no error.
func (s *Service) SignOut(ctx context.Context, secret string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		f, err := s.find(tx, secret)
		if errors.Is(err, ErrNoSession) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(
			sessions.Delete(tx, f.UID, f.Key),
			record(tx, actor, f.user, audit.SessionSignedOut))
	})
}

// endAll ends all sessions of a user.
func endAll(tx *storage.Tx, uid storage.UID) error {
	rows, err := sessions.All(tx, uid)
	for _, row := range rows {
		err = errors.Join(err, sessions.Delete(tx, uid, row.Key))
	}
	return err
}

// sessionsOf returns the sessions of a user that have not ended, the one that was used last first.
func sessionsOf(tx *storage.Tx, uid storage.UID) ([]Session, error) {
	rows, err := sessions.All(tx, uid)
	if err != nil {
		return nil, err
	}
	var list []Session
	for _, row := range rows {
		row.UID = uid
		f, err := ruled(tx, row)
		if errors.Is(err, ErrNoSession) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, f.session(tx))
	}
	slices.SortFunc(list, func(a, b Session) int { return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

// EndSession ends a session of a user. An admin ends his own, and those of whom he stands above; an owner ends everybody's.
//
// Errors: user.ErrUnknown; admin.ErrRefused; ErrNoSession.
func (s *Service) EndSession(ctx context.Context, userID, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		if err := mayEnd(tx, actor, u); err != nil {
			return err
		}
		there, err := sessions.Has(tx, u.UID, id)
		if err != nil {
			return err
		}
		if !there {
			return ErrNoSession
		}
		return errors.Join(
			sessions.Delete(tx, u.UID, id),
			record(tx, actor, u, audit.SessionEnded))
	})
}

// mayEnd returns an error unless the actor may end sessions of a user.
//
// Errors: admin.ErrRefused.
func mayEnd(tx *storage.Tx, actor audit.Actor, u *user.User) error {
	if actor.IsOperator() {
		return nil
	}
	if !actor.IsAdmin() {
		return admin.ErrRefused
	}
	who, err := user.Get(tx, actor.ActsAs())
	if err != nil && !errors.Is(err, user.ErrUnknown) {
		return err
	}
	if err == nil && !who.Blocked && (who.UID == u.UID || who.Role == user.Owner || who.Role.Above(u.Role)) {
		return nil
	}
	return admin.ErrRefused.With("the sessions of this admin are an owner's to end")
}
