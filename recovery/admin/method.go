package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// MethodType is the type of an authentication method, in Auth0's words.
type MethodType string

// The types.
const (
	MethodPush     MethodType = "push"
	MethodTOTP     MethodType = "totp"
	MethodRoaming  MethodType = "webauthn-roaming"
	MethodPlatform MethodType = "webauthn-platform"
	MethodCode     MethodType = "recovery-code"
)

var methodTypes = map[device.Type]MethodType{
	device.TypePush:     MethodPush,
	device.TypeOTP:      MethodTOTP,
	device.TypeRoaming:  MethodRoaming,
	device.TypePlatform: MethodPlatform,
}

// Method is one way in which a user authenticates: an enrollment, or the recovery code.
type Method struct {
	ID         string // the type, | and an id
	Type       MethodType
	Enrollment *device.Enrollment // nil: the recovery code
	Issued     time.Time          // of the recovery code
}

// Errors of authentication methods.
var (
	ErrNoMethod  = storage.NewError(storage.NotFound, "The authentication method does not exist.")
	ErrMethod    = storage.NewError(storage.Invalid, "this cannot be an authentication method")
	ErrNoFactor  = device.ErrFactor.With("this authentication method is not available here; totp can be imported")
	errCodeAlone = ErrMethod.With("a recovery code alone is no way to log in: name another method beside it, or none at all")
)

func methodOf(e *device.Enrollment) Method {
	of := methodTypes[e.Type]
	return Method{ID: string(of) + "|" + e.ID, Type: of, Enrollment: e}
}

// methodsOf returns the ways in which a user authenticates, the oldest enrollment first and the recovery code last.
func methodsOf(tx *storage.Tx, uid storage.UID) ([]Method, error) {
	set, err := device.All(tx, uid)
	if err != nil {
		return nil, err
	}
	list := make([]Method, 0, len(set)+1)
	for _, e := range set.Shown() {
		list = append(list, methodOf(e))
	}
	mark, err := codeMark(tx, uid)
	if err != nil || mark == "" {
		return list, err
	}
	issued, err := recovery.CodeIssuedAt(tx, uid)
	return append(list, Method{
		ID:     string(MethodCode) + "|" + mark,
		Type:   MethodCode,
		Issued: issued,
	}), err
}

// find returns the method with an id.
//
// Errors: ErrNoMethod.
func findMethod(tx *storage.Tx, uid storage.UID, id string) (Method, error) {
	list, err := methodsOf(tx, uid)
	if err != nil {
		return Method{}, err
	}
	at := slices.IndexFunc(list, func(m Method) bool { return m.ID == id })
	if at < 0 {
		return Method{}, ErrNoMethod
	}
	return list[at], nil
}

// Methods returns the ways in which a user authenticates, the oldest enrollment first and the recovery code last.
//
// Errors: user.ErrUnknown.
func (s *Service) Methods(ctx context.Context, userID string) (list []Method, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err == nil {
			list, err = methodsOf(tx, u.UID)
		}
		return err
	})
	return list, err
}

// Method returns one of them.
//
// Errors: user.ErrUnknown; ErrNoMethod.
func (s *Service) Method(ctx context.Context, userID, id string) (m Method, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err == nil {
			m, err = findMethod(tx, u.UID, id)
		}
		return err
	})
	return m, err
}

// changeMethods runs change for an actor who may change how the user authenticates, and records the call.
//
// Errors: user.ErrUnknown; ErrRefused; those of change.
func (s *Service) changeMethods(ctx context.Context, userID string, actor audit.Actor, change func(*storage.Tx, *user.User) error) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, Remove, userID)
		if err != nil {
			return err
		}
		return change(tx, u)
	})
}

// RenameMethod gives an enrollment another name.
//
// Errors: user.ErrUnknown; ErrRefused; ErrNoMethod; ErrMethod, for a recovery code; device.ErrName.
func (s *Service) RenameMethod(ctx context.Context, userID, id, name string, actor audit.Actor) (m Method, err error) {
	err = s.changeMethods(ctx, userID, actor, func(tx *storage.Tx, u *user.User) error {
		if m, err = findMethod(tx, u.UID, id); err != nil {
			return err
		}
		return errors.Join(rename(tx, u.UID, m, name), audit.RecordCall(tx, actor, u.UID))
	})
	return m, err
}

// rename gives a method another name; "" leaves it as it is.
//
// Errors: ErrMethod; device.ErrName.
func rename(tx *storage.Tx, uid storage.UID, m Method, name string) error {
	switch {
	case name == "":
		return nil
	case m.Enrollment == nil:
		return ErrMethod.With("a recovery code has no name")
	default:
		return device.Rename(tx, uid, m.Enrollment, name)
	}
}

// RemoveMethod removes a method. With the last enrollment the whole of the user's MFA goes, as by [Service.RemoveEnrollment].
//
// Errors: user.ErrUnknown; ErrRefused; ErrNoMethod.
func (s *Service) RemoveMethod(ctx context.Context, userID, id string, actor audit.Actor) error {
	return s.changeMethods(ctx, userID, actor, func(tx *storage.Tx, u *user.User) error {
		m, err := findMethod(tx, u.UID, id)
		if err != nil {
			return err
		}
		if m.Enrollment == nil {
			return errors.Join(recovery.Remove(tx, u.UID), audit.RecordCall(tx, actor, u.UID))
		}
		return s.remove(ctx, tx, u, device.Set{m.Enrollment}, actor)
	})
}

// RemoveType removes all enrollments of a type; for a user without any it does nothing.
//
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) RemoveType(ctx context.Context, userID string, of device.Type, actor audit.Actor) error {
	return s.changeMethods(ctx, userID, actor, func(tx *storage.Tx, u *user.User) error {
		set, err := device.All(tx, u.UID)
		if err != nil {
			return err
		}
		gone := slices.DeleteFunc(set.Shown(), func(e *device.Enrollment) bool { return e.Type != of })
		if len(gone) == 0 {
			return audit.RecordCall(tx, actor, u.UID)
		}
		return s.remove(ctx, tx, u, gone, actor)
	})
}

// RemoveAll resets a user whom an admin's program wants to have no authentication method.
//
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) RemoveAll(ctx context.Context, userID string, actor audit.Actor) error {
	return s.changeMethods(ctx, userID, actor, func(tx *storage.Tx, u *user.User) error {
		return s.resetAll(ctx, tx, u, actor)
	})
}

func (s *Service) resetAll(ctx context.Context, tx *storage.Tx, u *user.User, actor audit.Actor) error {
	_, err := s.resetUser(ctx, tx, u, recovery.ResetRequest{Reason: "all authentication methods were removed"}, actor)
	return err
}

// ImportMethod enrols an app of one-time codes that another system knows.
//
// Errors: user.ErrUnknown; ErrRefused; those of device.Import.
func (s *Service) ImportMethod(ctx context.Context, userID string, in device.Imported, actor audit.Actor) (m Method, err error) {
	err = s.changeMethods(ctx, userID, actor, func(tx *storage.Tx, u *user.User) error {
		e, err := device.Import(tx, u.UID, in, actor)
		if err != nil {
			return err
		}
		m = methodOf(e)
		return audit.RecordCall(tx, actor, u.UID)
	})
	return m, err
}

// WantedMethod is one that a user shall have: the one with ID, or a new one.
type WantedMethod struct {
	ID     string
	Import device.Imported // without ID
	Name   string          // "": as it is
}

// ReplaceMethods gives a user the wanted methods and takes all others away, or changes nothing. It returns them in the order of
// wanted. No method at all is the reset.
//
// Errors: user.ErrUnknown; ErrRefused; ErrNoMethod; ErrMethod; those of device.Import.
func (s *Service) ReplaceMethods(ctx context.Context, userID string, wanted []WantedMethod, actor audit.Actor) (list []Method, err error) {
	err = s.changeMethods(ctx, userID, actor, func(tx *storage.Tx, u *user.User) error {
		list = make([]Method, len(wanted))
		before, err := methodsOf(tx, u.UID)
		if err != nil {
			return err
		}
		if len(wanted) == 0 {
			return s.resetAll(ctx, tx, u, actor)
		}
		kept, err := keptOf(before, wanted)
		if err != nil {
			return err
		}
		if err := takeAway(tx, u, before, kept, actor); err != nil {
			return err
		}
		for i, w := range wanted {
			if list[i], err = w.give(tx, u.UID, kept[w.ID], actor); err != nil {
				return err
			}
		}
		return audit.RecordCall(tx, actor, u.UID)
	})
	return list, err
}

// keptOf returns those of the methods that are wanted, by id.
//
// Errors: ErrNoMethod; ErrMethod, when one is wanted twice, or a recovery code alone.
func keptOf(before []Method, wanted []WantedMethod) (map[string]Method, error) {
	kept := map[string]Method{}
	authenticates := false
	for _, w := range wanted {
		authenticates = authenticates || !strings.HasPrefix(w.ID, string(MethodCode)+"|")
		if w.ID == "" {
			// What is imported may be there already.
			at := slices.IndexFunc(before, func(m Method) bool { return m.Enrollment != nil && w.Import.Is(m.Enrollment) })
			if at >= 0 {
				kept[before[at].ID] = before[at]
			}
			continue
		}
		at := slices.IndexFunc(before, func(m Method) bool { return m.ID == w.ID })
		if at < 0 {
			return nil, ErrNoMethod
		}
		if _, twice := kept[w.ID]; twice {
			return nil, ErrMethod.With("%s is named twice", w.ID)
		}
		kept[w.ID] = before[at]
	}
	if !authenticates {
		return nil, errCodeAlone
	}
	return kept, nil
}

// takeAway removes those methods that are not kept.
//
// Errors: ErrRefused, when the last owner would lose all that are active.
func takeAway(tx *storage.Tx, u *user.User, before []Method, kept map[string]Method, actor audit.Actor) error {
	var gone device.Set
	var err error
	for _, m := range before {
		if _, stays := kept[m.ID]; stays {
			continue
		}
		if m.Enrollment == nil {
			err = errors.Join(err, recovery.Remove(tx, u.UID))
			continue
		}
		gone = append(gone, m.Enrollment)
	}
	if len(gone) > 0 {
		err = errors.Join(err, keepsWayIn(tx, actor, u, gone))
	}
	return errors.Join(err, retire(tx, u, gone, actor))
}

// give makes a wanted method be there.
func (w WantedMethod) give(tx *storage.Tx, uid storage.UID, kept Method, actor audit.Actor) (Method, error) {
	if w.ID != "" {
		return kept, rename(tx, uid, kept, w.Name)
	}
	e, err := device.Import(tx, uid, device.Imported{Secret: w.Import.Secret, Name: w.Name}, actor)
	if err != nil {
		return Method{}, err
	}
	return methodOf(e), nil
}
