package operator

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/storage"
)

// The calls about users. They take the login system's id of a user. For an unknown user they return user.ErrUnknown; only
// MakeTicket makes the user.
var (
	// ListUsers returns users in the order of their ids. When it returns fewer than Take, no more are left.
	ListUsers = declare("user/list", (*Local).listUsers)

	// ShowUser returns all that an operator sees of the user with an id.
	ShowUser = declare("user/show", (*Local).showUser)

	// ExportUser returns everything that is held about the user with an id.
	ExportUser = declare("user/export", (*Local).exportUser)

	// SetRole gives a user a role.
	SetRole = declare("user/role", (*Local).setRole)

	// SetBlocked blocks or unblocks a user.
	SetBlocked = declare("user/block", (*Local).setBlocked)

	// UnlockUser ends what wrong codes have locked for the user with an id: see admin.Service.Unlock.
	UnlockUser = declare("user/unlock", (*Local).unlockUser)

	// UndeleteBackup gives a user a deleted backup back. Errors: those of admin.Service.Undelete.
	UndeleteBackup = declare("user/undelete", (*Local).undeleteBackup)

	// RenewCode gives the user with an id a new recovery code, which is valid for a day. Errors: those of
	// admin.Service.Regenerate.
	RenewCode = declare("user/code", (*Local).renewCode)

	// DeleteUser removes the user with an id and everything about her except evidence. Errors: those of admin.Service.Delete.
	DeleteUser = declare("user/delete", (*Local).deleteUser)

	// ResetUser removes every record of a user's MFA. Errors: those of admin.Service.Reset.
	ResetUser = declare("user/reset", (*Local).resetUser)

	// MakeTicket makes a ticket, and makes the user if he is unknown. Errors: ErrEnrolled; those of admin.Service.NewTicket.
	MakeTicket = declare("ticket", (*Local).makeTicket)
)

// Page says which users to list: at most Take users after the id After who fit State and Search.
type Page struct {
	After    string      `json:"after,omitempty"`
	AfterUID storage.UID `json:"after_uid,omitzero"` // with Risk, in the place of After
	Take     int         `json:"take"`
	State    user.State  `json:"state,omitempty"`  // only users with this MFA state
	Risk     ways.Risk   `json:"risk,omitempty"`   // only users whose way back has this risk, in the order of their uids, after AfterUID
	Search   string      `json:"search,omitempty"` // only users who, for each word here, have a word that begins with it; see admin.Service.SearchWords
}

// MostFound is how many users a search looks at.
const MostFound = 10_000

// RoleChange gives a user a role; user.NoRole takes it away.
type RoleChange struct {
	UserID string    `json:"user_id"`
	Role   user.Role `json:"role"`
}

// BlockChange blocks or unblocks a user.
type BlockChange struct {
	UserID  string `json:"user_id"`
	Blocked bool   `json:"blocked"`
}

// UserDetail is all that an operator sees of a user.
type UserDetail struct {
	admin.Profile
	Enrollments []Enrollment       `json:"enrollments"`
	HasCode     bool               `json:"has_recovery_code"`
	Code        recovery.Holding   `json:"recovery_code"`
	Ways        []ways.Way         `json:"ways_back"` // in without an admin, if the phone that was used last is lost
	Risks       []ways.Risk        `json:"risks"`     // what makes that thin
	Backups     []Backup           `json:"backups"`
	Tickets     []OpenTicket       `json:"tickets"`
	Blocks      []recovery.Block   `json:"blocks"`
	Mutes       []Mute             `json:"mutes"`
	Spent       []Spent            `json:"spent_pushes"`
	Restores    []Restore          `json:"restores"`
	Receipts    []recovery.Receipt `json:"receipts"`
}

// Backup is a backup of a user, by its latest generation.
type Backup struct {
	ID         string    `json:"id"`
	Generation int64     `json:"generation"`
	Size       int       `json:"size"` // bytes
	Items      int       `json:"items"`
	Provider   string    `json:"provider"`
	Updated    time.Time `json:"updated"`
	Device     string    `json:"device,omitempty"` // name of the phone
	Orphaned   bool      `json:"orphaned,omitempty"`
	Deleted    time.Time `json:"deleted,omitzero"` // it can be undeleted for backup.UndeleteFor
}

// BackupOf names a backup of a user.
type BackupOf struct {
	UserID string `json:"user_id"`
	Backup string `json:"backup"`
}

// OpenTicket is a ticket that can still enrol a phone.
type OpenTicket struct {
	Created  time.Time  `json:"created"`
	Expires  time.Time  `json:"expires"`
	Via      device.Via `json:"via"`                // page: its QR code is shown now; else ticket
	Replaces string     `json:"replaces,omitempty"` // id of the enrollment that it replaces
	Factor   string     `json:"factor,omitempty"`   // what alone it enrols; empty: any
}

// Mute is a place whose logins ring none of the user's phones for a while.
type Mute struct {
	Client  string    `json:"client"`
	Network string    `json:"network"`
	Until   time.Time `json:"until"`
}

// Spent is an empty bucket of pushes. Logins that take from it ring no phone.
type Spent struct {
	Client  string    `json:"client"`
	Network string    `json:"network"` // login.Others: all networks from which the user has never logged in
	Until   time.Time `json:"until"`
}

// Restore is a restore that waits for something, or that was vetoed.
type Restore struct {
	ID        string    `json:"id"`
	Device    string    `json:"device"` // name of the phone that wants to take over
	Step      string    `json:"step"`
	Reason    string    `json:"reason"`
	Started   time.Time `json:"started"`
	WaitUntil time.Time `json:"wait_until,omitzero"`
}

// Enrollment is an enrollment of a user.
type Enrollment struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Status   string    `json:"status"` // active, suspended or left
	Enrolled time.Time `json:"enrolled_at"`
	LastAuth time.Time `json:"last_auth,omitzero"`
	Via      string    `json:"via,omitempty"`       // how it came about
	BackedUp bool      `json:"backed_up,omitempty"` // a passkey that is copied to other devices
	Platform string    `json:"platform,omitempty"`  // what the app says that it runs on
	Push     string    `json:"push,omitempty"`      // of an app: ok, lost or none
	Lost     time.Time `json:"push_lost_at,omitzero"`
	LostWhy  string    `json:"push_lost_reason,omitempty"` // the push service's own word
}

// Reset says whom to reset and why; see recovery.ResetRequest.
type Reset struct {
	UserID      string `json:"user_id"`
	Reason      string `json:"reason"`
	CallerCheck string `json:"caller_check,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"`
}

// TicketRequest says for whom a ticket is.
type TicketRequest struct {
	UserID   string `json:"user_id"`
	Email    string `json:"email,omitempty"`    // of an unknown user; with Mail also where the link goes
	Multiple bool   `json:"multiple,omitempty"` // also for a user who is enrolled
	Replaces string `json:"replaces,omitempty"` // id of the enrollment that the new phone replaces
	NewCode  bool   `json:"new_code,omitempty"` // the user has lost the recovery code
	Factor   string `json:"factor,omitempty"`   // what alone it enrols; empty: any
	Mail     bool   `json:"mail,omitempty"`     // has the link mailed, to Email or the user's address
	Locale   string `json:"locale,omitempty"`   // of the mail
}

// Ticket is a ticket to enrol with.
type Ticket struct {
	URL string `json:"url"`           // of the page
	URI string `json:"uri,omitempty"` // the text of its QR code, for an app; empty when no app enrols with it
}

// ofUser makes an error about a user name the id as the operator typed it, and say what to do.
func ofUser(id string, err error) error {
	switch {
	case errors.Is(err, user.ErrUnknown):
		return user.ErrUnknown.With("there is no user %q: see tutela user list", id)
	case errors.Is(err, admin.ErrEnrolled):
		return admin.ErrEnrolled.With("the user %q is enrolled already; --replaces PHONE makes a ticket for one in the place of a lost phone, --multiple for another phone", id)
	}
	return err
}

func (l *Local) listUsers(ctx context.Context, p Page) ([]admin.Profile, error) {
	switch {
	case p.Risk != "":
		return l.usersAtRisk(ctx, p)
	case p.Search != "":
		return l.searchUsers(ctx, p)
	}
	fitting := []admin.Profile{}
	for after := p.After; ; {
		listed, err := l.Admins.PageUsers(ctx, after, p.Take)
		if err != nil {
			return nil, err
		}
		profiles, err := l.Admins.Profiles(ctx, listed)
		if err != nil {
			return nil, err
		}
		fitting = append(fitting, p.fit(profiles)...)
		if len(fitting) >= p.Take || len(listed) < p.Take {
			return fitting[:min(len(fitting), p.Take)], nil
		}
		after = listed[len(listed)-1].ID
	}
}

func (l *Local) exportUser(ctx context.Context, id string) (admin.Export, error) {
	document, err := l.Admins.ExportUser(ctx, id)
	return document, ofUser(id, err)
}

func (l *Local) searchUsers(ctx context.Context, p Page) ([]admin.Profile, error) {
	found, err := l.Admins.SearchWords(ctx, p.Search, MostFound)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(u user.User) bool { return u.ID <= p.After })
	profiles, err := l.Admins.Profiles(ctx, found)
	fitting := p.fit(profiles)
	return fitting[:min(len(fitting), p.Take)], err
}

// usersAtRisk lists the users of a risk. Those of an earlier release are counted first.
func (l *Local) usersAtRisk(ctx context.Context, p Page) ([]admin.Profile, error) {
	if err := l.Admins.CountEveryone(ctx); err != nil {
		return nil, err
	}
	found, err := l.Admins.UsersAtRisk(ctx, p.Risk, p.AfterUID, p.Take)
	if err != nil {
		return nil, err
	}
	return l.Admins.Profiles(ctx, each(found, func(u admin.AtRisk) user.User { return u.User }))
}

// fit returns the profiles with the state that the page asks for.
func (p Page) fit(profiles []admin.Profile) []admin.Profile {
	return slices.DeleteFunc(profiles, func(u admin.Profile) bool { return p.State != "" && u.State != p.State })
}

func (l *Local) showUser(ctx context.Context, id string) (UserDetail, error) {
	d, err := l.Admins.DetailOf(ctx, id)
	if err != nil {
		return UserDetail{}, ofUser(id, err)
	}
	return UserDetail{
		Profile:     d.Profile,
		Enrollments: each(d.Enrollments, enrollmentOf),
		HasCode:     d.HasCode,
		Code:        d.Code,
		Ways:        append([]ways.Way{}, d.Back.Ways...),
		Risks:       append([]ways.Risk{}, d.Back.Risks...),
		Backups:     each(d.Backups, backupOf),
		Tickets:     each(d.Tickets, func(t device.OpenTicket) OpenTicket { return OpenTicket(t) }),
		Blocks:      d.Blocks,
		Mutes:       each(d.Mutes, func(m login.Mute) Mute { return Mute(m) }),
		Spent:       each(d.Spent, func(b login.Spent) Spent { return Spent(b) }),
		Restores:    openRestores(d.Restores),
		Receipts:    d.Receipts,
	}, nil
}

// each applies of to every item. The list is never nil, so JSON shows [] and not null.
func each[T, U any](items []T, of func(T) U) []U {
	list := make([]U, 0, len(items))
	for _, item := range items {
		list = append(list, of(item))
	}
	return list
}

func enrollmentOf(e *device.Enrollment) Enrollment {
	var reach device.Reach
	if e.Type == device.TypePush {
		reach = e.Reach()
	}
	return Enrollment{
		ID:       e.ID,
		Type:     string(e.Type),
		Name:     e.Name,
		BackedUp: e.WebAuthn.BackedUp,
		Status:   string(e.Status),
		Enrolled: e.Enrolled,
		LastAuth: e.LastAuth,
		Via:      string(e.Via),
		Platform: e.Push.Platform,
		Push:     string(reach.State),
		Lost:     reach.Since,
		LostWhy:  reach.Why,
	}
}

func backupOf(b backup.Tracked) Backup {
	return Backup{
		ID:         b.ID,
		Generation: b.Generation,
		Size:       b.Size,
		Items:      b.Items,
		Provider:   string(b.Provider),
		Updated:    b.Updated,
		Device:     b.Device,
		Orphaned:   b.Orphaned,
		Deleted:    b.Deleted,
	}
}

// openRestores returns the restores that are not over, that were vetoed and still bar others, or that were disputed.
func openRestores(all []restore.Listed) []Restore {
	open := []Restore{}
	for _, r := range all {
		if r.Disputed {
			r.Reason = "disputed"
		}
		if r.End == "" || r.End == restore.EndVetoed && r.Vetoed || r.Disputed {
			open = append(open, Restore{
				ID:        r.ID,
				Device:    r.Name,
				Step:      string(r.Step),
				Reason:    string(r.Reason),
				Started:   r.Started,
				WaitUntil: r.WaitUntil,
			})
		}
	}
	return open
}

func (l *Local) renewCode(ctx context.Context, id string) (recovery.Code, error) {
	code, err := l.Admins.Regenerate(ctx, id, l.actor)
	return code, ofUser(id, err)
}

// deleteUser looks for the user first, so that the operator learns when there is no such user.
func (l *Local) deleteUser(ctx context.Context, id string) (None, error) {
	if _, err := l.Admins.ReadUser(ctx, id); err != nil {
		return None{}, ofUser(id, err)
	}
	return None{}, l.Admins.Delete(ctx, id, l.actor)
}

func (l *Local) setRole(ctx context.Context, c RoleChange) (None, error) {
	return None{}, ofUser(c.UserID, l.Admins.SetRole(ctx, c.UserID, c.Role, l.actor))
}

func (l *Local) setBlocked(ctx context.Context, c BlockChange) (None, error) {
	return None{}, ofUser(c.UserID, l.Admins.SetBlocked(ctx, c.UserID, c.Blocked, l.actor))
}

func (l *Local) unlockUser(ctx context.Context, id string) (None, error) {
	return None{}, ofUser(id, l.Admins.Unlock(ctx, id, l.actor))
}

func (l *Local) undeleteBackup(ctx context.Context, b BackupOf) (None, error) {
	return None{}, ofUser(b.UserID, l.Admins.Undelete(ctx, b.UserID, b.Backup, l.actor))
}

func (l *Local) resetUser(ctx context.Context, r Reset) (recovery.Receipt, error) {
	receipt, err := l.Admins.Reset(ctx, r.UserID, recovery.ResetRequest{
		Reason:      r.Reason,
		CallerCheck: r.CallerCheck,
		DryRun:      r.DryRun,
	}, l.actor)
	return receipt, ofUser(r.UserID, err)
}

func (l *Local) makeTicket(ctx context.Context, r TicketRequest) (Ticket, error) {
	asked := admin.TicketRequest{
		User:          user.User{ID: r.UserID, Email: r.Email},
		Factor:        r.Factor,
		AllowMultiple: r.Multiple,
		Replaces:      r.Replaces,
		NewCode:       r.NewCode,
	}
	if r.Mail {
		asked.Mail = &admin.TicketMail{Address: r.Email, Locale: r.Locale}
	}
	secret, err := l.Admins.NewTicket(ctx, asked, l.actor)
	if errors.Is(err, device.ErrNoEnrollment) {
		err = device.ErrNoEnrollment.With("%q has no phone %q that could be replaced: tutela device list %s shows the ids",
			r.UserID, r.Replaces, r.UserID)
	}
	if err != nil {
		return Ticket{}, ofUser(r.UserID, err)
	}
	uri, err := l.Devices.TicketURI(ctx, secret)
	return Ticket{URL: l.Devices.TicketURL(secret), URI: uri}, err
}
