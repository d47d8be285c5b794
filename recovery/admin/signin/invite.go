package signin

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"tutela/device/passkey"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// invite is a link by which a user makes a passkey that opens the dashboard. A user has one at most: the next takes its place.
type invite struct {
	Hash    string      `json:"hash"`              // keyed, of the secret in the link
	Replace bool        `json:"replace,omitempty"` // the passkeys and sessions of before end when it is used
	Turns   int         `json:"turns,omitempty"`   // of the user, when it was made: another role since has ended it
	Made    time.Time   `json:"made"`
	Expires time.Time   `json:"expires"`
	By      storage.UID `json:"by,omitzero"`       // the owner who invites: it ends when he is none any more; none: the operator
	Browser string      `json:"browser,omitempty"` // keyed hash of what the browser keeps that has begun to use it
}

var (
	invites = storage.Declare(storage.Spec[invite]{
		Name:    "admin_invite",
		Class:   storage.MFA,
		Most:    1,
		Expires: func(i *invite) time.Time { return i.Expires },
	})
	inviteByHash = invites.Unique("hash", func(i *invite) []string { return []string{i.Hash} })
)

// oneInvite is the key of the one invite that a user has.
const oneInvite = ""

// The purposes of keyed hashes.
const (
	invitePurpose  = "signin: invite"
	browserPurpose = "signin: browser of an invite"
	sessionPurpose = "signin: session"
)

// InviteRequest says whom to invite.
type InviteRequest struct {
	User    user.User // the id, and what is known about an unknown user
	Role    user.Role // user.NoRole: the one that the user has
	Replace bool      // the passkeys and sessions of before end when the invite is used: they are lost
}

// Invited is an invite that was made.
type Invited struct {
	URL     string // of the page; nobody can read it again
	Role    user.Role
	Expires time.Time
}

// Invite invites a user, who is made when unknown, and gives him the role at once: without a passkey it opens nothing. The operator
// may invite everybody; an owner who has just shown his passkey everybody but himself, and another owner only as what he is.
//
// Errors: user.ErrID; user.ErrProfile; admin.ErrRefused; admin.ErrProveAgain; ErrInviteRole; ErrBlocked.
func (s *Service) Invite(ctx context.Context, req InviteRequest, actor audit.Actor) (made Invited, err error) {
	secret := NewSecret()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := user.Ensure(tx, req.User)
		if err != nil {
			return err
		}
		if err := mayInvite(tx, actor, u); err != nil {
			return err
		}
		if req.Role != user.NoRole && req.Role != u.Role {
			if u, err = admin.GiveRole(tx, actor, u, req.Role); err != nil {
				return err
			}
		}
		switch {
		case u.Role == user.NoRole:
			return ErrInviteRole
		case u.Blocked:
			return ErrBlocked
		}
		i := &invite{
			Hash:    s.ring.Hash(invitePurpose, []byte(secret)),
			Replace: req.Replace,
			Turns:   u.Turns,
			By:      actor.ActsAs(),
			Made:    tx.Now(),
			Expires: tx.Now().Add(InviteLife),
		}
		made = Invited{Role: u.Role, Expires: i.Expires}
		return errors.Join(invites.Put(tx, u.UID, oneInvite, i), recordInvite(tx, actor, u, req.Replace))
	})
	made.URL = s.base + "/admin/invite?invite=" + url.QueryEscape(secret)
	return made, err
}

// mayInvite returns an error unless the actor may invite the user. Whether he may give a role is asked beside it.
//
// Errors: admin.ErrRefused; admin.ErrProveAgain.
func mayInvite(tx *storage.Tx, actor audit.Actor, u *user.User) error {
	switch {
	case actor.IsOperator():
		return nil
	case !actor.IsAdmin():
		return admin.ErrRefused
	}
	owner, err := isOwner(tx, actor.ActsAs())
	switch {
	case err != nil:
		return err
	case !owner:
		return admin.ErrRefused.With("only owners invite admins")
	case actor.ActsFor(u.UID):
		return admin.ErrRefused.With("nobody invites himself: add a passkey where you are signed in, or ask another owner")
	case !actor.Has(admin.ScopeResetAdminMFA):
		return admin.ErrProveAgain
	}
	return nil
}

// isOwner reports whether a user is an owner who is not blocked.
func isOwner(tx *storage.Tx, uid storage.UID) (bool, error) {
	u, err := user.Get(tx, uid)
	if errors.Is(err, user.ErrUnknown) {
		return false, nil
	}
	return err == nil && u.Role == user.Owner && !u.Blocked, err
}

func recordInvite(tx *storage.Tx, actor audit.Actor, u *user.User, replace bool) error {
	facts := audit.Facts{audit.FactCall: audit.CallInviteAdmin, audit.FactRole: audit.Word(u.Role)}
	if replace {
		facts[audit.FactPasskey] = audit.PasskeyReplaced
	}
	return audit.RecordAccount(tx, actor, audit.Event{Type: audit.ManagementCall, UID: u.UID, Facts: facts}, audit.Detail{})
}

// InvitePage is what the page of an invite shows.
type InvitePage struct {
	User    user.User
	Expires time.Time
	Replace bool
	Begun   bool // by this browser
}

// OpenInvite returns what the page shows. It changes nothing, because mail scanners open links. browser is the browser's own, or
// empty.
//
// Errors: ErrInvite; ErrOtherBrowser.
func (s *Service) OpenInvite(ctx context.Context, secret, browser string) (page InvitePage, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		i, u, err := s.findInvite(tx, secret)
		if err != nil {
			return err
		}
		page = InvitePage{
			User:    *u,
			Expires: i.Expires,
			Replace: i.Replace,
			Begun:   i.Browser != "",
		}
		if page.Begun && !s.ring.MatchesIn(tx, i.Browser, browserPurpose, u.UID[:], []byte(browser)) {
			return ErrOtherBrowser
		}
		return nil
	})
	return page, err
}

// findInvite returns an invite that can still be used, and whose it is.
//
// Errors: ErrInvite.
func (s *Service) findInvite(tx *storage.Tx, secret string) (*invite, *user.User, error) {
	for _, hash := range s.ring.Hashes(invitePurpose, []byte(secret)) {
		row, err := inviteByHash.Find(tx, hash)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		u, err := row.Record.stands(tx, row.UID)
		return row.Record, u, err
	}
	return nil, nil, ErrInvite
}

// stands returns whose the invite is, unless something has ended it before its time.
//
// Errors: ErrInvite.
func (i *invite) stands(tx *storage.Tx, uid storage.UID) (*user.User, error) {
	u, err := user.Get(tx, uid)
	if errors.Is(err, user.ErrUnknown) || err == nil && u.Turns != i.Turns {
		return nil, ErrInvite
	}
	if err != nil || i.By.IsZero() {
		return u, err
	}
	owner, err := isOwner(tx, i.By)
	if err == nil && !owner {
		err = ErrInvite
	}
	return u, err
}

// ceremonyOf names the ceremony of an invite among the user's.
const ceremonyOf = "invite"

// SpendInvite binds an invite to the browser that comes first, by the secret that it keeps, and returns the options with which the
// browser makes the passkey (PublicKeyCredentialCreationOptions, as JSON). The same browser may come again.
//
// Errors: ErrInvite; ErrOtherBrowser; passkey.ErrNoDomain; passkey.ErrTooOften.
func (s *Service) SpendInvite(ctx context.Context, secret, browser string) (options json.RawMessage, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		i, u, err := s.findInvite(tx, secret)
		if err != nil {
			return err
		}
		if i.Browser == "" {
			i.Browser = s.ring.Hash(browserPurpose, u.UID[:], []byte(browser))
			err = invites.Put(tx, u.UID, oneInvite, i)
		} else if !s.ring.MatchesIn(tx, i.Browser, browserPurpose, u.UID[:], []byte(browser)) {
			err = ErrOtherBrowser
		}
		if err != nil {
			return err
		}
		options, err = s.passkeys.BeginAdmin(tx, u.UID, ceremonyOf)
		return err
	})
	return options, err
}

// Made is a passkey that a browser has made for an invite.
type Made struct {
	Invite   string // the invite's secret
	Browser  string // what the browser keeps
	Name     string // of the passkey
	Response passkey.Response
}

// AcceptInvite gives the invited user the passkey, ends the invite, and signs him in. It returns the secret of the session.
//
// Errors: ErrInvite; ErrOtherBrowser; those of passkey.Service.VerifyAdmin and AddAdmin.
func (s *Service) AcceptInvite(ctx context.Context, m Made, actor audit.Actor) (secret string, err error) {
	var uid storage.UID
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		_, u, err := s.spentInvite(tx, m)
		if err == nil {
			uid = u.UID
		}
		return err
	})
	if err != nil {
		return "", err
	}
	registration, err := s.passkeys.VerifyAdmin(ctx, uid, ceremonyOf, m.Response)
	if err != nil {
		return "", err
	}
	secret = NewSecret()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		i, u, err := s.spentInvite(tx, m)
		if err != nil {
			return err
		}
		if u.UID != uid {
			return ErrInvite
		}
		made, err := s.passkeys.AddAdmin(tx, registration, m.Name, i.Replace, actor)
		if err != nil {
			return err
		}
		if i.Replace {
			err = endAll(tx, uid)
		}
		return errors.Join(err,
			invites.Delete(tx, uid, oneInvite),
			s.start(tx, u, secret, made.ID, audit.SessionInvited, actor))
	})
	return secret, err
}

// spentInvite returns an invite that this browser has begun to use.
//
// Errors: ErrInvite; ErrOtherBrowser.
func (s *Service) spentInvite(tx *storage.Tx, m Made) (*invite, *user.User, error) {
	i, u, err := s.findInvite(tx, m.Invite)
	if err != nil {
		return nil, nil, err
	}
	if !s.ring.MatchesIn(tx, i.Browser, browserPurpose, u.UID[:], []byte(m.Browser)) {
		return nil, nil, ErrOtherBrowser
	}
	return i, u, nil
}

// HasDomain reports whether browsers take passkeys under a public URL of this installation: not under an address.
func (s *Service) HasDomain() bool {
	_, _, err := s.passkeys.Ask()
	return !errors.Is(err, passkey.ErrNoDomain)
}
