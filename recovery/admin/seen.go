package admin

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Seen is a user as a person sees her who is signed in as an admin, with what he may do to her. It is of one moment.
type Seen struct {
	Detail
	Refusals    map[Action]Refusal // of every action; empty: the admin may
	DeniedUntil time.Time          // until when a denied caller check stops admins who are no owners; zero: none does
	CodeMark    string             // for RegenerateOnce
	Browsers    int                // that are remembered
}

// SeenBy returns a user as an admin sees her who is signed in.
//
// Errors: user.ErrUnknown; ErrRefused, for whoever is no admin any more.
func (s *Service) SeenBy(ctx context.Context, userID string, actor audit.Actor) (seen Seen, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := look(tx, actor, userID)
		if err != nil {
			return err
		}
		seen = Seen{Detail: Detail{Profile: Profile{User: *u}}}
		if err := s.fill(tx, u.UID, &seen.Detail); err != nil {
			return err
		}
		if seen.Refusals, err = refusalsOf(tx, actor, u); err != nil {
			return err
		}
		if seen.DeniedUntil, err = login.CallerDeniedUntil(tx, u.UID); err != nil {
			return err
		}
		if seen.Browsers, err = recovery.CountBrowsers(tx, u.UID); err != nil {
			return err
		}
		seen.CodeMark, err = codeMark(tx, u.UID)
		return err
	})
	return seen, err
}

// look returns a user for an actor who may read what is known of users.
//
// Errors: user.ErrUnknown; ErrRefused.
func look(tx *storage.Tx, actor audit.Actor, userID string) (*user.User, error) {
	if err := mayRead(tx, actor); err != nil {
		return nil, err
	}
	return user.Find(tx, userID)
}

// mayRead returns ErrRefused for a person who is signed in and is no admin any more: his session is older than this call. Whoever
// else comes, the scopes of the call or the operator's socket have let in.
//
// Errors: ErrRefused.
func mayRead(tx *storage.Tx, actor audit.Actor) error {
	if actor.IsOperator() || actor.IsClient() {
		return nil
	}
	if !actor.IsAdmin() {
		return ErrRefused
	}
	who, err := user.Get(tx, actor.ActsAs())
	if errors.Is(err, user.ErrUnknown) || err == nil && (who.Blocked || who.Role == user.NoRole) {
		return ErrRefused
	}
	return err
}

// actions are all actions.
var actions = []Action{
	ChangeFactors, Remove, Suspend, Resume, CheckCaller, Block, Unlock, SetEmail, SetRole, Describe,
}

// refusalsOf returns why a person who is signed in may not take each action. The operator may take all, and no other actor any.
func refusalsOf(tx *storage.Tx, actor audit.Actor, u *user.User) (map[Action]Refusal, error) {
	list := make(map[Action]Refusal, len(actions))
	for _, action := range actions {
		var err error
		switch {
		case actor.IsOperator():
		case actor.IsAdmin():
			list[action], err = refusalOf(tx, actor, action, u)
		default:
			list[action] = RoleEnded
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Instead says who may take an action on a user. The operator of the machine always may.
type Instead struct {
	Roles  []user.Role // that suffice, the lowest first; none: the operator alone
	People []user.User // who have one of them and are not blocked, the lowest role first; at most mostNamed of each role
	More   bool        // there are more of them
}

// mostNamed is how many people of a role are named to whom an admin can turn.
const mostNamed = 5

// WhoMay returns who may take an action on a user.
//
// Errors: user.ErrUnknown; ErrRefused, for whoever is no admin any more.
func (s *Service) WhoMay(ctx context.Context, userID string, action Action, actor audit.Actor) (instead Instead, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := look(tx, actor, userID)
		if err != nil {
			return err
		}
		denied, err := login.CallerDeniedUntil(tx, u.UID)
		if err != nil {
			return err
		}
		instead = Instead{}
		for _, role := range []user.Role{user.Helpdesk, user.Admin, user.Owner} {
			stopped := !denied.IsZero() && stoppedByDenial(action) && role != user.Owner
			if least[action].Above(role) || !role.Above(u.Role) || stopped {
				continue
			}
			instead.Roles = append(instead.Roles, role)
			// One more shows that there are more; another may be the user herself, or blocked.
			people, err := user.SomeWithRole(tx, role, mostNamed+1)
			if err != nil {
				return err
			}
			people = slices.DeleteFunc(people, func(p user.User) bool { return p.UID == u.UID })
			instead.More = instead.More || len(people) > mostNamed
			instead.People = append(instead.People, people[:min(len(people), mostNamed)]...)
		}
		return nil
	})
	return instead, err
}

// ReceiptOf returns a receipt of a user's, with who has reset her; by is zero for the operator and programs, and for whoever is gone.
//
// Errors: user.ErrUnknown; ErrRefused, for whoever is no admin any more; ErrNoReceipt.
func (s *Service) ReceiptOf(ctx context.Context, userID, id string, actor audit.Actor) (receipt recovery.Receipt, by user.User, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := look(tx, actor, userID)
		if err != nil {
			return err
		}
		list, err := recovery.Receipts(tx, u.UID)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list, func(r recovery.Receipt) bool { return r.ID == id })
		if at < 0 {
			return ErrNoReceipt
		}
		receipt = list[at]
		who, err := personBehind(tx, receipt.By)
		by = who
		return err
	})
	return receipt, by, err
}

// ErrNoReceipt reports a receipt that the user does not have.
var ErrNoReceipt = storage.NewError(storage.NotFound, "the user has no such receipt")

// personBehind returns the admin whom an event or receipt names; zero when it names none, or one who is gone.
func personBehind(tx *storage.Tx, by string) (user.User, error) {
	uid, is := audit.AdminOf(by)
	if !is {
		return user.User{}, nil
	}
	who, err := user.Get(tx, uid)
	if errors.Is(err, user.ErrUnknown) {
		return user.User{}, nil
	}
	if err != nil {
		return user.User{}, err
	}
	return *who, nil
}
