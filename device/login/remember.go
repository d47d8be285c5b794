package login

import (
	"errors"
	"strings"
	"time"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// browserPrefix begins the token of a remembered browser: an id that names its row, a dot, and a secret.
const (
	browserPrefix        = "rmb_"
	browserPurpose       = "remember_token"
	browserSecretLength  = 32
	rememberedCharacters = 255 // of a token; none of ours is longer
)

// Remembered is a login that a remembered browser has satisfied.
type Remembered struct {
	UserID string
	Method Method    // that the person has proven when the browser was remembered
	Proved time.Time // when, in the store's time
}

// remember has a browser remembered by the login that a grant has satisfied, if it asks for that, and returns its token. The same login
// remembers one browser.
func (s *Service) remember(tx *storage.Tx, g Grant, l row) (token string, err error) {
	if !g.Remember {
		return "", nil
	}
	token, b := s.browser(l)
	return token, recovery.Remember(tx, l.UID, l.Key, b)
}

// rememberAgain is remember for a repeat of the grant, whose token replaces the first. What was forgotten since stays forgotten.
func (s *Service) rememberAgain(tx *storage.Tx, g Grant, l row) (token string, err error) {
	if !g.Remember {
		return "", nil
	}
	token, b := s.browser(l)
	done, err := recovery.RememberAgain(tx, l.UID, l.Key, b)
	if !done {
		token = ""
	}
	return token, err
}

// browser draws the token of a browser that a login is to have remembered.
func (s *Service) browser(l row) (token string, b recovery.Browser) {
	secret := storage.NewID("", browserSecretLength)
	b = recovery.Browser{
		Client: l.Record.Client,
		Hash:   s.hashBrowser(l.UID, l.Record.Client, secret),
		Method: string(l.Record.Method),
		Proved: l.Record.Decided,
	}
	return s.idOf(browserPrefix, l.UID, l.Key) + "." + secret, b
}

func (s *Service) hashBrowser(uid storage.UID, client, secret string) string {
	return s.ring.Hash(browserPurpose, uid[:], []byte(client), []byte(secret))
}

// remembered returns the login that a remembered browser satisfies; nil when none does. Only a user who is enrolled is remembered.
func (s *Service) remembered(tx *storage.Tx, u *user.User, start MFAStart, state user.State) (*Remembered, error) {
	id, secret, found := strings.Cut(start.Browser, ".")
	if !found || len(start.Browser) > rememberedCharacters || state != user.Enrolled {
		return nil, nil
	}
	uid, key, ok := s.ring.ParseID(browserPrefix, id)
	if !ok || uid != u.UID {
		return nil, nil
	}
	b, err := recovery.Remembered(tx, uid, key, func(b *recovery.Browser) bool {
		return b.Client == start.Client && s.ring.MatchesIn(tx, b.Hash, browserPurpose, uid[:], []byte(start.Client), []byte(secret))
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err = user.Change(tx, uid, func(u *user.User) error {
		countLogin(tx, u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	actor := start.Actor
	if start.IP != "" || start.Agent != "" {
		actor = actor.WithOrigin(start.IP, start.Agent)
	}
	event := audit.Event{
		Type:   audit.AuthSucceed,
		UID:    uid,
		Client: start.Client,
		Facts:  audit.Facts{audit.FactMethod: audit.MethodRemembered},
	}
	return &Remembered{
		UserID: u.ID,
		Method: Method(b.Method),
		Proved: b.Proved,
	}, audit.Record(tx, actor, event, audit.Detail{})
}
