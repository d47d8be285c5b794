package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// A hosted page is a login by grant whose steps a page of ours takes: a login system asks for it, sends the browser there, and gets the
// browser back with a code for the outcome. What the page knows is the request, which names the login, and a secret of the browser.

// PagePurpose is what a hosted page is asked for.
type PagePurpose string

// The purposes of hosted pages.
const (
	PageLogin  PagePurpose = "login"
	PageManage PagePurpose = "manage" // the person's own page
)

// The times and sizes of hosted pages.
const (
	PageCodeLife = 60 * time.Second // of the code that the browser comes back with

	pageShownAfter  = 10 * time.Minute // how long a page that is over says so, and leads back
	pageSetUp       = 20 * time.Minute // how long a new user has, from when she is led to the enrolment page
	pageSecretChars = 32               // of a code
	s256Characters  = 43               // of a code challenge
	maxPageState    = 2048             // bytes of a state
)

// The purposes of keyed hashes.
const (
	pageBrowserPurpose = "hosted-page-browser"
	pageCodePurpose    = "hosted-page-code"
)

// pageCodePrefix begins a code: an id that names the login, a dot, and a secret.
const pageCodePrefix = "hac_"

// page is how a login by a hosted page stands.
type page struct {
	Purpose   PagePurpose `json:"purpose"`
	Redirect  string      `json:"redirect"`          // where the browser goes back to
	Challenge string      `json:"challenge"`         // base64url of the SHA-256 of the client's verifier (RFC 7636)
	Browser   string      `json:"browser,omitempty"` // keyed hash of the secret of the first browser that has opened it; "": none has
	New       bool        `json:"new,omitempty"`     // the user had nothing enrolled
	Ticket    string      `json:"ticket,omitempty"`  // key of the ticket that the browser was led to
	Remember  bool        `json:"remember,omitempty"`
	Before    bool        `json:"before,omitempty"` // a remembered browser has satisfied it
	Saved     time.Time   `json:"saved,omitzero"`   // when the person has shown that she has saved her next recovery code
	GoesOn    bool        `json:"goes_on,omitempty"`
	Cancelled bool        `json:"cancelled,omitempty"`
	Code      string      `json:"code,omitempty"` // keyed hash
	CodeUntil time.Time   `json:"code_until,omitzero"`
	Finished  time.Time   `json:"finished,omitzero"` // when the browser was first sent back
	Taken     time.Time   `json:"taken,omitzero"`    // when the code was exchanged, or the person's own page opened
	Until     time.Time   `json:"until,omitzero"`    // how long the row is kept at least
}

// pageSecrets are what a hosted page keeps sealed.
type pageSecrets struct {
	State  string `json:"state,omitempty"`  // the client's own
	Ticket string `json:"ticket,omitempty"` // that the browser is led to
}

func (l *Login) pageSecrets() (secrets pageSecrets, err error) {
	if len(l.PageSealed) > 0 {
		err = json.Unmarshal(l.PageSealed, &secrets)
	}
	return secrets, err
}

func (l *Login) sealPage(secrets pageSecrets) (err error) {
	l.PageSealed, err = json.Marshal(secrets)
	return err
}

// replyLife is how long a reply is kept for a repeat of the call that has satisfied the login. A hosted page shows it until the person
// has confirmed it.
func (l *Login) replyLife(now time.Time) time.Duration {
	if l.Page != nil {
		return recovery.ReplyLife
	}
	return l.Expires.Sub(now)
}

// PageRequest is what a client asks a hosted page for.
type PageRequest struct {
	Client    string
	Name      string // as people see it
	User      user.User
	Ticket    string // lets a new user set up where the policy asks for one
	Purpose   PagePurpose
	Redirect  string // where the browser goes back to; the edge has compared it with the registered ones
	State     string // that it brings back
	Challenge string // S256 code challenge
	Message   string // shown on both screens
	IP        string // of the browser that logs in; empty: unknown
	Agent     string
	Actor     audit.Actor
}

// Errors of hosted pages.
var (
	ErrPageRequest = storage.NewError(storage.Invalid, "the request for a hosted page is not valid")
	ErrPage        = storage.NewError(storage.NotFound, "the request is unknown, was used, or is too old: sign in again")
	ErrPageTaken   = storage.NewError(storage.Denied, "another browser has opened this request: sign in again")
	ErrPageCookies = storage.NewError(storage.Denied, "the browser keeps no cookies")
	ErrUnsaved     = storage.NewError(storage.Unavailable, "the next recovery code is not confirmed yet")
)

// check returns an error unless the request can be served.
//
// Errors: ErrPageRequest.
func (r PageRequest) check() error {
	if r.Purpose != PageLogin && r.Purpose != PageManage {
		return ErrPageRequest.With("purpose is login or manage")
	}
	if r.State == "" || len(r.State) > maxPageState {
		return ErrPageRequest.With("state is missing, or longer than %d bytes", maxPageState)
	}
	if r.Challenge == "" && r.Purpose == PageManage {
		return nil // the browser comes back with no code
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(r.Challenge)
	if err != nil || len(r.Challenge) != s256Characters || len(sum) != sha256.Size {
		return ErrPageRequest.With("code_challenge is the base64url of a SHA-256 (S256, RFC 7636)")
	}
	return nil
}

// RequestPage begins a login that a hosted page satisfies, and returns the request that the page's address carries. It makes the user
// when no user has that id. The request lives for ten minutes.
//
// Errors: ErrPageRequest; user.ErrID; ErrBlocked; ErrTooManyStarts; ErrTicketRequired; ErrNoFactor.
func (s *Service) RequestPage(ctx context.Context, r PageRequest) (id string, err error) {
	if err := r.check(); err != nil {
		return "", err
	}
	start := MFAStart{
		Client: r.Client,
		Name:   r.Name,
		User:   r.User,
		IP:     r.IP,
		Agent:  r.Agent,
		Actor:  r.Actor,
	}
	random := storage.NewUID()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		var can MFAStarted
		u, err := s.starting(tx, start, &can)
		if err != nil {
			return err
		}
		ticket, err := s.devices.TicketKey(tx, u.UID, r.Ticket)
		if err != nil {
			return err
		}
		if err := maySetUp(tx, u, can.State, ticket != ""); err != nil {
			return err
		}
		// Begin the login, with what the page needs later. The client's state and a ticket are secret.
		l := row{UID: u.UID, Key: random.String(), Record: start.login(tx.Now(), ticket)}
		l.Record.Message = r.Message
		l.Record.Page = &page{
			Purpose:   r.Purpose,
			Redirect:  r.Redirect,
			Challenge: r.Challenge,
			New:       can.State == user.New,
			Until:     l.Record.Expires.Add(pageShownAfter),
		}
		secrets := pageSecrets{State: r.State}
		if ticket != "" && l.Record.Page.New {
			secrets.Ticket = device.ReadTicket(r.Ticket)
		}
		if err := l.Record.sealPage(secrets); err != nil {
			return err
		}
		id = s.idOf(device.HostedPrefix, l.UID, l.Key)
		return startMFA(tx, l, start)
	})
	return id, err
}

// Visit is a call of a browser to a hosted page.
type Visit struct {
	Request    string
	Browser    string   // the browser's secret
	Remembered []string // tokens of remembered browsers that it has
	IP         string   // of the browser; the phone is shown it where the client has said nothing of the browser
	Agent      string
	Actor      audit.Actor
}

// visited reads the login of a hosted page, and its user. bound reports whether the browser is the one that has opened it first; when
// nobody has opened it, it is false.
//
// Errors: ErrPage; ErrPageTaken.
func (s *Service) visited(tx *storage.Tx, v Visit) (l row, u *user.User, bound bool, err error) {
	l, err = s.find(tx, device.HostedPrefix, v.Request)
	if errors.Is(err, ErrGrant) || errors.Is(err, ErrExpired) || err == nil && l.Record.Page == nil {
		err = ErrPage
	}
	if err != nil {
		return l, nil, false, err
	}
	p := l.Record.Page
	if p.Browser != "" && !s.ring.MatchesIn(tx, p.Browser, pageBrowserPurpose, l.UID[:], []byte(l.Key), []byte(v.Browser)) {
		return l, nil, false, ErrPageTaken
	}
	u, err = user.Get(tx, l.UID)
	return l, u, p.Browser != "", err
}

// visitedBy is visited by the browser that has opened the page before.
//
// Errors: ErrPage; ErrPageTaken.
func (s *Service) visitedBy(tx *storage.Tx, v Visit) (row, *user.User, error) {
	l, u, bound, err := s.visited(tx, v)
	if err == nil && !bound {
		err = ErrPage
	}
	return l, u, err
}

// grantOf returns the grant by which a page of this browser satisfies its login.
//
// Errors: ErrPage; ErrPageTaken.
func (s *Service) grantOf(ctx context.Context, v Visit) (g Grant, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		l, _, err := s.visitedBy(tx, v)
		if err != nil {
			return err
		}
		g = Grant{
			Client: l.Record.Client,
			Pass:   Pass{Login: s.idOf(mfaPrefix, l.UID, l.Key), Client: l.Record.Client},
			Actor:  v.Actor,
		}
		return nil
	})
	return g, err
}

func (s *Service) hashPageBrowser(l row, browser string) string {
	return s.ring.Hash(pageBrowserPurpose, l.UID[:], []byte(l.Key), []byte(browser))
}
