package own

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// mostDenied bounds how many lines a user can deny in one visit, since each denial tells admins and all her phones.
const mostDenied = 20

// Denial is what came of it when a user said of a line that it was not she.
type Denial struct {
	Line     string    `json:"line"` // id of the event, the authenticator or the restore
	At       time.Time `json:"at"`
	Stopped  []Suspect `json:"stopped,omitempty"`  // suspended: newer than what she has proven, and young
	Reported []Suspect `json:"reported,omitempty"` // only told to admins and all phones: it goes on
}

// Suspect is an authenticator that a user says is not hers.
type Suspect struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Enrolled time.Time `json:"enrolled"`
}

// denied returns what came of it that the user has said of a line in this visit that it was not she; nil when she has not.
func (h *held) denied(line string) *Denial {
	at := slices.IndexFunc(h.Denied, func(d Denial) bool { return d.Line == line })
	if at < 0 {
		return nil
	}
	return &h.Denied[at]
}

// NotMe notes that the user says of a line that it was not she: of an event, of one of her authenticators, or of a restore that is under way. Of the authenticators
// that it speaks of it suspends what is newer than the factor that she has proven in this session, and younger than seven days; a login
// by recovery code takes that back. All else is reported: to admins by an event, and to all her phones. No restore is vetoed, and
// browsers are remembered no more. Once more, in the same visit, it does no more.
//
// Errors: ErrSession; ErrStepUp; ErrNoLine; ErrTooMuch.
func (s *Service) NotMe(ctx context.Context, token, line string, actor audit.Actor) (d Denial, err error) {
	entry, err := s.entry(ctx, line)
	if err != nil {
		return d, err
	}
	err = s.actStrongly(ctx, token, func(tx *storage.Tx, h *held, _ login.Pass) error {
		if before := h.denied(line); before != nil {
			d = *before
			return nil
		}
		if len(h.Denied) >= mostDenied {
			return ErrTooMuch
		}
		set, err := device.All(tx, h.uid)
		if err != nil {
			return err
		}
		list, about, err := s.suspects(tx, h, line, entry, set)
		if err != nil {
			return err
		}
		d, err = h.disown(tx, list, actor.WithClient(h.Client))
		if err != nil {
			return err
		}
		d.Line = line
		h.Denied = append(h.Denied, d)
		_, forgotten := recovery.ForgetBrowsers(tx, h.uid)
		return errors.Join(forgotten, h.put(tx), h.report(tx, d, entry, about, actor.WithClient(h.Client)))
	})
	return d, err
}

// entry returns the event of a line; none for a line that is an authenticator.
//
// Errors: ErrNoLine.
func (s *Service) entry(ctx context.Context, line string) (audit.Entry, error) {
	if strings.HasPrefix(line, device.IDPrefix) || strings.HasPrefix(line, restore.IDPrefix) {
		return audit.Entry{}, nil
	}
	e, err := audit.Get(ctx, s.store, line)
	if errors.Is(err, audit.ErrNotFound) {
		err = ErrNoLine
	}
	return e, err
}

// suspects returns the authenticators that a line of the user's speaks of, and what its report says about it. Of a restore that is under
// way there are none: it is only reported.
//
// Errors: ErrNoLine, also for somebody else's.
func (s *Service) suspects(tx *storage.Tx, h *held, line string, e audit.Entry, set device.Set) (device.Set, audit.Detail, error) {
	switch {
	case strings.HasPrefix(line, restore.IDPrefix):
		under, err := s.underWay(tx, h.uid)
		at := slices.IndexFunc(under, func(l restore.Listed) bool { return l.ID == line })
		if err == nil && at < 0 {
			err = ErrNoLine
		}
		if err != nil {
			return nil, audit.Detail{}, err
		}
		return nil, audit.Detail{Device: under[at].Name, Backup: under[at].Backup}, nil
	case e.ID == "":
		list := named(set, line)
		if len(list) == 0 {
			return nil, audit.Detail{}, ErrNoLine
		}
		return list, list[0].Detail(), nil
	case e.UID != h.uid || !slices.Contains(told, e.Type) || !isTold(e):
		return nil, audit.Detail{}, ErrNoLine
	}
	return suspects(e, set), audit.Detail{Device: e.Detail.Device, Enrollment: e.Detail.Enrollment}, nil
}

// disown suspends those of the suspects that are newer than what the session has proven, and young.
func (h *held) disown(tx *storage.Tx, list device.Set, actor audit.Actor) (Denial, error) {
	d := Denial{At: tx.Now()}
	for _, e := range list {
		suspect := Suspect{ID: e.ID, Name: e.Name, Enrolled: e.Enrolled}
		switch {
		case e.ID != h.Proven.By && e.Disownable(h.Proven.Since, tx.Now()):
			if err := device.Disown(tx, h.uid, e, actor); err != nil {
				return d, err
			}
			d.Stopped = append(d.Stopped, suspect)
		case e.Status == device.Suspended:
			d.Stopped = append(d.Stopped, suspect)
		default:
			d.Reported = append(d.Reported, suspect)
		}
	}
	return d, nil
}

// report tells admins and all phones of the user what she says.
func (h *held) report(tx *storage.Tx, d Denial, e audit.Entry, about audit.Detail, actor audit.Actor) error {
	event := audit.Event{Type: audit.NotMe, UID: h.uid, Facts: audit.Facts{audit.FactStatus: audit.NotMeReported}}
	if len(d.Stopped) > 0 {
		event.Facts[audit.FactStatus] = audit.NotMeSuspended
	}
	if e.ID != "" {
		event.Facts[audit.FactEvent] = audit.Word(e.ID)
	}
	return errors.Join(
		recovery.Notify(tx, h.uid, recovery.NoticePayload{Notice: recovery.NoticeNotMe}),
		audit.Record(tx, actor, event, about))
}

// Denial returns what came of it that the user has said of a line in this visit that it was not she, and the line when it is an event.
//
// Errors: ErrSession; ErrNoLine.
func (s *Service) Denial(ctx context.Context, token, line string) (Denial, *Line, error) {
	h, err := s.look(ctx, token)
	if err != nil {
		return Denial{}, nil, err
	}
	d := h.denied(line)
	if d == nil {
		return Denial{}, nil, ErrNoLine
	}
	e, err := s.entry(ctx, line)
	if err != nil || e.ID == "" {
		return *d, nil, err
	}
	l := h.line(e)
	return *d, &l, nil
}
