package admin

import (
	"context"
	"errors"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/storage"
	"tutela/storage/audit"
)

// UserChange says what to change in a user's record. A nil field stays as it is; an empty text removes the member.
type UserChange struct {
	Email      *string
	Verified   *bool
	Name       *string
	Nickname   *string
	Username   *string
	GivenName  *string
	FamilyName *string
	Picture    *string
	Blocked    *bool
	Role       *user.Role

	// The members of metadata are merged at their first level; a nil value removes one, and DropApp and DropUser all that
	// were there.
	AppMetadata  map[string]any
	UserMetadata map[string]any
	DropApp      bool
	DropUser     bool
}

// ChangeUser changes a user's record, and returns the profile. A member that keeps its value needs no permission. A new
// email is not verified unless Verified says so. The user's phones are told of it, and the event's detail keeps the old
// one, since it may be the only way to reach the person.
//
// Errors: user.ErrUnknown; ErrRefused; user.ErrProfile; user.ErrExists.
func (s *Service) ChangeUser(ctx context.Context, userID string, c UserChange, actor audit.Actor) (p Profile, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		before, err := find(tx, actor, Describe, userID)
		if err != nil {
			return err
		}
		if err := c.may(tx, actor, before); err != nil {
			return err
		}
		after, err := user.Change(tx, before.UID, func(u *user.User) error {
			c.apply(u)
			return nil
		})
		if err != nil {
			return err
		}
		p = Profile{User: *after}
		tx.Wake(after.UID) // callers that wait for a login of the user look again
		return errors.Join(
			p.readState(tx, after.UID),
			recordChange(tx, actor, before, after))
	})
	return p, err
}

// may asks the rule on admins for each member that the change would change.
//
// Errors: ErrRefused.
func (c UserChange) may(tx *storage.Tx, actor audit.Actor, u *user.User) error {
	var err error
	if c.Email != nil && *c.Email != u.Email {
		err = errors.Join(err, May(tx, actor, SetEmail, u))
	}
	if c.Blocked != nil && *c.Blocked != u.Blocked {
		err = errors.Join(err, May(tx, actor, Block, u))
	}
	if c.Role != nil && *c.Role != u.Role {
		err = errors.Join(err, May(tx, actor, SetRole, u))
	}
	return errors.Join(err, c.keepsOwner(tx, actor, u))
}

// keepsOwner asks [KeepsOwner] if the change would block an owner or take the role away.
//
// Errors: ErrRefused.
func (c UserChange) keepsOwner(tx *storage.Tx, actor audit.Actor, u *user.User) error {
	if (c.Blocked == nil || *c.Blocked == u.Blocked) && (c.Role == nil || *c.Role == u.Role) {
		return nil
	}
	return KeepsOwner(tx, actor, u)
}

func (c UserChange) apply(u *user.User) {
	if c.Email != nil && *c.Email != u.Email {
		u.Verified = false
	}
	set(&u.Email, c.Email)
	set(&u.Verified, c.Verified)
	set(&u.Name, c.Name)
	set(&u.Nickname, c.Nickname)
	set(&u.Username, c.Username)
	set(&u.GivenName, c.GivenName)
	set(&u.FamilyName, c.FamilyName)
	set(&u.Picture, c.Picture)
	set(&u.Blocked, c.Blocked)
	set(&u.Role, c.Role)
	merge(&u.AppMetadata, c.AppMetadata, c.DropApp)
	merge(&u.UserMetadata, c.UserMetadata, c.DropUser)
}

func set[T any](member, value *T) {
	if value != nil {
		*member = *value
	}
}

func merge(metadata *map[string]any, change map[string]any, drop bool) {
	if drop {
		*metadata = nil
	}
	if change == nil {
		return
	}
	*metadata = user.Merge(*metadata, change)
	if len(*metadata) == 0 {
		*metadata = nil
	}
}

// recordChange records a change of a user's record, and tells the phones of another email.
func recordChange(tx *storage.Tx, actor audit.Actor, before, after *user.User) error {
	facts := audit.Facts{audit.FactCall: audit.CallUpdateUser}
	detail := audit.Detail{}
	var err error
	if after.Email != before.Email {
		facts[audit.FactEmail] = audit.EmailChanged
		detail.Text = before.Email
		if before.Email != "" {
			err = errors.Join(
				recovery.Notify(tx, after.UID, recovery.NoticePayload{Notice: recovery.NoticeEmailChanged}),
				tellOldAddress(tx, before))
		}
	}
	if after.Role != before.Role {
		facts[audit.FactRole] = audit.Word(after.Role)
	}
	e := audit.Event{Type: audit.ManagementCall, UID: after.UID, Facts: facts}
	err = errors.Join(err, audit.RecordAccount(tx, actor, e, detail))
	if after.Blocked != before.Blocked {
		err = errors.Join(err, recordBlock(tx, actor, after))
	}
	return err
}

// recordBlock records that a user was blocked or unblocked.
func recordBlock(tx *storage.Tx, actor audit.Actor, u *user.User) error {
	facts := audit.Facts{audit.FactCall: audit.CallUnblock}
	if u.Blocked {
		facts[audit.FactCall] = audit.CallBlock
	}
	if _, err := recovery.ForgetBrowsers(tx, u.UID); err != nil {
		return err
	}
	return audit.RecordAccount(tx, actor, audit.Event{Type: audit.ManagementCall, UID: u.UID, Facts: facts}, audit.Detail{})
}

// tellOldAddress queues a mail to the user's previous address, if a webhook sends mails.
func tellOldAddress(tx *storage.Tx, before *user.User) error {
	err := webhook.QueueMail(tx, before.UID, webhook.Mail{Type: webhook.MailEmailChanged, Address: before.Email})
	if errors.Is(err, webhook.ErrNoMailer) {
		return nil
	}
	return err
}
