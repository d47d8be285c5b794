package own

import (
	"context"
	"slices"
	"time"

	"tutela/device"
	"tutela/storage/audit"
)

// shownLines is how many lines a page has. Further back they are read page by page.
const shownLines = 20

// Line is a recent event as the page shows it to its user.
type Line struct {
	ID     string // of the event
	At     time.Time
	Type   audit.Type
	Facts  audit.Facts
	Client string // id of the login system that it was for
	Admin  bool   // somebody else did it: an admin, or the operator
	Device string // name of the authenticator that it is about; "" for none
	IP     string // from where
	Agent  string
	Times  int  // how often it has happened; 1, but where several are counted as one
	Here   bool // it is the opening of this page, of which nobody says that it was not she
	Denied bool // she has said in this visit that it was not she
}

// told lists the types of events that a user is shown. Types that only an admin's log needs are not among them.
var told = []audit.Type{
	audit.EnrollComplete, audit.UpdateDevice, audit.Unenroll, audit.DeviceMoved, audit.PasskeyChanged,
	audit.AuthSucceed, audit.AuthFailed, audit.AuthRejected, audit.OTPRateLimit, audit.CallerChecked,
	audit.RecoverySucceed, audit.RecoveryFailed, audit.RecoveryRateLimit, audit.CodeLost, audit.CodeReplaced,
	audit.BackupPut, audit.BackupDeleted, audit.BackupUndeleted, audit.BackupHandle,
	audit.RestoreStarted, audit.RestoreDone, audit.RestoreVetoed, audit.RestoreAllowed, audit.RestoreGivenUp, audit.RestoreDisputed,
	audit.Reset, audit.ManagementCall, audit.OwnPageOpened, audit.NotMe,
}

// Told returns the types of events that a user is shown.
func Told() []audit.Type { return slices.Clone(told) }

// ofAdmins lists the calls of admins that a user is shown: those that change how she gets in.
var ofAdmins = []audit.Word{
	audit.CallBlock, audit.CallUnblock, audit.CallRegenerateCode, audit.CallDeleteMethod, audit.CallDeleteMethods, audit.CallReplaceMethods,
	audit.CallCreateMethod, audit.CallSuspendEnrollment, audit.CallResumeEnrollment, audit.CallDeleteEnrollment, audit.CallDeleteAuthenticators,
	audit.CallCreateTicket, audit.CallUnlock, audit.CallUnlockBy, audit.CallUpdateUser,
}

// ToldCalls returns the calls of admins that a user is shown.
func ToldCalls() []audit.Word { return slices.Clone(ofAdmins) }

// isTold reports whether an event, whose type is shown to users, is itself shown.
func isTold(e audit.Entry) bool {
	return e.Type != audit.ManagementCall || slices.Contains(ofAdmins, e.Facts[audit.FactCall])
}

// Lately returns what happened to the user before a line, newest first: "" for the latest. more reports whether there is more.
//
// Errors: ErrSession.
func (s *Service) Lately(ctx context.Context, token, before string) (lines []Line, more bool, err error) {
	h, err := s.look(ctx, token)
	if err != nil {
		return nil, false, err
	}
	q := audit.Query{UID: h.uid, Types: told}
	entries, _, err := audit.List(ctx, s.store, q, false)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if before != "" && e.ID >= before || !isTold(e) {
			continue
		}
		if len(lines) == shownLines {
			return lines, true, nil
		}
		lines = append(lines, h.line(e))
	}
	return lines, false, nil
}

func (h *held) line(e audit.Entry) Line {
	l := Line{
		ID:     e.ID,
		At:     e.Time,
		Type:   e.Type,
		Facts:  e.Facts,
		Client: e.Client,
		Admin:  e.By != "",
		Device: e.Detail.Device,
		IP:     e.Detail.IP,
		Agent:  e.Detail.UserAgent,
		Times:  max(e.Folded.Count, 1),
		Here:   e.Type == audit.OwnPageOpened && e.Time.Equal(h.Began),
		Denied: h.denied(e.ID) != nil,
	}
	return l
}

// suspects returns those of the user's authenticators that a line speaks of, when she says that it was not she: the one that has done
// it, or has come of it; all of them, when somebody came in without one, or took one away; none, when nobody came in.
func suspects(e audit.Entry, set device.Set) device.Set {
	switch e.Type {
	case audit.EnrollComplete, audit.UpdateDevice, audit.RestoreDone, audit.AuthRejected, audit.CallerChecked,
		audit.BackupPut, audit.BackupDeleted, audit.BackupHandle, audit.RestoreVetoed, audit.RestoreAllowed:
		return named(set, e.Detail.Enrollment)
	case audit.DeviceMoved:
		return named(set, e.Detail.Successor)
	case audit.AuthSucceed, audit.OwnPageOpened:
		if e.Detail.Enrollment != "" {
			return named(set, e.Detail.Enrollment)
		}
		return set.Kept()
	case audit.Unenroll, audit.RecoverySucceed, audit.CodeReplaced, audit.CodeLost, audit.PasskeyChanged, audit.NotMe, audit.RestoreDisputed:
		return set.Kept()
	default:
		return nil
	}
}

// named returns the enrollment with an id, if it is not retired.
func named(set device.Set, id string) device.Set {
	if id == "" {
		return nil
	}
	return set.Kept().Only(id)
}
